//! Threads that are replaced: what they take along, and what they leave to others.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self};
use std::time::{Duration, Instant};

use sidestep::{Pool, current};

use crate::support::{Gate, PATIENCE, check_sound, eventually, occupy, pool, soon};

thread_local! { static TAINT: Cell<u32> = const { Cell::new(0) } }

#[test]
fn a_retired_thread_takes_its_state_along() {
    for max in [1, 4] {
        let pool = Pool::builder().core_threads(1).max_threads(max).build().unwrap();
        for _ in 0..100 {
            let tainted = pool.spawn(|| {
                TAINT.set(TAINT.get() + 1);
                current::retire_thread();
                thread::current().id()
            });
            let next = pool.spawn(|| (TAINT.get(), thread::current().id()));
            let (taint, id) = next.wait().unwrap();
            assert_eq!(taint, 0, "the next task sees a clean thread");
            assert_ne!(tainted.wait().unwrap(), id);
            assert!(pool.metrics().threads() <= max);
        }
        assert!(pool.metrics().threads_peak() <= max);
    }
}

/// Asks what a closure may ask, at the end of its thread.
struct AtExit(Pool, Sender<(bool, usize)>);

impl Drop for AtExit {
    fn drop(&mut self) {
        current::retire_thread();
        let blocked = current::will_block(|| self.0.metrics().threads_blocked());
        self.1.send((current::is_cancelled(), blocked)).unwrap();
    }
}

thread_local! { static AT_EXIT: RefCell<Option<AtExit>> = const { RefCell::new(None) } }

#[test]
fn what_a_thread_drops_last_runs_on_a_thread_of_no_pool() {
    let pool = Pool::builder().max_threads(1).build().unwrap();
    let (tell, told) = channel();
    let at_exit = AtExit(pool.clone(), tell);
    let task = pool.spawn(move || {
        AT_EXIT.set(Some(at_exit));
        current::retire_thread();
    });
    task.wait().unwrap();
    assert_eq!(told.recv_timeout(PATIENCE), Ok((false, 0)), "nothing is declared blocked");
}

#[test]
fn a_retiring_thread_leaves_its_queue_to_others() {
    let pool = Pool::builder().max_threads(1).build().unwrap();
    let inner = pool.clone();
    let task = pool.spawn(move || {
        current::retire_thread();
        let queued: Vec<_> = (0..100).map(|number| inner.spawn(move || number)).collect();
        (thread::current().id(), queued)
    });
    let other = pool.spawn(|| thread::current().id());
    let (id, queued) = task.wait().unwrap();
    let sum: i32 = queued.into_iter().map(|task| task.wait().unwrap()).sum();
    assert_eq!(sum, 4950);
    assert_ne!(other.wait().unwrap(), id);
}

#[test]
fn a_task_that_panics_can_retire_its_thread_too() {
    let pool = Pool::builder().max_threads(1).build().unwrap();
    let task = pool.spawn(|| {
        TAINT.set(1);
        current::retire_thread();
        panic!("and that was it");
    });
    assert!(task.wait().unwrap_err().is_panic());
    assert_eq!(pool.spawn(|| TAINT.get()).wait().unwrap(), 0);
}

#[test]
fn retiring_runs_the_hooks_and_is_nothing_outside_a_pool() {
    current::retire_thread();
    let stops = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&stops);
    let count_stop = move || {
        counts.fetch_add(1, Ordering::SeqCst);
    };
    let pool = Pool::builder().max_threads(1).on_thread_stop(count_stop).build().unwrap();
    for number in 1..=5 {
        pool.spawn(current::retire_thread).wait().unwrap();
        eventually("it has left", || stops.load(Ordering::SeqCst) == number);
    }
    assert!(pool.spawn(|| true).wait().unwrap());
}

#[test]
fn a_retired_thread_is_not_replaced_before_there_is_work() {
    let pool = Pool::builder().core_threads(2).build().unwrap();
    pool.spawn(current::retire_thread).wait().unwrap();
    eventually("it has left", || pool.metrics().threads() == 0);
    assert!(pool.spawn(|| true).wait().unwrap());
    assert_eq!(pool.metrics().threads(), 1);
}

/// Between the end of a retired thread and the start of the next one there is none; the queue is
/// not empty, though.
#[test]
fn a_shutdown_looked_at_while_the_only_thread_retires_has_not_ended() {
    const TASKS: u64 = 20;
    for _ in 0..100 {
        let pool = pool(1, 1);
        let gate = Gate::new();
        let busy = occupy(&pool, &gate);
        for _ in 1..TASKS {
            pool.spawn(current::retire_thread).detach();
        }
        drop(pool.shutdown());
        gate.open();
        let start = Instant::now();
        let report = loop {
            let report = pool.shutdown().timeout(Duration::ZERO).wait();
            if report.still_running == 0 {
                break report;
            }
            assert!(start.elapsed() < PATIENCE);
        };
        assert_eq!(report.completed + report.discarded, TASKS, "it has ended early: {report:?}");
        soon(busy).unwrap();
    }
}

/// What a task did to its thread shows in the next one: rsync.
// Origin: pitfall 27
#[test]
fn a_tainted_thread_takes_no_other_task() {
    thread_local! { static TAINT: std::cell::Cell<bool> = const { std::cell::Cell::new(false) } }
    let pool = Pool::builder().core_threads(2).max_threads(2).build().unwrap();
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

#[test]
fn a_stop_hook_that_blocks_leaves_no_task_to_a_sleeper() {
    let leave = Gate::new();
    let pass = leave.clone();
    let builder = Pool::builder().core_threads(2).max_threads(2).on_thread_stop(move || pass.pass());
    let pool = builder.build().unwrap();
    let hold = Gate::new();
    let both = [occupy(&pool, &hold), occupy(&pool, &hold)];
    hold.open();
    both.into_iter().for_each(|task| soon(task).unwrap());
    eventually("both sleep", || pool.metrics().threads_idle() == 2);
    let (send, receive) = channel();
    let (end, inner) = (Gate::new(), pool.clone());
    let pass = end.clone();
    // A thread that calls back will look into the queues, unless it retires instead.
    pool.spawn(move || pass.pass()).on_complete(move |_| {
        current::retire_thread();
        send.send(inner.spawn(|| 5)).unwrap();
    });
    end.open();
    assert_eq!(soon(receive.recv().unwrap()).unwrap(), 5);
    leave.open();
}
