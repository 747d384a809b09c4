//! Waiting until a pool or lane has nothing to do: [`UntilIdle`]. The protocol is in
//! `counts::idle_waiters`.

use std::fmt;
use std::future::Future;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::inner::Inner;
use super::submit::Destination;
use crate::counts::{IdleSource, IdleTicket, IdleWaiters};
use crate::error::Reason;
use crate::task::{BlockingWait, Help, Host, block, tasks};

/// A wait until nothing is queued or runs: what [`Pool::idle`](crate::Pool::idle) and
/// [`Lane::idle`](crate::Lane::idle) return.
///
/// Use it between the phases of a program, before a snapshot, or in tests. It resolves as soon as,
/// at some instant since its first poll, every task that had been submitted until then had ended:
/// had run, or been cancelled, or expired. Tasks that are submitted after that instant do not
/// matter; where submissions never stop, neither may the wait. For a pool the tasks of its lanes
/// count too. Nothing is closed or stopped: to end a pool, [shut it down](crate::Pool::shutdown).
///
/// An end is counted before its result can be seen, so a handle may show the result a moment later.
/// A thread that has run the last task finds that out when it has delivered the result, so not
/// while a waker or callback of that task still runs on it.
///
/// What waits for room in a full queue is not queued yet. A lane that is paused with queued tasks
/// is not idle. In the child of a fork, where nothing runs, every wait is over.
///
/// # Cancellation
///
/// Dropping it ends the wait. It keeps its pool or lane alive as a handle does.
///
/// # Panics
///
/// Polling and [`wait`](UntilIdle::wait) panic inside a task of the pool or lane, which would wait
/// for itself.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// let pool = sidestep::Pool::new()?;
/// let lane = pool.lane("thumbnails", 2);
/// let made = Arc::new(AtomicUsize::new(0));
/// for _ in 0..100 {
///     let made = Arc::clone(&made);
///     lane.spawn(move || made.fetch_add(1, Ordering::Relaxed)).detach();
/// }
/// lane.idle().wait();
/// assert_eq!(made.load(Ordering::Relaxed), 100);
/// # sidestep::block_on(async {
/// pool.idle().await; // the same, and for the whole pool
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "nothing waits until this is awaited, or by `wait`"]
pub struct UntilIdle {
    target: Destination,
    ticket: IdleTicket,
}

impl IdleSource for Inner {
    fn is_idle(&self) -> bool {
        self.engine.is_idle()
    }
}

impl UntilIdle {
    pub(super) fn new(target: Destination) -> Self {
        UntilIdle { target, ticket: IdleTicket::default() }
    }

    /// Blocks this thread until nothing is queued or runs.
    ///
    /// # Panics
    ///
    /// Inside a task of the pool or lane.
    #[track_caller]
    pub fn wait(mut self) {
        match block(&mut self, None) {
            Some(()) => {}
            None => unreachable!("there is no deadline"),
        }
    }

    fn waiters(&self) -> &IdleWaiters {
        match self.target.lane() {
            Some(lane) => lane.core().idle(),
            None => self.target.pool().inner.engine.lanes.idle(),
        }
    }

    /// Whether the calling thread is inside a task that this waits for.
    fn is_inside(&self) -> bool {
        let engine = &self.target.pool().inner.engine;
        match self.target.lane() {
            Some(lane) => tasks().any(|task| task.is_owned_by(lane.core().owner())),
            None => tasks()
                .any(|task| task.is_owned_by(engine.owner()) || engine.lanes.find(task.owner()).is_some()),
        }
    }

    fn look(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.target.pool().inner.engine.is_forked() {
            return Poll::Ready(());
        }
        assert!(
            !self.is_inside(),
            "a task of a pool or lane waits until that is idle, and so for itself: wait elsewhere"
        );
        let mut ticket = std::mem::take(&mut self.ticket);
        let answer = self.waiters().poll(&mut ticket, context.waker());
        self.ticket = ticket;
        answer
    }
}

impl Future for UntilIdle {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.look(context)
    }
}

impl BlockingWait for UntilIdle {
    type Output = ();

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.look(context)
    }

    /// On a thread of the pool, in a callback, what it waits for may need this thread.
    fn help(&mut self, host: Option<&dyn Host>) -> Help {
        let owner = self.target.pool().inner.engine.owner();
        if host.is_some_and(|host| host.owner() == owner) { Help::RunAny } else { Help::Nothing }
    }

    fn fail(&mut self, reason: Reason) -> Poll<()> {
        panic!("the wait until a pool or lane is idle cannot go on: {reason:?}")
    }
}

impl Drop for UntilIdle {
    fn drop(&mut self) {
        if !self.target.pool().inner.engine.is_forked() {
            let mut ticket = std::mem::take(&mut self.ticket);
            self.waiters().leave(&mut ticket);
        }
    }
}

// No user code runs under a lock of the list.
impl UnwindSafe for UntilIdle {}
impl RefUnwindSafe for UntilIdle {}

impl fmt::Debug for UntilIdle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UntilIdle").field("of", &self.target).finish_non_exhaustive()
    }
}
