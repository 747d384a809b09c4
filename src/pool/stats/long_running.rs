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
    /// [`PoolBuilder::warn_after`](crate::PoolBuilder::warn_after), and otherwise an estimate, at
    /// least the time since `long_running` first saw the task.
    pub running_for: Duration,
}

/// When each running task that is not timed began, as the first look at it has found.
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
        let (mut long, mut ages) = (Vec::new(), Vec::new());
        for RunningTask { origin, since, about } in shown {
            let first = seen.get(origin.id.as_u64()).copied().or(about).unwrap_or(now);
            still.insert(origin.id.as_u64(), first);
            let running_for = now.saturating_duration_since(since.unwrap_or(first));
            if running_for > limit {
                let nanos = u64::try_from(running_for.as_nanos()).unwrap_or(u64::MAX);
                ages.push((u64::MAX - nanos, long.len()));
                let (id, name, site) = (origin.id, origin.name, origin.site);
                long.push(Some(LongRunningTask { id, name, site, running_for }));
            }
        }
        *seen = still;
        drop(seen);
        numbers::sort(&mut ages);
        let mut ordered = Vec::with_capacity(long.len());
        for (_, index) in ages {
            if let Some(task) = long.get_mut(index).and_then(Option::take) {
                ordered.push(task);
            }
        }
        ordered
    }
}
