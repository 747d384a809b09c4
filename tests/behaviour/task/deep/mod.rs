//! Waits inside each other, deeper than a stack holds: an error that says how deep, never the end
//! of the process.
//!
//! What compares depths runs in a process of its own: a subscriber that another test has installed
//! makes frames larger.

mod destructors;
mod ways;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use sidestep::{Pool, Task, TaskError};

use crate::support::alone::alone_as;
use crate::support::{Gate, builder, check_sound, eventually, nothing_happens, occupy, pool, soon};

/// More than any stack here holds.
const FAR: u32 = 50_000;
const KIB: usize = 1024;
const SENTENCE: &str = "waits are inside each other on one thread, whose stack of ";

fn with_stack(max: usize, stack: usize) -> Pool {
    builder().core_threads(max).max_threads(max).stack_size(stack).build().unwrap()
}

/// How far a chain of waits came, and the error that ended it, if one did.
#[derive(Debug)]
struct Reached {
    depth: u32,
    error: Option<TaskError>,
}

/// A task that waits for a task, and so on.
fn chain(pool: &Pool, length: u32) -> Reached {
    if length == 0 {
        return Reached { depth: 0, error: None };
    }
    let inner = pool.clone();
    match pool.spawn(move || chain(&inner, length - 1)).wait() {
        Ok(reached) => Reached { depth: reached.depth + 1, ..reached },
        Err(error) => Reached { depth: 0, error: Some(error) },
    }
}

fn run_chain(pool: &Pool, length: u32) -> Reached {
    let inner = pool.clone();
    soon(pool.spawn(move || chain(&inner, length))).unwrap()
}

/// How many waits were inside each other by the sentence of the error.
fn depth_of(error: &TaskError) -> u32 {
    depth_in(&error.to_string())
}

fn depth_in(text: &str) -> u32 {
    let (before, _) = text.split_once(SENTENCE).or_else(|| text.split_once("waits are inside")).unwrap();
    before.split_whitespace().next_back().unwrap().parse().unwrap()
}

#[track_caller]
fn is_too_deep(error: &TaskError) {
    assert!(error.is_deadlock(), "{error}");
    let text = error.to_string();
    assert!(text.contains(SENTENCE) && text.contains("stack_size"), "{text}");
}

#[test]
fn a_chain_of_waits_ends_with_an_error_where_the_stack_does() {
    for stack in [64 * KIB, 128 * KIB, 512 * KIB, 2048 * KIB] {
        let pool = with_stack(1, stack);
        let reached = run_chain(&pool, FAR);
        let error = reached.error.unwrap();
        is_too_deep(&error);
        // On the only thread each level is one wait.
        assert_eq!(depth_of(&error), reached.depth + 1, "{error}");
        assert!((reached.depth as usize) < stack / 256, "{stack}: {error}");
        if stack >= 512 * KIB {
            assert!(reached.depth > 20, "{stack}: {error}");
        }
        let metrics = pool.metrics();
        assert_eq!(metrics.tasks_cancelled(), 1, "the one that could not be run");
        assert_eq!(metrics.tasks_submitted(), u64::from(reached.depth) + 2);
        check_sound(&pool);
        // And so again.
        is_too_deep(&run_chain(&pool, FAR).error.unwrap());
    }
}

#[test]
fn a_larger_stack_holds_more() {
    alone_as("task::deep::a_larger_stack_holds_more", &[], || {
        let depths = [256 * KIB, 4096 * KIB, 65_536 * KIB].map(|stack| {
            let reached = run_chain(&with_stack(1, stack), FAR);
            if let Some(error) = &reached.error {
                is_too_deep(error);
            }
            reached.depth
        });
        assert!(depths[0] * 10 < depths[1], "{depths:?}");
        assert!(depths[1] * 10 < depths[2] || depths[2] == FAR, "{depths:?}");
    });
}

#[test]
fn what_the_stack_holds_is_run_to_its_end() {
    alone_as("task::deep::what_the_stack_holds_is_run_to_its_end", &[], || {
        let pool = with_stack(1, 4096 * KIB);
        let deepest = run_chain(&pool, FAR).depth;
        let whole = run_chain(&pool, deepest - 2);
        assert!(whole.error.is_none(), "{whole:?}");
        assert_eq!(whole.depth, deepest - 2);
    });
}

#[test]
fn several_threads_do_not_wait_for_each_other_for_ever() {
    for max in [2, 3, 4] {
        let pool = with_stack(max, 256 * KIB);
        for _ in 0..20 {
            let chains: Vec<Task<Reached>> = (0..max)
                .map(|_| {
                    let inner = pool.clone();
                    pool.spawn(move || chain(&inner, FAR))
                })
                .collect();
            for task in chains {
                is_too_deep(&soon(task).unwrap().error.unwrap());
            }
        }
        check_sound(&pool);
    }
}

#[test]
fn a_thread_that_is_free_takes_over_where_the_stack_of_the_other_ends() {
    alone_as("task::deep::a_thread_that_is_free_takes_over_where_the_stack_of_the_other_ends", &[], || {
        let pool = with_stack(2, 256 * KIB);
        let gate = Gate::new();
        let alone = {
            let busy = occupy(&with_stack(1, 256 * KIB), &gate);
            gate.open();
            soon(busy).unwrap();
            run_chain(&with_stack(1, 256 * KIB), FAR).depth
        };
        let gate = Gate::new();
        let busy = occupy(&pool, &gate);
        let level = Arc::new(AtomicUsize::new(0));
        let (inner, count) = (pool.clone(), Arc::clone(&level));
        let task = pool.spawn(move || counted(&inner, alone + 3, &count));
        let parked = || {
            let before = level.load(Ordering::SeqCst);
            nothing_happens();
            before > 0 && level.load(Ordering::SeqCst) == before
        };
        eventually("the thread can go no deeper", parked);
        assert!(!task.is_finished(), "it waits for the other thread, which is busy and not in a wait");
        assert_eq!(pool.metrics().tasks_queued(), 1);
        gate.open();
        assert_eq!(soon(task).unwrap().unwrap(), alone + 3);
        soon(busy).unwrap();
        check_sound(&pool);
    });
}

/// As `chain`, and counts the levels.
fn counted(pool: &Pool, length: u32, level: &Arc<AtomicUsize>) -> Result<u32, TaskError> {
    level.fetch_add(1, Ordering::SeqCst);
    if length == 0 {
        return Ok(0);
    }
    let (inner, count) = (pool.clone(), Arc::clone(level));
    pool.spawn(move || counted(&inner, length - 1, &count)).wait()?.map(|rest| rest + 1)
}

/// The other thread waits too, for what the first is inside of: it comes last, and so the deep wait
/// that had been parked is the one that ends.
#[test]
fn a_deep_wait_ends_when_the_last_free_thread_begins_to_wait() {
    let pool = with_stack(2, 256 * KIB);
    let (gate, level) = (Gate::new(), Arc::new(AtomicUsize::new(0)));
    let (inner, count) = (pool.clone(), Arc::clone(&level));
    let (send, receive) = std::sync::mpsc::channel::<Task<Result<u32, TaskError>>>();
    let started = Gate::new();
    let (announce, open) = (started.clone(), gate.clone());
    let other = pool.spawn(move || {
        announce.open();
        open.pass();
        receive.recv().unwrap().wait().unwrap()
    });
    started.pass();
    send.send(pool.spawn(move || counted(&inner, FAR, &count))).unwrap();
    let parked = || {
        let before = level.load(Ordering::SeqCst);
        nothing_happens();
        before > 0 && level.load(Ordering::SeqCst) == before
    };
    eventually("the thread can go no deeper", parked);
    gate.open();
    is_too_deep(&soon(other).unwrap().unwrap_err());
    check_sound(&pool);
}

#[test]
fn a_pool_that_can_grow_makes_a_thread_instead() {
    let pool = builder().core_threads(1).max_threads(100).stack_size(128 * KIB).build().unwrap();
    let reached = run_chain(&pool, 50);
    assert!(reached.error.is_none(), "{reached:?}");
    assert_eq!(reached.depth, 50);
}

#[test]
fn a_pool_whose_limit_is_raised_goes_on() {
    alone_as("task::deep::a_pool_whose_limit_is_raised_goes_on", &[], || {
        let pool = with_stack(2, 128 * KIB);
        let gate = Gate::new();
        let busy = occupy(&pool, &gate);
        let level = Arc::new(AtomicUsize::new(0));
        let (inner, count) = (pool.clone(), Arc::clone(&level));
        let alone = run_chain(&with_stack(1, 128 * KIB), FAR).depth;
        let task = pool.spawn(move || counted(&inner, alone + 3, &count));
        eventually("it can go no deeper", || {
            let before = level.load(Ordering::SeqCst);
            nothing_happens();
            before > 0 && level.load(Ordering::SeqCst) == before
        });
        pool.set_max_threads(10).unwrap();
        assert_eq!(soon(task).unwrap().unwrap(), alone + 3);
        gate.open();
        soon(busy).unwrap();
    });
}

#[test]
fn a_pool_that_is_shut_down_meanwhile_ends() {
    let pool = with_stack(1, 256 * KIB);
    let inner = pool.clone();
    let task = pool.spawn(move || {
        let last = inner.spawn(|| ());
        inner.shutdown().wait();
        last.wait().unwrap();
        chain(&inner, 1).error.unwrap()
    });
    assert!(soon(task).unwrap().is_shutdown());
}

#[test]
fn a_wait_on_a_thread_of_no_pool_runs_nothing() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let task = pool.spawn(thread::current);
    let waiter =
        thread::Builder::new().stack_size(64 * KIB).spawn(move || task.wait().unwrap().id()).unwrap();
    gate.open();
    let waiting = waiter.thread().id();
    assert_ne!(waiter.join().unwrap(), waiting);
    soon(busy).unwrap();
}
