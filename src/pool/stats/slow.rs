//! What is reported of a task that waits or runs for long.

use std::borrow::Cow;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Origin, TaskId};

pub(in crate::pool) type SlowTaskHook = Arc<dyn Fn(&SlowTask) + Send + Sync>;

/// A task that has waited or run for longer than
/// [`PoolBuilder::warn_after`](crate::PoolBuilder::warn_after) says: what
/// [`PoolBuilder::on_slow_task`](crate::PoolBuilder::on_slow_task) is called with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlowTask {
    /// The id of the task.
    pub id: TaskId,
    /// The name of the task, if it has one (see [`TaskOptions::name`](crate::TaskOptions::name)).
    pub name: Option<Cow<'static, str>>,
    /// Where the task was spawned.
    pub site: &'static Location<'static>,
    /// The name of the lane that the task is of. Not known of a task that goes on running.
    pub lane: Option<String>,
    /// What the task has done for so long.
    pub event: SlowTaskEvent,
    /// For how long.
    pub time: Duration,
}

/// What a [`SlowTask`] has done for so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SlowTaskEvent {
    /// It has waited in a queue, and begins.
    Begins,
    /// It has been running, and goes on.
    GoesOn,
    /// It has run, and has ended.
    Ended,
}

impl SlowTask {
    pub(super) fn new(origin: Origin, lane: Option<&str>, event: SlowTaskEvent, time: Duration) -> Self {
        let Origin { id, site, name } = origin;
        SlowTask { id, name, site, lane: lane.map(str::to_owned), event, time }
    }
}
