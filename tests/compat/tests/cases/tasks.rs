//! `unblock` and its `Task`.

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use futures_lite::future::{block_on, poll_once};

use super::support::{Drops, Gate, eventually, panic_of};
use crate::subject::{Task, unblock};

#[test]
fn the_awaiter_is_not_blocked_and_gets_the_result() {
    let gate = Gate::new();
    let behind = gate.clone();
    let mut task = unblock(move || {
        behind.pass();
        6 * 7
    });
    block_on(async {
        assert_eq!(poll_once(&mut task).await, None);
        gate.open();
        assert_eq!(task.await, 42);
    });
}

#[test]
fn the_closure_runs_on_another_thread() {
    assert_ne!(block_on(unblock(|| thread::current().id())), thread::current().id());
}

#[test]
fn it_begins_without_being_polled() {
    let began = Gate::new();
    let opens = began.clone();
    let task = unblock(move || opens.open());
    began.pass();
    block_on(task);
}

#[test]
fn each_of_many_gets_its_own_result() {
    let tasks: Vec<_> = (0..5_000).map(|number| unblock(move || number)).collect();
    block_on(async {
        for (number, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await, number);
        }
    });
}

#[test]
fn closures_that_wait_for_each_other_all_get_a_thread() {
    let barrier = Arc::new(Barrier::new(16));
    let tasks = (0..16).map(|_| {
        let barrier = Arc::clone(&barrier);
        unblock(move || barrier.wait().is_leader())
    });
    let tasks: Vec<_> = tasks.collect();
    let leaders = tasks.into_iter().map(block_on).filter(|leads| *leads).count();
    assert_eq!(leaders, 1);
}

#[test]
fn a_closure_may_wait_for_another() {
    assert_eq!(block_on(unblock(|| block_on(unblock(|| 6)) * 7)), 42);
}

#[test]
fn a_panic_resumes_where_the_task_is_awaited() {
    assert_eq!(panic_of(unblock(|| panic!("no such drive"))), "no such drive");
    assert_eq!(panic_of(unblock(|| panic!("drive {}", 7)).fallible()), "drive 7");
}

#[test]
fn panics_cost_no_threads() {
    let tasks: Vec<_> = (0..600).map(|_| unblock(|| panic!("again"))).collect();
    for task in tasks {
        assert_eq!(panic_of(task), "again");
    }
    unblock(|| panic!("unseen")).detach();
    assert_eq!(block_on(unblock(|| 42)), 42);
}

#[test]
fn a_detached_task_runs_to_its_end() {
    let (gate, ended, results) = (Gate::new(), Gate::new(), Drops::new());
    let (behind, opens, result) = (gate.clone(), ended.clone(), results.token());
    unblock(move || {
        behind.pass();
        opens.open();
        result
    })
    .detach();
    gate.open();
    ended.pass();
    eventually(|| results.count() == 1);
}

#[test]
fn a_closure_that_runs_is_not_stopped_by_dropping_its_handle() {
    let (began, gate, results) = (Gate::new(), Gate::new(), Drops::new());
    let (begins, behind, result) = (began.clone(), gate.clone(), results.token());
    let task = unblock(move || {
        begins.open();
        behind.pass();
        result
    });
    began.pass();
    drop(task);
    assert_eq!(results.count(), 0);
    gate.open();
    eventually(|| results.count() == 1);
}

#[test]
fn a_result_that_nobody_takes_is_dropped_with_the_handle() {
    let results = Drops::new();
    let result = results.token();
    let task = unblock(move || result);
    eventually(|| task.is_finished());
    assert_eq!(results.count(), 0);
    drop(task);
    assert_eq!(results.count(), 1);
}

#[test]
fn cancelling_what_has_ended_gives_its_value() {
    let task = unblock(|| 42);
    eventually(|| task.is_finished());
    assert_eq!(block_on(task.cancel()), Some(42));

    let task = unblock(|| 42).fallible();
    eventually(|| task.is_finished());
    assert_eq!(block_on(task.cancel()), Some(42));

    let task = unblock(|| panic!("before that"));
    eventually(|| task.is_finished());
    assert_eq!(panic_of(task.cancel()), "before that");
}

#[test]
fn cancelling_waits_for_a_closure_that_runs() {
    let (began, gate) = (Gate::new(), Gate::new());
    let (begins, behind) = (began.clone(), gate.clone());
    let task = unblock(move || {
        begins.open();
        behind.pass();
    });
    began.pass();
    let mut ending = Box::pin(task.cancel());
    assert!(block_on(poll_once(&mut ending)).is_none());
    gate.open();
    block_on(ending);
}

#[test]
fn a_fallible_task_gives_what_the_task_would() {
    let (began, gate) = (Gate::new(), Gate::new());
    let (begins, behind) = (began.clone(), gate.clone());
    let task = unblock(move || {
        begins.open();
        behind.pass();
        42
    });
    let task = task.fallible();
    began.pass();
    assert!(!task.is_finished());
    gate.open();
    assert_eq!(block_on(task), Some(42));

    let ended = Gate::new();
    let opens = ended.clone();
    unblock(move || opens.open()).fallible().detach();
    ended.pass();
}

#[test]
fn the_waker_of_the_last_poll_is_called() {
    #[derive(Default)]
    struct Calls(AtomicUsize);

    impl Wake for Calls {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    let gate = Gate::new();
    let behind = gate.clone();
    let mut task = unblock(move || behind.pass());
    let [first, last] = [(); 2].map(|()| Arc::new(Calls::default()));
    for calls in [&first, &last] {
        let waker = Waker::from(Arc::clone(calls));
        let polled = std::pin::Pin::new(&mut task).poll(&mut Context::from_waker(&waker));
        assert_eq!(polled, Poll::Pending);
    }
    gate.open();
    eventually(|| last.0.load(Ordering::SeqCst) == 1);
    assert_eq!(first.0.load(Ordering::SeqCst), 0);
    block_on(task);
}

#[test]
fn a_task_can_go_anywhere() {
    fn free<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + 'static>() {}
    free::<Task<u8>>();
    free::<Task<std::cell::Cell<u8>>>();
}

/// So a type of the program that has one can derive that.
#[test]
fn a_task_has_a_debug_format_whatever_its_value() {
    struct Plain;
    let task = unblock(|| Plain);
    assert!(format!("{task:?}").starts_with("Task"));
    block_on(task.cancel());
}
