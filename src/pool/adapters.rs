//! What the modules above the pool use of it besides its public methods: one file for all of them.
//!
//! | method | for |
//! |---|---|
//! | `attempt` of `Lane`, `ChosenTarget`, `TaskOptions` | `strand`, whose calls may find no value |
//! | `PoolBuilder::tasks_limit` | `strand::dedicated`, whose limit is that of a lane |

use std::panic::Location;

use super::submit::ChosenTarget;
use super::{Lane, PoolBuilder, TaskOptions};
use crate::error::Reason;
use crate::task::{Attempt, Task};

impl Lane {
    /// [`spawn`](Lane::spawn) for a closure that may end its task with a reason of the crate's own.
    #[track_caller]
    pub(crate) fn attempt<F, T>(&self, f: F) -> Task<T>
    where
        F: FnOnce() -> Result<T, Reason> + Send + 'static,
        T: Send + 'static,
    {
        self.submitter().spawn(Attempt(f), Location::caller(), self.pool().inner.carried.metadata())
    }
}

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
}

impl TaskOptions<'_> {
    /// [`spawn`](TaskOptions::spawn) for a closure that may end its task with a reason of the
    /// crate's own.
    #[track_caller]
    pub(crate) fn attempt<F, T>(&self, f: F) -> Task<T>
    where
        F: FnOnce() -> Result<T, Reason> + Send + 'static,
        T: Send + 'static,
    {
        self.submit(Attempt(f), Location::caller())
    }
}

impl PoolBuilder {
    /// What [`queue_limit`](PoolBuilder::queue_limit) has set.
    pub(crate) fn tasks_limit(&self) -> Option<usize> {
        self.config.queue_limit
    }
}
