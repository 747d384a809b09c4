//! How long tasks wait and run: what the pool warns of, and what it records.

use std::fmt;
use std::time::{Duration, Instant};

use super::long_running::running_tasks;
use super::slow::{SlowTask, SlowTaskEvent, SlowTaskHook};
use crate::counts::thread_number;
use crate::error::Origin;
use crate::lane::LaneCore;
use crate::latency::{LatencyRecorder, LatencySnapshot};
use crate::numbers::NumberSet;
use crate::panic::catch_panic;
use crate::pool::config::Config;
use crate::sync::{Mutex, now};
use crate::task::TaskRef;
use crate::trace::event;
use crate::worker::{Registry, RunningTask};

/// Warns of, and records, the times of a pool's tasks.
pub(in crate::pool) struct Observer {
    warn_after: Option<Duration>,
    on_slow_task: Option<SlowTaskHook>,
    latency: LatencyRecorder,
    is_on: bool,
    /// The running tasks that the pool has warned of.
    warned: Mutex<NumberSet>,
}

/// The recorder of the times of a pool's tasks, or of those of one of its lanes, of which up to
/// `threads` run at a time. It may call user code.
pub(in crate::pool) fn latency(config: &Config, lane: Option<&str>, threads: usize) -> LatencyRecorder {
    let latency = LatencyRecorder::default();
    #[cfg(feature = "histograms")]
    let latency = if config.histograms { latency.with_histograms(threads) } else { latency };
    #[cfg(feature = "metrics")]
    let latency =
        if config.export_every.is_some() { latency.with_series(&config.name, lane) } else { latency };
    let _ = (config, lane, threads);
    latency
}

impl Observer {
    pub(in crate::pool) fn new(config: &Config) -> Self {
        let latency = latency(config, None, usize::MAX);
        let is_on = config.warn_after.is_some() || latency.is_on();
        let (warn_after, on_slow_task) = (config.warn_after, config.on_slow_task.clone());
        Observer { warn_after, on_slow_task, latency, is_on, warned: Mutex::default() }
    }

    /// Whether times are warned of or recorded: then tasks carry the time of their spawning.
    pub(in crate::pool) fn is_on(&self) -> bool {
        self.is_on
    }

    /// The times recorded so far.
    pub(in crate::pool) fn read(&self) -> LatencySnapshot {
        self.latency.read()
    }

    /// Whether the pool warns of tasks that run for long.
    pub(in crate::pool) fn warns(&self) -> bool {
        self.warn_after.is_some() && (cfg!(feature = "tracing") || self.on_slow_task.is_some())
    }

    /// Warns of the tasks on the threads of `workers` that have been running for long and go on,
    /// once for each. Returns when the next task will have been running for so long, if none ends
    /// before.
    pub(in crate::pool) fn scan(&self, workers: &Registry) -> Option<Instant> {
        let limit = self.warn_after?;
        let shown = running_tasks(workers);
        let now = now();
        let mut warned = self.warned.lock();
        for id in warned.numbers() {
            if !shown.iter().any(|task| task.origin.id.as_u64() == id) {
                warned.remove(id);
            }
        }
        let mut long = Vec::new();
        let mut next = None;
        for RunningTask { origin, since, .. } in shown {
            let Some(due) = since.and_then(|since| since.checked_add(limit)) else { continue };
            if due > now {
                next = next.into_iter().chain([due]).min();
            } else if warned.insert(origin.id.as_u64()) {
                long.push((origin, (now - due).saturating_add(limit)));
            }
        }
        drop(warned);
        for (origin, running) in long {
            event!(WARN, task = %origin, ?running, "a task has been running for long and goes on");
            self.call_back(origin, None, SlowTaskEvent::GoesOn, running);
        }
        next
    }

    /// Calls the callback for slow tasks, which is user code.
    fn call_back(&self, origin: Origin, lane: Option<&str>, event: SlowTaskEvent, time: Duration) {
        if let Some(callback) = &self.on_slow_task {
            let slow = SlowTask::new(origin, lane, event, time);
            catch_panic("the callback for slow tasks", || callback(&slow));
        }
    }

    fn is_long(&self, time: Duration) -> bool {
        self.warn_after.is_some_and(|limit| time > limit)
    }

    /// `task` is about to run.
    pub(in crate::pool) fn waited(&self, task: &TaskRef, lane: Option<&LaneCore>, waited: Duration) {
        let thread = thread_number();
        self.latency.waited(thread, waited);
        lane.into_iter().for_each(|lane| lane.latency().waited(thread, waited));
        if self.is_long(waited) {
            let lane = lane.map(LaneCore::name);
            event!(WARN, task = %task.origin(), lane, ?waited, "a task waited long");
            self.call_back(task.origin(), lane, SlowTaskEvent::Begins, waited);
        }
    }

    /// `task` has ended.
    pub(in crate::pool) fn ran(&self, task: &TaskRef, lane: Option<&LaneCore>, ran: Duration) {
        let thread = thread_number();
        self.latency.ran(thread, ran);
        lane.into_iter().for_each(|lane| lane.latency().ran(thread, ran));
        if self.is_long(ran) {
            let lane = lane.map(LaneCore::name);
            event!(WARN, task = %task.origin(), lane, ?ran, "a task ran long");
            self.call_back(task.origin(), lane, SlowTaskEvent::Ended, ran);
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").field("warn_after", &self.warn_after).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
