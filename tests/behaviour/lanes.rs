//! Lanes: limits, order, fairness, waiting inside.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::{Gate, all_well, occupy, pool, soon};

#[test]
fn never_more_than_the_limit_run_at_once() {
    let pool = pool(4, 16);
    let lane = pool.lane("narrow", 3);
    let running = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..2000)
        .map(|_| {
            let running = Arc::clone(&running);
            lane.spawn(move || {
                assert!(running.fetch_add(1, Ordering::SeqCst) < 3);
                std::thread::yield_now();
                running.fetch_sub(1, Ordering::SeqCst);
            })
        })
        .collect();
    all_well(tasks);
    let metrics = lane.metrics();
    assert_eq!((metrics.tasks_completed(), metrics.tasks_running(), metrics.tasks_queued()), (2000, 0, 0));
}

#[test]
fn a_lane_of_one_runs_in_order() {
    let pool = pool(2, 8);
    let lane = pool.lane("serial", 1);
    let order = Arc::new(Mutex::new(Vec::new()));
    let push = |n| {
        let order = Arc::clone(&order);
        lane.spawn(move || order.lock().unwrap().push(n))
    };
    all_well((0..1000).map(push).collect::<Vec<_>>());
    assert_eq!(*order.lock().unwrap(), (0..1000).collect::<Vec<_>>());
}

#[test]
fn a_task_that_waits_for_its_own_lane_of_one_is_told() {
    let pool = pool(1, 4);
    let lane = pool.lane("serial", 1);
    let inner = lane.clone();
    let outer = lane.spawn(move || inner.spawn(|| ()).wait());
    assert!(soon(outer).unwrap().unwrap_err().is_deadlock());
    soon(lane.spawn(|| ())).unwrap();
}

#[test]
fn the_only_thread_runs_the_lane_task_it_waits_for() {
    let pool = pool(1, 1);
    let lane = pool.lane("two", 2);
    let inner = lane.clone();
    let outer = lane.spawn(move || inner.spawn(|| 7).wait().unwrap());
    assert_eq!(soon(outer).unwrap(), 7);
    let inner = lane.clone();
    let outer = pool.spawn(move || inner.spawn(|| 8).wait().unwrap());
    assert_eq!(soon(outer).unwrap(), 8);
}

#[test]
fn a_lane_is_drained_by_a_task_of_it_that_waits_for_the_shutdown() {
    let pool = pool(2, 2);
    let lane = pool.lane("serial", 1);
    let gate = Gate::new();
    let waits = {
        let (pool, gate) = (pool.clone(), gate.clone());
        lane.spawn(move || {
            gate.pass();
            pool.shutdown().wait()
        })
    };
    let more: Vec<_> = (0..10).map(|_| lane.spawn(|| ())).collect();
    gate.open();
    let report = soon(waits).unwrap();
    assert!(more.iter().all(|task| task.is_finished()), "{report:?}");
    all_well(more);
    assert_eq!((report.completed, report.still_running), (10, 0));
    assert_eq!(lane.metrics().tasks_completed(), 11);
}

#[test]
fn a_saturated_lane_does_not_grow_the_pool() {
    let pool = pool(2, 64);
    let lane = pool.lane("stuck", 1);
    let gate = Gate::new();
    let first = {
        let gate = gate.clone();
        lane.spawn(move || gate.pass())
    };
    let more: Vec<_> = (0..1000).map(|_| lane.spawn(|| ())).collect();
    let other = occupy(&pool, &gate);
    assert!(pool.metrics().threads() <= 2, "{:?}", pool.metrics());
    gate.open();
    all_well(more);
    all_well([first, other]);
}
