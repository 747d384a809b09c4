//! A pool never has more threads than it may, and refuses impossible numbers by name.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use sidestep::{Pool, PoolBuilder, current};

use crate::support::{Crowd, Gate, all_well, check_accounts, check_sound, eventually, pool, soon};

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

/// Concurrent submitters each start a thread: compio.
// Origin: pitfall 15
#[test]
fn the_limit_holds_when_many_submit_at_once() {
    for max in [1, 2, 3] {
        let crowd = Arc::new(Crowd::default());
        let (enter, leave) = (Arc::clone(&crowd), Arc::clone(&crowd));
        let builder =
            Pool::builder().core_threads(max).max_threads(max).on_thread_start(move || enter.enter());
        let pool = builder.on_thread_stop(move || leave.leave()).build().unwrap();
        let together = Barrier::new(8);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    together.wait();
                    for round in 0..100 {
                        let task = pool.spawn(move || {
                            if round % 10 == 0 {
                                current::retire_thread()
                            }
                        });
                        soon(task).unwrap();
                    }
                });
            }
        });
        assert!(crowd.most() <= max && pool.metrics().threads_peak() <= max);
        check_sound(&pool);
    }
}
