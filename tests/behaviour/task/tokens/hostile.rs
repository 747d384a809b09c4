//! Tokens in the hands of users who do odd things at odd times.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};
use std::thread;
use std::time::Duration;

use sidestep::current::HookGuard;
use sidestep::{CancelToken, UntilCancelled, current};

use super::with_token;
use crate::support::{
    Calls, Drops, Gate, PanicOnDrop, Wakes, check_sound, counter, eventually, poll, pool, quiet_panic, soon,
};

#[test]
fn panics_of_hooks_wakers_and_destructors_stop_nothing() {
    struct Panics(Drops);
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            drop(self.0.token());
            quiet_panic("a waker");
        }
    }
    let (pool, gate, drops) = (pool(1, 1), Gate::new(), Drops::new());
    for cancels in [true, false] {
        let gate = if cancels { Gate::new() } else { gate.clone() };
        let (task, token) = with_token(&pool, &gate);
        let (count, bump) = counter();
        let bomb = PanicOnDrop(drops.clone());
        let mut futures = [token.cancelled(), token.cancelled()];
        let panics = Waker::from(Arc::new(Panics(drops.clone())));
        let guards = [token.on_cancel(|| quiet_panic("a hook")), token.on_cancel(move || drop(bomb))];
        assert!(poll(&mut futures[0], &panics).is_pending());
        let last = token.on_cancel(bump);
        let wakes = Wakes::new();
        assert!(poll(&mut futures[1], &Waker::from(Arc::clone(&wakes))).is_pending());
        let before = drops.count();
        if cancels {
            token.cancel();
        }
        gate.open();
        assert_eq!(soon(task).unwrap(), cancels);
        eventually("all are reached or let go of", || {
            (drops.count(), wakes.count(), count.load(Ordering::SeqCst))
                == (before + 2, 1, usize::from(cancels))
        });
        drop((guards, last));
    }
    check_sound(&pool);
}

#[test]
fn a_hook_may_do_anything_with_its_token() {
    thread_local! { static GUARD: RefCell<Option<HookGuard>> = const { RefCell::new(None) } }
    let (pool, gate) = (pool(1, 2), Gate::new());
    let (task, token) = with_token(&pool, &gate);
    let (count, bump) = counter();
    let (inside, inner) = (token.clone(), pool.clone());
    let guard = token.on_cancel(move || {
        inside.cancel();
        drop(GUARD.take());
        drop(inside.on_cancel(bump.clone()));
        assert!(inside.is_cancelled() && inside.child().is_cancelled() && inside.cancelled().wait());
        current::attach(&inside, || assert!(current::is_cancelled()));
        let linked = inner.spawn(|| eventually("the link", current::is_cancelled));
        linked.link(&inside);
        drop(linked);
        bump();
    });
    GUARD.set(Some(guard));
    token.cancel();
    assert_eq!(count.load(Ordering::SeqCst), 2);
    gate.open();
    soon(task).unwrap();
    check_sound(&pool);
}

/// The canceller is inside a hook of the root, and comes to those of the child after it.
#[test]
fn a_hook_runs_at_once_as_soon_as_the_token_says_that_it_has_been_cancelled() {
    let root = CancelToken::new();
    let child = root.child();
    let (count, bump) = counter();
    let (inner, seen) = (child.clone(), count.clone());
    let (send, at_once) = channel();
    let guards = [root.on_cancel(move || {
        assert!(inner.is_cancelled());
        drop(inner.on_cancel(bump.clone()));
        send.send(seen.load(Ordering::SeqCst)).unwrap();
        current::attach(&inner, || drop(current::on_cancel(bump)));
        send.send(seen.load(Ordering::SeqCst)).unwrap();
    })];
    root.cancel();
    assert_eq!(at_once.try_iter().collect::<Vec<_>>(), [1, 2]);
    assert_eq!(count.load(Ordering::SeqCst), 2);
    drop((guards, child));
}

#[test]
fn a_waker_may_drop_its_own_future_and_poll_others() {
    let token = CancelToken::new();
    let calls = Calls::new();
    let future: Arc<Mutex<Option<UntilCancelled>>> = Arc::new(Mutex::new(Some(token.cancelled())));
    let other = token.cancelled();
    let (own, mut other) = (Arc::clone(&future), Some(other));
    calls.set(move || {
        drop(own.lock().unwrap().take());
        assert!(poll(other.as_mut().unwrap(), Waker::noop()).is_ready());
        drop(other.take());
    });
    assert!(poll(future.lock().unwrap().as_mut().unwrap(), &Waker::from(calls)).is_pending());
    token.cancel();
    assert!(future.lock().unwrap().is_none());
}

/// Threads that end while they are attached, or with guards and futures in their thread-local
/// variables.
#[test]
fn threads_may_end_with_whatever_they_have() {
    thread_local! {
        static LEFT: RefCell<Vec<(HookGuard, UntilCancelled, CancelToken)>> = const { RefCell::new(Vec::new()) }
    }
    let (pool, gate, drops) = (pool(1, 1), Gate::new(), Drops::new());
    let (task, token) = with_token(&pool, &gate);
    for round in 0..20 {
        let (token, held) = (token.clone(), drops.token());
        let ended = thread::spawn(move || {
            current::attach(&token, || {
                let mut future = token.child().cancelled();
                assert!(poll(&mut future, Waker::noop()).is_pending());
                let left = (current::on_cancel(move || drop(held)), future, current::token());
                LEFT.with_borrow_mut(|list| list.push(left));
                if round % 2 == 0 {
                    quiet_panic("the thread");
                }
            });
        });
        assert_eq!(ended.join().is_err(), round % 2 == 0);
        assert_eq!(drops.count(), round + 1, "the guard has gone with its thread");
    }
    token.cancel();
    gate.open();
    assert!(soon(task).unwrap());
}

/// Hooks, futures, children and links come and go on many threads while the task is cancelled or
/// ends: each hook runs once or is dropped, each wait returns.
#[test]
fn everything_at_once() {
    let pool = pool(2, 8);
    for round in 0..if cfg!(miri) { 3 } else { 150 } {
        let gate = Gate::new();
        let (task, token) = with_token(&pool, &gate);
        let (drops, ran) = (Drops::new(), Arc::new(AtomicUsize::new(0)));
        let mut registered = 0;
        thread::scope(|scope| {
            for number in 0..4 {
                registered += 40;
                let (token, drops, ran, pool) = (&token, &drops, &ran, &pool);
                scope.spawn(move || {
                    let mut kept = Vec::new();
                    for turn in 0..20 {
                        let child = token.child();
                        for token in [token, &child] {
                            let (held, ran) = (drops.token(), Arc::clone(ran));
                            kept.push(token.on_cancel(move || {
                                drop(held);
                                ran.fetch_add(1, Ordering::SeqCst);
                            }));
                        }
                        if (number + turn) % 3 == 0 {
                            drop(kept.pop());
                        }
                        let mut future = child.cancelled();
                        _ = poll(&mut future, Waker::noop());
                        let linked = pool.spawn(|| ());
                        linked.link(&child);
                        linked.detach();
                    }
                    drop(kept);
                    _ = token.cancelled().wait_timeout(Duration::ZERO);
                });
            }
            scope.spawn(|| if round % 3 > 0 { token.cancel() } else { gate.open() });
            scope.spawn(|| {
                if round % 3 == 1 {
                    gate.open()
                }
            });
        });
        gate.open();
        let has_seen = soon(task).unwrap();
        match round % 3 {
            0 => assert!(!has_seen && !token.is_cancelled()),
            // The cancellation may come when the closure has looked, and before the task has ended.
            1 => assert!(!has_seen || token.is_cancelled()),
            _ => assert!(has_seen && token.is_cancelled()),
        }
        // The thread of the task may be at the last ones, after the handle has had its result.
        eventually("the hooks are dropped", || drops.count() == registered);
        assert!(ran.load(Ordering::SeqCst) <= registered);
        assert_eq!(token.cancelled().wait(), token.is_cancelled());
    }
    check_sound(&pool);
}

#[test]
fn a_dropped_handle_leaves_its_tokens_to_others() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let (task, token) = with_token(&pool, &gate);
    let waits = token.cancelled();
    let (send, receive) = channel();
    let waiter = thread::spawn(move || send.send(waits.wait()));
    drop(task);
    assert!(receive.recv().unwrap(), "to drop the handle is to cancel");
    waiter.join().unwrap().unwrap();
    gate.open();
    let gate = Gate::new();
    let (task, token) = with_token(&pool, &gate);
    task.detach();
    assert!(!token.is_cancelled());
    token.cancel();
    gate.open();
    check_sound(&pool);
}
