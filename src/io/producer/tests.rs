//! Tests of `producer`.

use std::sync::mpsc::{Sender, channel};
use std::task::Wake;

use super::*;
use crate::current::is_cancelled;
use crate::sync::Mutex;

/// Reports at each call whether its task is cancelled.
struct OnRelease(Mutex<Sender<bool>>);

impl Wake for OnRelease {
    fn wake(self: Arc<Self>) {
        // Only the first call is waited for.
        let _ = self.0.lock().send(is_cancelled());
    }
}

#[test]
fn a_waker_that_a_producer_calls_belongs_to_no_task() {
    let ((started, start), (go, gone), (send, answers)) = (channel(), channel(), channel());
    let mut stream = producer(move |sender| {
        started.send(()).unwrap();
        gone.recv().unwrap();
        assert!(is_cancelled());
        sender.send(()).unwrap();
        assert!(is_cancelled());
    });
    start.recv().unwrap();
    let waker = Waker::from(Arc::new(OnRelease(Mutex::new(send))));
    assert!(Pin::new(&mut stream).poll_next(&mut Context::from_waker(&waker)).is_pending());
    stream.task.as_ref().unwrap().cancel_handle().cancel();
    go.send(()).unwrap();
    assert!(!answers.recv().unwrap(), "the producer is cancelled, its consumer is not");
    assert_eq!(stream.wait_next(), Some(()));
    assert_eq!(stream.wait_next(), None);
}
