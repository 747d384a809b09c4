//! The metrics of a pool: counts, times, and the tasks that run for long.
//!
//! | file | owns |
//! |---|---|
//! | `metrics` | the metrics of a pool and of a lane, as plain data |
//! | `slow` | what is reported of a task that waits or runs for long |
//! | `observer` | how long tasks wait and run: what the pool warns of, and what it records |
//! | `long_running` | which tasks run for long |
//! | `export` | the metrics for the facade crate `metrics` |

#[cfg(feature = "metrics")]
pub(in crate::pool) mod export;
mod long_running;
mod metrics;
mod observer;
mod slow;

pub use self::long_running::LongRunningTask;
pub use self::metrics::{LaneMetrics, Metrics};

pub use self::slow::{SlowTask, SlowTaskEvent};

pub(in crate::pool) use self::observer::latency;
pub(in crate::pool) use self::slow::SlowTaskHook;

use std::time::Duration;

use crate::pool::config::Config;
use crate::worker::Registry;

use self::long_running::FirstSeen;
use self::observer::Observer;

/// What a pool knows of its tasks besides their counts.
#[derive(Debug)]
pub(in crate::pool) struct Stats {
    observer: Observer,
    first_seen: FirstSeen,
}

impl Stats {
    pub(in crate::pool) fn new(config: &Config) -> Self {
        Stats { observer: Observer::new(config), first_seen: FirstSeen::default() }
    }

    pub(in crate::pool) fn observer(&self) -> &Observer {
        &self.observer
    }

    /// The tasks on the threads of `workers` that have been running for longer than `limit`, the
    /// longest first.
    pub(in crate::pool) fn long_running(&self, limit: Duration, workers: &Registry) -> Vec<LongRunningTask> {
        self.first_seen.longer_than(limit, workers)
    }
}
