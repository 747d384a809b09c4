//! The handles with tokio's names: what dropping and aborting do, what errors say, and the way from
//! a handle of one kind to one of the other.

use std::any::Any;
use std::collections::BTreeSet;
use std::error::Error;
use std::io;
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use sidestep::task::{self, AbortHandle, Id, JoinError, JoinHandle, spawn_blocking};
use sidestep::{Pool, TaskError, TaskId, block_on, current};

use crate::support::{
    Drops, Gate, PanicOnDrop, Wakes, check_sound, eventually, nothing_happens, occupy, poll, pool,
    quiet_panic, soon,
};

/// A closure that runs until it is cancelled, and says that it has begun.
fn until_cancelled(began: &Gate) -> impl FnOnce() -> &'static str + Send + 'static {
    let began = began.clone();
    move || {
        began.open();
        eventually("it is cancelled", current::is_cancelled);
        "cleaned up"
    }
}

#[test]
fn dropping_the_handle_lets_the_task_run_and_drops_its_value_on_the_pool() {
    let pool = pool(1, 1);
    let (gate, values, ran) = (Gate::new(), Drops::new(), Gate::new());
    let busy = occupy(&pool, &gate);
    let (value, runs) = (values.token(), ran.clone());
    let queued = pool.spawn(move || {
        runs.open();
        assert!(!current::is_cancelled());
        value
    });
    drop(queued.detach_on_drop());
    // One that runs already.
    drop(busy.detach_on_drop());
    gate.open();
    ran.pass();
    eventually("the value is dropped", || values.count() == 1);
    check_sound(&pool);
}

#[test]
fn aborting_a_queued_task_drops_its_closure_at_once() {
    let pool = pool(1, 1);
    let (gate, drops) = (Gate::new(), Drops::new());
    let busy = occupy(&pool, &gate);
    let ways: [fn(&JoinHandle<()>); 2] = [JoinHandle::abort, |handle| handle.abort_handle().abort()];
    for (count, abort) in ways.into_iter().enumerate() {
        let token = drops.token();
        let handle = pool.spawn(move || drop(token)).detach_on_drop();
        let other = handle.abort_handle();
        assert!(!handle.is_finished() && !other.is_finished());
        abort(&handle);
        assert_eq!(drops.count(), count + 1);
        assert!(handle.is_finished() && other.is_finished());
        abort(&handle);
        let id = handle.id();
        let error = block_on(handle).unwrap_err();
        assert!(error.is_cancelled() && !error.is_panic());
        assert_eq!((error.id(), other.id()), (id, id));
        other.abort();
    }
    gate.open();
    soon(busy).unwrap();
    check_sound(&pool);
}

#[test]
fn aborting_a_running_task_signals_it_and_its_value_comes() {
    let (pool, began) = (pool(1, 1), Gate::new());
    let handle = pool.spawn(until_cancelled(&began)).detach_on_drop();
    began.pass();
    let abort = handle.abort_handle();
    assert!(!abort.is_finished());
    std::thread::spawn(move || abort.abort()).join().unwrap();
    assert_eq!(block_on(handle).unwrap(), "cleaned up");
    check_sound(&pool);
}

#[test]
fn aborting_a_task_that_has_ended_changes_nothing() {
    let pool = pool(1, 1);
    let mut handle = pool.spawn(|| 7).detach_on_drop();
    let early = handle.abort_handle();
    eventually("it ends", || handle.is_finished());
    handle.abort();
    early.abort();
    assert!(matches!(poll(&mut handle, Waker::noop()), std::task::Poll::Ready(Ok(7))));
    // The handle has given its result, and still knows its task.
    handle.abort();
    let late = handle.abort_handle();
    late.abort();
    assert!(handle.is_finished() && late.is_finished() && early.is_finished());
    assert_eq!((late.id(), early.id()), (handle.id(), handle.id()));
    let again = catch_unwind(AssertUnwindSafe(|| poll(&mut handle, Waker::noop()).is_ready()));
    assert!(again.is_err(), "a second result");
    check_sound(&pool);
}

#[test]
fn an_abort_handle_keeps_neither_the_task_nor_what_it_holds() {
    let pool = pool(1, 1);
    let (gate, drops) = (Gate::new(), Drops::new());
    let busy = occupy(&pool, &gate);
    let (closure, value) = (drops.token(), drops.token());
    let handle = pool
        .spawn(move || {
            drop(closure);
            value
        })
        .detach_on_drop();
    let abort = handle.abort_handle();
    drop((abort.clone(), abort));
    let abort = handle.abort_handle();
    drop(handle);
    gate.open();
    eventually("closure and value are dropped", || drops.count() == 2);
    assert!(abort.is_finished());
    abort.abort();
    soon(busy).unwrap();
    check_sound(&pool);
}

/// The error of a closure that panics with `payload`.
fn panicked(payload: impl Any + Send) -> JoinError {
    let error = block_on(spawn_blocking(move || quiet_panic(payload))).unwrap_err();
    assert!(error.is_panic() && !error.is_cancelled());
    error
}

#[test]
fn payloads_of_every_kind_come_whole() {
    assert_eq!(panicked("text").into_panic().downcast_ref(), Some(&"text"));
    assert_eq!(panicked("owned".to_owned()).into_panic().downcast_ref(), Some(&"owned".to_owned()));
    assert_eq!(panicked(7_u8).try_into_panic().unwrap().downcast_ref(), Some(&7_u8));
    assert!(panicked(()).into_panic().is::<()>());
    let nested: Box<dyn Any + Send> = Box::new(7);
    assert!(panicked(nested).into_panic().is::<Box<dyn Any + Send>>());
    assert!(panicked("text").to_string().ends_with("panicked: text"));
    assert!(panicked(7).to_string().contains("not text"));
    let drops = Drops::new();
    let payload = panicked(PanicOnDrop(drops.clone())).into_panic();
    assert_eq!(drops.count(), 0);
    assert!(catch_unwind(AssertUnwindSafe(|| drop(payload))).is_err());
    assert_eq!(drops.count(), 1);
}

/// Nobody asks for it, and its destructor panics on the pool's thread.
#[test]
fn a_payload_whose_destructor_panics_harms_no_thread() {
    let (pool, drops) = (pool(1, 1), Drops::new());
    for _ in 0..3 {
        let payload = PanicOnDrop(drops.clone());
        drop(pool.spawn(move || -> () { quiet_panic(payload) }).detach_on_drop());
    }
    eventually("all payloads are dropped", || drops.count() == 3);
    check_sound(&pool);
}

#[test]
fn what_is_no_panic_has_no_payload() {
    let pool = pool(1, 1);
    pool.shutdown().wait();
    let refused = || block_on(pool.spawn(|| ()).detach_on_drop()).unwrap_err();
    let error = refused().try_into_panic().unwrap_err();
    assert!(error.is_cancelled());
    let text = error.to_string();
    let panic = catch_unwind(AssertUnwindSafe(|| error.into_panic())).unwrap_err();
    assert!(panic.downcast_ref::<String>().is_some_and(|message| message.contains(&text)));
}

#[test]
fn whatever_keeps_a_closure_from_running_is_a_cancellation_with_its_reason() {
    fn error_of<T>(task: sidestep::Task<T>) -> JoinError {
        let Err(error) = block_on(task.detach_on_drop()) else { panic!("it was to fail") };
        assert!(error.is_cancelled() && !error.is_panic());
        error
    }
    let pool = Pool::builder().max_threads(1).queue_limit(1).build().unwrap();
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let late = pool.options().expire_after(Duration::ZERO).spawn(|| ());
    assert!(error_of(late).task_error().is_expired());
    eventually("there is room", || pool.metrics().tasks_queued() == 0);
    let queued = pool.spawn(|| ());
    assert!(error_of(pool.spawn(|| ())).task_error().is_full());
    drop(queued);
    gate.open();
    soon(busy).unwrap();
    pool.shutdown().wait();
    let error = error_of(pool.options().name("late").spawn(|| ()));
    assert!(error.task_error().is_shutdown());
    assert!(error.to_string().contains("\"late\""), "{error}");
    let id = error.id();
    let error = TaskError::from(error);
    assert_eq!(Id::from(error.id()), id);
}

#[test]
fn an_error_turns_into_those_of_others_and_says_which_task_it_is_about() {
    let handle = spawn_blocking(|| quiet_panic("no such drive"));
    let (id, line) = (handle.id(), line!() - 1);
    let error = block_on(handle).unwrap_err();
    assert!(error.to_string().starts_with(&format!("task {id} ")), "{error}");
    assert!(error.to_string().contains(&format!("join_handle.rs:{line}")), "{error}");
    assert_eq!(format!("{error:?}"), format!("JoinError({error})"));
    assert!(error.source().is_none());
    let error = io::Error::from(error);
    assert_eq!(error.kind(), io::ErrorKind::Other);
    assert!(error.get_ref().is_some_and(|inner| inner.is::<TaskError>()));
}

#[test]
fn ids_are_equal_wherever_they_are_asked_for_and_no_two_tasks_share_one() {
    let pool = pool(2, 2);
    let mut seen = BTreeSet::new();
    for number in 0..100 {
        let task = pool.spawn(move || {
            let id = task::id();
            assert_eq!(task::try_id(), Some(id));
            if number % 2 == 0 { id } else { quiet_panic(id) }
        });
        let id = task.id();
        let handle = task.detach_on_drop();
        assert_eq!(TaskId::from(handle.id()), id);
        assert_eq!(handle.abort_handle().id(), handle.id());
        assert_eq!(handle.id().to_string(), id.as_u64().to_string());
        let (id, inside) = match block_on(handle) {
            Ok(inside) => (id.into(), inside),
            Err(error) => {
                let told = error.id();
                (told, *error.into_panic().downcast::<Id>().unwrap())
            }
        };
        assert_eq!(id, inside);
        assert!(seen.insert(id), "{id} twice");
    }
}

#[test]
fn the_id_is_that_of_the_innermost_task_and_outside_there_is_none() {
    assert_eq!(task::try_id(), None);
    let panic = catch_unwind(task::id).unwrap_err();
    assert!(panic.downcast_ref::<&str>().is_some_and(|message| message.contains("try_id")));
    let pool = pool(1, 1);
    let inner = pool.clone();
    // The only thread waits, so it runs the second task inline.
    let ids = pool.spawn(move || {
        let before = task::id();
        let other = inner.spawn(task::id);
        let id = other.id();
        (before, Id::from(id), other.wait().unwrap(), task::id())
    });
    let (before, id, inside, after) = soon(ids).unwrap();
    assert_eq!((id, before), (inside, after));
    assert_ne!(before, inside);
}

#[test]
fn a_handle_of_one_kind_becomes_one_of_the_other() {
    let pool = pool(1, 1);
    let (gate, drops) = (Gate::new(), Drops::new());
    let busy = occupy(&pool, &gate);
    let queued = || {
        let token = drops.token();
        pool.spawn(move || drop(token))
    };
    // There and back again: it cancels.
    drop(queued().detach_on_drop().cancel_on_drop());
    assert_eq!(drops.count(), 1);
    // With a waker left behind by the first kind, which the second calls.
    let wakes = Wakes::new();
    let waker = Waker::from(Arc::clone(&wakes));
    let mut task = queued();
    assert!(poll(&mut task, &waker).is_pending());
    let mut handle = task.detach_on_drop();
    gate.open();
    eventually("the waker is called", || wakes.count() == 1);
    assert!(poll(&mut handle, &waker).is_ready());
    soon(busy).unwrap();
    // A handle that has given its result says so as a task would.
    let spent = handle.cancel_on_drop();
    assert!(spent.is_finished());
    assert!(catch_unwind(|| spent.id()).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| spent.detach_on_drop())).is_err());
    assert_eq!(pool.spawn(|| 7).detach_on_drop().cancel_on_drop().wait().unwrap(), 7);
    check_sound(&pool);
}

/// A handle that is given up in the middle of a wait, by a timeout say, loses nothing.
#[test]
fn polling_by_reference_and_giving_up_loses_nothing() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let pass = gate.clone();
    let mut handle = pool
        .spawn(move || {
            pass.pass();
            7
        })
        .detach_on_drop();
    let wakes = Wakes::new();
    for _ in 0..3 {
        assert!(poll(&mut handle, &Waker::from(Arc::clone(&wakes))).is_pending());
    }
    gate.open();
    assert_eq!(block_on(&mut handle).unwrap(), 7);
    drop(handle);
    nothing_happens();
    assert!(wakes.count() <= 1);
}

#[test]
fn the_handles_can_go_anywhere() {
    fn free<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + 'static>() {}
    free::<JoinHandle<std::cell::Cell<u8>>>();
    free::<AbortHandle>();
    fn sound<T: Send + Sync + Unpin + 'static>() {}
    sound::<JoinError>();
    let handle = spawn_blocking(|| ());
    let shown = format!("{handle:?} {:?}", handle.abort_handle());
    let id = format!("{:?}", handle.id());
    assert_eq!(shown, format!("JoinHandle {{ id: {id} }} AbortHandle {{ id: {id} }}"));
    block_on(handle).unwrap();
}

#[test]
#[cfg(unix)]
fn in_a_child_a_handle_says_that_there_is_no_thread() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let busy = occupy(&pool, &gate);
    let handle = pool.spawn(|| ()).detach_on_drop();
    let abort = handle.abort_handle();
    let status = crate::support::fork::in_child(|list| {
        list.check(handle.is_finished() && abort.is_finished());
        match block_on(handle) {
            Ok(()) => list.check(false),
            Err(error) => {
                list.check(error.is_cancelled());
                list.no_thread::<()>(Err(error.into()));
            }
        }
        abort.abort();
        list.check(abort.is_finished());
    });
    assert_eq!(status, 0);
    gate.open();
    soon(busy).unwrap();
}
