//! What the suites of other systems check about interruption, and about waits that something else
//! cuts short. By the numbers of `docs/TESTING.md`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use sidestep::{Task, TaskError, current};

use crate::support::{
    Gate, PATIENCE, Wakes, all_well, check_sound, counter, eventually, nothing_happens, occupy, occupy_lane,
    poll, pool, soon,
};

/// Kotlin: what interrupts a task is over with it. The only thread runs both.
#[test]
fn case_17_and_26_a_cancelled_body_is_interrupted_and_the_next_one_knows_nothing_of_it() {
    let pool = pool(1, 1);
    let (hooks, hook) = counter();
    for _ in 0..100 {
        let (started, gate) = (Gate::new(), Gate::new());
        let (announce, pass, open) = (started.clone(), gate.clone(), gate);
        let task = pool.spawn(move || {
            let _guard = current::on_cancel(move || open.open());
            announce.open();
            pass.pass();
            current::is_cancelled()
        });
        started.pass();
        assert!(task.cancel().wait().unwrap(), "it was interrupted, and knew");
        let hook = hook.clone();
        let next = pool.spawn(move || {
            drop(current::on_cancel(hook));
            (current::is_cancelled(), current::check())
        });
        assert_eq!(soon(next).unwrap(), (false, Ok(())));
    }
    assert_eq!(hooks.load(Ordering::SeqCst), 0);
    check_sound(&pool);
}

/// Java: an immediate shutdown while others are in the middle of a join.
#[test]
fn case_41_everybody_who_waits_is_told_of_a_shutdown_that_discards() {
    let pool = pool(2, 2);
    let (lane, gate) = (pool.lane("one", 1), Gate::new());
    let holder = occupy_lane(&lane, &gate);
    let in_lane = lane.spawn(|| ());
    let inside = pool.spawn(move || in_lane.wait());
    eventually("it waits on a thread of the pool", || pool.metrics().threads_blocked() == 1);
    let plain: Vec<_> = (0..3)
        .map(|_| {
            let queued = pool.spawn(|| ());
            thread::spawn(move || soon(queued))
        })
        .collect();
    let wakes = Wakes::new();
    let waker = Waker::from(Arc::clone(&wakes));
    let mut awaited = pool.spawn(|| ());
    assert!(poll(&mut awaited, &waker).is_pending());
    nothing_happens();
    assert!(!inside.is_finished() && plain.iter().all(|thread| !thread.is_finished()));

    let shutdown = pool.shutdown().discard_queued();
    assert_eq!(wakes.count(), 1);
    let Poll::Ready(Err(error)) = poll(&mut awaited, &waker) else { panic!("it has ended") };
    assert!(error.is_shutdown(), "{error}");
    for thread in plain {
        assert!(thread.join().unwrap().unwrap_err().is_shutdown());
    }
    assert!(soon(inside).unwrap().unwrap_err().is_shutdown(), "while the slot is still held");
    gate.open();
    all_well([holder]);
    let report = shutdown.timeout(PATIENCE).wait();
    assert_eq!((report.discarded, report.still_running), (5, 0));
}

/// Waits in short steps, with a token of this thread that is not for the wait; gives it back to the
/// thread.
fn wait_in_steps(mut task: Task<u32>, step: Duration) -> Result<u32, TaskError> {
    thread::current().unpark();
    let end = loop {
        match task.wait_timeout(step) {
            Ok(end) => break end,
            Err(same) => task = same,
        }
    };
    let begun = Instant::now();
    thread::park_timeout(PATIENCE);
    assert!(begun.elapsed() < PATIENCE / 2, "the wait has taken the thread's token");
    end
}

/// Java: a timed wait races with an interruption. Here those are the end, a cancellation, and a
/// thread's own wake-up.
#[test]
fn case_46_a_timed_wait_loses_neither_the_end_nor_the_wake_up_of_its_thread() {
    let pool = pool(1, 1);
    for round in 0..300 {
        let gate = Gate::new();
        let running = occupy(&pool, &gate);
        let task = pool.spawn(|| 7);
        let handle = task.cancel_handle();
        let step = Duration::from_micros(round % 50);
        let waiter = thread::spawn(move || wait_in_steps(task, step));
        (0..round % 16).for_each(|_| thread::yield_now());
        if round % 2 == 0 {
            handle.cancel();
            assert!(waiter.join().unwrap().unwrap_err().is_cancelled());
            gate.open();
        } else {
            gate.open();
            assert_eq!(waiter.join().unwrap().unwrap(), 7);
        }
        soon(running).unwrap();
    }
    check_sound(&pool);
}
