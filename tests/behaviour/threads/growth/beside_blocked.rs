//! Threads that compute beside threads that are blocked, and beside calls that come at an awkward
//! time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{block_for, compute, pool, wait_all};
use crate::support::{Crowd, Gate, also_by_time_alone, builder, eventually, keeps_to, nothing_happens, soon};

const CORE: usize = 2;

/// Checks how many of `count` computations run at once at most, once `blocked` threads wait for a
/// gate, or sleep.
fn check_beside_blocked(blocked: usize, count: usize, sleeps: bool) {
    keeps_to(4 * CORE + 4, || most_beside_blocked(blocked, count, sleeps));
}

/// How many of them ran at once, but for those beyond the usual for which there were threads.
fn most_beside_blocked(blocked: usize, count: usize, sleeps: bool) -> usize {
    let pool = pool(CORE);
    let gate = Gate::new();
    let block = |_| {
        let gate = gate.clone();
        pool.spawn(move || if sleeps { block_for(Duration::from_secs(3)) } else { gate.pass() })
    };
    let waits: Vec<_> = (0..blocked).map(block).collect();
    eventually("all are blocked", || pool.metrics().tasks_running() == blocked as u64);
    // Threads that were started for the blocked tasks, and were too many, come to rest.
    nothing_happens();
    let surplus = pool.metrics().threads() - blocked;
    let crowd = Arc::new(Crowd::default());
    let one = |_| {
        let crowd = Arc::clone(&crowd);
        pool.spawn(move || {
            crowd.enter();
            compute(30);
            crowd.leave();
        })
    };
    wait_all((0..count).map(one).collect());
    gate.open();
    wait_all(waits);
    crowd.most().saturating_sub(surplus.saturating_sub(4 * CORE + 1))
}

#[test]
fn a_flood_of_computations_beside_blocked_threads_is_no_flood_of_threads() {
    for blocked in [20, 60, 150] {
        check_beside_blocked(blocked, 150, false);
    }
}

#[test]
fn a_call_that_comes_at_the_end_of_a_long_closure_has_its_turn_before_the_lane() {
    let pool = builder().core_threads(1).max_threads(1).build().unwrap();
    let lane = pool.lane("computing", 1);
    let (submitted, submit) = (Gate::new(), Gate::new());
    let (done, ask) = (submitted.clone(), submit.clone());
    let later = Arc::new(AtomicUsize::new(0));
    let first = lane.spawn(move || {
        compute(50);
        ask.open();
        done.pass();
    });
    let next: Vec<_> = (0..20)
        .map(|_| {
            let later = Arc::clone(&later);
            lane.spawn(move || {
                later.fetch_add(1, Ordering::SeqCst);
                compute(50);
            })
        })
        .collect();
    submit.pass();
    let seen = Arc::clone(&later);
    let call = pool.spawn(move || seen.load(Ordering::SeqCst));
    submitted.open();
    assert_eq!(soon(call).unwrap(), 0, "it was there when the long closure ended");
    soon(first).unwrap();
    drop(next);
    pool.shutdown().wait();
}

#[test]
fn a_burst_of_computations_beside_calls_to_a_database_is_no_flood_of_threads() {
    check_beside_blocked(10, 300, true);
}

also_by_time_alone! {
    a_flood_of_computations_beside_blocked_threads_is_no_flood_of_threads,
    a_call_that_comes_at_the_end_of_a_long_closure_has_its_turn_before_the_lane,
    a_burst_of_computations_beside_calls_to_a_database_is_no_flood_of_threads,
}
