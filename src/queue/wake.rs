//! Calling the waker of whoever has been given a place. That may give the place on, whose waker may do the same, and so on.

use std::cell::{Cell, RefCell};
use std::task::Waker;

use crate::report::shield;
use crate::sync::thread_local_const;
use crate::task::{as_nobody, cascade};

thread_local_const! { static DEPTH: Cell<u32> = Cell::new(0) }
thread_local_const! { static PUT_OFF: RefCell<Vec<Waker>> = RefCell::new(Vec::new()) }

/// Calls a waker, which is foreign code and belongs to no task of this thread: now, or, deep inside other wakers, before the
/// outermost of them returns.
pub(crate) fn wake(waker: Waker) {
    cascade::step(&DEPTH, &PUT_OFF, waker, |next| {
        shield("a waker", || as_nobody(|| next.wake()));
    });
}
