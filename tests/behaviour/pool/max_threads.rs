//! `set_max_threads`: up at once, down as tasks end, never above once it has settled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use sidestep::{Pool, current};

use crate::support::{
    Crowd, Gate, all_well, check_accounts, check_sound, counter, eventually, nothing_happens, occupy, soon,
};

/// A pool whose idle threads never leave by themselves.
fn lasting(core: usize, max: usize) -> Pool {
    let builder = Pool::builder().core_threads(core).max_threads(max).keep_alive(Duration::MAX);
    builder.build().unwrap()
}

/// Has the pool start `count` threads, all of which are inside a task at once, and lets them go.
fn fill(pool: &Pool, count: usize) {
    let gate = Gate::new();
    let tasks: Vec<_> = (0..count)
        .map(|_| {
            let pass = gate.clone();
            pool.spawn(move || current::will_block(|| pass.pass()))
        })
        .collect();
    eventually("all of them run", || pool.metrics().tasks_running() == count as u64);
    gate.open();
    all_well(tasks);
}

#[test]
fn impossible_values_are_refused_and_change_nothing() {
    let pool = lasting(1, 3);
    for value in [0, 32_768, usize::MAX] {
        let error = pool.set_max_threads(value).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains(&format!("max_threads ({value})")), "{error}");
    }
    fill(&pool, 3);
    assert_eq!(pool.metrics().threads_peak(), 3);
    pool.set_max_threads(32_767).unwrap();
    check_sound(&pool);
}

#[test]
fn a_higher_limit_takes_effect_at_once() {
    let pool = lasting(1, 1);
    let gate = Gate::new();
    let first = occupy(&pool, &gate);
    let crowd = Arc::new(Crowd::default());
    let blocked = || {
        let (pass, crowd) = (gate.clone(), Arc::clone(&crowd));
        pool.spawn(move || {
            crowd.enter();
            pass.pass();
        })
    };
    let tasks: Vec<_> = (0..6).map(|_| blocked()).collect();
    nothing_happens();
    assert_eq!((crowd.now(), pool.metrics().threads()), (0, 1));
    for max in [2, 3, 5] {
        pool.set_max_threads(max).unwrap();
        eventually("the pool grows to its new limit", || crowd.now() == max - 1);
    }
    nothing_happens();
    assert_eq!((crowd.now(), pool.metrics().threads()), (4, 5));
    gate.open();
    all_well(tasks.into_iter().chain([first]));
    check_sound(&pool);
    assert_eq!(pool.metrics().threads_peak(), 5);
}

#[test]
fn idle_threads_leave_a_lowered_pool_at_once() {
    let pool = lasting(2, 8);
    fill(&pool, 8);
    eventually("all are idle", || pool.metrics().threads_idle() == 8);
    pool.set_max_threads(3).unwrap();
    eventually("five leave", || pool.metrics().threads() == 3);
    pool.set_max_threads(1).unwrap();
    eventually("below core", || pool.metrics().threads() == 1);
    check_sound(&pool);
    assert_eq!(pool.metrics().threads(), 1);
    pool.set_max_threads(8).unwrap();
    fill(&pool, 8);
    assert_eq!(pool.metrics().threads_peak(), 8);
    check_sound(&pool);
}

#[test]
fn threads_that_have_just_become_idle_leave_too() {
    for _ in 0..300 {
        let pool = lasting(4, 4);
        fill(&pool, 4);
        // One of them may be looking on, or be on its way to sleep.
        pool.set_max_threads(1).unwrap();
        eventually("three leave", || pool.metrics().threads() == 1);
        pool.shutdown().wait();
    }
}

#[test]
fn a_thread_that_looks_on_for_work_leaves_a_lowered_pool() {
    let pool = lasting(2, 2);
    for round in 0..2000 {
        pool.set_max_threads(2).unwrap();
        fill(&pool, 2);
        for _ in 0..round % 4 {
            soon(pool.spawn(|| ())).unwrap();
        }
        pool.set_max_threads(1).unwrap();
        eventually("one leaves", || pool.metrics().threads() == 1);
    }
    check_sound(&pool);
}

#[test]
fn busy_threads_leave_after_their_task() {
    let pool = lasting(1, 4);
    let gates: Vec<_> = (0..4).map(|_| Gate::new()).collect();
    let tasks: Vec<_> = gates.iter().map(|gate| occupy(&pool, gate)).collect();
    pool.set_max_threads(1).unwrap();
    let (ran, count) = counter();
    let queued: Vec<_> = (0..10)
        .map(|_| {
            let count = count.clone();
            pool.spawn(count)
        })
        .collect();
    for (number, gate) in gates.iter().enumerate() {
        nothing_happens();
        assert_eq!((pool.metrics().threads(), ran.load(Ordering::SeqCst)), (4 - number, 0));
        gate.open();
        let left = (3 - number).max(1);
        eventually("one more has left", || pool.metrics().threads() == left);
    }
    all_well(tasks.into_iter().chain(queued));
    assert_eq!(pool.metrics().threads(), 1);
    check_sound(&pool);
}

/// A task that blocks for a moment and spawns the next, until `stop`.
fn relay(pool: &Pool, stop: &Arc<AtomicBool>) {
    let (inner, go_on) = (pool.clone(), Arc::clone(stop));
    let next = move || {
        current::will_block(thread::yield_now);
        if !go_on.load(Ordering::SeqCst) {
            relay(&inner, &go_on);
        }
    };
    pool.spawn(next).detach();
}

#[test]
fn under_load_it_settles_at_the_new_limit() {
    let pool = lasting(1, 8);
    let stop = Arc::new(AtomicBool::new(false));
    (0..32).for_each(|_| relay(&pool, &stop));
    for round in 0..3000 {
        pool.set_max_threads(2 + round % 7).unwrap();
        for _ in 0..round % 3 {
            thread::yield_now();
        }
        pool.set_max_threads(1).unwrap();
        eventually("all but one leave", || pool.metrics().threads() == 1);
    }
    stop.store(true, Ordering::SeqCst);
    check_sound(&pool);
}

#[test]
fn racing_changes_settle_at_the_last_one() {
    let pool = lasting(2, 4);
    for last in [1, 2, 3] {
        let stop = Arc::new(AtomicBool::new(false));
        (0..16).for_each(|_| relay(&pool, &stop));
        thread::scope(|scope| {
            for seed in 0..3 {
                let pool = &pool;
                scope
                    .spawn(move || (0..2000).for_each(|n| pool.set_max_threads(1 + (n + seed) % 6).unwrap()));
            }
        });
        pool.set_max_threads(last).unwrap();
        eventually("it has settled", || pool.metrics().threads() <= last);
        stop.store(true, Ordering::SeqCst);
        check_sound(&pool);
        check_accounts(&pool.metrics());
        assert!(pool.metrics().threads_peak() <= 6);
    }
}

/// A task that waits for tasks that wait, so many deep.
fn nest(pool: &Pool, depth: usize) -> usize {
    if depth == 0 {
        return 0;
    }
    let inner = pool.clone();
    pool.spawn(move || nest(&inner, depth - 1)).wait().unwrap() + 1
}

#[test]
fn waits_inside_tasks_go_on_when_the_limit_is_lowered() {
    for round in 0..200 {
        let pool = lasting(1, 8);
        let roots: Vec<_> = (0..8)
            .map(|_| {
                let inner = pool.clone();
                pool.spawn(move || nest(&inner, 6))
            })
            .collect();
        for _ in 0..round % 16 {
            thread::yield_now();
        }
        pool.set_max_threads(1 + round % 2).unwrap();
        assert_eq!(roots.into_iter().map(|root| soon(root).unwrap()).sum::<usize>(), 48);
        eventually("it has settled", || pool.metrics().threads() <= 1 + round % 2);
        check_sound(&pool);
    }
}

#[test]
fn a_waiter_claims_its_target_once_the_pool_cannot_grow_any_more() {
    let pool = lasting(1, 2);
    let (gate, held) = (Gate::new(), Gate::new());
    let other = occupy(&pool, &held);
    let (inner, pass) = (pool.clone(), gate.clone());
    let outer = pool.spawn(move || {
        pass.pass();
        inner.spawn(|| 7).wait().unwrap()
    });
    eventually("both run", || pool.metrics().tasks_running() == 2);
    pool.set_max_threads(1).unwrap();
    gate.open();
    assert_eq!(soon(outer).unwrap(), 7);
    held.open();
    soon(other).unwrap();
    check_sound(&pool);
}

#[test]
fn a_lowered_pool_that_is_shut_down_makes_no_thread_after_thread() {
    let starts = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&starts);
    let pool = Pool::builder().core_threads(4).max_threads(4).on_thread_start(move || {
        count.fetch_add(1, Ordering::SeqCst);
    });
    let pool = pool.build().unwrap();
    let (gate, first) = (Gate::new(), Gate::new());
    let task = occupy(&pool, &first);
    let tasks: Vec<_> = (0..3).map(|_| occupy(&pool, &gate)).collect();
    let queued = pool.spawn(|| 7);
    let shutdown = pool.shutdown();
    pool.set_max_threads(1).unwrap();
    first.open();
    soon(task).unwrap();
    nothing_happens();
    assert!(starts.load(Ordering::SeqCst) <= 5, "{starts:?} threads for five tasks");
    gate.open();
    all_well(tasks);
    assert_eq!(soon(queued).unwrap(), 7);
    assert_eq!(shutdown.wait().still_running, 0);
    assert!(starts.load(Ordering::SeqCst) <= 8, "{starts:?} threads for five tasks");
}

#[test]
fn it_may_be_called_inside_a_task_a_callback_and_after_the_end() {
    let pool = lasting(2, 4);
    let inner = pool.clone();
    soon(pool.spawn(move || inner.set_max_threads(1).unwrap())).unwrap();
    eventually("one is left", || pool.metrics().threads() == 1);
    let inner = pool.clone();
    let called = Gate::new();
    let open = called.clone();
    pool.spawn(|| ()).on_complete(move |_| {
        inner.set_max_threads(3).unwrap();
        open.open();
    });
    called.pass();
    fill(&pool, 3);
    pool.shutdown().wait();
    for max in [1, 5] {
        pool.set_max_threads(max).unwrap();
    }
    assert_eq!(pool.metrics().threads(), 0);
}

/// A limit that is lowered while the program runs changes nothing: blocking.
// Origin: pitfall 14
#[test]
fn a_lowered_limit_takes_effect() {
    let pool = Pool::builder().core_threads(2).max_threads(8).keep_alive(Duration::MAX).build().unwrap();
    let fill = |count| {
        let gate = Gate::new();
        let tasks: Vec<_> = (0..count).map(|_| occupy(&pool, &gate)).collect();
        gate.open();
        all_well(tasks);
    };
    fill(8);
    pool.set_max_threads(3).unwrap();
    eventually("five leave", || pool.metrics().threads() == 3);
    let (gate, crowd) = (Gate::new(), Arc::new(Crowd::default()));
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (pass, crowd) = (gate.clone(), Arc::clone(&crowd));
            pool.spawn(move || {
                crowd.enter();
                current::will_block(|| pass.pass());
                crowd.leave();
            })
        })
        .collect();
    eventually("three run", || crowd.now() == 3);
    nothing_happens();
    assert_eq!((crowd.most(), pool.metrics().threads()), (3, 3));
    gate.open();
    all_well(tasks);
    assert_eq!(crowd.most(), 3);
    check_sound(&pool);
}
