//! The handles: every way to get a result, in every kind of program.

use std::collections::HashSet;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use futures_util::future::join_all;
use sidestep::{Pool, Task, TaskId, current};

use crate::support::{
    DropToken, Drops, Gate, PATIENCE, check_sound, counter, eventually, occupy, poll, pool, quiet_panic, soon,
};

/// Awaits a value, a panic, a cancellation and a hundred tasks at once.
async fn await_all_kinds(pool: Pool) {
    assert_eq!(pool.spawn(|| 42).await.unwrap(), 42);
    assert!(pool.spawn(|| quiet_panic("no")).await.unwrap_err().is_panic());
    assert_eq!(pool.unblock(|| "plain").await, "plain");
    let gate = Gate::new();
    let pass = gate.clone();
    let slow = pool.spawn(move || pass.pass());
    let cancelled = pool.spawn(|| ());
    cancelled.cancel_handle().cancel();
    let _ = cancelled.await;
    gate.open();
    slow.await.unwrap();
    let results = join_all((0..100).map(|number| pool.spawn(move || number))).await;
    let numbers: Vec<i32> = results.into_iter().map(Result::unwrap).collect();
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
}

fn on_each_pool<F: Future<Output = ()>>(run: impl Fn(Pool) -> F, block_on: impl Fn(F)) {
    for (core, max) in [(1, 1), (2, 2), (1, 8)] {
        let pool = pool(core, max);
        block_on(run(pool.clone()));
        check_sound(&pool);
    }
}

#[test]
fn awaiting_works_on_a_current_thread_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    on_each_pool(await_all_kinds, |future| runtime.block_on(future));
}

#[test]
fn awaiting_works_on_a_multi_thread_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    on_each_pool(await_all_kinds, |future| {
        runtime.block_on(async { tokio::spawn(AssertSend(Box::pin(future))).await.unwrap() });
    });

    /// Nothing but a check that the future can be sent.
    struct AssertSend<F>(F);
    impl<F: Future + Unpin> Future for AssertSend<F> {
        type Output = F::Output;
        fn poll(
            mut self: std::pin::Pin<&mut Self>,
            context: &mut std::task::Context<'_>,
        ) -> std::task::Poll<F::Output> {
            std::pin::Pin::new(&mut self.0).poll(context)
        }
    }
}

#[test]
fn awaiting_works_without_a_runtime() {
    on_each_pool(await_all_kinds, sidestep::block_on);
}

#[test]
fn waiting_works_on_plain_threads() {
    let pool = pool(2, 2);
    thread::scope(|scope| {
        for number in 0..8 {
            let pool = &pool;
            scope.spawn(move || {
                for round in 0..100 {
                    assert_eq!(pool.spawn(move || number * round).wait().unwrap(), number * round);
                    assert_eq!(pool.unblock(move || number).wait(), number);
                }
            });
        }
    });
    check_sound(&pool);
}

#[test]
fn wait_timeout_gives_the_handle_back_and_then_the_result() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let Err(running) = running.wait_timeout(Duration::ZERO) else { panic!("the gate is shut") };
    let Err(running) = running.wait_timeout(Duration::from_millis(1)) else { panic!("the gate is shut") };
    assert!(!running.is_finished());
    gate.open();
    let Ok(end) = running.wait_timeout(Duration::MAX) else { panic!("the longest time is no limit") };
    end.unwrap();
    let finished = pool.spawn(|| 42);
    eventually("it ends", || finished.is_finished());
    let Ok(end) = finished.wait_timeout(Duration::ZERO) else { panic!("it has ended") };
    assert_eq!(end.unwrap(), 42);
}

#[test]
fn a_handle_that_wait_timeout_gave_back_still_cancels() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let drops = Drops::new();
    let token = drops.token();
    let queued = pool.spawn(move || drop(token));
    let Err(queued) = queued.wait_timeout(Duration::ZERO) else { panic!("the only thread is busy") };
    assert_eq!(drops.count(), 0);
    drop(queued);
    assert_eq!(drops.count(), 1);
    gate.open();
    soon(running).unwrap();
}

#[test]
fn is_finished_turns_true_with_the_end() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let queued = pool.spawn(|| quiet_panic("an end too"));
    let cancelled = pool.spawn(|| ());
    assert!(!running.is_finished() && !queued.is_finished() && !cancelled.is_finished());
    cancelled.cancel_handle().cancel();
    assert!(cancelled.is_finished(), "a cancelled queued task has ended");
    gate.open();
    eventually("both end", || running.is_finished() && queued.is_finished());
    running.wait().unwrap();
    assert!(queued.wait().unwrap_err().is_panic());
}

#[test]
fn ids_are_unique_and_rise_on_each_thread() {
    let pool = pool(2, 2);
    let spawn_many = || -> Vec<TaskId> {
        (0..5000)
            .map(|_| {
                let task = pool.spawn(|| ());
                let id = task.id();
                task.detach();
                id
            })
            .collect()
    };
    let all: Vec<Vec<TaskId>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(spawn_many)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(all.iter().all(|ids| ids.is_sorted()));
    let unique: HashSet<TaskId> = all.iter().flatten().copied().collect();
    assert_eq!(unique.len(), 20_000);
}

#[test]
fn an_id_is_shown_in_displays_and_errors() {
    let pool = pool(1, 1);
    let task = pool.spawn(|| quiet_panic("no such drive"));
    let id = task.id();
    assert_eq!(id.to_string(), format!("task {}", id.as_u64()));
    assert!(format!("{task:?}").contains(&id.as_u64().to_string()), "{task:?}");
    let error = soon(task).unwrap_err();
    assert_eq!(error.id(), id);
    assert!(error.to_string().starts_with(&id.to_string()), "{error}");
    assert!(error.to_string().contains("handle.rs"), "it says where the task was spawned: {error}");
    assert!(error.to_string().contains("no such drive"), "{error}");
}

#[test]
fn a_detached_task_runs_to_its_end() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let drops = Drops::new();
    let (send, receive) = channel();
    let token = drops.token();
    pool.spawn(move || {
        send.send(current::is_cancelled()).unwrap();
        token
    })
    .detach();
    running.detach();
    gate.open();
    assert_eq!(receive.recv(), Ok(false));
    check_sound(&pool);
    assert_eq!(drops.count(), 1, "the pool has dropped the result");
    assert_eq!(pool.metrics().tasks_cancelled(), 0);
}

#[test]
fn a_task_polled_after_its_end_panics_and_is_finished() {
    let pool = pool(1, 1);
    let mut task = pool.spawn(|| 42);
    eventually("it ends", || task.is_finished());
    assert!(poll(&mut task, Waker::noop()).is_ready());
    assert!(task.is_finished());
    assert!(catch_unwind(AssertUnwindSafe(|| poll(&mut task, Waker::noop()))).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| task.id())).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| task.cancel_handle())).is_err());
    drop(task);
    check_sound(&pool);
}

#[test]
fn unblocked_resumes_the_panic_itself() {
    let pool = pool(1, 1);
    let payload = catch_unwind(AssertUnwindSafe(|| pool.unblock(|| quiet_panic(42_u8)).wait())).err();
    assert_eq!(payload.and_then(|payload| payload.downcast().ok()), Some(Box::new(42_u8)));
    let payload =
        catch_unwind(AssertUnwindSafe(|| sidestep::block_on(pool.unblock(|| quiet_panic(43_u8))))).err();
    assert_eq!(payload.and_then(|payload| payload.downcast().ok()), Some(Box::new(43_u8)));
    check_sound(&pool);
}

#[test]
fn unblocked_panics_with_a_sentence_where_the_pool_refuses() {
    let pool = pool(1, 1);
    pool.shutdown().wait();
    let payload = catch_unwind(AssertUnwindSafe(|| pool.unblock(|| ()).wait())).unwrap_err();
    let sentence = payload.downcast_ref::<String>().unwrap();
    assert!(sentence.contains("shut down"), "{sentence}");
}

#[test]
fn dropping_an_unblocked_cancels() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let drops = Drops::new();
    let token = drops.token();
    drop(pool.unblock(move || drop(token)));
    assert_eq!(drops.count(), 1);
    gate.open();
    soon(running).unwrap();
}

#[test]
fn errors_turn_into_io_errors_and_keep_themselves_inside() {
    let pool = pool(1, 1);
    let error = soon(pool.spawn(|| quiet_panic("no"))).unwrap_err();
    let text = error.to_string();
    let error = error.try_into_panic().map(|_| ()).map_err(|error| error.to_string());
    assert_eq!(error, Ok(()), "{text}");
    pool.shutdown().wait();
    let error = pool.spawn(|| ()).wait().unwrap_err();
    let error = error.try_into_panic().unwrap_err();
    assert!(error.is_shutdown(), "try_into_panic gives any other error back");
    let error = std::io::Error::from(error);
    assert_eq!(error.kind(), std::io::ErrorKind::Other);
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<sidestep::TaskError>());
    assert!(inner.is_some_and(sidestep::TaskError::is_shutdown));
}

async fn use_in_a_future(pool: Pool) {
    assert_eq!(pool.spawn(|| 1).await.unwrap(), 1);
    assert_eq!(pool.unblock(|| 2).await, 2);
    // Blocking calls inside of a future block its thread, and that is all.
    assert_eq!(pool.spawn(|| 3).wait().unwrap(), 3);
    assert_eq!(sidestep::block_on(pool.spawn(|| 4)).unwrap(), 4);
    assert!(pool.spawn(|| 5).wait_timeout(PATIENCE).is_ok());
    let (send, receive) = channel();
    pool.spawn(|| 6).on_complete(move |end| send.send(end).unwrap());
    assert_eq!(receive.recv().unwrap().unwrap(), 6);
    assert_eq!(pool.shutdown().await.still_running, 0);
}

/// The bridge hangs on a single-threaded runtime: tokio.
// Origin: pitfall 23
#[test]
fn everything_works_on_three_kinds_of_executor() {
    let new_pool = || pool(1, 1);
    let one = tokio::runtime::Builder::new_current_thread().build().unwrap();
    one.block_on(use_in_a_future(new_pool()));
    let many = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    many.block_on(async { tokio::spawn(boxed(use_in_a_future(new_pool()))).await.unwrap() });
    sidestep::block_on(use_in_a_future(new_pool()));
}

fn boxed(
    future: impl Future<Output = ()> + Send + 'static,
) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(future)
}

/// Polls a task once inside of a runtime, so that it has a waker of that runtime.
async fn polled_once(mut task: Task<DropToken>) -> Task<DropToken> {
    poll_fn(|context| {
        assert!(Pin::new(&mut task).poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
    task
}

/// A trio thread that ends after its run is over makes no noise.
// Origin: trio 64
#[test]
fn a_call_may_outlive_the_runtime_that_waited_for_it() {
    let pool = pool(2, 2);
    let (gate, drops, (started, bump)) = (Gate::new(), Drops::new(), counter());
    let call = || {
        let (pass, token, bump) = (gate.clone(), drops.token(), bump.clone());
        pool.spawn(move || {
            bump();
            pass.pass();
            token
        })
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let kept = runtime.block_on(runtime.spawn(polled_once(call()))).unwrap();
    let abandoned = call();
    runtime.block_on(async {
        drop(tokio::spawn(async move { drop(abandoned.await) }));
        tokio::task::yield_now().await;
    });
    eventually("both run", || started.load(Ordering::SeqCst) == 2);
    drop(runtime);
    gate.open();
    drop(soon(kept).unwrap());
    eventually("the result nobody waits for is dropped", || drops.count() == 2);
    check_sound(&pool);
}

/// anyio and trio run one event loop after another: no thread of one may stay with the next.
// Origin: anyio 72
#[cfg(feature = "event-loop")]
#[test]
fn one_runtime_after_another_uses_the_same_threads() {
    let pool = pool(2, 2);
    for number in 0..50 {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(pool.spawn(move || number)).unwrap(), number);
        drop(runtime);
        assert_eq!(sidestep::block_on(pool.spawn(move || number)).unwrap(), number);
        let (mut ev, (ran, bump)) = (sidestep::EventLoop::on(&pool), counter());
        ev.offload(move || number, move |_, end| (end.unwrap() == number).then(bump).unwrap());
        ev.run();
        assert_eq!(ran.load(Ordering::SeqCst), 1);
    }
    assert_eq!(pool.metrics().tasks_completed(), 150);
    check_sound(&pool);
}
