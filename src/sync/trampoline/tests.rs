//! Tests of `trampoline`.

use super::*;
use std::rc::Rc;

/// Bounces `left` steps more, each inside the one before, and counts them; and how deep they
/// were on the stack.
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
        assert!(!settle(None), "nothing is left");
    }
}

#[test]
fn what_is_run_afresh_puts_nothing_off_and_a_panic_leaves_the_depth_as_it_was() {
    let depth = || DEPTH.with(Cell::get);
    bounce(move || {
        let panics = || afresh(|| bounce(|| std::panic::resume_unwind(Box::new("a step"))));
        assert!(std::panic::catch_unwind(panics).is_err());
        assert_eq!((depth(), afresh(depth)), (1, 0));
    });
    assert_eq!(depth(), 0);
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
            assert!(!settle(Some(now())), "the thread would not wait");
            assert!(settle(None));
            assert!(seen.get());
            assert!(!settle(None), "once");
        });
    }
    nest(DEEPEST - 1, Rc::default());
}
