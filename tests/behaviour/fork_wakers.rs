//! Wakers that fork: the child goes on in the middle of the pool's own code, and hangs there neither.
#![cfg(unix)]

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::task::{Wake, Waker};

use crate::fork::{end_child, fork_and_return};
use crate::support::{Gate, eventually, occupy, poll, pool, soon};

#[derive(Default)]
struct Forks {
    in_child: AtomicBool,
    /// What the child has ended with.
    status: OnceLock<i32>,
}

impl Wake for Forks {
    fn wake(self: Arc<Self>) {
        if let Some(status) = fork_and_return(&self.in_child) {
            self.status.set(status).unwrap();
        }
    }
}

#[test]
fn a_waker_that_a_wait_for_the_shutdown_wakes_may_fork() {
    let (pool, forks) = (pool(2, 2), Arc::new(Forks::default()));
    let (gate, ready, start) = (Gate::new(), Gate::new(), Gate::new());
    // The child has this thread no more, though it counts as there.
    let other = occupy(&pool, &gate);
    let (inner, child, begun, pass) = (pool.clone(), Arc::clone(&forks), ready.clone(), start.clone());
    let waiting = pool.spawn(move || {
        // The call itself wakes who waits already.
        let shutdown = inner.shutdown();
        begun.open();
        pass.pass();
        let report = shutdown.wait();
        end_child(&child.in_child, 0);
        report.still_running
    });
    ready.pass();
    let mut outside = pool.shutdown();
    assert!(poll(&mut outside, &Waker::from(Arc::clone(&forks))).is_pending());
    start.open();
    eventually("the child has ended", || forks.status.get().is_some());
    gate.open();
    soon(other).unwrap();
    assert_eq!(soon(waiting).unwrap(), 0);
    assert_eq!(forks.status.get(), Some(&0));
}
