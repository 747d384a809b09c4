//! The end of lanes: handles dropped, pools shut down, threads that cannot be had.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use sidestep::{Lane, NewThread, OnShutdown, Pool, current};

use crate::support::{
    Drops, Gate, PATIENCE, all_well, check_accounts, check_sound, counter, eventually, occupy_lane, pool,
    soon,
};

/// A lane with its slot held and `count` tasks behind that.
fn stuck(pool: &Pool, gate: &Gate, count: usize) -> (Lane, Vec<sidestep::Task<()>>) {
    let lane = pool.lane("stuck", 1);
    let first = occupy_lane(&lane, gate);
    let queued = (0..count).map(|_| lane.spawn(|| ()));
    let tasks = queued.chain([first]).collect();
    (lane, tasks)
}

#[test]
fn the_queue_finishes_whichever_handle_goes_first() {
    for lane_first in [true, false] {
        let pool = pool(1, 2);
        let gate = Gate::new();
        let (lane, tasks) = stuck(&pool, &gate, 100);
        if lane_first {
            drop(lane);
            drop(pool);
        } else {
            drop(pool);
            soon(lane.pool().spawn(|| ())).unwrap();
            drop(lane);
        }
        gate.open();
        all_well(tasks);
    }
}

#[test]
fn the_last_handle_may_go_inside_a_task_or_callback_of_the_lane() {
    for _ in 0..100 {
        let pool = pool(1, 1);
        let lane = pool.lane("own", 1);
        let gate = Gate::new();
        let pass = gate.clone();
        let (own, other) = (lane.clone(), lane);
        let first = own.clone().spawn(move || {
            pass.pass();
            drop(own);
        });
        let (ran, count) = counter();
        let last = other.spawn(count);
        let called = Gate::new();
        let open = called.clone();
        first.on_complete(move |_| {
            drop((pool, other));
            open.open();
        });
        gate.open();
        soon(last).unwrap();
        called.pass();
        assert_eq!(ran.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn a_shutdown_drains_lanes() {
    let pool = pool(2, 4);
    let gate = Gate::new();
    let (lane, tasks) = stuck(&pool, &gate, 1000);
    let shutdown = pool.shutdown();
    assert!(lane.spawn(|| ()).wait().unwrap_err().is_shutdown());
    assert!(lane.try_spawn(|| ()).unwrap_err().error().is_shutdown());
    assert!(lane.reserve().wait().unwrap_err().is_shutdown());
    gate.open();
    let report = shutdown.wait();
    assert_eq!((report.completed, report.discarded, report.still_running), (1001, 0, 0));
    all_well(tasks);
    assert_eq!(lane.metrics().tasks_submitted(), 1001);
}

#[test]
fn a_shutdown_that_discards_empties_lanes() {
    let pool = pool(2, 4);
    let gate = Gate::new();
    let (lane, mut tasks) = stuck(&pool, &gate, 0);
    let drops = Drops::new();
    let queued: Vec<_> = (0..500)
        .map(|_| {
            let token = drops.token();
            lane.spawn(move || drop(token))
        })
        .collect();
    let saved = lane.options().on_shutdown(OnShutdown::AlwaysRun).spawn(|| 7);
    drop(lane.spawn(|| ()));
    let shutdown = pool.shutdown().discard_queued();
    assert_eq!(drops.count(), 500);
    assert!(queued.into_iter().all(|task| soon(task).unwrap_err().is_shutdown()));
    gate.open();
    let report = shutdown.wait();
    assert_eq!((report.completed, report.discarded, report.still_running), (2, 500, 0));
    assert_eq!(soon(saved).unwrap(), 7);
    soon(tasks.remove(0)).unwrap();
}

#[test]
fn a_shutdown_drops_what_is_discardable_in_lanes() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let (lane, tasks) = stuck(&pool, &gate, 3);
    let discardable: Vec<_> =
        (0..200).map(|_| lane.options().on_shutdown(OnShutdown::Discard).spawn(|| ())).collect();
    let shutdown = pool.shutdown();
    assert!(discardable.into_iter().all(|task| soon(task).unwrap_err().is_shutdown()));
    gate.open();
    let report = shutdown.wait();
    assert_eq!((report.completed, report.discarded), (4, 200));
    all_well(tasks);
}

#[test]
fn a_timeout_of_the_shutdown_counts_what_is_in_lanes() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let (_lane, tasks) = stuck(&pool, &gate, 5);
    for timeout in [Duration::ZERO, Duration::from_millis(1)] {
        let report = pool.shutdown().timeout(timeout).wait();
        assert_eq!((report.completed, report.discarded, report.still_running), (0, 0, 6));
        let report = sidestep::block_on(pool.shutdown().timeout(timeout));
        assert_eq!(report.still_running, 6);
    }
    gate.open();
    all_well(tasks);
    assert_eq!(pool.shutdown().timeout(Duration::MAX).wait().still_running, 0);
}

#[test]
fn a_lane_made_after_the_shutdown_refuses_everything() {
    let pool = pool(1, 1);
    pool.shutdown().wait();
    let lane = pool.lane_builder("late", 1).queue_limit(1).build().unwrap();
    assert!(lane.spawn(|| ()).wait().unwrap_err().is_shutdown());
    assert_eq!(lane.try_spawn(|| 7).unwrap_err().into_inner()(), 7);
    assert!(lane.reserve().wait().unwrap_err().is_shutdown());
    assert!(sidestep::block_on(lane.reserve()).unwrap_err().is_shutdown());
    let metrics = lane.metrics();
    assert_eq!((metrics.tasks_submitted(), metrics.tasks_rejected(), metrics.limit()), (0, 2, 1));
}

#[test]
fn each_task_has_one_end_whenever_the_shutdown_comes() {
    for round in 0..150 {
        let pool = pool(2, 4);
        let lanes: Vec<_> = (1..=3).map(|limit| pool.lane(format!("race {limit}"), limit)).collect();
        let (ran, count) = counter();
        let drops = Drops::new();
        let (submitted, refused) = thread::scope(|scope| {
            let producers: Vec<_> = lanes
                .iter()
                .map(|lane| {
                    let (drops, count) = (&drops, &count);
                    scope.spawn(move || {
                        let task = || {
                            let (token, count) = (drops.token(), count.clone());
                            lane.spawn(move || {
                                count();
                                drop(token);
                            })
                        };
                        let tasks: Vec<_> = (0..100).map(|_| task()).collect();
                        let ends = tasks.into_iter().map(|task| soon(task).err());
                        let refused = ends.flatten().inspect(|error| assert!(error.is_shutdown(), "{error}"));
                        (100, refused.count())
                    })
                })
                .collect();
            (0..round % 8).for_each(|_| thread::yield_now());
            let shutdown = pool.shutdown();
            let shutdown = if round % 2 == 0 { shutdown } else { shutdown.discard_queued() };
            assert_eq!(shutdown.wait().still_running, 0);
            producers
                .into_iter()
                .map(|producer| producer.join().unwrap())
                .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
        });
        assert_eq!((ran.load(Ordering::SeqCst) + refused, drops.count()), (submitted, submitted));
        check_accounts(&pool.metrics());
        assert_eq!((pool.metrics().tasks_queued(), pool.metrics().tasks_running()), (0, 0));
    }
}

#[test]
fn a_lane_without_a_thread_says_so_and_works_again_later() {
    let broken = Arc::new(AtomicBool::new(false));
    let refuse = Arc::clone(&broken);
    let handler = move |new: NewThread| {
        if refuse.load(Ordering::SeqCst) {
            return Err(std::io::Error::other("no more threads"));
        }
        thread::spawn(move || new.run());
        Ok(())
    };
    let pool = Pool::builder().core_threads(1).max_threads(1).spawn_handler(handler).build().unwrap();
    let (lane, gate) = (pool.lane("two", 2), Gate::new());
    let pass = gate.clone();
    let last = lane.spawn(move || {
        current::retire_thread();
        pass.pass();
    });
    let drops = Drops::new();
    let queued: Vec<_> = (0..100)
        .map(|_| {
            let token = drops.token();
            lane.spawn(move || drop(token))
        })
        .collect();
    broken.store(true, Ordering::SeqCst);
    gate.open();
    soon(last).unwrap();
    for task in queued {
        let error = soon(task).unwrap_err();
        assert!(error.is_no_thread() && error.to_string().contains("no more threads"), "{error}");
    }
    assert_eq!(drops.count(), 100);
    broken.store(false, Ordering::SeqCst);
    let alive = || matches!(lane.spawn(|| 7).wait_timeout(PATIENCE), Ok(Ok(7)));
    eventually("the pause is over", alive);
    all_well((0..100).map(|_| lane.spawn(|| ())).collect::<Vec<_>>());
    let metrics = lane.metrics();
    assert_eq!((metrics.tasks_queued(), metrics.tasks_running()), (0, 0), "{metrics:?}");
}

#[test]
fn many_lanes_come_and_go() {
    let pool = pool(2, 4);
    thread::scope(|scope| {
        for thread in 0..3 {
            let pool = &pool;
            scope.spawn(move || {
                for number in 0..2000 {
                    let lane = pool.lane(format!("{thread}: {number}"), 1 + number % 3);
                    lane.spawn(|| ()).detach();
                    drop(lane.spawn(|| ()));
                    check_accounts(&pool.metrics());
                }
            });
        }
    });
    crate::support::check_sound(&pool);
    assert_eq!(pool.metrics().tasks_submitted(), 3 * 2000 * 2 + 100);
}

/// asgiref leaves a context whose calls still run: neither the one who leaves nor other calls wait
/// for that.
// Origin: asgiref 80
#[test]
fn a_lane_that_is_let_go_while_it_works_holds_nobody_up() {
    let pool = pool(2, 2);
    let gate = Gate::new();
    let mut calls = Vec::new();
    for number in 0..50 {
        let lane = pool.lane(format!("context {number}"), 1);
        if calls.is_empty() {
            calls.push(occupy_lane(&lane, &gate));
        }
        calls.push(lane.spawn(|| ()));
        drop(lane);
        soon(pool.spawn(|| ())).unwrap();
    }
    assert_eq!(calls.iter().filter(|call| !call.is_finished()).count(), 2, "the stuck lane's own");
    gate.open();
    all_well(calls);
    check_sound(&pool);
}
