//! Simulated pools whose tasks are all alike.

use super::simulation::{Simulated, Work, all_done, limits};
use super::*;

#[test]
fn case_3_all_512_long_blockers_run_after_a_few_steps() {
    let sleep = Work::new(1, 10_000_000);
    for (core, steps) in [(8, 3), (2, 4)] {
        let mut pool = Simulated::new(limits(core), core, 512, sleep);
        let millis = pool.run(true, |pool| pool.queued() == 0);
        assert_eq!(pool.threads(), 512);
        // A step may be taken while the last threads of the one before are still starting.
        assert!((steps..steps + 2).contains(&pool.steps.len()), "{:?} from {core}", pool.steps);
        assert!(pool.steps.iter().all(|&cause| cause == Cause::Hard), "{:?}", pool.steps);
        assert!(millis < 20.0, "{millis} ms from {core}");
    }
}

#[test]
fn case_1_tiny_tasks_do_not_grow_it() {
    for (core, cpus) in [(2, 2), (8, 8), (8, 2), (2, 1)] {
        let tiny = Work::new(1, 0);
        let mut pool = Simulated::new(limits(core), cpus, 100_000, tiny);
        pool.run(true, all_done);
        assert_eq!(pool.threads(), core, "core {core} on {cpus} CPUs: {:?}", pool.steps);
    }
}

/// The most threads there are while `count` tasks pass through one lock and hold it for `hold`
/// microseconds each.
fn convoy(core: usize, hold: u64, count: u64) -> (usize, Vec<Cause>) {
    let mut pool = Simulated::new(limits(core), 2, count, Work::locked(hold));
    pool.run(true, all_done);
    (pool.threads(), pool.steps)
}

#[test]
fn case_2_a_lock_convoy_is_not_worth_growing() {
    for core in [2, 4, 8] {
        for hold in [5, 10, 20, 30, 40, 60] {
            let (threads, steps) = convoy(core, hold, 500);
            assert!(threads <= 2 * core, "{threads} threads of {core}, held for {hold} us: {steps:?}");
        }
        let (threads, steps) = convoy(core, 30, 3000);
        assert!(threads <= 2 * core, "{threads} threads of {core} within 90 ms: {steps:?}");
    }
}

#[test]
fn case_2_a_lock_convoy_does_not_creep_up_to_max() {
    for core in [2, 8] {
        let (threads, steps) = convoy(core, 30, 33_333);
        assert!(threads <= 4 * core, "{threads} threads of {core} within a second: {steps:?}");
    }
    // Two threads take turns well enough; eight do not.
    let (threads, steps) = convoy(8, 20, 50_000);
    assert!(threads <= 32, "{threads} threads of 8 within a second: {steps:?}");
}

#[test]
fn case_4_short_blocking_calls_are_worth_it() {
    for core in [2, 8] {
        let call = Work::new(2, 200);
        let fixed = Simulated::new(limits(core), core, 10_000, call).run(false, all_done);
        let mut pool = Simulated::new(limits(core), core, 10_000, call);
        let elastic = pool.run(true, all_done);
        assert!(pool.threads() >= 4 * core, "{} threads of {core}", pool.threads());
        assert!(4.0 * elastic <= fixed, "{elastic} ms against {fixed} ms with {core} threads");
        assert!(pool.steps.contains(&Cause::Soft));
    }
}

#[test]
fn medium_sleeps_overshoot_no_further_than_the_queue() {
    let sleep = Work::new(1, 2000);
    let mut pool = Simulated::new(limits(8), 8, 40, sleep);
    pool.run(true, all_done);
    assert!(pool.threads() <= 40, "{} threads for 40 tasks", pool.threads());
}
