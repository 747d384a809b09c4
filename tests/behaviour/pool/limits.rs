//! Limits hold at every instant: the queue's length and the number of threads.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use sidestep::{Pool, PoolBuilder, current};

use crate::support::{
    Crowd, Drops, Gate, all_well, check_accounts, check_sound, eventually, occupy, pool, soon,
};

fn queue_of(limit: usize) -> Pool {
    Pool::builder().core_threads(1).max_threads(1).queue_limit(limit).build().unwrap()
}

#[test]
fn a_full_queue_refuses_and_hands_the_closure_back() {
    let pool = queue_of(2);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let queued = [pool.spawn(|| 1), pool.try_spawn(|| 2).unwrap_or_else(|_| panic!("there is room"))];
    let drops = Drops::new();
    let token = drops.token();
    let refused = pool.spawn(move || drop(token));
    assert_eq!(drops.count(), 1, "spawn drops what it cannot queue");
    assert!(refused.is_finished());
    let error = soon(refused).unwrap_err();
    assert!(error.is_full() && !error.is_shutdown() && !error.is_cancelled(), "{error}");
    assert!(error.to_string().contains("full"), "{error}");
    let token = drops.token();
    let rejected = pool.try_spawn(move || token).unwrap_err();
    assert!(rejected.error().is_full() && rejected.to_string().contains("full"), "{rejected}");
    assert_eq!(drops.count(), 1);
    drop(rejected.into_inner()());
    assert_eq!(drops.count(), 2, "try_spawn has handed the very closure back");
    gate.open();
    soon(running).unwrap();
    assert_eq!(queued.map(|task| soon(task).unwrap()), [1, 2]);
    check_sound(&pool);
}

#[test]
fn a_start_frees_a_place() {
    let pool = queue_of(1);
    let (first, second) = (Gate::new(), Gate::new());
    let running = occupy(&pool, &first);
    let started = Gate::new();
    let (announce, pass) = (started.clone(), second.clone());
    let next = pool.spawn(move || {
        announce.open();
        pass.pass();
    });
    assert!(pool.try_spawn(|| ()).is_err());
    first.open();
    started.pass();
    let last = pool.try_spawn(|| ()).unwrap_or_else(|_| panic!("the place is free while it runs"));
    assert!(pool.try_spawn(|| ()).is_err());
    second.open();
    all_well([running, next, last]);
    check_sound(&pool);
}

#[test]
fn a_cancellation_frees_a_place_at_once() {
    let pool = queue_of(1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    for _ in 0..100 {
        let queued = pool.try_spawn(|| ()).unwrap_or_else(|_| panic!("the place is free"));
        assert!(pool.try_spawn(|| ()).is_err());
        drop(queued);
    }
    gate.open();
    soon(running).unwrap();
    check_sound(&pool);
}

#[test]
fn a_run_in_place_frees_a_place() {
    let pool = queue_of(1);
    let inner = pool.clone();
    let task =
        pool.spawn(move || (0..100).all(|number| inner.spawn(move || number).wait().unwrap() == number));
    assert!(soon(task).unwrap());
    check_sound(&pool);
}

#[test]
fn tasks_that_spawn_meet_the_same_limit() {
    let pool = queue_of(3);
    let inner = pool.clone();
    let task = pool.spawn(move || (0..10).map(|_| inner.spawn(|| ())).collect::<Vec<_>>());
    let ends: Vec<_> = soon(task).unwrap().into_iter().map(soon).collect();
    assert_eq!(ends.iter().filter(|end| end.is_ok()).count(), 3);
    assert!(ends.into_iter().filter_map(Result::err).all(|error| error.is_full()));
    check_sound(&pool);
}

#[test]
fn a_queue_limit_is_never_exceeded_under_a_race() {
    const LIMIT: usize = 5;
    let pool = queue_of(LIMIT);
    for _ in 0..200 {
        let gate = Gate::new();
        let running = occupy(&pool, &gate);
        let start = Barrier::new(4);
        let accepted: Vec<_> = thread::scope(|scope| {
            let spawn_some = || {
                start.wait();
                (0..4).filter_map(|_| pool.try_spawn(|| ()).ok()).collect::<Vec<_>>()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(spawn_some)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(accepted.len(), LIMIT);
        assert_eq!(pool.metrics().tasks_queued(), LIMIT as u64);
        gate.open();
        soon(running).unwrap();
        all_well(accepted);
    }
    check_sound(&pool);
}

#[test]
fn no_place_is_lost_in_a_storm_of_cancellations() {
    const LIMIT: usize = 8;
    let pool = queue_of(LIMIT);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..2000 {
                    match pool.try_spawn(|| ()) {
                        Ok(task) if round % 2 == 0 => drop(task),
                        Ok(task) => task.detach(),
                        Err(rejected) => assert!(rejected.error().is_full()),
                    }
                }
            });
        }
    });
    check_sound(&pool);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let accepted: Vec<_> = (0..2 * LIMIT).filter_map(|_| pool.try_spawn(|| ()).ok()).collect();
    assert_eq!(accepted.len(), LIMIT, "all places are still there, and no more");
    gate.open();
    soon(running).unwrap();
    all_well(accepted);
}

fn watched(builder: PoolBuilder) -> (Pool, Arc<Crowd>) {
    let crowd = Arc::new(Crowd::default());
    let (enter, leave) = (Arc::clone(&crowd), Arc::clone(&crowd));
    let pool = builder.on_thread_start(move || enter.enter()).on_thread_stop(move || leave.leave()).build();
    (pool.unwrap(), crowd)
}

/// One of each thing that makes threads come, block or go.
fn mixed(pool: &Pool, number: usize) -> usize {
    let inner = pool.clone();
    match number % 5 {
        0 => inner.spawn(|| 1).wait().unwrap(),
        1 => {
            current::retire_thread();
            1
        }
        2 => current::will_block(|| inner.spawn(|| 1).wait().unwrap()),
        3 => sidestep::block_on(async {
            inner.spawn(|| 1).wait_timeout(Duration::ZERO).map_or(1, Result::unwrap)
        }),
        _ => {
            inner.spawn(|| ()).detach();
            1
        }
    }
}

#[test]
fn threads_never_exceed_max_whatever_they_do() {
    for max in [1, 2, 3, 5] {
        let builder = Pool::builder().core_threads(1).max_threads(max).keep_alive(Duration::ZERO);
        let (pool, threads) = watched(builder);
        let running = Arc::new(Crowd::default());
        let tasks: Vec<_> = (0..1000)
            .map(|number| {
                let (inner, running) = (pool.clone(), Arc::clone(&running));
                pool.spawn(move || {
                    // A task that waits in place is on the stack of one that runs: it is not
                    // counted twice.
                    running.enter();
                    running.leave();
                    mixed(&inner, number)
                })
            })
            .collect();
        assert_eq!(tasks.into_iter().map(|task| soon(task).unwrap()).sum::<usize>(), 1000);
        check_sound(&pool);
        assert!(pool.metrics().threads_peak() <= max, "{:?}", pool.metrics());
        assert!(running.most() <= max);
        pool.shutdown().wait();
        assert!(threads.most() <= max, "alive between their first and last hook");
        assert_eq!(threads.now(), 0, "all have left");
    }
}

#[test]
fn blocked_threads_grow_to_max_and_not_beyond() {
    const MAX: usize = 6;
    let (pool, threads) = watched(Pool::builder().core_threads(2).max_threads(MAX));
    let gate = Gate::new();
    let running = Arc::new(Crowd::default());
    let tasks: Vec<_> = (0..4 * MAX)
        .map(|_| {
            let (pass, running) = (gate.clone(), Arc::clone(&running));
            pool.spawn(move || {
                running.enter();
                current::will_block(|| pass.pass());
                running.leave();
            })
        })
        .collect();
    eventually("all places are taken", || running.now() == MAX);
    crate::support::nothing_happens();
    check_accounts(&pool.metrics());
    assert_eq!((pool.metrics().threads(), pool.metrics().threads_blocked()), (MAX, MAX));
    gate.open();
    all_well(tasks);
    assert_eq!((running.most(), threads.most()), (MAX, MAX));
    check_sound(&pool);
}

#[test]
fn concurrent_submitters_start_no_more_than_core_threads_for_tiny_tasks() {
    let (pool, threads) = watched(Pool::builder().core_threads(2).max_threads(2));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..2000).for_each(|_| pool.spawn(|| ()).detach()));
        }
    });
    check_sound(&pool);
    assert!(threads.most() <= 2);
}

#[test]
fn huge_and_zero_values_are_legal_or_refused_by_name() {
    let refused = |builder: PoolBuilder, field: &str| {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains(field), "{error}");
    };
    refused(Pool::builder().core_threads(0), "core_threads (0)");
    refused(Pool::builder().max_threads(0), "max_threads (0)");
    refused(Pool::builder().queue_limit(0), "queue_limit (0)");
    refused(Pool::builder().stack_size(0), "stack_size (0)");
    refused(Pool::builder().max_threads(usize::MAX), &format!("max_threads ({})", usize::MAX));
    refused(Pool::builder().core_threads(3).max_threads(2), "core_threads (3)");
    refused(Pool::builder().core_threads(3).max_threads(2), "max_threads (2)");
    refused(Pool::builder().name("a\0b"), "name");
    for keep_alive in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
        let builder = Pool::builder().core_threads(1).max_threads(32_767).keep_alive(keep_alive);
        let pool = builder.queue_limit(usize::MAX).stack_size(128 * 1024).build().unwrap();
        check_sound(&pool);
        assert_eq!(pool.shutdown().timeout(Duration::MAX).wait().still_running, 0);
    }
    check_sound(&pool(1, 1));
}
