//! Models of tasks that await the shutdown of their own pool.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use loom::thread;

use super::pool;
use crate::pool::{Pool, Shutdown, ShutdownReport};
use crate::sync::Parker;
use crate::sync::atomic::{Ordering, StaticU64};
use crate::sync::stand_in::model::check;
use crate::task::Task;
use crate::task::block_on;

/// A task that goes on until its parker is unparked: without a second task a shutdown that a task
/// awaits is over at once.
fn neighbour(pool: &Pool) -> (Task<()>, Arc<Parker>) {
    let (leave, stays) = (Arc::new(Parker::new()), Arc::new(Parker::new()));
    let (go, begun) = (Arc::clone(&leave), Arc::clone(&stays));
    let task = pool.spawn(move || {
        begun.unpark();
        go.park(None);
    });
    stays.park(None);
    (task, leave)
}

/// A task awaits the first of the shutdown of its pool and another future, and goes on with that
/// one: it counts as ended while it waits, and not while it goes on, though it keeps the shutdown.
#[test]
fn a_task_that_awaits_the_shutdown_and_goes_on() {
    const WAITS: u64 = 0;
    const GOES_ON: u64 = 1;
    const ENDS: u64 = 2;
    check(Some(1), || {
        let pool = pool(2, 2);
        let stage = Arc::new(StaticU64::new(WAITS));
        let (neighbour, leave) = neighbour(&pool);
        let (ring, other) = crate::sync::oneshot::channel::<()>();
        let (inner, shown) = (pool.clone(), Arc::clone(&stage));
        let task = pool.spawn(move || {
            let (mut shutdown, mut other) = (inner.shutdown(), other);
            let is_over = block_on(poll_fn(|context| {
                let over = Pin::new(&mut shutdown).poll(context).map(|_| true);
                if over.is_ready() { over } else { Pin::new(&mut other).poll(context).map(|_| false) }
            }));
            shown.store(GOES_ON, Ordering::Relaxed);
            thread::yield_now();
            shown.store(ENDS, Ordering::Relaxed);
            is_over
        });
        let ringer = thread::spawn(move || {
            drop(ring);
            leave.unpark();
        });
        let report = pool.shutdown().wait();
        let stage = stage.load(Ordering::Relaxed);
        ringer.join().unwrap();
        neighbour.wait().unwrap();
        assert_eq!(report.still_running, 0);
        assert!(task.wait().unwrap() || stage == ENDS, "the end came while the task went on");
    });
}

/// The other future has resolved before a second waiter waits for the shutdown: the task's thread
/// may not have woken yet, and polls the other future first. It does not wait any more.
#[test]
fn a_task_that_has_been_woken_waits_no_longer() {
    check(Some(1), || {
        let pool = pool(2, 2);
        let ended = Arc::new(StaticU64::new(0));
        let (ring, other) = crate::sync::oneshot::channel::<()>();
        let (neighbour, leave) = neighbour(&pool);
        let (inner, ends) = (pool.clone(), Arc::clone(&ended));
        let task = pool.spawn(move || {
            let (mut shutdown, mut other) = (inner.shutdown(), other);
            block_on(poll_fn(|context| {
                let other = Pin::new(&mut other).poll(context).map(|_| ());
                if other.is_ready() { other } else { Pin::new(&mut shutdown).poll(context).map(|_| ()) }
            }));
            thread::yield_now();
            ends.store(1, Ordering::Relaxed);
        });
        drop(ring);
        leave.unpark();
        assert_eq!(pool.shutdown().wait().still_running, 0);
        assert_eq!(ended.load(Ordering::Relaxed), 1, "the end came while the task went on");
        neighbour.wait().unwrap();
        task.wait().unwrap();
    });
}

/// An executor that the crate does not know.
fn foreign_block_on<F: Future + Unpin>(mut future: F) -> F::Output {
    let parker = Arc::new(Parker::new());
    let waker = parker.waker();
    loop {
        if let Poll::Ready(output) = Pin::new(&mut future).poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        parker.park(None);
    }
}

/// Two tasks that have begun await the shutdown of their pool in two ways: each counts as ended for
/// the other.
fn two_tasks_await(ways: [fn(Shutdown) -> ShutdownReport; 2]) {
    check(Some(1), move || {
        let pool = pool(2, 2);
        let begun = Arc::new(Parker::new());
        let (first, second, announce) = (pool.clone(), pool.clone(), Arc::clone(&begun));
        let second = pool.spawn(move || {
            announce.unpark();
            ways[1](second.shutdown())
        });
        begun.park(None);
        match pool.try_spawn(move || ways[0](first.shutdown())) {
            Ok(first) => assert_eq!(first.wait().map_or(0, |report| report.still_running), 0),
            Err(rejected) => assert!(rejected.error().is_shutdown()),
        }
        assert_eq!(second.wait().unwrap().still_running, 0);
    });
}

#[test]
fn two_tasks_that_await_the_shutdown() {
    two_tasks_await([block_on, Shutdown::wait]);
}

#[test]
fn two_tasks_that_await_the_shutdown_in_foreign_executors() {
    two_tasks_await([foreign_block_on, foreign_block_on]);
}

#[test]
fn two_tasks_that_await_the_shutdown_in_executors_of_both_kinds() {
    two_tasks_await([foreign_block_on, block_on]);
}
