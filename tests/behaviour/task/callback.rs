//! `Task::on_complete`: where the callback runs, that it runs once, and what it may wait for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, ThreadId};

use sidestep::{Pool, Task, TaskError, current};

use crate::support::{
    Drops, Gate, PATIENCE, check_sound, eventually, nothing_happens, occupy, pool, quiet_panic, soon,
};

/// Registers a callback and returns where its thread and its result will be told. A second call
/// would fail.
fn tell<T: Send + 'static>(task: Task<T>) -> Receiver<(ThreadId, Result<T, TaskError>)> {
    let (send, receive) = channel();
    task.on_complete(move |result| send.send((thread::current().id(), result)).unwrap());
    receive
}

#[test]
fn before_the_end_it_runs_on_the_worker() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let pass = gate.clone();
    let told = tell(pool.spawn(move || {
        pass.pass();
        thread::current().id()
    }));
    assert!(told.try_recv().is_err(), "the task has not ended");
    gate.open();
    let (thread, result) = told.recv().unwrap();
    assert_eq!(thread, result.unwrap());
    assert!(told.recv().is_err(), "once");
    check_sound(&pool);
}

#[test]
fn after_the_end_it_runs_at_once_on_the_caller() {
    let pool = pool(1, 1);
    let task = pool.spawn(|| 42);
    eventually("it ends", || task.is_finished());
    let told = tell(task);
    let (thread, result) = told.try_recv().unwrap();
    assert_eq!((thread, result.unwrap()), (thread::current().id(), 42));
}

#[test]
fn a_cancellation_calls_back_on_the_canceller() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let queued = pool.spawn(|| ());
    let handle = queued.cancel_handle();
    let told = tell(queued);
    assert!(told.try_recv().is_err(), "giving the handle up for a callback does not cancel");
    handle.cancel();
    let (thread, result) = told.try_recv().unwrap();
    assert_eq!(thread, thread::current().id());
    assert!(result.unwrap_err().is_cancelled());
    gate.open();
    soon(running).unwrap();
}

#[test]
fn a_panic_calls_back_with_the_payload() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let told = tell(pool.spawn(|| quiet_panic(42_u8)));
    gate.open();
    let (_, result) = told.recv().unwrap();
    let payload = result.unwrap_err().try_into_panic().unwrap();
    assert_eq!(payload.downcast_ref(), Some(&42_u8));
    soon(running).unwrap();
    check_sound(&pool);
}

#[test]
fn a_refusal_calls_back() {
    let pool = pool(1, 1);
    pool.shutdown().wait();
    let told = tell(pool.spawn(|| ()));
    assert!(told.try_recv().unwrap().1.unwrap_err().is_shutdown());
}

#[test]
fn a_discarded_task_calls_back_on_the_discarder() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let told = tell(pool.spawn(|| ()));
    let shutdown = pool.shutdown().discard_queued();
    let (thread, result) = told.try_recv().unwrap();
    assert_eq!(thread, thread::current().id());
    assert!(result.unwrap_err().is_shutdown());
    gate.open();
    soon(running).unwrap();
    assert_eq!(shutdown.wait().discarded, 1);
}

#[test]
fn a_panicking_callback_harms_nobody_on_either_thread() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let drops = Drops::new();
    let (early, late) = (drops.token(), drops.token());
    pool.spawn(|| ()).on_complete(move |_| {
        let _token = early;
        quiet_panic("a callback on the worker");
    });
    gate.open();
    soon(running).unwrap();
    check_sound(&pool);
    let task = pool.spawn(|| ());
    eventually("it ends", || task.is_finished());
    task.on_complete(move |_| {
        let _token = late;
        quiet_panic("a callback on the caller");
    });
    assert_eq!(drops.count(), 2, "both were called");
    check_sound(&pool);
}

#[test]
fn registering_and_ending_at_once_calls_back_exactly_once() {
    const MANY: usize = 5000;
    let pool = pool(2, 2);
    let calls = Arc::new(AtomicUsize::new(0));
    let drops = Drops::new();
    for _ in 0..MANY {
        let (calls, token, result) = (Arc::clone(&calls), drops.token(), drops.token());
        pool.spawn(move || result).on_complete(move |result| {
            let _token = token;
            drop(result.unwrap());
            calls.fetch_add(1, Ordering::SeqCst);
        });
    }
    eventually("all have called", || drops.count() == 2 * MANY);
    assert_eq!(calls.load(Ordering::SeqCst), MANY);
    check_sound(&pool);
}

#[test]
fn a_callback_may_spawn_and_wait_on_the_same_pool() {
    for max in [1, 4] {
        let pool = pool(1, max);
        let gate = Gate::new();
        let running = occupy(&pool, &gate);
        let (inner, (send, receive)) = (pool.clone(), channel());
        pool.spawn(|| ()).on_complete(move |_| {
            send.send(inner.spawn(|| 42).wait().unwrap()).unwrap();
        });
        gate.open();
        assert_eq!(receive.recv_timeout(crate::support::PATIENCE), Ok(42), "max_threads = {max}");
        soon(running).unwrap();
        check_sound(&pool);
    }
}

/// A callback that has run a task in place and then blocks must not count as a thread that looks
/// for work.
#[test]
fn a_callback_that_waits_and_then_blocks_keeps_no_other_task_from_running() {
    let pool = pool(2, 2);
    let (first_gate, second_gate, leave) = (Gate::new(), Gate::new(), Gate::new());
    let first = occupy(&pool, &first_gate);
    let second = occupy(&pool, &second_gate);
    let (inner, blocked, pass) = (pool.clone(), Gate::new(), leave.clone());
    let announce = blocked.clone();
    // The second thread is busy and the pool is full, so the callback of `first` runs its target in
    // place.
    first.on_complete(move |_| {
        inner.spawn(|| ()).wait().unwrap();
        announce.open();
        pass.pass();
    });
    first_gate.open();
    blocked.pass();
    second_gate.open();
    soon(second).unwrap();
    eventually("the second thread is idle", || pool.metrics().threads_idle() == 1);
    // Nobody watches the pool any more after this.
    nothing_happens();
    let end = pool.spawn(|| 42).wait_timeout(crate::support::PATIENCE / 2);
    leave.open();
    assert_eq!(end.ok().and_then(Result::ok), Some(42), "the idle thread was not woken");
    check_sound(&pool);
}

/// A thread that waits inside a callback is as blocked as any other: its token must not keep the
/// pool from growing, so that it takes the monitor's patience until the target runs.
#[test]
fn a_wait_in_a_callback_gets_a_thread_without_the_monitor() {
    let pool = pool(1, 4);
    for _ in 0..10 {
        let (gate, inner) = (Gate::new(), pool.clone());
        let busy = occupy(&pool, &gate);
        let (send, receive) = channel();
        busy.on_complete(move |_| send.send(inner.spawn(|| 42).wait()).unwrap());
        gate.open();
        assert_eq!(receive.recv_timeout(PATIENCE).unwrap().unwrap(), 42);
    }
    assert_eq!(pool.metrics().growth_steps(), 0, "a declared wait is entitled to a thread at once");
    check_sound(&pool);
}

/// A callback belongs to no task, also where the task it was registered for has been run in place
/// inside another.
#[test]
fn a_callback_of_a_task_run_in_place_is_not_part_of_the_waiter() {
    let pool = pool(1, 1);
    let (started, gate) = (Gate::new(), Gate::new());
    let (announce, pass, inner) = (started.clone(), gate.clone(), pool.clone());
    let (send, receive) = channel();
    let waiter = pool.spawn(move || {
        announce.open();
        pass.pass();
        let stranger = inner.spawn(|| ());
        stranger.on_complete(move |_| send.send(current::is_cancelled()).unwrap());
        inner.shutdown().wait();
        current::is_cancelled()
    });
    started.pass();
    waiter.cancel_handle().cancel();
    gate.open();
    assert!(!receive.recv_timeout(PATIENCE).unwrap(), "nobody has cancelled the stranger");
    assert!(soon(waiter).unwrap(), "the waiter itself is cancelled");
}

/// Each callback submits the next call.
fn relay(pool: &Pool, left: usize, done: Sender<()>) {
    let inner = pool.clone();
    pool.spawn(|| ()).on_complete(move |_| match left {
        0 => done.send(()).unwrap(),
        _ => relay(&inner, left - 1, done),
    });
}

/// trio's thread that delivers is idle already: what is submitted there starts no other.
// Origin: trio 58
#[test]
fn what_a_callback_submits_needs_no_other_thread() {
    // A thread that gets no CPU in the middle of a callback may be replaced: not in each of so many
    // attempts.
    let one_is_enough = || {
        let pool = pool(2, 8);
        let (done, end) = channel();
        relay(&pool, 100, done);
        end.recv_timeout(PATIENCE).unwrap();
        pool.metrics().threads_peak() == 1
    };
    assert!((0..50).any(|_| one_is_enough()), "each callback had another thread started");
}
