//! Tokens from before a fork, in the child: they answer, and nothing hangs.
#![cfg(unix)]

use std::sync::mpsc::channel;
use std::task::{Poll, Waker};
use std::time::Duration;

use sidestep::{CancelToken, Pool, Task, current};

use crate::support::fork::in_child;
use crate::support::{Gate, PATIENCE, check_sound, poll, pool, soon};

/// A task that waits for its gate, and its token.
fn with_token(pool: &Pool, gate: &Gate) -> (Task<()>, CancelToken) {
    let (send, receive) = channel();
    let pass = gate.clone();
    let task = pool.spawn(move || {
        send.send(current::token()).unwrap();
        pass.pass();
    });
    (task, receive.recv_timeout(PATIENCE).unwrap())
}

#[test]
fn tokens_of_the_parent_answer_in_the_child() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let (task, token) = with_token(&pool, &gate);
    let (own, cancelled) = (CancelToken::new(), CancelToken::new());
    cancelled.cancel();
    let guards = [token.on_cancel(|| ()), own.on_cancel(|| ())];
    let mut futures =
        [token.cancelled(), own.cancelled(), token.child().cancelled(), own.child().cancelled()];
    assert!(futures.iter_mut().all(|future| poll(future, Waker::noop()).is_pending()));
    let status = in_child(|list| {
        list.check(!token.is_cancelled() && !own.is_cancelled() && cancelled.is_cancelled());
        list.check(cancelled.child().is_cancelled() && !own.child().is_cancelled());
        for token in [&token, &own] {
            list.check(!token.cancelled().wait() && !token.cancelled().wait_timeout(Duration::MAX));
            drop(token.on_cancel(|| panic!("there is no one to run it")));
            list.check(current::attach(token, || current::check().is_ok()));
        }
        for future in &mut futures {
            list.check(poll(future, Waker::noop()) == Poll::Pending);
        }
        own.cancel();
        list.check(own.is_cancelled() && own.cancelled().wait());
        token.cancel();
        list.check(token.is_cancelled() && token.cancelled().wait());
        drop((guards, futures, own.clone(), token.child()));
        // What is made in the child works there.
        let fresh = CancelToken::new();
        let child = fresh.child();
        let mut waits = child.cancelled();
        list.check(poll(&mut waits, Waker::noop()).is_pending());
        fresh.cancel();
        list.check(poll(&mut waits, Waker::noop()).is_ready());
    });
    assert_eq!(status, 0);
    assert!(!token.is_cancelled() && !own.is_cancelled());
    gate.open();
    soon(task).unwrap();
    check_sound(&pool);
}

/// What was cancelled before the fork stays so in the child, and what is made of it there is born
/// so.
#[test]
fn a_task_that_was_cancelled_before_the_fork_has_cancelled_children_in_the_child() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let (task, token) = with_token(&pool, &gate);
    let (before, end) = (token.child(), task.cancel());
    let status = in_child(|list| {
        list.check(token.is_cancelled() && before.is_cancelled());
        for child in [token.child(), before.child(), token.child().child()] {
            list.check(child.is_cancelled() && child.cancelled().wait());
            let mut waits = child.cancelled();
            list.check(poll(&mut waits, Waker::noop()).is_ready());
            list.check(current::attach(&child, || current::check().is_err()));
        }
    });
    assert_eq!(status, 0);
    gate.open();
    end.wait().unwrap();
    check_sound(&pool);
}

/// A task that forks goes on in both processes.
#[test]
fn a_task_that_forks_may_ask_for_its_token_in_the_child() {
    let pool = pool(1, 1);
    let task = pool.spawn(|| {
        let before = current::token();
        let status = in_child(|list| {
            let token = current::token();
            list.check(!token.is_cancelled() && !before.is_cancelled());
            list.check(current::attach(&token.child(), || !current::is_cancelled()));
            drop(current::on_cancel(|| ()));
            list.check(!token.cancelled().wait());
        });
        (status, before.is_cancelled())
    });
    assert_eq!(soon(task).unwrap(), (0, false));
    let status = soon(pool.spawn(|| in_child(|list| list.check(!current::token().is_cancelled())))).unwrap();
    assert_eq!(status, 0);
    check_sound(&pool);
}
