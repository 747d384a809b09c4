//! What the modules above the pool use of it besides its public methods: one file for all of them.
//!
//! | method | for |
//! |---|---|
//! | `attempt`, `attempt_plainly` of `ChosenTarget`; `start` of `ChosenTarget`, `TaskOptions`; `try_start`, `start_with_permit` | `strand` and `resource_pool`, whose calls may find no value |
//! | `ChosenTarget::reserve`, `ChosenTarget::in_session`, `Lane::open_session`, `Lane::end_session` | `strand`: permits for calls, and sessions |
//! | `Pool::private_lane`, `LaneBuilder::build_private` | `strand` and `resource_pool`: a lane for one value, or for the values of one pool |
//! | `Pool::ring_at` | `resource_pool`, which drops what has been idle for long |
//! | `Pool::help` | `resource_pool::closing`, a wait for calls of one lane |
//! | `PoolBuilder::tasks_limit` | `strand::dedicated`, whose limit is that of a lane |

use std::error::Error;
use std::panic::Location;
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::expiry::TimedCall;
use super::submit::{ChosenTarget, TaskSettings};
use super::{Lane, Permit, Pool, PoolBuilder, Reserve, TaskOptions};
use crate::error::{Reason, Rejected};
use crate::task::{Attempt, Help, Host, Task, Work};

impl ChosenTarget {
    /// Spawns a closure that may end its task with a reason of the crate's own.
    #[track_caller]
    pub(crate) fn attempt<F, T>(&self, f: F) -> Task<T>
    where
        F: FnOnce() -> Result<T, Reason> + Send + 'static,
        T: Send + 'static,
    {
        let (destination, settings) = self.resolve();
        destination.spawn(Attempt(f), Location::caller(), settings)
    }

    /// [`attempt`](ChosenTarget::attempt) without the options of this target.
    #[track_caller]
    pub(crate) fn attempt_plainly<F, T>(&self, f: F) -> Task<T>
    where
        F: FnOnce() -> Result<T, Reason> + Send + 'static,
        T: Send + 'static,
    {
        let (destination, _) = self.resolve();
        destination.spawn(Attempt(f), Location::caller(), &TaskSettings::default())
    }
}

impl TaskOptions<'_> {
    /// [`spawn`](TaskOptions::spawn) for work that may end its task with a reason.
    #[track_caller]
    pub(crate) fn start<W, T>(&self, work: W) -> Task<T>
    where
        W: Work<T> + Send + 'static,
        T: Send + 'static,
    {
        self.submit(work, Location::caller())
    }

    /// [`try_spawn`](TaskOptions::try_spawn) for work that may end its task with a reason.
    #[track_caller]
    pub(crate) fn try_start<W, T>(&self, work: W) -> Result<Task<T>, Rejected<W>>
    where
        W: Work<T> + Send + 'static,
        T: Send + 'static,
    {
        self.try_submit(work, Location::caller())
    }

    /// [`Permit::spawn`] with these options, for work that may end its task with a reason.
    #[track_caller]
    pub(crate) fn start_with_permit<W, T>(&self, permit: Permit, work: W) -> Task<T>
    where
        W: Work<T> + Send + 'static,
        T: Send + 'static,
    {
        permit.start(self, work)
    }
}

impl ChosenTarget {
    /// [`TaskOptions::start`] of the options of this target.
    #[track_caller]
    pub(crate) fn start<W, T>(&self, work: W) -> Task<T>
    where
        W: Work<T> + Send + 'static,
        T: Send + 'static,
    {
        let (destination, settings) = self.resolve();
        destination.spawn(work, Location::caller(), settings)
    }

    /// Waits for a permit of the queue that this target spawns into.
    #[track_caller]
    pub(crate) fn reserve(&self) -> Reserve {
        self.reserve_at(Location::caller())
    }

    /// A target of these options for the tasks of the session of `lane`.
    pub(crate) fn in_session(&self, lane: &Lane) -> ChosenTarget {
        self.with_lane(lane.of_session())
    }
}

impl Lane {
    /// Opens a session: from now on only its tasks are run in the lane. To be called in a task of
    /// the lane. An error if there is one open, or if the pool is shut down.
    pub(crate) fn open_session(&self) -> Result<(), Reason> {
        if self.core().settings().keys.is_some() {
            let name = self.name();
            let error =
                format!("lane {name:?} is a keyed lane: put what is to have sessions in a lane of its own");
            return Err(Reason::Unavailable(Arc::from(Box::<dyn Error + Send + Sync>::from(error))));
        }
        if !self.core().open_session() {
            return Err(Reason::LaneDeadlock);
        }
        if self.pool().inner.engine.is_closed() {
            // The shutdown may have looked for sessions before.
            self.end_session();
            return Err(Reason::Shutdown);
        }
        Ok(())
    }

    /// Ends the session of the lane, if one is open.
    pub(crate) fn end_session(&self) {
        let inner = &self.pool().inner;
        inner.engine.end_session(self.shared(), &**inner);
    }
}

impl Pool {
    /// A lane of its own, which `label` names in metrics and errors.
    pub(crate) fn private_lane(&self, label: &str, limit: usize) -> Lane {
        match self.lane_builder(label, limit).build_private() {
            Ok(lane) => lane,
            Err(error) => unreachable!("the settings are possible: {error}"),
        }
    }

    /// Rings `alarm` at this time, if it is still there, on a thread that may run user code.
    pub(crate) fn ring_at(&self, at: Instant, alarm: Weak<dyn TimedCall>) {
        self.inner.expiry.ring_at(&self.inner.config.name, at, alarm);
    }

    /// What a thread may do that waits for something that tasks of this pool do.
    pub(crate) fn help(&self, host: Option<&dyn Host>) -> Help {
        match host {
            Some(host) if host.owner() == self.inner.engine.owner() => Help::RunAny,
            _ => Help::Nothing,
        }
    }
}

impl PoolBuilder {
    /// What [`queue_limit`](PoolBuilder::queue_limit) has set.
    pub(crate) fn tasks_limit(&self) -> Option<usize> {
        self.config.queue_limit
    }
}
