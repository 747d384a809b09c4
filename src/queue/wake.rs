//! Calling the waker of whoever has been given a place. That may give the place on, whose waker may do the same, and so on:
//! without a stack as deep as the line is long.

use std::cell::{Cell, RefCell};
use std::task::Waker;

use crate::report::shield;
use crate::sync::thread_local_const;
use crate::task::as_nobody;

/// So many wakers may be inside each other; the next are put off until the outermost has returned.
const DEEPEST: u32 = 32;

thread_local_const! { static DEPTH: Cell<u32> = Cell::new(0) }
thread_local_const! { static PUT_OFF: RefCell<Vec<Waker>> = RefCell::new(Vec::new()) }

/// Calls a waker, which is foreign code and belongs to no task of this thread: now, or, deep inside other wakers, before the
/// outermost of them returns.
pub(crate) fn wake(waker: Waker) {
    let depth = DEPTH.with(Cell::get);
    let mut waker = Some(waker);
    if depth >= DEEPEST {
        // Where the thread is ending its list may be gone already: then the stack must do.
        let _ = PUT_OFF.try_with(|list| list.borrow_mut().extend(waker.take()));
    }
    DEPTH.with(|slot| slot.set(depth + 1));
    while let Some(next) = waker {
        shield("a waker", || as_nobody(|| next.wake()));
        let more = PUT_OFF.try_with(|list| if depth == 0 { list.borrow_mut().pop() } else { None });
        waker = more.ok().flatten();
    }
    DEPTH.with(|slot| slot.set(depth));
}
