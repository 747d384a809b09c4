//! Waits for permits, and shutdowns, of lanes whose limit changes.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::support::{
    Calls, Gate, all_well, builder, check_sound, eventually, nothing_happens, occupy, occupy_lane, poll,
    pool, soon,
};

/// What keeps a thread from waiting for a permit for ever is asked again when the limit changes.
#[test]
fn a_wait_for_a_permit_is_told_when_a_new_limit_leaves_it_no_way() {
    for (before, after) in [(0, 1), (2, 1), (3, 1)] {
        let pool = pool(4, 4);
        let lane = pool.lane_builder("narrow", 3).queue_limit(1).build().unwrap();
        lane.set_limit(before.max(1)).unwrap();
        let (entered, go, gate) = (Gate::new(), Gate::new(), Gate::new());
        let (inner, here, pass) = (lane.clone(), entered.clone(), go.clone());
        let waits = lane.spawn(move || {
            here.open();
            pass.pass();
            inner.reserve().wait().map(drop)
        });
        entered.pass();
        let others: Vec<_> = (1..before).map(|_| occupy_lane(&lane, &gate)).collect();
        lane.set_limit(before).unwrap();
        let queued = lane.try_spawn(|| ()).unwrap();
        go.open();
        nothing_happens();
        assert!(!waits.is_finished(), "it may get one: {before}");
        lane.set_limit(after).unwrap();
        assert!(soon(waits).unwrap().unwrap_err().is_deadlock(), "{before}");
        gate.open();
        all_well(others);
        soon(queued).unwrap();
        check_sound(&pool);
    }
}

/// A wait for a permit outside of the lane goes on through each change.
#[test]
fn a_wait_for_a_permit_outlives_changes_of_the_limit() {
    let pool = pool(1, 2);
    let lane = pool.lane_builder("narrow", 1).queue_limit(1).build().unwrap();
    lane.set_limit(0).unwrap();
    let queued = lane.try_spawn(|| ()).unwrap();
    let waiters: Vec<_> = (0..3)
        .map(|number| {
            let inner = lane.clone();
            thread::spawn(move || soon(inner.reserve().wait().unwrap().spawn(move || number)).unwrap())
        })
        .collect();
    for limit in [0, 0, 2, 0, 1, 3] {
        lane.set_limit(limit).unwrap();
    }
    soon(queued).unwrap();
    for (number, waiter) in waiters.into_iter().enumerate() {
        assert_eq!(waiter.join().unwrap(), number);
    }
    check_sound(&pool);
}

#[test]
fn a_lane_that_is_made_during_a_shutdown_cannot_be_paused() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let shutdown = pool.shutdown();
    let late = pool.lane("late", 3);
    late.set_limit(0).unwrap();
    assert_eq!(late.limit(), 1);
    gate.open();
    soon(running).unwrap();
    assert_eq!(shutdown.wait().still_running, 0);
}

/// A shutdown calls the wakers of those that wait for a permit. Meanwhile the last thread leaves,
/// although tasks wait in a paused lane: they want the timer of the pool all the same.
#[test]
fn what_waits_in_a_paused_lane_expires_also_after_the_last_thread_has_left() {
    let pool = builder().core_threads(1).max_threads(1).queue_limit(1).build().unwrap();
    let lane = pool.lane("paused", 1);
    lane.set_limit(0).unwrap();
    let (busy_may_end, has_expired) = (Gate::new(), Gate::new());
    let busy = occupy(&pool, &busy_may_end);
    let ends = has_expired.clone();
    let first = lane.spawn(move || ends.pass());
    let second = lane.options().expire_after(Duration::from_secs(2)).spawn(|| ());
    second.on_complete(move |end| {
        assert!(end.unwrap_err().is_expired());
        has_expired.open();
    });
    let permit = pool.try_reserve().unwrap();
    let (mut waits, calls) = (pool.reserve(), Calls::new());
    assert!(poll(&mut waits, &Arc::clone(&calls).into()).is_pending());
    let other = pool.clone();
    calls.set(move || {
        busy_may_end.open();
        eventually("the only thread has left", || other.metrics().threads() == 0);
        nothing_happens();
    });
    let shutdown = pool.shutdown();
    soon(busy).unwrap();
    soon(first).unwrap();
    assert_eq!(shutdown.wait().still_running, 0);
    drop((permit, waits));
}
