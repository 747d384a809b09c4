//! The bugs that other pools had, by their number in the table of pitfalls: those about threads,
//! who wakes them, and when they come and go.

use std::collections::HashSet;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use sidestep::{NewThread, Pool, PoolBuilder, current};

#[cfg(target_os = "linux")]
use crate::support::sleeps;
use crate::support::{
    Crowd, Gate, PATIENCE, all_well, check_accounts, check_sound, counter, eventually, nothing_happens, soon,
};

fn small(core: usize, max: usize) -> PoolBuilder {
    Pool::builder().core_threads(core).max_threads(max)
}

/// Grows a pool to `count` threads and lets them idle.
fn grow_to(pool: &Pool, count: usize) {
    let (gate, running) = (Gate::new(), Arc::new(Crowd::default()));
    // All at once: one after the other they would take as many turns of a busy CPU.
    let tasks: Vec<_> = (0..count)
        .map(|_| {
            let (pass, running) = (gate.clone(), Arc::clone(&running));
            pool.spawn(move || {
                running.enter();
                pass.pass();
            })
        })
        .collect();
    eventually("all run", || running.now() == count);
    gate.open();
    all_well(tasks);
}

/// A submitter counts an idle thread that another has claimed already, and starts none: tokio,
/// rusty_pool.
#[test]
fn pitfall_01_two_tasks_that_need_each_other_both_run() {
    for round in 0..200 {
        let pool = small(1 + round % 2, 4).build().unwrap();
        (0..round % 5).for_each(|_| pool.spawn(|| ()).detach());
        let (left, right) = (Gate::new(), Gate::new());
        let meet = |mine: &Gate, other: &Gate| {
            let (mine, other) = (mine.clone(), other.clone());
            pool.spawn(move || {
                mine.open();
                other.pass();
            })
        };
        let both = [meet(&left, &right), meet(&right, &left)];
        all_well(both);
    }
}

/// One thread only, for ever; or a thread for each call: async-std.
#[test]
fn pitfall_03_threads_follow_need() {
    let (starts, started) = counter();
    let pool = small(2, 16).on_thread_start(started).keep_alive(Duration::MAX).build().unwrap();
    for _ in 0..500 {
        soon(pool.spawn(|| ())).unwrap();
    }
    // Where no call ends for long since no thread gets a CPU, one is added.
    assert!(starts.load(Ordering::SeqCst) < 8, "no churn: one call at a time needs one thread");
    grow_to(&pool, 16);
    let grown = starts.load(Ordering::SeqCst);
    assert_eq!(grown, 16, "as many as calls that block");
    for _ in 0..500 {
        soon(pool.spawn(|| ())).unwrap();
    }
    assert_eq!(starts.load(Ordering::SeqCst), grown, "they are kept");
}

/// An idle thread leaves without taking itself off the count, and nobody serves: tokio.
#[test]
fn pitfall_04_a_task_after_the_keep_alive_is_served() {
    let pool = small(1, 4).keep_alive(Duration::from_millis(1)).build().unwrap();
    for _ in 0..30 {
        grow_to(&pool, 4);
        eventually("all surplus threads leave", || pool.metrics().threads() == 1);
        eventually("the core thread is idle", || pool.metrics().threads_idle() == 1);
        soon(pool.spawn(|| ())).unwrap();
    }
    check_sound(&pool);
}

/// A thread leaves while a task is being queued: ntex, PowerThreadPool.
#[test]
fn pitfall_05_no_task_is_left_by_leaving_threads() {
    let pool = small(1, 4).keep_alive(Duration::ZERO).build().unwrap();
    for _ in 0..500 {
        let meeting = Arc::new(Barrier::new(2));
        let other = Arc::clone(&meeting);
        let first = pool.spawn(move || meeting.wait().is_leader());
        let second = pool.spawn(move || other.wait().is_leader());
        assert_ne!(soon(first).unwrap(), soon(second).unwrap(), "one of the two leads");
        soon(pool.spawn(|| ())).unwrap();
    }
    check_sound(&pool);
}

/// An idle counter is raised twice, or runs below zero at shutdown: tokio.
#[test]
fn pitfall_06_all_counts_are_zero_after_a_shutdown() {
    for round in 0..100 {
        let pool = small(2, 4).keep_alive(Duration::ZERO).build().unwrap();
        (0..round % 7).for_each(|_| pool.spawn(|| ()).detach());
        assert_eq!(pool.shutdown().timeout(PATIENCE).wait().still_running, 0);
        let metrics = pool.metrics();
        check_accounts(&metrics);
        assert_eq!((metrics.threads(), metrics.threads_idle(), metrics.threads_blocked()), (0, 0, 0));
        assert_eq!((metrics.tasks_queued(), metrics.tasks_running()), (0, 0));
    }
}

/// A pool that is dropped on its own worker joins itself, or leaks its threads: iroh, yatp,
/// surrealdb.
#[test]
fn pitfall_09_the_last_handle_may_go_inside_a_task() {
    let (stops, stopped) = counter();
    for _ in 0..50 {
        let pool = small(1, 1).on_thread_stop(stopped.clone()).build().unwrap();
        let (gate, inner) = (Gate::new(), pool.clone());
        let pass = gate.clone();
        let task = pool.spawn(move || {
            pass.pass();
            drop(inner);
            42
        });
        drop(pool);
        gate.open();
        assert_eq!(soon(task).unwrap(), 42);
    }
    eventually("no thread is leaked", || stops.load(Ordering::SeqCst) == 50);
}

/// Refuses threads by the number of the attempt.
fn refusing(refuse: impl Fn(usize) -> bool + Send + Sync + 'static) -> PoolBuilder {
    let attempts = AtomicUsize::new(0);
    small(2, 4).spawn_handler(move |new: NewThread| {
        if refuse(attempts.fetch_add(1, Ordering::SeqCst)) {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "no more threads today"));
        }
        thread::Builder::new().spawn(move || new.run()).map(drop)
    })
}

/// The system has no thread to give: panic, orphan, livelock, poison, silent hang (tokio, blocking,
/// bun).
#[test]
fn pitfall_10_a_refused_thread_loses_no_task() {
    let error = refusing(|_| true).build().unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (io::ErrorKind::WouldBlock, "no more threads today")
    );
    let error = refusing(|attempt| attempt == 0).build().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    for first_refused in 1..4 {
        let pool = refusing(move |attempt| attempt >= first_refused).build().unwrap();
        let inner = pool.clone();
        let task = pool.spawn(move || (0..50).map(|_| inner.spawn(|| 1).wait().unwrap()).sum::<i32>());
        let others: Vec<_> = (0..50).map(|_| pool.spawn(|| current::will_block(|| 1))).collect();
        assert_eq!(soon(task).unwrap(), 50);
        assert!(others.into_iter().all(|task| soon(task).unwrap() == 1));
        check_sound(&pool);
        assert!(pool.metrics().threads_peak() <= first_refused);
    }
}

/// Idle threads never leave under a trickle of work: blocking, cats-effect.
#[test]
fn pitfall_13_a_trickle_of_work_does_not_keep_surplus_threads() {
    let pool = small(1, 8).keep_alive(Duration::from_millis(20)).build().unwrap();
    grow_to(&pool, 8);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                soon(pool.spawn(|| ())).unwrap();
            }
        });
        eventually("the surplus leaves", || pool.metrics().threads() == 1);
        stop.store(true, Ordering::SeqCst);
    });
    check_sound(&pool);
}

/// Concurrent submitters each start a thread: compio.
#[test]
fn pitfall_15_the_limit_holds_when_many_submit_at_once() {
    for max in [1, 2, 3] {
        let crowd = Arc::new(Crowd::default());
        let (enter, leave) = (Arc::clone(&crowd), Arc::clone(&crowd));
        let builder = small(max, max).on_thread_start(move || enter.enter());
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

/// Idle threads poll, or spin in a steal loop: affinitypool, rayon.
#[test]
#[cfg(target_os = "linux")]
fn pitfall_25_an_idle_pool_uses_no_cpu() {
    let pool = small(64, 65).name("calm").keep_alive(Duration::MAX).build().unwrap();
    grow_to(&pool, 65);
    eventually("all threads are idle", || pool.metrics().threads_idle() == 65);
    eventually("nobody wakes any more", || {
        let before = sleeps("calm-");
        (0..6).for_each(|_| nothing_happens());
        assert!(before.len() >= 65, "{before:?}");
        before == sleeps("calm-")
    });
    assert_eq!(pool.metrics().threads_idle(), 65);
    check_sound(&pool);
}

/// What a task did to its thread shows in the next one: rsync.
#[test]
fn pitfall_27_a_tainted_thread_takes_no_other_task() {
    thread_local! { static TAINT: std::cell::Cell<bool> = const { std::cell::Cell::new(false) } }
    let pool = small(2, 2).build().unwrap();
    let tasks: Vec<_> = (0..200)
        .map(|number| {
            pool.spawn(move || {
                let tainted = TAINT.get();
                if number % 3 == 0 {
                    TAINT.set(true);
                    current::retire_thread();
                }
                tainted
            })
        })
        .collect();
    assert!(tasks.into_iter().all(|task| !soon(task).unwrap()));
    check_sound(&pool);
    assert!(pool.metrics().threads_peak() <= 2);
}

/// Hooks run on threads that are not the pool's, or not on all that are: tokio_rcu, lighthouse.
#[test]
fn pitfall_28_hooks_run_on_each_thread_of_the_pool_and_nowhere_else() {
    let (started, stopped) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let (start, stop) = (Arc::clone(&started), Arc::clone(&stopped));
    let pool = small(2, 4)
        .on_thread_start(move || start.lock().unwrap().push(thread::current().id()))
        .on_thread_stop(move || stop.lock().unwrap().push(thread::current().id()))
        .build()
        .unwrap();
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let inner = pool.clone();
            pool.spawn(move || {
                inner.spawn(|| ()).wait().unwrap();
                current::will_block(|| thread::current().id())
            })
        })
        .collect();
    let ran_on: HashSet<ThreadId> = tasks.into_iter().map(|task| soon(task).unwrap()).collect();
    pool.shutdown().timeout(PATIENCE).wait();
    let mut started = started.lock().unwrap().clone();
    let mut stopped = stopped.lock().unwrap().clone();
    assert!(ran_on.iter().all(|thread| started.contains(thread)), "no task before or without the hook");
    assert!(!started.contains(&thread::current().id()));
    let key = |id: &ThreadId| format!("{id:?}");
    started.sort_by_key(key);
    stopped.sort_by_key(key);
    assert_eq!(started, stopped, "each thread calls both, once");
    assert!(started.windows(2).all(|pair| pair[0] != pair[1]));
}
