//! Pumps with bytes to write whose pool has ended: one thread for the whole process runs them, one
//! after another.
//!
//! The thread lives as long as there are such pumps. A pump that comes adds itself to the queue
//! and, under the same lock, finds out whether there is a thread; the thread ends under the lock
//! under which it finds the queue empty. So there is at most one, and no pump is left behind. Where
//! the system has no thread, the caller takes the thread's part.
//!
//! A pump takes turns of a millisecond, so that many streams get on side by side; a write that
//! blocks delays the others. In a forked child each pump runs where it comes from: the queue is the
//! parent's.

use std::collections::VecDeque;
use std::sync::OnceLock;

use crate::panic::catch_panic;
use crate::sync::{ProcessMutex, own_thread};
use crate::sys::first_use::get_or_make;
use crate::trace::event;

type Pump = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct FlushQueue {
    pumps: VecDeque<Pump>,
    has_thread: bool,
}

/// Makes the thread run `pump` soon.
pub(super) fn write(pump: impl FnOnce() + Send + 'static) {
    static QUEUE: OnceLock<ProcessMutex<FlushQueue>> = OnceLock::new();
    let shared = get_or_make(&QUEUE, ProcessMutex::default);
    let Some(mut queue) = shared.lock() else { return pump() };
    queue.pumps.push_back(Box::new(pump));
    if std::mem::replace(&mut queue.has_thread, true) {
        return;
    }
    drop(queue);
    if let Err(error) = own_thread::start_alone("sidestep-flush".to_owned(), || run_all(shared)) {
        event!(WARN, %error, "there is no thread to write on: writes in place");
        let _ = error;
        run_all(shared);
    }
}

/// Runs the pumps, until there are no more.
fn run_all(shared: &ProcessMutex<FlushQueue>) {
    while let Some(mut queue) = shared.lock() {
        let Some(pump) = queue.pumps.pop_front() else {
            queue.has_thread = false;
            // What a burst has left.
            queue.pumps = VecDeque::new();
            return;
        };
        drop(queue);
        catch_panic("a pump", pump);
    }
}
