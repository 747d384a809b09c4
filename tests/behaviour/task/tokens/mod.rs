//! `CancelToken`: asked, waited for and cancelled by any thread, before and after the end of its
//! task.

mod attach;
mod children;
mod hostile;
mod links;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use sidestep::{CancelToken, Pool, Task, current};

use crate::support::{
    Drops, Gate, PATIENCE, Wakes, check_sound, counter, eventually, nothing_happens, poll, pool, soon,
};

/// A task that hands its token out and runs until `gate` opens; it returns whether it has been
/// cancelled by then.
fn with_token(pool: &Pool, gate: &Gate) -> (Task<bool>, CancelToken) {
    let (send, receive) = channel();
    let pass = gate.clone();
    let task = pool.spawn(move || {
        send.send(current::token()).unwrap();
        pass.pass();
        current::is_cancelled()
    });
    (task, receive.recv_timeout(PATIENCE).unwrap())
}

#[test]
fn a_token_answers_on_any_thread() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let (task, token) = with_token(&pool, &gate);
    let clone = token.clone();
    let answer = move || (clone.is_cancelled(), clone.check().is_err());
    assert_eq!(thread::spawn(answer.clone()).join().unwrap(), (false, false));
    let end = task.cancel();
    assert_eq!(thread::spawn(answer).join().unwrap(), (true, true));
    gate.open();
    assert!(end.wait().unwrap());
    assert!(token.is_cancelled(), "for ever");
    check_sound(&pool);
}

#[test]
fn a_token_cancels_its_task_as_a_handle_does() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let (task, token) = with_token(&pool, &gate);
    let (count, bump) = counter();
    let _guard = token.on_cancel(bump);
    token.cancel();
    token.clone().cancel();
    assert_eq!(count.load(Ordering::SeqCst), 1);
    gate.open();
    assert!(soon(task).unwrap());
}

#[test]
fn outside_of_a_task_a_token_is_never_cancelled() {
    for token in [current::token(), CancelToken::never()] {
        token.cancel();
        let guard = token.on_cancel(|| panic!("it cannot be cancelled"));
        assert!(!token.is_cancelled() && token.check().is_ok());
        assert!(!token.cancelled().wait() && !token.cancelled().wait_timeout(Duration::MAX));
        assert!(poll(&mut token.cancelled(), Waker::noop()).is_pending());
        drop(guard);
    }
}

#[test]
fn a_token_of_the_program_is_cancelled_through_any_clone() {
    let token = CancelToken::default();
    let (first, second) = (token.clone(), CancelToken::new());
    let (count, bump) = counter();
    let _guard = token.on_cancel(bump);
    thread::spawn(move || first.cancel()).join().unwrap();
    assert!(token.is_cancelled() && !second.is_cancelled());
    assert_eq!(count.load(Ordering::SeqCst), 1);
    let shown = format!("{token:?}");
    assert!(shown.starts_with("CancelToken { is_cancelled: true"), "{shown}");
}

#[test]
fn a_hook_of_another_thread_runs_once_on_the_canceller_or_at_once() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let (task, token) = with_token(&pool, &gate);
    let (send, ran_on) = channel();
    let (registered, go) = (Gate::new(), Gate::new());
    let (announce, pass, late) = (registered.clone(), go.clone(), token.clone());
    let helper = thread::spawn(move || {
        let report = send.clone();
        let guard = late.on_cancel(move || report.send(thread::current().id()).unwrap());
        announce.open();
        pass.pass();
        drop(guard);
        drop(late.on_cancel(move || send.send(thread::current().id()).unwrap()));
        thread::current().id()
    });
    registered.pass();
    token.cancel();
    assert_eq!(ran_on.try_recv(), Ok(thread::current().id()), "inside the call");
    go.open();
    let helper = helper.join().unwrap();
    assert_eq!(ran_on.iter().collect::<Vec<_>>(), [helper], "the second at once");
    gate.open();
    soon(task).unwrap();
}

#[test]
fn a_guard_of_another_thread_waits_for_its_hook_and_the_end_of_the_task_does_not() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let (task, token) = with_token(&pool, &gate);
    let (in_hook, leave_hook, gone) = (Gate::new(), Gate::new(), Gate::new());
    let (entered, leave, mark) = (in_hook.clone(), leave_hook.clone(), gone.clone());
    let (registered, wait_for_hook) = (Gate::new(), in_hook.clone());
    let (announce, of_helper) = (registered.clone(), token.clone());
    let helper = thread::spawn(move || {
        let guard = of_helper.on_cancel(move || {
            entered.open();
            leave.pass();
        });
        announce.open();
        wait_for_hook.pass();
        drop(guard);
        mark.open();
    });
    registered.pass();
    let canceller = thread::spawn(move || token.cancel());
    in_hook.pass();
    gate.open();
    assert!(soon(task).unwrap(), "the hook is not the closure's");
    nothing_happens();
    assert!(!gone.is_open());
    leave_hook.open();
    helper.join().unwrap();
    canceller.join().unwrap();
}

#[test]
fn a_future_is_woken_by_the_cancellation_with_the_last_waker() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let (task, token) = with_token(&pool, &gate);
    let (old, new, gone) = (Wakes::new(), Wakes::new(), Wakes::new());
    let mut future = token.cancelled();
    assert!(poll(&mut future, &Waker::from(Arc::clone(&old))).is_pending());
    let mut moved = Box::new(future);
    assert!(poll(&mut *moved, &Waker::from(Arc::clone(&new))).is_pending());
    assert_eq!(Arc::strong_count(&old), 1, "the first waker has been let go of");
    let mut dropped = token.cancelled();
    assert!(poll(&mut dropped, &Waker::from(Arc::clone(&gone))).is_pending());
    drop(dropped);
    assert_eq!(Arc::strong_count(&gone), 1, "with its future");
    drop(task.cancel());
    assert_eq!((old.count(), new.count(), gone.count()), (0, 1, 0));
    assert_eq!(poll(&mut *moved, Waker::noop()), Poll::Ready(()));
    assert_eq!(poll(&mut token.cancelled(), Waker::noop()), Poll::Ready(()), "at once");
    gate.open();
}

#[test]
fn a_future_works_under_an_executor_that_polls_only_what_was_woken() {
    let token = CancelToken::new();
    let (waits, started) = (token.cancelled(), Gate::new());
    let (announce, cancels) = (started.clone(), token.clone());
    let canceller = thread::spawn(move || {
        announce.pass();
        cancels.cancel();
    });
    sidestep::block_on(async {
        started.open();
        waits.await;
    });
    canceller.join().unwrap();
}

#[test]
fn a_blocked_wait_ends_with_the_cancellation_with_the_task_or_with_its_time() {
    for cancels in [true, false] {
        let (pool, gate) = (pool(1, 1), Gate::new());
        let (task, token) = with_token(&pool, &gate);
        assert!(!token.cancelled().wait_timeout(Duration::from_millis(1)));
        assert!(!token.cancelled().wait_timeout(Duration::ZERO));
        let waiters: Vec<_> =
            (0..4)
                .map(|number| {
                    let waits = token.cancelled();
                    thread::spawn(move || {
                        if number % 2 == 0 { waits.wait() } else { waits.wait_timeout(Duration::MAX) }
                    })
                })
                .collect();
        if cancels {
            token.cancel();
        }
        gate.open();
        soon(task).unwrap();
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), cancels);
        }
        assert_eq!(token.cancelled().wait(), cancels);
    }
}

/// A hook, a future and a token that the task has left behind when it ends.
#[test]
fn what_has_ended_is_never_cancelled_and_lets_go_of_everything() {
    let (pool, gate, drops, wakes) = (pool(1, 1), Gate::new(), Drops::new(), Wakes::new());
    let (task, token) = with_token(&pool, &gate);
    let held = drops.token();
    let guard = token.on_cancel(move || drop(held));
    let mut future = token.cancelled();
    assert!(poll(&mut future, &Waker::from(Arc::clone(&wakes))).is_pending());
    let cancels = task.cancel_handle();
    gate.open();
    assert!(!soon(task).unwrap());
    eventually("the hook is dropped and the future's waker called", || {
        (drops.count(), Arc::strong_count(&wakes)) == (1, 1)
    });
    cancels.cancel();
    token.cancel();
    assert!(!token.is_cancelled());
    assert!(poll(&mut future, &Waker::from(Arc::clone(&wakes))).is_pending());
    assert_eq!(Arc::strong_count(&wakes), 1, "nothing will call it");
    let late = drops.token();
    let _never = token.on_cancel(move || drop(late));
    assert_eq!(drops.count(), 2, "at once");
    drop(guard);
}

#[test]
fn a_token_outlives_its_task_and_its_pool() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let (task, token) = with_token(&pool, &gate);
    let child = token.child();
    gate.open();
    soon(task).unwrap();
    pool.shutdown().wait();
    drop(pool);
    assert!(!token.is_cancelled() && !child.is_cancelled());
    child.cancel();
    let ran = current::attach(&token, || current::check().is_ok());
    assert!(ran && child.is_cancelled() && !token.is_cancelled());
    drop(token.child());
}

#[test]
fn a_token_returned_by_its_own_task_is_no_trouble() {
    let pool = pool(1, 1);
    let token = soon(pool.spawn(current::token)).unwrap();
    assert!(!token.cancelled().wait());
    pool.spawn(current::token).detach();
    drop(pool.spawn(|| (current::token().child(), current::token().cancelled())));
    check_sound(&pool);
}

#[test]
fn a_panic_ends_a_task_with_tokens_as_a_return_does() {
    let pool = pool(1, 1);
    let (send, receive) = channel();
    let task = pool.spawn(move || {
        send.send(current::token()).unwrap();
        crate::support::quiet_panic("the closure");
    });
    let token = receive.recv_timeout(PATIENCE).unwrap();
    let waits = token.cancelled();
    assert!(soon::<()>(task).unwrap_err().is_panic());
    assert!(!waits.wait());
    check_sound(&pool);
}
