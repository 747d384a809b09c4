//! Threads that have nothing to do leave, but for the core ones; and no task is lost to one that is
//! leaving.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use sidestep::{Pool, PoolBuilder};

use crate::support::{Gate, PATIENCE, check_sound, eventually, soon};

const SHORT: Duration = Duration::from_millis(20);

/// Has `threads` threads inside a task at the same time, and gives their ids.
fn grow_to(pool: &Pool, threads: usize) -> HashSet<ThreadId> {
    let (gate, inside) = (Gate::new(), Arc::new(AtomicUsize::new(0)));
    let join = |_| {
        let (gate, inside) = (gate.clone(), Arc::clone(&inside));
        pool.spawn(move || {
            sidestep::current::will_block(|| {
                inside.fetch_add(1, Ordering::SeqCst);
                gate.pass();
            });
            thread::current().id()
        })
    };
    let tasks: Vec<_> = (0..threads).map(join).collect();
    eventually("the pool has grown", || inside.load(Ordering::SeqCst) == threads);
    gate.open();
    tasks.into_iter().map(|task| task.wait().unwrap()).collect()
}

fn builder(core: usize, max: usize) -> PoolBuilder {
    Pool::builder().core_threads(core).max_threads(max)
}

#[test]
fn threads_above_core_leave_and_core_threads_stay() {
    for (core, max) in [(1, 16), (2, 16), (4, 5)] {
        let pool = builder(core, max).keep_alive(SHORT).build().unwrap();
        for round in 0..3 {
            assert_eq!(grow_to(&pool, max).len(), max);
            eventually("the surplus has left", || pool.metrics().threads() == core);
            eventually("the core rests", || pool.metrics().threads_idle() == core);
            thread_rest(4 * SHORT);
            assert_eq!(pool.metrics().threads(), core, "round {round}");
        }
        assert_eq!(pool.metrics().threads_peak(), max);
    }
}

/// Lets time pass in which nothing should happen.
fn thread_rest(time: Duration) {
    #[expect(clippy::disallowed_methods, reason = "the sleep is to show that nothing happens")]
    thread::sleep(time);
}

#[test]
fn a_pool_of_core_threads_only_keeps_them_all() {
    let pool = builder(4, 4).keep_alive(Duration::ZERO).build().unwrap();
    let ids = grow_to(&pool, 4);
    thread_rest(4 * SHORT);
    assert_eq!(pool.metrics().threads(), 4);
    assert_eq!(grow_to(&pool, 4), ids, "the same four");
}

#[test]
fn the_pool_shrinks_under_a_trickle_of_work() {
    for core in [1, 2] {
        let pool = builder(core, 16).keep_alive(SHORT).build().unwrap();
        let _ = grow_to(&pool, 16);
        let start = Instant::now();
        let mut tasks = 0;
        // One call after another: somebody is always awake, and the others must not take turns.
        while pool.metrics().threads() > core {
            pool.spawn(|| ()).wait().unwrap();
            tasks += 1;
            assert!(start.elapsed() < PATIENCE, "{:?} after {tasks} tasks", pool.metrics());
        }
        assert!(tasks > 0);
    }
}

#[test]
fn the_coldest_leave_and_the_warmest_work() {
    let pool = builder(1, 8).keep_alive(Duration::from_millis(200)).build().unwrap();
    let _ = grow_to(&pool, 8);
    // On a busy machine the first may leave before the last rests.
    eventually("all rest", || pool.metrics().threads_idle() == pool.metrics().threads());
    let mut used = HashSet::new();
    for _ in 0..200 {
        used.insert(pool.spawn(|| thread::current().id()).wait().unwrap());
    }
    // The next one is woken where one that was woken gets no CPU.
    assert!(used.len() <= 4, "{} threads took turns", used.len());
    let start = Instant::now();
    while pool.metrics().threads() > 1 {
        used.insert(pool.spawn(|| thread::current().id()).wait().unwrap());
        assert!(start.elapsed() < PATIENCE, "{:?}", pool.metrics());
    }
    let left = pool.spawn(|| thread::current().id()).wait().unwrap();
    assert!(used.contains(&left), "one of those that worked is left");
}

#[test]
fn a_keep_alive_of_zero_has_them_leave_at_once() {
    let pool = builder(2, 8).keep_alive(Duration::ZERO).build().unwrap();
    for _ in 0..20 {
        assert_eq!(grow_to(&pool, 8).len(), 8);
        eventually("the surplus has left", || pool.metrics().threads() == 2);
    }
}

#[test]
fn an_endless_keep_alive_keeps_them() {
    for keep_alive in [Duration::MAX, Duration::from_secs(u64::MAX), Duration::from_secs(1 << 40)] {
        let pool = builder(1, 8).keep_alive(keep_alive).build().unwrap();
        let ids = grow_to(&pool, 8);
        eventually("all rest", || pool.metrics().threads_idle() == 8);
        thread_rest(2 * SHORT);
        assert_eq!(pool.metrics().threads(), 8);
        assert_eq!(grow_to(&pool, 8), ids, "the same eight");
        pool.shutdown().wait();
        assert_eq!(pool.metrics().threads(), 0, "it does not keep them from the end");
    }
}

#[test]
fn no_task_is_lost_while_threads_leave() {
    for keep_alive in [Duration::ZERO, Duration::from_micros(50), Duration::from_millis(1)] {
        let pool = builder(1, 8).keep_alive(keep_alive).build().unwrap();
        let mut numbers = 0x2545_F491_4F6C_DD1D_u64;
        for round in 0..400 {
            let _ = grow_to(&pool, 3);
            numbers ^= numbers << 13;
            numbers ^= numbers >> 7;
            numbers ^= numbers << 17;
            (0..numbers % 5000).for_each(|_| std::hint::spin_loop());
            let inner = pool.clone();
            let task = pool.spawn(move || inner.spawn(|| ()).wait());
            assert!(matches!(task.wait_timeout(PATIENCE), Ok(Ok(Ok(())))), "round {round}");
        }
        let metrics = pool.metrics();
        assert_eq!(metrics.tasks_completed(), metrics.tasks_submitted());
        assert!(metrics.threads_peak() <= 8);
    }
}

#[test]
fn submitters_race_with_leaving_threads() {
    let pool = builder(2, 16).keep_alive(Duration::ZERO).build().unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    let task = pool.spawn(|| sidestep::current::will_block(thread::yield_now));
                    assert!(task.wait_timeout(PATIENCE).is_ok());
                }
            });
        }
    });
    assert_eq!(pool.metrics().tasks_completed(), 4000);
    eventually("the surplus has left", || pool.metrics().threads() <= 2);
}

#[test]
fn the_stop_hook_runs_on_each_thread_that_leaves() {
    let started = Arc::new(Mutex::new(Vec::new()));
    let stopped = Arc::new(Mutex::new(Vec::new()));
    let (starts, stops) = (Arc::clone(&started), Arc::clone(&stopped));
    let pool = builder(2, 8)
        .keep_alive(SHORT)
        .on_thread_start(move || starts.lock().unwrap().push(thread::current().id()))
        .on_thread_stop(move || stops.lock().unwrap().push(thread::current().id()))
        .build()
        .unwrap();
    let ids = grow_to(&pool, 8);
    eventually("the surplus has left", || pool.metrics().threads() == 2);
    let gone: HashSet<_> = stopped.lock().unwrap().iter().copied().collect();
    assert_eq!((gone.len(), stopped.lock().unwrap().len()), (6, 6), "once each");
    assert!(gone.is_subset(&ids));
    pool.shutdown().wait();
    assert_eq!(stopped.lock().unwrap().len(), 8);
    let all: HashSet<_> = started.lock().unwrap().iter().copied().collect();
    assert_eq!((all, started.lock().unwrap().len()), (ids, 8));
}

/// An idle thread leaves without taking itself off the count, and nobody serves: tokio.
// Origin: pitfall 4
#[test]
fn a_task_after_the_keep_alive_is_served() {
    let pool = builder(1, 4).keep_alive(Duration::from_millis(1)).build().unwrap();
    for _ in 0..30 {
        grow_to(&pool, 4);
        eventually("all surplus threads leave", || pool.metrics().threads() == 1);
        eventually("the core thread is idle", || pool.metrics().threads_idle() == 1);
        soon(pool.spawn(|| ())).unwrap();
    }
    check_sound(&pool);
}

/// A thread leaves while a task is being queued: ntex, PowerThreadPool.
// Origin: pitfall 5
#[test]
fn no_task_is_left_by_leaving_threads() {
    let pool = builder(1, 4).keep_alive(Duration::ZERO).build().unwrap();
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

/// Idle threads never leave under a trickle of work: blocking, cats-effect.
// Origin: pitfall 13
#[test]
fn a_trickle_of_work_does_not_keep_surplus_threads() {
    let pool = builder(1, 8).keep_alive(Duration::from_millis(20)).build().unwrap();
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
