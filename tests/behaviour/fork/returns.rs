//! Tasks, callbacks and wakers that fork and return: the child goes on in the middle of the pool's
//! own code, and neither hangs there nor runs what is the parent's.
#![cfg(unix)]

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, OnceLock};
use std::task::{Wake, Waker};

use crate::support::fork::exit_status;
use crate::support::{Gate, PATIENCE, check_sound, eventually, occupy, poll, pool, soon};

/// Forks, and in the child goes back to where the caller was called from: into the pool's own code.
/// What runs there later can tell, and ends the child. The parent gets the number it ends with.
fn fork_and_return(in_child: &AtomicBool) -> Option<i32> {
    // SAFETY: the child runs this crate's code, which is meant to stand that, and leaves by
    // `_exit`.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        0 => {
            in_child.store(true, Ordering::Relaxed);
            None
        }
        child => Some(exit_status(child)),
    }
}

/// Ends the child, if this is it.
fn end_child(in_child: &AtomicBool, status: i32) {
    if in_child.load(Ordering::Relaxed) {
        // SAFETY: it ends the child at once.
        unsafe { libc::_exit(status) }
    }
}

/// Ends the child with the thread that it has.
struct EndChild(Arc<AtomicBool>);

impl Drop for EndChild {
    fn drop(&mut self) {
        end_child(&self.0, 0);
    }
}

std::thread_local! { static AT_END: RefCell<Option<EndChild>> = const { RefCell::new(None) } }

const RAN_IN_THE_CHILD: i32 = 7;

#[test]
fn a_task_run_by_a_wait_for_the_shutdown_may_fork_and_the_child_runs_no_other() {
    let (pool, in_child, gate) = (pool(1, 1), Arc::new(AtomicBool::new(false)), Gate::new());
    let (inner, pass, child) = (pool.clone(), gate.clone(), Arc::clone(&in_child));
    let waiting = pool.spawn(move || {
        pass.pass();
        let report = inner.shutdown().wait();
        end_child(&child, 0);
        report.still_running
    });
    let child = Arc::clone(&in_child);
    let forking = pool.spawn(move || fork_and_return(&child));
    let child = Arc::clone(&in_child);
    let next = pool.spawn(move || end_child(&child, RAN_IN_THE_CHILD));
    gate.open();
    assert_eq!(soon(forking).unwrap(), Some(0));
    soon(next).unwrap();
    assert_eq!(soon(waiting).unwrap(), 0);
}

#[test]
fn a_callback_may_fork_between_two_tasks_of_a_lane_and_the_child_runs_no_other() {
    let (pool, in_child, gate) = (pool(1, 1), Arc::new(AtomicBool::new(false)), Gate::new());
    let lane = pool.lane("forks", 1);
    let (child, pass, (send, receive)) = (Arc::clone(&in_child), gate.clone(), channel());
    lane.spawn(move || pass.pass()).on_complete(move |_| {
        AT_END.set(Some(EndChild(Arc::clone(&child))));
        if let Some(status) = fork_and_return(&child) {
            send.send(status).unwrap();
        }
    });
    let child = Arc::clone(&in_child);
    let next = lane.spawn(move || end_child(&child, RAN_IN_THE_CHILD));
    gate.open();
    assert_eq!(receive.recv_timeout(PATIENCE), Ok(0), "its thread leaves");
    soon(next).unwrap();
    check_sound(&pool);
}

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
    let gate = Gate::new();
    // The child has this thread no more, though it counts as there.
    let other = occupy(&pool, &gate);
    let (inner, child) = (pool.clone(), Arc::clone(&forks));
    let waiting = pool.spawn(move || {
        let mut awaited = inner.shutdown();
        assert!(poll(&mut awaited, &Waker::from(Arc::clone(&child))).is_pending());
        // The call itself asks the one that is awaited here already.
        let report = inner.shutdown().wait();
        end_child(&child.in_child, 0);
        report.still_running
    });
    eventually("the child has ended", || forks.status.get().is_some());
    gate.open();
    soon(other).unwrap();
    assert_eq!(soon(waiting).unwrap(), 0);
    assert_eq!(forks.status.get(), Some(&0));
}
