//! Tests of `budget::tokio`.

use tokio::runtime::Builder;

use super::*;

/// Whether the waker of the future that is polled is that of a task of tokio's.
async fn is_task() -> bool {
    poll_fn(|context| Poll::Ready(is_of_task(context.waker()))).await
}

#[test]
fn the_wakers_of_tasks_are_recognised_and_no_others() {
    assert!(!is_of_task(Waker::noop()));
    assert!(!crate::task::block_on(is_task()));
    let runtime = Builder::new_current_thread().build().expect("a runtime starts");
    assert!(!runtime.block_on(is_task()), "the future of `block_on` is no task");
    assert!(runtime.block_on(async { tokio::spawn(is_task()).await.expect("it ends") }));
    let blocks = runtime.spawn(async { crate::task::block_on(is_task()) });
    assert!(!runtime.block_on(blocks).expect("it ends"), "an executor in a task has a waker of its own");
    let tasks = LocalSet::new();
    let local = tasks.spawn_local(is_task());
    assert!(runtime.block_on(tasks.run_until(local)).expect("it ends"));
    let threads = Builder::new_multi_thread().worker_threads(1).build().expect("a runtime starts");
    assert!(threads.block_on(threads.spawn(is_task())).expect("it ends"));
}

/// The scheduler calls the waker after it has looked at what else there is.
#[test]
fn a_task_that_yields_is_woken_by_its_scheduler() {
    let runtime = Builder::new_current_thread().build().expect("a runtime starts");
    let task = runtime.spawn(async {
        let mut polls = 0;
        poll_fn(|context| {
            polls += 1;
            if polls < 100 {
                assert!(wake_later(context));
                return Poll::Pending;
            }
            Poll::Ready(polls)
        })
        .await
    });
    assert_eq!(runtime.block_on(task).expect("it ends"), 100);
}

/// Where a task is polled outside of its runtime no scheduler would call its waker.
#[test]
fn the_waker_of_a_task_is_called_at_once_outside_of_its_runtime() {
    let runtime = Builder::new_current_thread().build().expect("a runtime starts");
    let task = runtime.spawn(async {
        let mut sent = false;
        poll_fn(|context| {
            if std::mem::replace(&mut sent, true) {
                return Poll::Ready(());
            }
            let waker = context.waker().clone();
            let elsewhere = std::thread::spawn(move || wake_later(&mut Context::from_waker(&waker)));
            assert!(elsewhere.join().expect("it does not panic"));
            Poll::Pending
        })
        .await;
    });
    runtime.block_on(task).expect("it ends");
}
