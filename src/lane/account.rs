//! What a lane counts, and what its tasks refer to.
//!
//! ORDERING: the Release in `show_pending` pairs with the Acquire in `counts`. One thread writes at
//! a time, under the lane's lock, which hands on what a chain would.

use std::ops::AddAssign;

use crossbeam_utils::CachePadded;

use crate::counts::{Account, AccountCounters, Counter, RunCounters, TaskCounts, UnrunCounters};
use crate::sync::atomic::{AtomicUsize, Ordering};

/// What one lane or all of them have counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LaneCounts {
    pub(crate) tasks: TaskCounts,
    /// Slots for which an item waits in the pool's queues.
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
    pub(super) unrun: UnrunCounters,
    pending: AtomicUsize,
    /// Apart, since submitters and threads that run are on different CPUs. Any thread of the pool
    /// counts here.
    pub(super) runs: CachePadded<RunCounters>,
}

/// What the tasks of a lane refer to.
pub(crate) type LaneAccount = Account<LaneCounters>;

impl LaneCounters {
    /// Shows how many slots are pending now; called under the lane's lock.
    pub(super) fn show_pending(&self, pending: usize) {
        self.pending.store(pending, Ordering::Release);
    }

    /// What has been counted: ends first, then starts, then submissions, so that the differences
    /// are never negative.
    pub(crate) fn counts(&self) -> LaneCounts {
        let mut tasks = TaskCounts::default();
        self.unrun.add_to(&mut tasks);
        self.runs.add_to(&mut tasks);
        tasks.submitted = self.submitted.get();
        LaneCounts { tasks, pending: self.pending.load(Ordering::Acquire) as u64 }
    }

    /// Whether every task has ended, and every thread that has cancelled one has let go of the
    /// account.
    pub(super) fn is_settled(&self) -> bool {
        // In this order: what is counted has been counted by a thread that settles it.
        self.counts().tasks.balanced() && self.unrun.is_settled()
    }
}

impl AccountCounters for LaneCounters {
    fn unrun(&self) -> &UnrunCounters {
        &self.unrun
    }
}
