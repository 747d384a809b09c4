//! The end of a task: what has been dropped by then, what is told of it, and what it leaves behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

use sidestep::{Pool, Task, TaskError, current};

use crate::support::{
    Calls, DropToken, Drops, Gate, PATIENCE, all_well, check_sound, occupy, poll, pool, quiet_panic, soon,
};

/// A spurious wake-up eats a notification: tokio. A wait neither needs nor takes the thread's own
/// token.
// Origin: pitfall 12
#[test]
fn a_wait_and_the_tokens_of_its_thread_do_not_mix() {
    let pool = pool(1, 1);
    for _ in 0..20 {
        let gate = Gate::new();
        let running = occupy(&pool, &gate);
        let waiter = thread::spawn(move || {
            thread::current().unpark();
            running.wait().unwrap();
            let begin = Instant::now();
            thread::park_timeout(PATIENCE);
            begin.elapsed()
        });
        for _ in 0..100 {
            waiter.thread().unpark();
        }
        gate.open();
        assert!(waiter.join().unwrap() < PATIENCE / 2, "the wait has taken a token that was not its own");
    }
    check_sound(&pool);
}

/// The receiver goes while the sender sends: futures-rs, kanal. The value must be dropped once, by
/// one of them.
// Origin: pitfall 17
#[test]
fn a_handle_dropped_during_the_send_drops_the_value_once() {
    const MANY: usize = 20_000;
    let pool = pool(1, 1);
    let (made, drops) = (Arc::new(AtomicUsize::new(0)), Drops::new());
    for _ in 0..MANY {
        let started = Arc::new(AtomicUsize::new(0));
        let (mark, made, results) = (Arc::clone(&started), Arc::clone(&made), drops.clone());
        let task = pool.spawn(move || {
            mark.store(1, Ordering::SeqCst);
            made.fetch_add(1, Ordering::SeqCst);
            results.token()
        });
        while started.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
        drop(task);
    }
    check_sound(&pool);
    assert_eq!(made.load(Ordering::SeqCst), MANY);
    assert_eq!(drops.count(), MANY);
}

/// A timeout is added to a clock and runs over: tokio.
// Origin: pitfall 24
#[test]
fn no_duration_is_too_long() {
    for longest in [Duration::MAX, Duration::MAX - Duration::from_nanos(1), Duration::from_secs(u64::MAX / 2)]
    {
        let pool = Pool::builder().core_threads(1).max_threads(2).keep_alive(longest).build().unwrap();
        let gate = Gate::new();
        let running = [occupy(&pool, &gate), occupy(&pool, &gate)];
        let opener = {
            let gate = gate.clone();
            thread::spawn(move || gate.open())
        };
        for task in running {
            assert!(task.wait_timeout(longest).is_ok());
        }
        opener.join().unwrap();
        assert_eq!(pool.shutdown().timeout(longest).wait().still_running, 0);
        assert_eq!(sidestep::block_on(pool.shutdown().timeout(longest)).still_running, 0);
    }
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
// Origin: Java 46
#[test]
fn a_timed_wait_loses_neither_the_end_nor_the_wake_up_of_its_thread() {
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

/// A closure that has captured `token` and does nothing with it.
fn holding(token: DropToken) -> impl FnOnce() + Send + 'static {
    move || {
        let _held = &token;
    }
}

/// trio drops a function before it delivers what that has returned.
// Origin: trio 57
#[test]
fn what_a_closure_has_captured_is_gone_before_its_end_is_told() {
    let pool = pool(1, 1);
    let (gate, drops) = (Gate::new(), [Drops::new(), Drops::new(), Drops::new()]);
    let running = occupy(&pool, &gate);
    let (send, receive) = channel();
    let tell = |drops: &Drops| {
        let (send, drops) = (send.clone(), drops.clone());
        move || send.send(drops.count()).unwrap()
    };
    let callback = tell(&drops[0]);
    pool.spawn(holding(drops[0].token())).on_complete(move |_| callback());
    let (mut polled, waker) = (pool.spawn(holding(drops[1].token())), Calls::new());
    waker.set(tell(&drops[1]));
    assert!(poll(&mut polled, &Waker::from(waker)).is_pending());
    let waited = pool.spawn(holding(drops[2].token()));
    gate.open();
    all_well([running, waited]);
    assert_eq!(drops[2].count(), 1, "seen by the one who has waited");
    let seen = [receive.recv_timeout(PATIENCE), receive.recv_timeout(PATIENCE)];
    assert_eq!(seen, [Ok(1), Ok(1)], "seen by the callback and by the waker");
    soon(polled).unwrap();
}

/// anyio looks for references that a finished call leaves behind: in its thread, in its handles.
// Origin: anyio 73
#[test]
fn what_is_left_of_a_task_keeps_neither_its_closure_nor_its_result() {
    let pool = pool(1, 1);
    for panics in [false, true] {
        let (captured, results) = (Drops::new(), Drops::new());
        let (held, result) = (captured.token(), results.token());
        let task = pool.spawn(move || {
            let _held = &held;
            if panics { quiet_panic(result) } else { result }
        });
        let handle = task.cancel_handle();
        let end = soon(task);
        assert_eq!((captured.count(), results.count()), (1, 0));
        assert_eq!(end.is_err(), panics);
        drop(end);
        assert_eq!(results.count(), 1, "neither the thread nor the handle for cancelling keeps it");
        handle.cancel();
    }
    check_sound(&pool);
}

/// cats-effect's dispatcher goes on while somebody who cancels is held up by what the cancelled one
/// has to clean up.
// Origin: cats-effect 108
#[test]
fn a_cancellation_that_takes_its_time_holds_up_only_its_own_thread() {
    let pool = pool(2, 3);
    let (ready, hooked, gate) = (Gate::new(), Gate::new(), Gate::new());
    let (announce, begun, slow, pass) = (ready.clone(), hooked.clone(), gate.clone(), gate.clone());
    let victim = pool.spawn(move || {
        let _guard = current::on_cancel(move || {
            begun.open();
            slow.pass();
        });
        announce.open();
        pass.pass();
    });
    ready.pass();
    let handle = victim.cancel_handle();
    let canceller = pool.spawn(move || handle.cancel());
    hooked.pass();
    for number in 0..100 {
        assert_eq!(soon(pool.spawn(move || number)).unwrap(), number);
    }
    victim.cancel_handle().cancel();
    assert!(!canceller.is_finished(), "it is still in the hook");
    gate.open();
    all_well([victim, canceller]);
    check_sound(&pool);
}
