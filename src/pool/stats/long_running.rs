//! Which tasks run for long.

use std::borrow::Cow;
use std::panic::Location;
use std::time::{Duration, Instant};

use crate::error::TaskId;
use crate::numbers::{self, NumberMap};
use crate::sync::{Mutex, now};
use crate::worker::{Registry, RunningTask};

/// A task that has been running for long: an item of
/// [`Pool::long_running`](crate::Pool::long_running).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LongRunningTask {
    /// The id of the task.
    pub id: TaskId,
    /// The name of the task, if it has one (see [`TaskOptions::name`](crate::TaskOptions::name)).
    pub name: Option<Cow<'static, str>>,
    /// Where the task was spawned.
    pub site: &'static Location<'static>,
    /// For how long its closure has been running: exact with
    /// [`PoolBuilder::warn_after`](crate::PoolBuilder::warn_after), otherwise the time since
    /// `long_running` first saw the task.
    pub running_for: Duration,
}

/// When each running task that is not timed was first seen.
#[derive(Debug, Default)]
pub(in crate::pool) struct FirstSeen(Mutex<NumberMap<Instant>>);

/// What all threads run.
pub(super) fn running_tasks(workers: &Registry) -> Vec<RunningTask> {
    let mut all = Vec::new();
    for record in workers.records() {
        all.extend(record.running_tasks());
    }
    all
}

impl FirstSeen {
    /// The tasks on the threads of `workers` that have been running for longer than `limit`, the
    /// longest first.
    pub(in crate::pool) fn longer_than(&self, limit: Duration, workers: &Registry) -> Vec<LongRunningTask> {
        let now = now();
        let shown = running_tasks(workers);
        let mut seen = self.0.lock();
        let mut still = NumberMap::new();
        let mut long = Vec::new();
        for RunningTask { origin, since } in shown {
            let first = seen.get(origin.id.as_u64()).copied().unwrap_or(now);
            still.insert(origin.id.as_u64(), first);
            let running_for = now.saturating_duration_since(since.unwrap_or(first));
            if running_for > limit {
                long.push(LongRunningTask {
                    id: origin.id,
                    name: origin.name,
                    site: origin.site,
                    running_for,
                });
            }
        }
        *seen = still;
        drop(seen);
        let age = |task: &LongRunningTask| u64::try_from(task.running_for.as_nanos()).unwrap_or(u64::MAX);
        let order = numbers::order(long.iter().map(|task| u64::MAX - age(task)));
        let mut long: Vec<Option<LongRunningTask>> = long.into_iter().map(Some).collect();
        order.into_iter().filter_map(|index| long.get_mut(index)?.take()).collect()
    }
}
