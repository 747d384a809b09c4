//! `spawn_blocking`, `JoinHandle`, `AbortHandle`, `JoinError`, `Id`.

use std::any::Any;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;
use std::{io, thread};

use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use super::support::{Drops, Gate, eventually};
use super::{alone_with_one_thread, occupy, poll_once, runtime, with_one_thread};
use crate::subject::{self, AbortHandle, Id, JoinError, JoinHandle, spawn_blocking};

#[test]
fn the_closure_runs_elsewhere_and_its_result_comes() {
    runtime().block_on(async {
        let gate = Gate::new();
        let behind = gate.clone();
        let mut handle = spawn_blocking(move || {
            behind.pass();
            thread::current().id()
        });
        assert!(poll_once(&mut handle).is_pending() && !handle.is_finished());
        gate.open();
        assert_ne!(handle.await.unwrap(), thread::current().id());
    });
}

#[test]
fn it_begins_without_being_polled_and_goes_on_without_a_handle() {
    runtime().block_on(async {
        let (gate, values) = (Gate::new(), Drops::new());
        let (behind, value) = (gate.clone(), values.token());
        drop(spawn_blocking(move || {
            behind.pass();
            value
        }));
        gate.open();
        eventually(|| values.count() == 1);
    });
}

#[test]
fn each_of_many_gets_its_own_result() {
    runtime().block_on(async {
        let handles: Vec<_> = (0..1000).map(|number| spawn_blocking(move || number)).collect();
        for (number, handle) in handles.into_iter().enumerate() {
            assert_eq!(handle.await.unwrap(), number);
        }
    });
}

/// The error of a closure that panics with `payload`, without a message on the terminal.
async fn panicked(payload: impl Any + Send) -> JoinError {
    let handle = spawn_blocking(move || resume_unwind(Box::new(payload)));
    let id = handle.id();
    let error = handle.await.map(|never: ()| never).unwrap_err();
    assert!(error.is_panic() && !error.is_cancelled());
    assert_eq!(error.id(), id);
    let text = error.to_string();
    assert!(text.starts_with(&format!("task {id} ")), "{text}");
    error
}

#[test]
fn a_panic_is_an_error_with_its_payload() {
    runtime().block_on(async {
        assert_eq!(panicked("text").await.into_panic().downcast_ref(), Some(&"text"));
        let owned = panicked("owned".to_owned()).await.try_into_panic().unwrap();
        assert_eq!(owned.downcast_ref(), Some(&"owned".to_owned()));
        assert_eq!(panicked(7_u8).await.into_panic().downcast_ref(), Some(&7_u8));
        let error = panicked("no such drive").await;
        assert!(error.to_string().contains("panicked") && error.to_string().contains("no such drive"));
        assert!(format!("{error:?}").contains("JoinError"));
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::Other);
        assert!(panicked(7).await.to_string().contains("panicked"));
    });
}

#[test]
fn a_closure_that_runs_is_not_stopped_and_its_value_comes() {
    runtime().block_on(async {
        let (gate, began) = (Gate::new(), Gate::new());
        let (behind, begins) = (gate.clone(), began.clone());
        let handle = spawn_blocking(move || {
            begins.open();
            behind.pass();
            7
        });
        began.pass();
        let abort = handle.abort_handle();
        handle.abort();
        abort.abort();
        assert!(!handle.is_finished() && !abort.is_finished());
        gate.open();
        assert_eq!(handle.await.unwrap(), 7);
        assert!(abort.is_finished());
    });
}

#[test]
fn aborting_what_has_ended_changes_nothing() {
    runtime().block_on(async {
        let mut handle = spawn_blocking(|| 7);
        let abort = handle.abort_handle();
        eventually(|| handle.is_finished() && abort.is_finished());
        handle.abort();
        abort.abort();
        assert_eq!((&mut handle).await.unwrap(), 7);
        // The handle has given its result.
        handle.abort();
        let late = handle.abort_handle();
        late.abort();
        assert!(handle.is_finished() && late.is_finished());
        assert_eq!((handle.id(), late.id()), (abort.id(), abort.id()));
    });
}

#[test]
fn a_queued_closure_that_is_aborted_never_runs() {
    alone_with_one_thread("handles::a_queued_closure_that_is_aborted_never_runs", || {
        with_one_thread().block_on(async {
            let (gate, ran) = (Gate::new(), Arc::new(AtomicUsize::new(0)));
            let busy = occupy(&gate);
            let ways: [fn(&JoinHandle<()>); 2] = [JoinHandle::abort, |handle| handle.abort_handle().abort()];
            let mut aborted = Vec::new();
            for abort in ways {
                let runs = Arc::clone(&ran);
                let handle = spawn_blocking(move || _ = runs.fetch_add(1, Ordering::SeqCst));
                let other = handle.abort_handle();
                abort(&handle);
                abort(&handle);
                aborted.push((handle, other));
            }
            gate.open();
            busy.await.unwrap();
            for (handle, other) in aborted {
                let id = handle.id();
                let error = handle.await.unwrap_err();
                assert!(error.is_cancelled() && !error.is_panic());
                assert_eq!((error.id(), other.id()), (id, id));
                let text = error.to_string();
                assert!(text.starts_with(&format!("task {id} ")) && text.contains("was cancelled"), "{text}");
                let error = error.try_into_panic().unwrap_err();
                assert!(catch_unwind(AssertUnwindSafe(|| error.into_panic())).is_err());
                assert!(other.is_finished());
            }
            assert_eq!(ran.load(Ordering::SeqCst), 0);
        });
    });
}

#[test]
fn ids_are_unique_and_equal_wherever_they_are_asked_for() {
    assert!(subject::try_id().is_none());
    assert!(catch_unwind(subject::id).is_err());
    runtime().block_on(async {
        let mut seen: HashSet<Id> = HashSet::new();
        for _ in 0..100 {
            let handle = spawn_blocking(|| (subject::id(), subject::try_id()));
            let id = handle.id();
            assert_eq!(handle.abort_handle().id(), id);
            assert_eq!(handle.await.unwrap(), (id, Some(id)));
            assert!(id.to_string().parse::<u64>().is_ok() && seen.insert(id));
        }
    });
}

#[test]
fn the_closure_is_inside_the_runtime_of_its_caller() {
    for _ in 0..2 {
        let runtime = runtime();
        let id = runtime.handle().id();
        runtime.block_on(async {
            let nap = async {
                sleep(Duration::from_millis(1)).await;
                7
            };
            let inside = spawn_blocking(|| (Handle::current().id(), Handle::current().block_on(nap)));
            assert_eq!(inside.await.unwrap(), (id, 7));
            let nested = spawn_blocking(|| spawn_blocking(|| Handle::current().id()));
            assert_eq!(nested.await.unwrap().await.unwrap(), id);
        });
    }
}

#[test]
fn a_wait_that_is_given_up_loses_nothing() {
    runtime().block_on(async {
        let gate = Gate::new();
        let behind = gate.clone();
        let mut handle = spawn_blocking(move || {
            behind.pass();
            7
        });
        for _ in 0..3 {
            assert!(timeout(Duration::from_millis(1), &mut handle).await.is_err());
        }
        gate.open();
        assert_eq!(handle.await.unwrap(), 7);
    });
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

    runtime().block_on(async {
        let gate = Gate::new();
        let mut handle = occupy(&gate);
        let [first, last] = [(); 2].map(|()| Arc::new(Calls::default()));
        for calls in [&first, &last] {
            let waker = Waker::from(Arc::clone(calls));
            let polled = std::pin::Pin::new(&mut handle).poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
        }
        gate.open();
        eventually(|| last.0.load(Ordering::SeqCst) == 1);
        assert_eq!(first.0.load(Ordering::SeqCst), 0);
        handle.await.unwrap();
    });
}

#[test]
fn the_handles_can_go_anywhere() {
    fn free<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + 'static>() {}
    free::<JoinHandle<u8>>();
    free::<AbortHandle>();
    fn error<T: std::error::Error + Send + Sync + 'static>() {}
    error::<JoinError>();
    fn id<T: Copy + Ord + std::hash::Hash + std::fmt::Debug + std::fmt::Display>() {}
    id::<Id>();
}
