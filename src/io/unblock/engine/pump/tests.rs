//! Tests of `pump`.

use std::io::Read;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::task::{Wake, Waker};

use super::*;
use crate::current::is_cancelled;
use crate::io::unblock::buffers::inbound::ReadChunk;
use crate::io::unblock::buffers::sizes::Sizes;
use crate::io::unblock::buffers::wakers::Interest;
use crate::io::unblock::engine::shared::Setup;
use crate::io::unblock::state::request::Request;
use crate::sync::Mutex;
use crate::sys::pread::Cached;

/// Reports at each call whether its task is cancelled.
struct OnRelease(Mutex<Sender<bool>>);

impl Wake for OnRelease {
    fn wake(self: Arc<Self>) {
        self.0.lock().send(is_cancelled()).expect("the test waits for it");
    }
}

impl Read for OnRelease {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.lock().send(is_cancelled()).expect("the test waits for it");
        Ok(1)
    }
}

#[test]
fn a_waker_that_a_pump_calls_belongs_to_no_task() {
    let (send, answers) = channel();
    let on_release = || OnRelease(Mutex::new(send.clone()));
    let shared = SharedMachine::new(on_release(), Sizes::of_capacity(1), Setup::default());
    let mut machine = shared.machine.lock().unwrap();
    let page_cache = |_: &OnRelease, _: &mut [u8]| Cached::Never;
    let mut request = Request::Read { read: OnRelease::read, page_cache, want: 1, buffer: &mut [] };
    let answer = machine.answer(&mut request, &mut ReadChunk::default(), &mut AfterUnlock::default());
    assert!(answer.is_none());
    assert!(machine.add_waker(Interest::Read, Waker::from(Arc::new(on_release()))).is_none());
    assert_eq!(machine.queue_pump(), Some(false));
    drop(machine);

    let ((started, start), (go, gone)) = (channel(), channel());
    let pump = crate::spawn(move || {
        started.send(()).unwrap();
        gone.recv().unwrap();
        run(&shared, PumpPlace::Here);
    });
    start.recv().unwrap();
    pump.cancel_handle().cancel();
    go.send(()).unwrap();
    pump.wait().unwrap();
    assert!(answers.recv().unwrap(), "the value is read by the pump's task, which is cancelled");
    assert!(!answers.recv().unwrap(), "the waker is not part of it");
}
