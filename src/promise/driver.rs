//! The end of a promise that nobody awaits.
//!
//! A detached chain is polled by tasks of a pool, one for each time that there may be something to
//! do, so that it holds no thread while it waits. The driver is the chain's waker:
//!
//! ```text
//!                  wake                    a pool's thread begins                 ready
//!   WAITING ------------------> SCHEDULED -----------------------> RUNNING ----------------> ENDED
//!      ^                            ^                              |     |
//!      |                            +-- pending, meanwhile woken --+     |
//!      +---------------------------------- pending ----------------------+
//! ```
//!
//! The chain is in one place at a time: in the driver while it is `WAITING`, otherwise in the
//! [`Round`] that has been given to the pool, or on the stack of the thread that polls. Whoever has
//! it may drop it, and does so outside the lock.
//!
//! # Why no wake is lost
//!
//! All changes are made under one lock. A wake while `WAITING` queues a round. A wake while
//! `SCHEDULED` does nothing: the round turns the state to `RUNNING` under the lock before it polls,
//! so this poll sees what the wake is about. A wake while `RUNNING` may come too late for the poll,
//! and is written down (`woken`); the round finds that under the same lock under which it would go
//! to `WAITING`, and queues another instead. It does not poll again at once: others have their turn
//! first.
//!
//! # Why it ends
//!
//! The wakers own the driver, and the driver owns the chain. When the last waker goes without a
//! call, the promise can never be settled: the chain is dropped with the driver. A round that the
//! pool will not run is dropped by the pool, and the chain with it, which cancels what it waits
//! for; that is reported.

use std::mem::replace;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use super::chain::Chain;
use super::kind::Sendable;
use super::steps::{Site, discard};
use crate::pool::Pool;
use crate::sync::Mutex;
use crate::sys::fork::Generation;
use crate::trace::event;

/// Who runs the rounds: a pool, or a model of one.
pub(super) trait Schedule: Send + Sync + Sized + 'static {
    /// Has the round run soon on another stack, or drops it.
    fn schedule(&self, round: Round<Self>);
}

impl Schedule for Pool {
    fn schedule(&self, round: Round<Self>) {
        self.spawn(move || round.run()).detach();
    }
}

enum Stage {
    Waiting(Chain<Sendable>),
    Scheduled,
    Running { woken: bool },
    Ended,
}

/// Polls a chain whenever it is woken.
pub(super) struct Driver<S: Schedule> {
    stage: Mutex<Stage>,
    pool: S,
    /// Where the promise was detached.
    site: Site,
    /// The fork generation: in a forked child the lock may be held for ever, and nobody would run a
    /// round.
    generation: Generation,
}

/// One poll of the chain.
pub(super) struct Round<S: Schedule> {
    /// `None` once it runs.
    chain: Option<Chain<Sendable>>,
    driver: Arc<Driver<S>>,
}

/// Has `chain` polled to its end by tasks of `pool`.
pub(super) fn drive<S: Schedule>(chain: Chain<Sendable>, pool: S, site: Site) {
    let generation = Generation::current();
    let driver = Arc::new(Driver { stage: Mutex::new(Stage::Scheduled), pool, site, generation });
    driver.schedule(chain);
}

impl<S: Schedule> Driver<S> {
    fn schedule(self: &Arc<Self>, chain: Chain<Sendable>) {
        self.pool.schedule(Round { chain: Some(chain), driver: Arc::clone(self) });
    }

    /// The chain has to wait, unless it has been woken meanwhile.
    fn pause(self: &Arc<Self>, chain: Chain<Sendable>) {
        let mut stage = self.stage.lock();
        if let Stage::Running { woken: true } = *stage {
            *stage = Stage::Scheduled;
            drop(stage);
            self.schedule(chain);
        } else {
            *stage = Stage::Waiting(chain);
        }
    }
}

impl<S: Schedule> Round<S> {
    /// Polls the chain once.
    pub(super) fn run(mut self) {
        let Some(mut chain) = self.chain.take() else { unreachable!("a round runs once") };
        *self.driver.stage.lock() = Stage::Running { woken: false };
        let waker = Waker::from(Arc::clone(&self.driver));
        match chain.poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => self.driver.pause(chain),
            Poll::Ready(value) => {
                *self.driver.stage.lock() = Stage::Ended;
                discard(value);
            }
        }
    }
}

impl<S: Schedule> Drop for Round<S> {
    fn drop(&mut self) {
        if self.chain.take().is_some() {
            dropped(self.driver.site, "its pool is shut down, or has refused to go on with it");
        }
    }
}

impl<S: Schedule> Drop for Driver<S> {
    fn drop(&mut self) {
        if let Stage::Waiting(_) = replace(self.stage.get_mut(), Stage::Ended) {
            dropped(self.site, "what it waited for has gone without an end");
        }
    }
}

fn dropped(site: Site, reason: &'static str) {
    event!(WARN, detached_at = %site, reason, "dropped a detached promise before its end");
    let _ = (site, reason);
}

impl<S: Schedule> Wake for Driver<S> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.generation.is_past() {
            return;
        }
        let mut stage = self.stage.lock();
        match &mut *stage {
            Stage::Scheduled | Stage::Ended => {}
            Stage::Running { woken } => *woken = true,
            Stage::Waiting(_) => {
                if let Stage::Waiting(chain) = replace(&mut *stage, Stage::Scheduled) {
                    drop(stage);
                    self.schedule(chain);
                }
            }
        }
    }
}
