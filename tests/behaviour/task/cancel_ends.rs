//! Cancelling against the end of the pool or lane that the task belongs to.

use std::sync::Arc;
use std::task::Waker;
use std::thread;

use sidestep::Pool;

use crate::support::{Calls, Drops, Gate, check_sound, eventually, occupy, poll, pool, soon};

/// The place of a cancelled task goes to one who lets go of the last handle, inside of the
/// cancellation.
#[test]
fn a_cancellation_may_let_go_of_the_last_handle() {
    let (pool, gate) = (Pool::builder().max_threads(1).queue_limit(1).build().unwrap(), Gate::new());
    let busy = occupy(&pool, &gate);
    let queued = pool.spawn(|| ());
    let (calls, mut turn) = (Calls::new(), pool.reserve());
    assert!(poll(&mut turn, &Waker::from(Arc::clone(&calls))).is_pending());
    let drops = Drops::new();
    let token = drops.token();
    calls.set(move || drop((turn, token)));
    drop(pool);
    gate.open();
    let handle = queued.cancel_handle();
    handle.cancel();
    let _ = soon(queued);
    soon(busy).unwrap();
    eventually("the waker is called", || drops.count() == 1);
}

/// The same with a lane, whose task is of a lane that is full.
#[test]
fn a_cancellation_may_let_go_of_the_last_handle_of_a_lane() {
    let (pool, gate) = (pool(2, 2), Gate::new());
    let lane = pool.lane_builder("one", 1).queue_limit(1).build().unwrap();
    let (started, pass) = (Gate::new(), gate.clone());
    let begun = started.clone();
    let busy = lane.spawn(move || {
        begun.open();
        pass.pass();
    });
    started.pass();
    let queued = lane.spawn(|| ());
    let (calls, mut turn) = (Calls::new(), lane.reserve());
    assert!(poll(&mut turn, &Waker::from(Arc::clone(&calls))).is_pending());
    let drops = Drops::new();
    let token = drops.token();
    calls.set(move || drop((turn, token)));
    drop(lane);
    drop(queued);
    assert_eq!(drops.count(), 1, "inside of the cancellation");
    gate.open();
    soon(busy).unwrap();
    check_sound(&pool);
}

/// A pool's last handle and its last thread go while its tasks are cancelled.
#[test]
fn cancellations_that_race_with_the_end_of_their_pool() {
    for _ in 0..if cfg!(miri) { 3 } else { 200 } {
        let (pool, gate) = (pool(1, 1), Gate::new());
        let lane = pool.lane("one", 1);
        let busy = occupy(&pool, &gate);
        let (tasks, limited): (Vec<_>, Vec<_>) =
            (0..4).map(|_| (pool.spawn(|| ()), lane.spawn(|| ()))).unzip();
        let cancellers = [tasks, limited].map(|tasks| thread::spawn(move || drop(tasks)));
        let dropper = thread::spawn(move || drop((lane, pool)));
        gate.open();
        soon(busy).unwrap();
        cancellers.into_iter().chain([dropper]).for_each(|thread| thread.join().unwrap());
    }
}
