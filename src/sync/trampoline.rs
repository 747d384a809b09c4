//! Steps that would nest as deep as a chain is long: each runs user code that may come to the
//! next one. They run without such a stack.
//!
//! Cancelling is like that: the closure of a queued task may hold the handle of the next. So is
//! dropping a result that holds the handle of a task that has ended, and releasing a permit, where
//! the waker of the waiter that gets it releases it in turn.
//!
//! A step that is put off may be what its thread waits for next: a destructor may cancel a task and
//! wait for its end. So a thread runs what it has put off ([`settle`]) before it does anything for
//! a wait: before it parks, before it runs something else meanwhile, and before it learns that the
//! wait would never end. What it runs meanwhile is inside of no step ([`afresh`]).
//!
//! Steps that wait do nest: each runs inside of the wait of the one before. Where the stack has no
//! room for another ([`nesting`]), the thread runs none, and a wait that would need one is an
//! error.

use std::cell::Cell;
use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::time::Instant;

use super::nesting::{self, TooDeep};
use super::{now, thread_local_const};

/// So many steps may be inside each other; the next are put off until one of these has ended.
const DEEPEST: u32 = 32;

type DeferredStep = Box<dyn FnOnce()>;

/// Those that have been put off, in their order. It is not dropped with its thread, whose last
/// destructors may still need it: the outermost step leaves it empty, and an empty one is freed.
type DeferredSteps = ManuallyDrop<VecDeque<DeferredStep>>;

thread_local_const! { static DEPTH: Cell<u32> = Cell::new(0) }
thread_local_const! { static ANY: Cell<bool> = Cell::new(false) }
thread_local_const! { static PUT_OFF: Cell<DeferredSteps> = Cell::new(ManuallyDrop::new(VecDeque::new())) }

/// The thread is so deep inside of steps, until this is dropped.
struct Depth {
    outer: u32,
}

impl Depth {
    fn set(depth: u32) -> Self {
        Depth { outer: DEPTH.with(|slot| slot.replace(depth)) }
    }
}

impl Drop for Depth {
    fn drop(&mut self) {
        DEPTH.with(|slot| slot.set(self.outer));
    }
}

/// Runs `step`, which does not unwind: now, or, deep inside other steps on this thread, before the
/// outermost of them returns or the thread waits.
#[inline]
pub(crate) fn bounce(step: impl FnOnce() + 'static) {
    // SAFETY: J1: it borrows nothing.
    unsafe { bounce_unbounded(step) }
}

/// As [`bounce`], where the compiler cannot see that `step` is `'static`.
///
/// # Safety
///
/// What `step` refers to is `'static` (J1).
pub(crate) unsafe fn bounce_unbounded(step: impl FnOnce()) {
    let depth = DEPTH.with(Cell::get);
    if depth >= DEEPEST {
        let step: Box<dyn FnOnce() + '_> = Box::new(step);
        // SAFETY: J1. Only the lifetime changes.
        let step = unsafe { std::mem::transmute::<Box<dyn FnOnce() + '_>, DeferredStep>(step) };
        return with_list(|list| list.push_back(step));
    }
    let _inside = Depth::set(depth + 1);
    step();
    run_put_off();
}

/// Runs what this thread has put off, unless `deadline` has passed: then it does not wait; or its
/// stack has no room. True if there was anything: that may have done what the thread would wait
/// for, or taken a token of its.
#[inline]
pub(crate) fn settle(deadline: Option<Instant>) -> bool {
    ANY.with(Cell::get)
        && deadline.is_none_or(|deadline| now() < deadline)
        && nesting::room().is_ok()
        && run_put_off()
}

/// Whether this thread, which would wait, has put off steps that its stack has no room for: then
/// how deep it is.
#[inline]
pub(crate) fn is_stuck() -> Option<TooDeep> {
    if ANY.with(Cell::get) { nesting::room().err() } else { None }
}

/// Runs `f` as if this thread were inside of no step: it has settled, and `f` is no part of what it
/// is inside.
pub(crate) fn afresh<R>(f: impl FnOnce() -> R) -> R {
    let _outside = Depth::set(0);
    f()
}

fn run_put_off() -> bool {
    let mut any = false;
    while ANY.with(Cell::get) {
        let Some(step) = with_list(VecDeque::pop_front) else { break };
        step();
        any = true;
    }
    any
}

/// Calls `f`, which runs no user code, with the list.
fn with_list<R>(f: impl FnOnce(&mut VecDeque<DeferredStep>) -> R) -> R {
    PUT_OFF.with(|slot| {
        let mut list = ManuallyDrop::into_inner(slot.replace(ManuallyDrop::new(VecDeque::new())));
        let result = f(&mut list);
        ANY.with(|any| any.set(!list.is_empty()));
        if !list.is_empty() {
            slot.set(ManuallyDrop::new(list));
        }
        result
    })
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
