//! What would nest as deep as a chain is long: each step runs foreign code that may come to the next one. It is done without
//! such a stack.
//!
//! Cancelling is like that: the closure of a queued task may hold the handle of the next. So is giving a place away, where
//! the waker of whoever gets it gives it on.

use std::cell::{Cell, RefCell};

use super::reference::Claimed;
use super::state::Outcome;
use crate::sync::{LocalKey, thread_local_const};

/// So many steps may be inside each other; the next are put off until one of these has ended.
const DEEPEST: u32 = 32;

thread_local_const! { static DEPTH: Cell<u32> = Cell::new(0) }
thread_local_const! { static PUT_OFF: RefCell<Vec<Claimed>> = RefCell::new(Vec::new()) }

/// Discards a task that has been cancelled while it was queued: now, or, deep inside other cancellations on this thread,
/// before the outermost of them returns.
pub(super) fn discard_cancelled(claimed: Claimed) {
    step(&DEPTH, &PUT_OFF, claimed, |next| next.discard(Outcome::Cancelled, None));
}

/// Does `act` with `item`: now, or, deep inside other steps of this kind on this thread, before the outermost of them
/// returns. `act` does not unwind.
pub(crate) fn step<T: 'static>(
    depths: &'static LocalKey<Cell<u32>>,
    put_off: &'static LocalKey<RefCell<Vec<T>>>,
    item: T,
    act: impl Fn(T),
) {
    let depth = depths.with(Cell::get);
    let mut item = Some(item);
    if depth >= DEEPEST {
        // Where the thread is ending its list may be gone already: then the stack must do.
        let _ = put_off.try_with(|list| list.borrow_mut().extend(item.take()));
    }
    let Some(mut next) = item else { return };
    depths.with(|slot| slot.set(depth + 1));
    loop {
        act(next);
        match put_off.try_with(|list| list.borrow_mut().pop()) {
            Ok(Some(more)) => next = more,
            _ => break,
        }
    }
    depths.with(|slot| slot.set(depth));
}
