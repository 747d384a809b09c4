//! Cancelling a task whose closure holds the handle of another queued task, whose closure holds the next, without a stack
//! as deep as the chain.

use std::cell::{Cell, RefCell};

use super::reference::Claimed;
use super::state::Outcome;
use crate::sync::thread_local_const;

/// So many cancellations may be inside each other; the next are put off until the outermost has ended.
const DEEPEST: u32 = 32;

thread_local_const! { static DEPTH: Cell<u32> = Cell::new(0) }
thread_local_const! { static PUT_OFF: RefCell<Vec<Claimed>> = RefCell::new(Vec::new()) }

/// Discards a task that has been cancelled while it was queued: now, or, deep inside other cancellations on this thread,
/// before the outermost of them returns.
pub(super) fn discard_cancelled(claimed: Claimed) {
    let depth = DEPTH.with(Cell::get);
    let mut claimed = Some(claimed);
    if depth >= DEEPEST {
        // Where the thread is ending its list may be gone already: then the stack must do.
        let _ = PUT_OFF.try_with(|list| list.borrow_mut().extend(claimed.take()));
    }
    let Some(mut next) = claimed else { return };
    DEPTH.with(|slot| slot.set(depth + 1));
    loop {
        next.discard(Outcome::Cancelled, None);
        let more = PUT_OFF.try_with(|list| if depth == 0 { list.borrow_mut().pop() } else { None });
        match more {
            Ok(Some(more)) => next = more,
            _ => break,
        }
    }
    DEPTH.with(|slot| slot.set(depth));
}
