//! What the suites of other systems check about threads: when they come, how many, and what they
//! leave to each other. By the numbers of `docs/TESTING.md`.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::{io, thread};

use futures_lite::AsyncWriteExt;
use sidestep::{NewThread, Pool, Task, Unblock, current};

use crate::support::{
    Gate, Rendezvous, all_well, also_by_time_alone, builder, check_sound, counter, eventually, keeps_to,
    occupy, pool, soon,
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
#[test]
fn case_01_a_blocked_core_thread_costs_a_thread() {
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
#[test]
fn case_03_one_blocking_call_after_another_needs_no_more_threads() {
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
#[test]
fn case_04_and_06_computing_beside_a_hundred_blocked_tasks_needs_no_more_than_core() {
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
#[test]
fn case_30_what_is_queued_runs_once_one_thread_of_all_is_free() {
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

thread_local! { static REQUEST: Cell<u32> = const { Cell::new(0) } }

/// What tasks see that all run at once, as many as there may be threads.
fn requests_seen(pool: &Pool, threads: usize) -> Vec<u32> {
    let meeting = Rendezvous::new(threads);
    let meet = |_| {
        let meeting = Arc::clone(&meeting);
        pool.spawn(move || {
            current::will_block(|| meeting.meet());
            REQUEST.get()
        })
    };
    let tasks: Vec<_> = (0..threads).map(meet).collect();
    tasks.into_iter().map(|task| soon(task).unwrap()).collect()
}

/// .NET: the context of whoever causes a thread to be made is not that of all its later tasks.
#[test]
fn case_35_a_thread_does_not_keep_the_context_it_was_made_in() {
    const THREADS: usize = 8;
    let carry = || {
        let request = REQUEST.get();
        move |run: &mut dyn FnMut()| {
            let before = REQUEST.replace(request);
            run();
            REQUEST.set(before);
        }
    };
    let pool = builder().core_threads(1).max_threads(THREADS).propagate(carry).build().unwrap();
    REQUEST.set(7);
    assert_eq!(requests_seen(&pool, THREADS), [7; THREADS]);
    REQUEST.set(0);
    assert_eq!(requests_seen(&pool, THREADS), [0; THREADS]);
    check_sound(&pool);
    assert_eq!(pool.metrics().threads_peak(), THREADS, "the same threads");
}

/// .NET: every thread waits for asynchronous output, which itself needs a thread of the same pool.
#[test]
fn case_36_tasks_that_wait_for_asynchronous_writes_get_a_thread_for_them() {
    let pool = pool(1, 9);
    let write = |_| {
        let inner = pool.clone();
        pool.spawn(move || {
            sidestep::block_on(async {
                let mut out = Unblock::with_capacity(16, Vec::new()).on(&inner);
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
#[test]
fn case_40_a_task_that_spins_for_the_next_one_gets_it() {
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

/// Go: the process may have ten threads and no more.
#[test]
fn case_48_a_system_that_gives_ten_threads_ends_no_program() {
    const THREADS: usize = 10;
    let made = AtomicUsize::new(0);
    let handler = move |new: NewThread| {
        if made.fetch_add(1, Ordering::SeqCst) >= THREADS {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        thread::Builder::new().spawn(move || new.run()).map(drop)
    };
    let pool = builder().core_threads(2).max_threads(64).spawn_handler(handler).build().unwrap();
    let gate = Gate::new();
    let block = |_| {
        let pass = gate.clone();
        pool.spawn(move || current::will_block(|| pass.pass()))
    };
    let tasks: Vec<_> = (0..40).map(block).collect();
    eventually("there are ten", || pool.metrics().tasks_running() == THREADS as u64);
    eventually("one more was refused", || pool.metrics().spawn_failures() > 0);
    gate.open();
    all_well(tasks);
    check_sound(&pool);
    assert_eq!(pool.metrics().threads_peak(), THREADS);
}

also_by_time_alone! {
    case_01_a_blocked_core_thread_costs_a_thread,
    case_03_one_blocking_call_after_another_needs_no_more_threads,
    case_04_and_06_computing_beside_a_hundred_blocked_tasks_needs_no_more_than_core,
    case_30_what_is_queued_runs_once_one_thread_of_all_is_free,
    case_35_a_thread_does_not_keep_the_context_it_was_made_in,
    case_36_tasks_that_wait_for_asynchronous_writes_get_a_thread_for_them,
    case_40_a_task_that_spins_for_the_next_one_gets_it,
    case_48_a_system_that_gives_ten_threads_ends_no_program,
}
