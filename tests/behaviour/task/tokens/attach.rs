//! `current::attach`: code on other threads belongs to a task.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::thread;

use rayon::prelude::{IntoParallelIterator, ParallelIterator};
use sidestep::{CancelToken, current};

use super::with_token;
use crate::support::{Gate, check_sound, counter, eventually, pool, quiet_panic, soon};

#[test]
fn every_question_is_answered_for_the_task() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let (task, token) = with_token(&pool, &gate);
    let (count, bump) = counter();
    let (attached, go) = (Gate::new(), Gate::new());
    let (announce, pass, of_helper) = (attached.clone(), go.clone(), token.clone());
    let helper = thread::spawn(move || {
        current::attach(&of_helper, || {
            assert!(!current::is_cancelled() && current::check().is_ok());
            let guard = current::on_cancel(bump);
            announce.open();
            pass.pass();
            assert!(current::is_cancelled() && current::check().is_err());
            assert!(current::token().is_cancelled());
            drop(guard);
        });
        assert!(!current::is_cancelled() && !current::token().is_cancelled(), "it is over");
    });
    attached.pass();
    token.cancel();
    assert_eq!(count.load(Ordering::SeqCst), 1);
    go.open();
    helper.join().unwrap();
    gate.open();
    soon(task).unwrap();
}

#[test]
fn attachments_nest_in_any_order_and_end_with_their_calls() {
    let (first, second) = (CancelToken::new(), CancelToken::new());
    first.cancel();
    current::attach(&first, || {
        assert!(current::is_cancelled());
        current::attach(&second, || {
            assert!(!current::is_cancelled());
            current::attach(&first, || assert!(current::is_cancelled()));
            current::attach(&CancelToken::never(), || assert!(!current::is_cancelled()));
            let token = current::token();
            second.cancel();
            assert!(token.is_cancelled());
        });
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            current::attach(&CancelToken::never(), || quiet_panic("attached code"));
        }));
        assert!(unwound.is_err());
        assert!(current::is_cancelled(), "a panic ends it too");
    });
    assert!(!current::is_cancelled());
}

#[test]
fn inside_of_a_task_the_innermost_counts_and_the_task_comes_back() {
    let pool = pool(1, 1);
    let other = CancelToken::new();
    other.cancel();
    let task = pool.spawn(move || {
        let own = current::token();
        current::attach(&other, || {
            assert!(current::is_cancelled());
            current::attach(&own, || assert!(!current::is_cancelled()));
        });
        assert!(!current::is_cancelled());
        own.cancel();
        current::attach(&CancelToken::never(), || assert!(!current::is_cancelled()));
        current::is_cancelled()
    });
    assert!(soon(task).unwrap());
}

/// A hook that attached code forgets is over with the task; the closure's own end waits for none.
#[test]
fn a_forgotten_hook_of_attached_code_ends_with_the_task() {
    let pool = pool(1, 1);
    let drops = crate::support::Drops::new();
    let held = drops.token();
    let task = pool.spawn(move || {
        let token = current::token();
        thread::scope(|scope| {
            scope.spawn(|| {
                current::attach(&token, || std::mem::forget(current::on_cancel(move || drop(held))));
            });
        });
    });
    soon(task).unwrap();
    eventually("it is dropped", || drops.count() == 1);
}

#[test]
fn a_scope_of_attached_code_is_cancelled_with_the_task() {
    let pool = pool(2, 4);
    for is_child in [false, true] {
        let gate = Gate::new();
        let (task, token) = with_token(&pool, &gate);
        let token = if is_child { token.child() } else { token };
        let started = Gate::new();
        let (announce, inner) = (started.clone(), pool.clone());
        let helper = thread::spawn(move || {
            current::attach(&token, || {
                inner.scope(|scope| {
                    scope.spawn(|| {
                        announce.open();
                        eventually("the cancellation arrives", current::is_cancelled);
                    });
                });
            });
        });
        started.pass();
        task.cancel_handle().cancel();
        helper.join().unwrap();
        gate.open();
        soon(task).unwrap();
    }
    check_sound(&pool);
}

#[test]
fn an_attached_thread_is_not_inside_of_the_task() {
    let (pool, gate) = (pool(1, 2), Gate::new());
    let (task, token) = with_token(&pool, &gate);
    let waits = thread::spawn(move || current::attach(&token, || task.wait()));
    gate.open();
    assert!(!waits.join().unwrap().unwrap(), "the wait for it is no deadlock");

    let (task, token) = with_token(&pool, &gate);
    let inner = pool.clone();
    let ended = thread::spawn(move || current::attach(&token, || inner.shutdown().wait()));
    soon(task).unwrap();
    assert_eq!(ended.join().unwrap().still_running, 0);
}

#[test]
fn rayon_stops_when_the_task_is_cancelled() {
    let pool = pool(1, 2);
    let (started, announce) = channel();
    let task = pool.spawn(move || {
        let token = current::token();
        let cancelled = (0..8).into_par_iter().map(|number| {
            current::attach(&token, || {
                started.send(number).unwrap();
                eventually("the cancellation arrives", current::is_cancelled);
                current::check()
            })
        });
        cancelled.filter(Result::is_err).count()
    });
    announce.recv().unwrap();
    let handle = task.cancel_handle();
    handle.cancel();
    assert_eq!(soon(task).unwrap(), 8);
    assert!(!rayon::broadcast(|_| current::is_cancelled()).contains(&true), "nothing is left there");
}

/// A library with C's means: a callback, and a pointer for it.
extern "C" fn call_thrice(callback: extern "C" fn(*mut c_void) -> i32, data: *mut c_void) -> i32 {
    (0..3).map(|_| callback(data)).sum()
}

extern "C" fn is_cancelled(data: *mut c_void) -> i32 {
    // SAFETY: `data` is the token that the caller of `call_thrice` has.
    let token = unsafe { &*data.cast_const().cast::<CancelToken>() };
    i32::from(current::attach(token, current::is_cancelled))
}

#[test]
fn a_callback_of_c_asks_for_the_task() {
    let pool = pool(1, 1);
    let task = pool.spawn(|| {
        let token = current::token();
        let call = |token: &CancelToken| {
            let data = (&raw const *token).cast_mut().cast::<c_void>();
            call_thrice(is_cancelled, data)
        };
        let before = thread::scope(|scope| scope.spawn(|| call(&token)).join().unwrap());
        token.cancel();
        (before, thread::scope(|scope| scope.spawn(|| call(&token)).join().unwrap()))
    });
    assert_eq!(soon(task).unwrap(), (0, 3));
}

#[test]
fn what_is_about_the_thread_stays_the_threads() {
    let pool = pool(1, 1);
    let token = CancelToken::new();
    let first = soon(pool.spawn(move || {
        current::attach(&token, || {
            current::will_block(|| ());
            current::retire_thread();
        });
        thread::current().id()
    }));
    let second = soon(pool.spawn(|| thread::current().id()));
    assert_ne!(first.unwrap(), second.unwrap());
    check_sound(&pool);
}
