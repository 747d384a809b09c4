//! Calling the waker of the one who has been given a place. That may give the place on, whose waker
//! may do the same, and so on.

use std::task::Waker;

use super::frame::as_no_task;
use crate::panic::catch_panic;
use crate::sync::trampoline;

/// Drops a waker that is not to be called. It may own another wait, with another waker, and so on.
pub(crate) fn discard(waker: Waker) {
    trampoline::bounce(move || {
        catch_panic("the destructor of a waker", || drop(waker));
    });
}

/// Calls a waker, which is user code and belongs to no task of this thread: now, or, deep inside
/// other steps, before the outermost of them returns or the thread waits.
pub(crate) fn wake(waker: Waker) {
    trampoline::bounce(move || {
        catch_panic("a waker", || as_no_task(|| waker.wake()));
    });
}
