//! What a lane counts, and what its tasks refer to.
//!
//! ORDERING: the Release in `show_pending` pairs with the Acquire in `counts`. One thread writes at
//! a time, under the lane's lock, which hands on what a chain would.

use std::ops::AddAssign;

use crossbeam_utils::CachePadded;

use crate::counts::{Account, AccountCounters, Counter, RunCounters, TaskCounts};
use crate::sync::atomic::{AtomicUsize, Ordering};

/// What one lane or all of them have counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LaneCounts {
    pub(crate) tasks: TaskCounts,
    /// Slots for which an entry waits in the pool's queues.
    pub(crate) pending: u64,
}

impl AddAssign for LaneCounts {
    fn add_assign(&mut self, other: Self) {
        self.tasks += other.tasks;
        self.pending += other.pending;
    }
}

/// The counters in the account of a lane. Each step is counted before the next can happen.
#[derive(Debug, Default)]
pub(crate) struct LaneCounters {
    /// Counted under the lane's lock.
    pub(super) submitted: Counter,
    pub(super) cancelled: Counter,
    pending: AtomicUsize,
    /// Apart, since submitters and threads that run are on different CPUs. Any thread of the pool
    /// counts here.
    pub(super) runs: CachePadded<RunCounters>,
}

/// What the tasks of a lane refer to.
pub(crate) type LaneAccount = Account<LaneCounters>;

impl LaneCounters {
    /// How many slots are pending now; told under the lane's lock.
    pub(super) fn show_pending(&self, pending: usize) {
        self.pending.store(pending, Ordering::Release);
    }

    /// What has been counted: ends first, then starts, then submissions, so that the differences
    /// are never negative.
    pub(crate) fn counts(&self) -> LaneCounts {
        let mut tasks = TaskCounts { cancelled: self.cancelled.get(), ..TaskCounts::default() };
        self.runs.add_to(&mut tasks);
        tasks.submitted = self.submitted.get();
        LaneCounts { tasks, pending: self.pending.load(Ordering::Acquire) as u64 }
    }
}

impl AccountCounters for LaneCounters {
    fn cancelled(&self) -> &Counter {
        &self.cancelled
    }
}
