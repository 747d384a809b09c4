//! What users expect of every type: `Debug` without bounds, fused futures, errors that can be
//! cloned, builders that can be copied.

use std::any::Any;
use std::fmt::Debug;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_core::future::FusedFuture;
use futures_util::FutureExt;
use sidestep::{CancelToken, PoolBuilder, Strand, Unblocked};

use crate::support::{Drops, Gate, check_sound, eventually, occupy, poll, pool, quiet_panic, soon};

/// Has no `Debug`, nor anything else.
struct Bare;

fn shows<T: Debug>(value: &T) {
    assert!(!format!("{value:?}").is_empty());
}

#[test]
fn handles_of_anything_have_debug() {
    let pool = pool(1, 1);
    shows(&pool.spawn(|| Bare));
    shows(&pool.spawn(|| Bare).cancel());
    shows(&pool.unblock(|| Bare));
    shows(&pool.spawn_batch([|| Bare]));
    pool.scope(|scope| {
        shows(scope);
        let task = scope.spawn(|| Bare);
        shows(&task);
        assert!(task.wait().is_ok());
    });
    let strand = Strand::on(&pool, Bare);
    shows(&strand);
    shows(&strand.options());
    let dedicated = sidestep::Dedicated::new(|| Bare).unwrap();
    shows(&dedicated);
    let token = CancelToken::new();
    shows(&(token.clone(), token.child(), token.cancelled(), token.on_cancel(|| ())));
    shows(&pool.spawn(|| ()).cancel_handle());
    pool.shutdown().wait();
    shows(&pool.try_spawn(|| Bare).err());
}

#[cfg(all(feature = "fs", feature = "event-loop"))]
#[test]
fn so_have_readers_and_promises_of_anything() {
    use sidestep::{EventLoop, LocalPromise, Promise, Unblock, io};
    let (ev, pool) = (EventLoop::new(), pool(1, 1));
    let promise: Promise<Bare, sidestep::TaskError> = pool.promise(|| Ok(Bare));
    shows(&promise);
    let local: LocalPromise<Bare, sidestep::TaskError> = ev.promise(|| Ok(Bare));
    shows(&local);
    shows(&Unblock::new(Bare));
    shows(&io::producer::<_, Bare>(shows));
}

#[test]
fn futures_are_terminated_once_they_have_given_their_result() {
    let pool = pool(1, 1);
    let token = CancelToken::new();
    let (mut task, mut unblocked) = (pool.spawn(|| 1), pool.unblock(|| 2));
    let (mut cancelling, mut reserve) = (pool.spawn(|| 3).cancel(), pool.reserve());
    let mut handle = pool.spawn(|| 4).detach_on_drop();
    let mut cancelled = token.cancelled();
    let mut shutdown = pool.shutdown();
    assert!(!task.is_terminated() && !unblocked.is_terminated() && !cancelling.is_terminated());
    assert!(
        !handle.is_terminated()
            && !reserve.is_terminated()
            && !cancelled.is_terminated()
            && !shutdown.is_terminated()
    );
    assert!(poll(&mut cancelled, Waker::noop()).is_pending());
    assert!(!cancelled.is_terminated());
    token.cancel();
    sidestep::block_on(async {
        assert_eq!(((&mut task).await.unwrap(), (&mut unblocked).await), (1, 2));
        _ = (&mut cancelling).await;
        assert_eq!((&mut handle).await.unwrap(), 4);
        assert!((&mut reserve).await.unwrap_err().is_shutdown());
        (&mut cancelled).await;
        (&mut shutdown).await;
    });
    assert!(task.is_terminated() && unblocked.is_terminated() && cancelling.is_terminated());
    assert!(
        handle.is_terminated()
            && reserve.is_terminated()
            && cancelled.is_terminated()
            && shutdown.is_terminated()
    );
}

#[cfg(all(feature = "fs", feature = "event-loop"))]
#[test]
fn so_are_lookups_promises_and_directories() {
    use futures_core::stream::FusedStream;
    use futures_util::StreamExt;
    use sidestep::{EventLoop, LocalPromise, Promise, TaskError, fs, net};
    let mut ev = EventLoop::new();
    let mut promise: Promise<i32, TaskError> = Promise::resolve(1).map(|one| one + 1);
    let mut local: LocalPromise<i32, TaskError> = LocalPromise::resolve(&ev, 1);
    let mut lookup = net::lookup_host(("127.0.0.1", 80));
    assert!(!promise.is_terminated() && !local.is_terminated() && !lookup.is_terminated());
    sidestep::block_on(async {
        assert_eq!((&mut promise).await.unwrap(), 2);
        assert_eq!((&mut lookup).await.unwrap().count(), 1);
        let folder = tempfile::tempdir().unwrap();
        let mut entries = fs::read_dir(folder.path()).await.unwrap();
        assert!(!entries.is_terminated());
        assert!(entries.next().await.is_none());
        assert!(entries.is_terminated() && entries.next().await.is_none());
    });
    ev.run_until(async { assert_eq!((&mut local).await.unwrap(), 1) });
    assert!(promise.is_terminated() && local.is_terminated() && lookup.is_terminated());
}

/// The next result of those that have not given theirs: what `select!` does in a loop, which asks
/// fused futures.
fn next_of<F: FusedFuture + Unpin>(futures: &mut [F], context: &mut Context<'_>) -> Poll<Option<F::Output>> {
    let mut left = futures.iter_mut().filter(|future| !future.is_terminated()).peekable();
    if left.peek().is_none() {
        return Poll::Ready(None);
    }
    for future in left {
        if let Poll::Ready(output) = Pin::new(future).poll(context) {
            return Poll::Ready(Some(output));
        }
    }
    Poll::Pending
}

#[test]
fn a_loop_over_fused_futures_takes_each_result_once() {
    let pool = pool(2, 2);
    let mut tasks: Vec<_> = (0..50).map(|number| pool.unblock(move || number)).collect();
    let mut sum = 0;
    sidestep::block_on(async {
        while let Some(number) = poll_fn(|context| next_of(&mut tasks, context)).await {
            sum += number;
        }
    });
    assert_eq!(sum, (0..50).sum::<i32>());
}

#[test]
fn a_clone_of_an_error_says_the_same_and_has_the_text_of_a_panic() {
    let (pool, drops) = (pool(1, 1), Drops::new());
    let panicked = |closure: Box<dyn FnOnce() + Send>| soon(pool.spawn(closure)).unwrap_err();
    let text = |payload: Box<dyn Any + Send>| payload.downcast_ref::<&'static str>().copied();
    let owned = |payload: Box<dyn Any + Send>| payload.downcast::<String>().ok().map(|text| *text);

    let error = panicked(Box::new(|| quiet_panic("a text")));
    let (clone, twice) = (error.clone(), error.clone().clone());
    assert!(clone.is_panic() && clone.id() == error.id() && clone.to_string() == error.to_string());
    for error in [clone, twice, error] {
        assert_eq!(text(error.into_panic()), Some("a text"));
    }
    let error = panicked(Box::new(|| quiet_panic(String::from("an owned text"))));
    assert_eq!(owned(error.clone().into_panic()).as_deref(), Some("an owned text"));
    assert_eq!(owned(error.into_panic()).as_deref(), Some("an owned text"));

    let held = drops.token();
    let error = panicked(Box::new(move || quiet_panic(held)));
    let clone = error.clone();
    assert!(owned(clone.into_panic()).unwrap().contains("not text"));
    assert_eq!(drops.count(), 0, "the payload stays with the error");
    assert!(error.into_panic().is::<crate::support::DropToken>());
    assert_eq!(drops.count(), 1, "and is dropped once");

    // Clones may be made and used by several threads.
    let error = panicked(Box::new(|| quiet_panic(7)));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert!(error.clone().try_into_panic().unwrap().is::<String>()));
        }
    });
    assert_eq!(error.into_panic().downcast_ref(), Some(&7));
}

#[test]
fn a_clone_of_any_other_error_is_as_the_first() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let busy = occupy(&pool, &gate);
    let cancelled = soon(pool.spawn(|| ()).cancel_task()).unwrap_err();
    let expired = soon(pool.options().expire_after(std::time::Duration::ZERO).spawn(|| ())).unwrap_err();
    assert!(cancelled.clone().is_cancelled() && expired.clone().is_expired());
    assert_eq!(expired.clone().to_string(), expired.to_string());
    let error = expired.clone().try_into_panic().unwrap_err();
    assert!(error.is_expired());
    let refused = catch_unwind(AssertUnwindSafe(|| error.into_panic())).unwrap_err();
    assert!(refused.downcast_ref::<String>().unwrap().contains("did not panic: task"));
    gate.open();
    soon(busy).unwrap();
}

/// A task that has been cancelled by another handle.
trait CancelTask {
    fn cancel_task(self) -> Self;
}

impl<T> CancelTask for sidestep::Task<T> {
    fn cancel_task(self) -> Self {
        self.cancel_handle().cancel();
        self
    }
}

#[test]
fn a_builder_is_cloned_with_its_settings_and_hooks() {
    let (count, bump) = crate::support::counter();
    let builder = PoolBuilder::default().name("alike").core_threads(1).max_threads(2).on_thread_start(bump);
    let pools = [builder.clone().build().unwrap(), builder.max_threads(1).build().unwrap()];
    for pool in &pools {
        let name = soon(pool.spawn(|| std::thread::current().name().map(str::to_owned))).unwrap();
        assert!(name.unwrap().starts_with("alike-"));
        pool.shutdown().wait();
    }
    assert!(count.load(std::sync::atomic::Ordering::SeqCst) >= 2);
    shows(&PoolBuilder::default());
}

#[test]
fn an_unblocked_can_be_cancelled_asked_detached_and_turned_into_its_task() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let busy = occupy(&pool, &gate);
    let drops = Drops::new();
    let (dropped, detached, cancelled, error) = {
        let make = || {
            let held = drops.token();
            pool.unblock(move || drop(held))
        };
        (make(), make(), make(), pool.unblock(|| panic_any(7)))
    };
    assert!(!detached.is_finished());
    drop(dropped);
    assert_eq!(drops.count(), 1, "at once");
    cancelled.cancel_handle().cancel();
    assert!(cancelled.is_finished() && drops.count() == 2);
    let refused = catch_unwind(AssertUnwindSafe(|| Unblocked::wait(cancelled))).unwrap_err();
    assert!(refused.downcast_ref::<String>().unwrap().contains("was cancelled before it ran"));
    detached.detach();
    gate.open();
    soon(busy).unwrap();
    eventually("it has run", || drops.count() == 3);
    let error = soon(error.into_task()).unwrap_err();
    assert_eq!(error.into_panic().downcast_ref(), Some(&7));
    assert_eq!(pool.unblock(|| 5).into_task().now_or_never().and_then(Result::ok).unwrap_or(5), 5);
    check_sound(&pool);
}
