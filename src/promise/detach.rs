//! The end of a promise that no caller awaits.
//!
//! A detached chain is polled by jobs of a pool, one for each time that there may be something to
//! do, so that it holds no thread while it waits. The [`DetachedTask`] is the chain's waker:
//!
//! ```text
//!                  wake                    a pool's thread begins                 ready
//!   WAITING ------------------> SCHEDULED -----------------------> RUNNING ----------------> ENDED
//!      ^                            ^                              |     |
//!      |                            +-- pending, meanwhile woken --+     |
//!      +---------------------------------- pending ----------------------+
//! ```
//!
//! The chain has one owner at a time: the detached task while it is `WAITING`, otherwise the
//! [`PollJob`] that the pool has, or the stack of the thread that polls. The owner may drop the
//! chain, and does so outside the lock.
//!
//! # Why no wake is lost
//!
//! All changes are made under one lock. A wake while `WAITING` queues a job. A wake while
//! `SCHEDULED` does nothing: the job changes the state to `RUNNING` under the lock before it polls,
//! so this poll sees what the wake is about. A wake while `RUNNING` may come too late for the poll,
//! and sets `woken`; the job finds that under the same lock under which it would change the state
//! to `WAITING`, and queues another job instead. It does not poll again at once, so that other
//! tasks of the pool run first.
//!
//! # Why it ends
//!
//! The wakers own the detached task, and the detached task owns the chain. When the last waker is
//! dropped without a call, the promise can never be settled: the chain is dropped with the detached
//! task. A job that the pool refuses is dropped by the pool, and the chain with it, which cancels
//! what the chain waits for. Both are reported.

use std::mem::replace;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use super::chain::{Chain, SendKind};
use super::steps::{Site, discard};
use crate::pool::Pool;
use crate::sync::ProcessMutex;
use crate::trace::event;

/// What runs the jobs: a pool, or a model of one.
pub(super) trait Schedule: Send + Sync + Sized + 'static {
    /// Runs the job soon, on another stack, or drops it.
    fn schedule(&self, job: PollJob<Self>);
}

impl Schedule for Pool {
    fn schedule(&self, job: PollJob<Self>) {
        self.spawn(move || job.run()).detach();
    }
}

enum PollState {
    Waiting(Chain<SendKind>),
    Scheduled,
    Running { woken: bool },
    Ended,
}

/// Polls a chain each time it is woken.
pub(super) struct DetachedTask<S: Schedule> {
    /// In a forked child there is no state, since no thread runs jobs there.
    state: ProcessMutex<PollState>,
    pool: S,
    /// Where the promise was detached.
    site: Site,
}

/// One poll of the chain.
pub(super) struct PollJob<S: Schedule> {
    /// `None` once the job runs.
    chain: Option<Chain<SendKind>>,
    task: Arc<DetachedTask<S>>,
}

/// Polls `chain` to its end by jobs of `pool`.
pub(super) fn detach<S: Schedule>(chain: Chain<SendKind>, pool: S, site: Site) {
    let state = ProcessMutex::new(PollState::Scheduled);
    Arc::new(DetachedTask { state, pool, site }).schedule(chain);
}

impl<S: Schedule> DetachedTask<S> {
    fn schedule(self: &Arc<Self>, chain: Chain<SendKind>) {
        self.pool.schedule(PollJob { chain: Some(chain), task: Arc::clone(self) });
    }

    fn set(&self, state: PollState) {
        if let Some(mut current) = self.state.lock() {
            *current = state;
        }
    }

    /// The chain has to wait, unless it has been woken meanwhile.
    fn pause(self: &Arc<Self>, chain: Chain<SendKind>) {
        let Some(mut state) = self.state.lock() else {
            return report_dropped(self.site, "one of its steps has forked, and this is the child");
        };
        if let PollState::Running { woken: true } = *state {
            *state = PollState::Scheduled;
            drop(state);
            self.schedule(chain);
        } else {
            *state = PollState::Waiting(chain);
        }
    }
}

impl<S: Schedule> PollJob<S> {
    /// Polls the chain once.
    pub(super) fn run(mut self) {
        let Some(mut chain) = self.chain.take() else { unreachable!("a job runs once") };
        self.task.set(PollState::Running { woken: false });
        let waker = Waker::from(Arc::clone(&self.task));
        match chain.poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => self.task.pause(chain),
            Poll::Ready(value) => {
                self.task.set(PollState::Ended);
                discard(value);
            }
        }
    }
}

impl<S: Schedule> Drop for PollJob<S> {
    fn drop(&mut self) {
        if self.chain.take().is_some() {
            report_dropped(self.task.site, "its pool is shut down, or has refused to go on with it");
        }
    }
}

impl<S: Schedule> Drop for DetachedTask<S> {
    fn drop(&mut self) {
        let last = self.state.lock().map(|mut state| replace(&mut *state, PollState::Ended));
        if let Some(PollState::Waiting(_)) = last {
            report_dropped(self.site, "what it waited for has gone without an end");
        }
    }
}

fn report_dropped(site: Site, reason: &'static str) {
    event!(WARN, detached_at = %site, reason, "dropped a detached promise before its end");
    let _ = (site, reason);
}

impl<S: Schedule> Wake for DetachedTask<S> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let Some(mut state) = self.state.lock() else { return };
        match &mut *state {
            PollState::Scheduled | PollState::Ended => {}
            PollState::Running { woken } => *woken = true,
            PollState::Waiting(_) => {
                if let PollState::Waiting(chain) = replace(&mut *state, PollState::Scheduled) {
                    drop(state);
                    self.schedule(chain);
                }
            }
        }
    }
}
