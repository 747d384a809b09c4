//! Models of detached promises for the model checker. Each job is a thread.
//!
//! A thread that parks for ever is a deadlock, which the checker reports. So each model ends only
//! if the chain was polled to its end, or dropped.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use loom::thread;

use super::chain::{Carries, Chain, SendKind};
use super::detach::{PollJob, Schedule, detach};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::stand_in::model::check;
use crate::sync::{Mutex, Parker, Tracked};

/// Runs so many jobs, and drops those that come after them.
struct Threads(AtomicUsize);

impl Schedule for Threads {
    fn schedule(&self, job: PollJob<Self>) {
        let left = self.0.load(Ordering::Relaxed);
        if left > 0 {
            self.0.store(left - 1, Ordering::Relaxed);
            thread::spawn(move || job.run());
        }
    }
}

/// Counts signals, and wakes the task that waits for them.
#[derive(Default)]
struct Signals(Mutex<State>);

#[derive(Default)]
struct State {
    count: u32,
    waker: Option<Waker>,
    /// There will be no signal, so no waker is kept.
    over: bool,
}

impl Signals {
    fn signal(&self) {
        let mut state = self.0.lock();
        state.count += 1;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ends the signals: there will be no more.
    fn hang_up(&self) {
        let mut state = self.0.lock();
        state.over = true;
        let waker = state.waker.take();
        drop(state);
        drop(waker);
    }
}

/// Unparks when it is dropped.
struct UnparkOnDrop {
    gone: Arc<Parker>,
    _freed: Tracked,
}

impl Drop for UnparkOnDrop {
    fn drop(&mut self) {
        self.gone.unpark();
    }
}

/// Detaches a chain that waits for `count` signals and then counts itself as ended. Returns the
/// signals, the count, and a parker that is unparked when the chain has ended or been dropped.
fn detach_chain(count: u32, jobs: usize) -> (Arc<Signals>, Arc<AtomicUsize>, Arc<Parker>) {
    let signals = Arc::new(Signals::default());
    let (ended, gone) = (Arc::new(AtomicUsize::new(0)), Arc::new(Parker::new()));
    let awaited = Arc::clone(&signals);
    let source = poll_fn(move |context| {
        let mut state = awaited.0.lock();
        if state.count >= count {
            return Poll::Ready(SendKind::erase(()));
        }
        if !state.over {
            state.waker = Some(context.waker().clone());
        }
        Poll::Pending
    });
    let mut chain = Chain::<SendKind>::pending(Box::pin(source));
    let (end, on_drop) =
        (Arc::clone(&ended), UnparkOnDrop { gone: Arc::clone(&gone), _freed: Tracked::new() });
    chain.push(Box::new(move |value| {
        let _on_drop = on_drop;
        let () = SendKind::downcast(value);
        end.fetch_add(1, Ordering::Relaxed);
        Chain::settled(())
    }));
    detach(chain, Threads(AtomicUsize::new(jobs)), std::panic::Location::caller());
    (signals, ended, gone)
}

/// Two wakes, one after the other, at any moment of the polls: the last of them is seen.
#[test]
fn loom_two_wakes_and_no_more_jobs_than_that() {
    check(Some(3), || {
        let (signals, ended, gone) = detach_chain(2, 3);
        signals.signal();
        signals.signal();
        gone.park(None);
        assert_eq!(ended.load(Ordering::Relaxed), 1);
    });
}

/// Two wakes at once.
#[test]
fn loom_two_threads_wake() {
    check(Some(2), || {
        let (signals, ended, gone) = detach_chain(2, 3);
        let other = Arc::clone(&signals);
        let other = thread::spawn(move || other.signal());
        signals.signal();
        gone.park(None);
        other.join().unwrap();
        assert_eq!(ended.load(Ordering::Relaxed), 1);
    });
}

/// The pool refuses the second job: the chain ends in the first one, or is dropped.
#[test]
fn loom_a_job_is_refused() {
    check(None, || {
        let (signals, ended, gone) = detach_chain(1, 1);
        signals.signal();
        gone.park(None);
        assert!(ended.load(Ordering::Relaxed) <= 1);
    });
}

/// The last waker is dropped while the chain begins to wait for it: the chain is dropped.
#[test]
fn loom_nothing_is_left_to_wake_it() {
    check(None, || {
        let (signals, ended, gone) = detach_chain(1, 1);
        signals.hang_up();
        gone.park(None);
        assert_eq!(ended.load(Ordering::Relaxed), 0);
    });
}
