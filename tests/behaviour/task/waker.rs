//! Whose waker is woken, how often, and that wakers are foreign code.

use std::sync::Arc;
use std::task::{Poll, Wake, Waker};

use sidestep::{Pool, Task};

use crate::support::{
    Drops, Gate, Wakes, check_sound, eventually, nothing_happens, occupy, poll, pool, quiet_panic, soon,
};

/// A task that runs until the gate opens, polled once with `waker`.
fn pending(pool: &Pool, gate: &Gate, waker: &Waker) -> Task<()> {
    let mut task = occupy(pool, gate);
    assert!(poll(&mut task, waker).is_pending());
    task
}

#[test]
fn the_end_wakes_exactly_once() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let wakes = Wakes::new();
    let waker = Waker::from(Arc::clone(&wakes));
    let mut task = pending(&pool, &gate, &waker);
    for _ in 0..100 {
        assert!(poll(&mut task, &waker).is_pending(), "a spurious poll changes nothing");
    }
    nothing_happens();
    assert_eq!(wakes.count(), 0);
    gate.open();
    eventually("it wakes", || wakes.count() > 0);
    check_sound(&pool);
    assert_eq!(wakes.count(), 1);
    assert!(matches!(poll(&mut task, &waker), Poll::Ready(Ok(()))));
    drop(task);
    assert_eq!(wakes.count(), 1);
    drop(waker);
    assert_eq!(Arc::strong_count(&wakes), 1, "no waker is left behind");
}

#[test]
fn only_the_last_waker_is_woken() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let (old, new) = (Wakes::new(), Wakes::new());
    let mut task = pending(&pool, &gate, &Waker::from(Arc::clone(&old)));
    assert!(poll(&mut task, &Waker::from(Arc::clone(&new))).is_pending());
    assert_eq!(Arc::strong_count(&old), 1, "the replaced waker is dropped");
    gate.open();
    eventually("it wakes", || new.count() > 0);
    check_sound(&pool);
    assert_eq!((old.count(), new.count()), (0, 1));
}

#[test]
fn a_task_that_has_ended_is_ready_without_a_wake() {
    let pool = pool(1, 1);
    let mut task = pool.spawn(|| 42);
    eventually("it ends", || task.is_finished());
    let wakes = Wakes::new();
    assert!(matches!(poll(&mut task, &Waker::from(Arc::clone(&wakes))), Poll::Ready(Ok(42))));
    assert_eq!((wakes.count(), Arc::strong_count(&wakes)), (0, 1));
}

#[test]
fn dropping_a_handle_wakes_nobody_and_drops_the_waker() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let wakes = Wakes::new();
    let waker = Waker::from(Arc::clone(&wakes));
    let running = pending(&pool, &gate, &waker);
    let mut queued = pool.spawn(|| ());
    assert!(poll(&mut queued, &waker).is_pending());
    drop((running, queued, waker));
    assert_eq!(Arc::strong_count(&wakes), 1);
    gate.open();
    check_sound(&pool);
    assert_eq!(wakes.count(), 0);
}

/// A waker that does what no waker should.
struct Nasty {
    on_wake: Box<dyn Fn() + Send + Sync>,
    drops: Drops,
    panic_on_drop: bool,
}

impl Wake for Nasty {
    fn wake(self: Arc<Self>) {
        (self.on_wake)();
    }
}

impl Drop for Nasty {
    fn drop(&mut self) {
        drop(self.drops.token());
        if self.panic_on_drop && !std::thread::panicking() {
            quiet_panic("the destructor of a waker");
        }
    }
}

#[test]
fn a_waker_that_panics_when_woken_harms_nobody() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let drops = Drops::new();
    let nasty =
        Nasty { on_wake: Box::new(|| quiet_panic("a waker")), drops: drops.clone(), panic_on_drop: false };
    let task = pending(&pool, &gate, &Waker::from(Arc::new(nasty)));
    let mut panics = pool.spawn(|| quiet_panic("a closure"));
    let nasty =
        Nasty { on_wake: Box::new(|| quiet_panic("a waker")), drops: drops.clone(), panic_on_drop: false };
    assert!(poll(&mut panics, &Waker::from(Arc::new(nasty))).is_pending());
    gate.open();
    eventually("both wakers are gone", || drops.count() == 2);
    soon(task).unwrap();
    assert!(soon(panics).unwrap_err().is_panic());
    check_sound(&pool);
}

#[test]
fn a_waker_that_panics_when_dropped_harms_nobody() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let drops = Drops::new();
    let nasty = || {
        let on_wake = Box::new(|| ());
        Waker::from(Arc::new(Nasty { on_wake, drops: drops.clone(), panic_on_drop: true }))
    };
    // One is dropped by the worker that wakes it, one by the handle, one by the canceller.
    let waker = nasty();
    let woken = pending(&pool, &gate, &waker);
    std::mem::forget(waker.clone());
    drop(waker);
    let mut cancelled = pool.spawn(|| ());
    poll_and_leave(&mut cancelled, nasty());
    cancelled.cancel_handle().cancel();
    assert!(soon(cancelled).unwrap_err().is_cancelled());
    let mut dropped = pool.spawn(|| ());
    poll_and_leave(&mut dropped, nasty());
    drop(dropped);
    gate.open();
    soon(woken).unwrap();
    check_sound(&pool);
    assert_eq!(drops.count(), 2);
}

/// Leaves the last reference to `waker` with the task.
fn poll_and_leave<T>(task: &mut Task<T>, waker: Waker) {
    assert!(poll(task, &waker).is_pending());
    drop(waker);
}

#[test]
fn a_waker_that_blocks_keeps_no_other_task_from_running() {
    for max in [2, 8] {
        let pool = pool(1, max);
        let (gate, woken, leave) = (Gate::new(), Gate::new(), Gate::new());
        let (announce, pass) = (woken.clone(), leave.clone());
        let on_wake = Box::new(move || {
            announce.open();
            pass.pass();
        });
        let nasty = Nasty { on_wake, drops: Drops::new(), panic_on_drop: false };
        let task = pending(&pool, &gate, &Waker::from(Arc::new(nasty)));
        gate.open();
        woken.pass();
        let end = pool.spawn(|| 42).wait_timeout(crate::support::PATIENCE / 2);
        leave.open();
        assert_eq!(end.ok().and_then(Result::ok), Some(42), "max_threads = {max}");
        soon(task).unwrap();
        check_sound(&pool);
    }
}

#[test]
fn a_waker_may_use_the_pool() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let inner = pool.clone();
    let (send, receive) = std::sync::mpsc::channel();
    let on_wake = Box::new(move || {
        let _ = inner.metrics();
        send.send(inner.spawn(|| 42).wait().unwrap()).unwrap();
    });
    let nasty = Nasty { on_wake, drops: Drops::new(), panic_on_drop: false };
    let task = pending(&pool, &gate, &Waker::from(Arc::new(nasty)));
    gate.open();
    assert_eq!(receive.recv_timeout(crate::support::PATIENCE), Ok(42));
    soon(task).unwrap();
    check_sound(&pool);
}
