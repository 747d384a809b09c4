//! What is true of blocking tasks of tokio and of `sidestep::task`: the cases know their subject by
//! the name `crate::subject` alone.

mod clock;
mod handles;
mod sets;
#[expect(dead_code, reason = "the other suite uses the rest")]
#[path = "../cases/support.rs"]
mod support;

use std::process::Command;
use std::task::{Context, Poll, Waker};

use tokio::runtime::{Builder, Runtime};

use self::support::Gate;
use crate::subject::{JoinHandle, spawn_blocking};

/// A runtime on this thread.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

/// A runtime with one thread for blocking tasks. That of the global pool of sidestep is set by
/// [`alone_with_one_thread`].
fn with_one_thread() -> Runtime {
    Builder::new_current_thread().enable_time().max_blocking_threads(1).build().unwrap()
}

/// Runs a test of this path in a process where the global pool of sidestep has one thread.
fn alone_with_one_thread(test: &str, body: impl FnOnce()) {
    const MARK: &str = "SIDESTEP_COMPAT_CHILD";
    if std::env::var_os(MARK).is_some() {
        return body();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([&format!("task_cases::{test}"), "--exact"]);
    command.env(MARK, "1").env("SIDESTEP_MAX_THREADS", "1").env_remove("SIDESTEP_CORE_THREADS");
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains(" 1 passed"), "{text}");
}

/// A task that has begun and runs until the gate is opened.
fn occupy(gate: &Gate) -> JoinHandle<()> {
    let (began, behind) = (Gate::new(), gate.clone());
    let begins = began.clone();
    let handle = spawn_blocking(move || {
        begins.open();
        behind.pass();
    });
    began.pass();
    handle
}

/// Polls once, with a waker that nobody calls.
fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}
