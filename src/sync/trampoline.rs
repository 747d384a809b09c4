//! Steps that would nest as deep as a chain is long: each runs foreign code that may come to the next one. They run without
//! such a stack.
//!
//! Cancelling is like that: the closure of a queued task may hold the handle of the next. So is dropping a result that holds
//! the handle of a task that has ended, and giving a place away, where the waker of the one who gets it gives it on.
//!
//! A step that is put off may be what its thread waits for next: a destructor may cancel a task and wait for its end. So a
//! thread runs what it has put off before it parks ([`Parker`](super::Parker)) and before each other wait of the crate.

use std::cell::{Cell, RefCell};

use super::thread_local_const;

/// So many steps may be inside each other; the next are put off until one of these has ended.
const DEEPEST: u32 = 32;

type Step = Box<dyn FnOnce()>;

thread_local_const! { static DEPTH: Cell<u32> = Cell::new(0) }
thread_local_const! { static PUT_OFF: RefCell<Vec<Step>> = RefCell::new(Vec::new()) }

/// Runs `step`, which does not unwind: now, or, deep inside other steps on this thread, before the outermost of them returns
/// or the thread waits.
#[inline]
pub(crate) fn bounce(step: impl FnOnce() + 'static) {
    // SAFETY: J2: it borrows nothing.
    unsafe { bounce_unbounded(step) }
}

/// As [`bounce`], where the compiler cannot see that `step` is `'static`.
///
/// # Safety
///
/// What `step` refers to is `'static` (J2).
pub(crate) unsafe fn bounce_unbounded(step: impl FnOnce()) {
    let depth = DEPTH.with(Cell::get);
    let mut step = Some(step);
    if depth >= DEEPEST {
        // Where the thread is ending its list may be gone already: then the stack must do.
        let _ = PUT_OFF.try_with(|list| {
            let step = step.take().map(|step| {
                let step: Box<dyn FnOnce() + '_> = Box::new(step);
                // SAFETY: J2. Only the lifetime changes.
                unsafe { std::mem::transmute::<Box<dyn FnOnce() + '_>, Step>(step) }
            });
            list.borrow_mut().extend(step);
        });
    }
    let Some(step) = step else { return };
    DEPTH.with(|slot| slot.set(depth + 1));
    step();
    run_put_off();
    DEPTH.with(|slot| slot.set(depth));
}

/// Runs what this thread has put off. True if there was anything: that may have taken a token that the thread would have
/// waited for.
pub(crate) fn settle() -> bool {
    // What is put off is put off inside of other steps.
    DEPTH.with(Cell::get) > 0 && run_put_off()
}

fn run_put_off() -> bool {
    let mut any = false;
    while let Ok(Some(step)) = PUT_OFF.try_with(|list| list.borrow_mut().pop()) {
        step();
        any = true;
    }
    any
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests {
    use super::*;
    use std::rc::Rc;

    /// Bounces `left` steps more, each inside the one before, and counts them; and how deep they were on the stack.
    fn chain(left: u32, done: Rc<Cell<u32>>) {
        bounce(move || {
            if left > 1 {
                chain(left - 1, Rc::clone(&done));
            }
            done.set(done.get() + 1);
        });
    }

    #[test]
    fn a_chain_of_any_length_has_ended_when_its_first_step_returns() {
        for length in [1, DEEPEST - 1, DEEPEST, DEEPEST + 1, 2 * DEEPEST + 1, 1_000_000] {
            let done = Rc::default();
            chain(length, Rc::clone(&done));
            assert_eq!(done.get(), length);
            assert!(!settle(), "nothing is left");
        }
    }

    #[test]
    fn a_step_that_is_put_off_runs_when_the_thread_settles() {
        fn nest(left: u32, seen: Rc<Cell<bool>>) {
            bounce(move || {
                if left > 0 {
                    return nest(left - 1, seen);
                }
                let mark = Rc::clone(&seen);
                bounce(move || mark.set(true));
                assert!(!seen.get(), "it is put off");
                assert!(settle());
                assert!(seen.get());
                assert!(!settle(), "once");
            });
        }
        nest(DEEPEST - 1, Rc::default());
    }
}
