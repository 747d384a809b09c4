//! Where `sidestep::task` differs from tokio on purpose: each test shows both. `docs/MIGRATING.md`
//! says why.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

#[expect(dead_code, reason = "the other suites use the rest")]
#[path = "cases/support.rs"]
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use futures_lite::future::block_on;
use sidestep::task as ours;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task as theirs;

use self::support::{Drops, Gate, eventually, let_nothing_happen};

/// A runtime with one thread for tokio's blocking tasks.
fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).max_blocking_threads(1).enable_time().build().unwrap()
}

/// Runs a test in a process of its own, where the global pool of sidestep has one thread.
fn alone_with_one_thread(test: &str, body: impl FnOnce()) {
    const MARK: &str = "SIDESTEP_COMPAT_CHILD";
    if std::env::var_os(MARK).is_some() {
        return body();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact"]);
    command.env(MARK, "1").env("SIDESTEP_MAX_THREADS", "1").env_remove("SIDESTEP_CORE_THREADS");
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains(" 1 passed"), "{text}");
}

/// A closure that says that it has begun and waits for the gate.
fn behind(gate: &Gate) -> (Gate, impl FnOnce() + Send + 'static) {
    let (began, gate) = (Gate::new(), gate.clone());
    let begins = began.clone();
    let closure = move || {
        begins.open();
        gate.pass();
    };
    (began, closure)
}

#[test]
fn no_runtime_is_needed() {
    assert_eq!(block_on(ours::spawn_blocking(|| 7)).unwrap(), 7);
    let mut set = ours::JoinSet::new();
    set.spawn_blocking(|| 7);
    assert_eq!(block_on(set.join_next()).unwrap().unwrap(), 7);

    assert!(catch_unwind(|| drop(theirs::spawn_blocking(|| 7))).is_err());
    let mut set = theirs::JoinSet::new();
    assert!(catch_unwind(AssertUnwindSafe(|| drop(set.spawn_blocking(|| 7)))).is_err());
}

#[test]
fn a_queued_closure_that_is_aborted_is_dropped_at_once() {
    alone_with_one_thread("a_queued_closure_that_is_aborted_is_dropped_at_once", || {
        let runtime = runtime();
        let _entered = runtime.enter();
        let (gate, closures) = (Gate::new(), Drops::new());

        let (began, closure) = behind(&gate);
        let busy = ours::spawn_blocking(closure);
        began.pass();
        let token = closures.token();
        let handle = ours::spawn_blocking(move || drop(token));
        handle.abort();
        assert_eq!(closures.count(), 1);
        assert!(handle.is_finished() && block_on(handle).unwrap_err().is_cancelled());
        gate.open();
        block_on(busy).unwrap();

        let (gate, closures) = (Gate::new(), Drops::new());
        let (began, closure) = behind(&gate);
        let busy = theirs::spawn_blocking(closure);
        began.pass();
        let token = closures.token();
        let handle = theirs::spawn_blocking(move || drop(token));
        handle.abort();
        let_nothing_happen();
        assert_eq!(closures.count(), 0);
        assert!(!handle.is_finished());
        gate.open();
        block_on(busy).unwrap();
        assert!(block_on(handle).unwrap_err().is_cancelled());
        assert_eq!(closures.count(), 1);
    });
}

#[test]
fn a_closure_that_runs_can_notice_the_abort() {
    let noticed = |gate: &Gate| {
        let gate = gate.clone();
        move || {
            gate.open();
            eventually(sidestep::current::is_cancelled);
            "cleaned up"
        }
    };
    let began = Gate::new();
    let handle = ours::spawn_blocking(noticed(&began));
    began.pass();
    handle.abort();
    assert_eq!(block_on(handle).unwrap(), "cleaned up");

    let runtime = runtime();
    let (began, gate) = (Gate::new(), Gate::new());
    let (begins, passes) = (began.clone(), gate.clone());
    let handle = runtime.spawn_blocking(move || {
        begins.open();
        passes.pass();
        sidestep::current::is_cancelled()
    });
    began.pass();
    handle.abort();
    gate.open();
    assert!(!block_on(handle).unwrap());
}

#[test]
fn the_end_of_the_runtime_neither_waits_nor_drops() {
    alone_with_one_thread("the_end_of_the_runtime_neither_waits_nor_drops", || {
        // Ours: the drop returns while one closure runs and another is queued; both give values.
        let own = runtime();
        let guard = own.enter();
        let gate = Gate::new();
        let (began, closure) = behind(&gate);
        let running = ours::spawn_blocking(closure);
        began.pass();
        let queued = ours::spawn_blocking(|| Handle::try_current().is_ok());
        drop(guard);
        drop(own);
        assert!(!running.is_finished() && !queued.is_finished());
        gate.open();
        block_on(running).unwrap();
        assert!(block_on(queued).unwrap(), "it runs, inside what is left of the runtime");

        // tokio's waits.
        let own = runtime();
        let gate = Gate::new();
        let (began, closure) = behind(&gate);
        let running = own.spawn_blocking(closure);
        began.pass();
        let (send, receive) = channel();
        let ends = thread::spawn(move || {
            drop(own);
            send.send(()).unwrap();
        });
        let_nothing_happen();
        assert!(receive.try_recv().is_err(), "it waits");
        gate.open();
        ends.join().unwrap();
        block_on(running).unwrap();
    });
}

#[test]
fn what_a_closure_wants_of_a_runtime_that_has_ended_is_its_own_error() {
    let own = runtime();
    let (gate, guard) = (Gate::new(), own.enter());
    let pass = gate.clone();
    let handle = ours::spawn_blocking(move || {
        pass.pass();
        Handle::current().block_on(tokio::time::sleep(Duration::from_millis(1)));
    });
    drop(guard);
    drop(own);
    gate.open();
    assert!(block_on(handle).unwrap_err().is_panic());
    assert_eq!(block_on(ours::spawn_blocking(|| 7)).unwrap(), 7);
}

#[test]
fn an_error_says_more() {
    let site = |line: u32| format!("task_differences.rs:{line}:");
    let line = line!() + 1;
    let error = block_on(ours::spawn_blocking(|| std::panic::resume_unwind(Box::new("text"))));
    let error = error.map(|never: ()| never).unwrap_err();
    assert!(error.to_string().contains(&site(line)), "{error}");

    let runtime = runtime();
    let error = block_on(runtime.spawn_blocking(|| std::panic::resume_unwind(Box::new("text"))));
    let error = error.map(|never: ()| never).unwrap_err();
    assert_eq!(error.to_string(), format!("task {} panicked with message \"text\"", error.id()));

    let pool = sidestep::Pool::new().unwrap();
    pool.shutdown().wait();
    let mut set = ours::JoinSet::new();
    set.spawn_blocking_on(|| (), &pool);
    let error = block_on(set.join_next()).unwrap().unwrap_err();
    assert!(error.is_cancelled() && error.task_error().is_shutdown());
}

/// How many results of a set, all of which are there, come one after the other.
fn in_a_row<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<Option<T>>) -> usize {
    let mut context = Context::from_waker(Waker::noop());
    std::iter::from_fn(|| matches!(poll(&mut context), Poll::Ready(Some(_))).then_some(())).count()
}

#[test]
fn results_that_are_ready_do_not_take_turns_with_the_runtime() {
    const MANY: usize = 1000;
    let runtime = Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut own = ours::JoinSet::new();
        let aborts: Vec<_> = (0..MANY).map(|number| own.spawn_blocking(move || number)).collect();
        eventually(|| aborts.iter().all(ours::AbortHandle::is_finished));
        assert_eq!(in_a_row(|context| own.poll_join_next(context)), MANY);

        let mut tokios = theirs::JoinSet::new();
        let aborts: Vec<_> = (0..MANY).map(|number| tokios.spawn_blocking(move || number)).collect();
        eventually(|| aborts.iter().all(theirs::AbortHandle::is_finished));
        assert_eq!(in_a_row(|context| tokios.poll_join_next(context)), 128);
    });
}
