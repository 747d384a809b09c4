//! Threads come where they are needed: beside blocked ones, and for what others wait for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_lite::AsyncWriteExt;
use sidestep::{Pool, Task, current};

use crate::support::{
    Gate, all_well, also_by_time_alone, check_sound, counter, eventually, keeps_to, occupy, pool, soon,
};

/// As `occupy`, but the task says that it blocks.
fn occupy_declared(pool: &Pool, gate: &Gate) -> Task<()> {
    let started = Gate::new();
    let (announce, gate) = (started.clone(), gate.clone());
    let task = pool.spawn(move || {
        current::will_block(|| {
            announce.open();
            gate.pass();
        });
    });
    started.pass();
    task
}

/// Kotlin: the task that blocks has the only core thread.
// Origin: Kotlin 1
#[test]
fn a_blocked_core_thread_costs_a_thread() {
    keeps_to(3, || {
        let pool = pool(1, 512);
        for _ in 0..20 {
            let gate = Gate::new();
            let blocked = occupy(&pool, &gate);
            soon(pool.spawn(|| ())).unwrap();
            assert!(!blocked.is_finished());
            gate.open();
            soon(blocked).unwrap();
        }
        let peak = pool.metrics().threads_peak();
        assert!(peak >= 2);
        peak
    });
}

/// Kotlin: while one call blocks nothing is queued, so there is no reason to grow.
// Origin: Kotlin 3
#[test]
fn one_blocking_call_after_another_needs_no_more_threads() {
    for occupy in [occupy, occupy_declared] {
        keeps_to(2, || {
            let pool = pool(1, 512);
            for _ in 0..200 {
                let gate = Gate::new();
                let blocked = occupy(&pool, &gate);
                gate.open();
                soon(blocked).unwrap();
            }
            pool.metrics().threads_peak()
        });
    }
}

/// Kotlin: tasks that compute are served beside a hundred that block, by the core threads.
// Origin: Kotlin 4; Kotlin 6
#[test]
fn computing_beside_a_hundred_blocked_tasks_needs_no_more_than_core() {
    const CORE: usize = 2;
    keeps_to(100 + CORE, || {
        let pool = pool(CORE, 512);
        let gate = Gate::new();
        let block = |_| {
            let pass = gate.clone();
            pool.spawn(move || current::will_block(|| pass.pass()))
        };
        let blocked: Vec<_> = (0..100).map(block).collect();
        eventually("all are blocked", || pool.metrics().tasks_running() == 100);
        for _ in 0..200 {
            soon(pool.spawn(|| ())).unwrap();
        }
        let peak = pool.metrics().threads_peak();
        assert!(peak > 100);
        gate.open();
        all_well(blocked);
        peak
    });
}

/// .NET: threads that are blocked do not hold up the one that is not.
// Origin: .NET 30
#[test]
fn what_is_queued_runs_once_one_thread_of_all_is_free() {
    let pool = pool(3, 3);
    let (first, rest) = (Gate::new(), Gate::new());
    let freed = occupy(&pool, &first);
    let blocked = [occupy(&pool, &rest), occupy(&pool, &rest)];
    let (ran, count) = counter();
    let queued: Vec<_> = (0..500).map(|_| pool.spawn(count.clone())).collect();
    assert_eq!(ran.load(Ordering::SeqCst), 0);
    first.open();
    all_well(queued.into_iter().chain([freed]));
    assert!(blocked.iter().all(|task| !task.is_finished()));
    rest.open();
    all_well(blocked);
    check_sound(&pool);
}

/// .NET: every thread waits for asynchronous output, which itself needs a thread of the same pool.
// Origin: .NET 36
#[cfg(feature = "fs")]
#[test]
fn tasks_that_wait_for_asynchronous_writes_get_a_thread_for_them() {
    let pool = pool(1, 9);
    let write = |_| {
        let inner = pool.clone();
        pool.spawn(move || {
            sidestep::block_on(async {
                let mut out = sidestep::Unblock::with_capacity(16, Vec::new()).on(&inner);
                out.write_all(&[7; 1000]).await.unwrap();
                out.flush().await.unwrap();
                out.into_inner().await.unwrap()
            })
        })
    };
    let tasks: Vec<_> = (0..8).map(write).collect();
    for task in tasks {
        assert_eq!(soon(task).unwrap(), [7; 1000]);
    }
    check_sound(&pool);
}

/// Java: of two threads one burns its CPU until the second task has run.
// Origin: Java 40
#[test]
fn a_task_that_spins_for_the_next_one_gets_it() {
    let pool = pool(2, 2);
    for _ in 0..2000 {
        let raised = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&raised);
        let spins = pool.spawn(move || eventually("the next one runs", || flag.load(Ordering::SeqCst)));
        let raises = pool.spawn(move || raised.store(true, Ordering::SeqCst));
        all_well([spins, raises]);
    }
    check_sound(&pool);
}

also_by_time_alone! {
    a_blocked_core_thread_costs_a_thread,
    one_blocking_call_after_another_needs_no_more_threads,
    computing_beside_a_hundred_blocked_tasks_needs_no_more_than_core,
    what_is_queued_runs_once_one_thread_of_all_is_free,
    #[cfg(feature = "fs")]
    tasks_that_wait_for_asynchronous_writes_get_a_thread_for_them,
    a_task_that_spins_for_the_next_one_gets_it,
}
