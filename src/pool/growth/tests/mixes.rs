//! Simulated pools on which some tasks compute for long, on machines of different sizes.

use super::simulation::{Simulated, Work, all_done, limits};
use super::*;

/// CPUs, and the core threads that a pool has there by default.
const MACHINES: [(usize, usize); 4] = [(1, 2), (2, 2), (8, 8), (64, 64)];
pub(super) const SECOND: u64 = 1_000_000;

pub(super) fn compute(millis: u64) -> Work {
    Work::new(1_000 * millis, 0)
}

/// The wait, in microseconds, that the given percentage of calls does not exceed.
pub(super) fn quantile(pool: &mut Simulated, percent: usize) -> u64 {
    pool.waits.sort_unstable();
    pool.waits[(pool.waits.len() - 1) * percent / 100]
}

#[test]
fn short_calls_pass_a_lane_that_computes() {
    for (cpus, core) in MACHINES {
        for (limit, millis) in [(core, 10), (core, 50), (2 * core, 200), (4 * core, 1000)] {
            let lane = limit as u64;
            let mut pool = Simulated::new(limits(core), cpus, 0, compute(0))
                .coarse()
                .with_calls(20_000)
                .with_lane(lane, u64::MAX, compute(millis));
            pool.run(true, |pool| pool.now >= 3 * SECOND);
            let what = format!("{cpus} CPUs, a lane of {lane}, {millis} ms: {:?}", pool.steps);
            assert!(pool.waits.len() > 140, "{what}");
            assert!(quantile(&mut pool, 50) <= 1_000, "{what}");
            assert!(quantile(&mut pool, 90) <= 15_000, "{what}");
            assert!(pool.threads() <= limit + 2 * core, "{} threads, {what}", pool.threads());
        }
    }
}

#[test]
fn a_lane_that_computes_alone_needs_few_more_than_core() {
    for (cpus, core) in MACHINES {
        let lane = 4 * core as u64;
        let pool = Simulated::new(limits(core), cpus, 0, compute(0)).coarse();
        let mut pool = pool.with_lane(lane, u64::MAX, compute(50));
        pool.run(true, |pool| pool.now >= SECOND);
        assert!(pool.threads() <= 2 * core, "{} threads on {cpus} CPUs: {:?}", pool.threads(), pool.steps);
    }
}

#[test]
fn short_calls_pass_a_handful_of_computations() {
    for (cpus, core) in MACHINES {
        for (share, millis) in [(1, 50), (2, 50), (4, 50), (1, 200), (2, 200), (4, 200), (4, 4000)] {
            let count = (share * core) as u64;
            let pool = Simulated::new(limits(core), cpus, count, compute(millis));
            let mut pool = pool.coarse().with_calls(5_000);
            let end = count * millis * 1_000 / cpus as u64;
            pool.run(true, |pool| pool.now >= end);
            let what = format!("{count} of {millis} ms on {cpus} CPUs: {:?}, {:?}", pool.steps, pool.waits);
            assert!(quantile(&mut pool, 50) <= 1_000, "{what}");
            assert!(pool.threads() <= 4 * core + 1, "{} threads, {what}", pool.threads());
        }
    }
}

#[test]
fn a_flood_of_computations_is_no_flood_of_threads() {
    for (cpus, core) in MACHINES {
        for certain in [true, false] {
            let mut pool = Simulated::new(limits(core), cpus, 10_000, compute(50)).coarse();
            pool.certain = certain;
            pool.run(true, |pool| pool.queued() < 10_000 - 60 * core);
            let most = 4 * core + usize::from(certain);
            assert!(pool.threads() <= most, "{} threads on {cpus} CPUs: {:?}", pool.threads(), pool.steps);
        }
    }
}

#[test]
fn long_computations_that_block_now_and_then_are_replaced_while_they_do() {
    // A page fault, a lock, a small read: a tenth of the time.
    let work = Work { rounds: 10, ..Work::new(9_000, 1_000) };
    for (cpus, core) in MACHINES {
        let count = 20 * core as u64;
        let fixed = Simulated::new(limits(core), cpus, count, work).coarse().run(false, all_done);
        let mut pool = Simulated::new(limits(core), cpus, count, work).coarse();
        let elastic = pool.run(true, all_done);
        assert!(elastic <= 1.05 * fixed, "{elastic} ms against {fixed} ms on {cpus} CPUs");
        assert!(pool.threads() <= 6 * core, "{} threads on {cpus} CPUs: {:?}", pool.threads(), pool.steps);
    }
}

#[test]
fn case_5_what_computes_for_seconds_gets_another_thread_now_and_then() {
    let mut pool = Simulated::new(limits(8), 8, 100, compute(2000)).coarse();
    let millis = pool.run(true, |pool| pool.queued() == 0);
    let most = 33.0 + millis / 500.0 + 1.0;
    assert!(pool.threads() as f64 <= most, "{} threads in {millis} ms: {:?}", pool.threads(), pool.steps);
    assert!(pool.steps.iter().all(|&cause| matches!(cause, Cause::Liveness | Cause::Waiting)));
}

#[test]
fn by_time_alone_sleeps_run_together() {
    for (cpus, core) in MACHINES {
        for (count, millis) in [(200, 200), (50, 5), (500, 20)] {
            let sleep = Work::new(1, 1_000 * millis);
            let mut pool = Simulated::new(limits(core), cpus, count, sleep).by_time_alone();
            let time = pool.run(true, all_done);
            let most = millis as f64 + 15.0;
            assert!(time <= most, "{count} of {millis} ms took {time} ms on {cpus} CPUs: {:?}", pool.steps);
        }
    }
}

#[test]
fn by_time_alone_short_calls_that_block_get_more_threads() {
    for (cpus, core) in [(2, 2), (8, 8)] {
        let call = Work::new(2, 1_000);
        let fixed = Simulated::new(limits(core), cpus, 2_000, call).run(false, all_done);
        let mut pool = Simulated::new(limits(core), cpus, 2_000, call).by_time_alone();
        let elastic = pool.run(true, all_done);
        assert!(4.0 * elastic <= fixed, "{elastic} ms against {fixed} ms: {:?}", pool.steps);
    }
}

#[test]
fn by_time_alone_tiny_tasks_and_convoys_are_no_reason() {
    for (cpus, core) in MACHINES {
        let mut pool = Simulated::new(limits(core), cpus, 100_000, Work::new(1, 0)).by_time_alone();
        pool.run(true, all_done);
        assert!(pool.threads() <= core + 1, "{} threads on {cpus} CPUs: {:?}", pool.threads(), pool.steps);
    }
}

/// A pool whose core is smaller than the machine: other programs have the other CPUs, or should.
#[test]
fn by_time_alone_a_flood_of_computations_is_no_flood_of_threads_where_core_is_less_than_the_cpus() {
    let mut found = Vec::new();
    for (cpus, core) in [(4, 2), (8, 2), (16, 2), (64, 2), (64, 8), (16, 15)] {
        let mut pool = Simulated::new(limits(core), cpus, 10_000, compute(50)).coarse().by_time_alone();
        pool.run(true, |pool| pool.now >= 2 * SECOND || pool.queued() < 100);
        if pool.threads() > 4 * core + 1 {
            found.push(format!("{} threads, core {core}, {cpus} CPUs", pool.threads()));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_flood_of_computations_beside_blocked_threads_is_no_flood_of_threads() {
    for (cpus, core) in [(2, 2), (8, 8)] {
        for blocked in [3 * core, 10 * core, 50] {
            let sleep = Work::new(1, 1_000 * SECOND);
            let mut pool = Simulated::new(limits(core), cpus, blocked as u64, sleep).coarse();
            pool.run(true, |pool| pool.queued() == 0);
            let before = pool.threads();
            pool.resume_with(10_000, compute(50));
            let end = pool.now + 2 * SECOND;
            pool.run(true, |pool| pool.now >= end);
            // E2 may have started more threads for sleepers than there were sleepers.
            let most = (before - blocked).max(4 * core + 1);
            let computing = pool.threads() - blocked;
            assert!(computing <= most, "{computing} beside {blocked}, {cpus} CPUs: {:?}", pool.steps);
        }
    }
}
