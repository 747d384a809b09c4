//! The threads of a pool, and what they have counted together.

use std::sync::Arc;

use super::record::ThreadRecord;
use crate::counts::{PoolCounters, TaskCounts};
use crate::sync::ProcessMutex;

/// The threads of a pool.
#[derive(Debug, Default)]
pub(crate) struct Registry(ProcessMutex<Registered>);

#[derive(Debug, Default)]
struct Registered {
    records: Vec<Arc<ThreadRecord>>,
    /// What the threads that have gone had counted.
    gone: TaskCounts,
    /// What of that those of reserves had counted.
    gone_reserved: TaskCounts,
}

impl Registry {
    /// Makes room for `threads` threads, so that none of them has to (A2 of `pool::threads`).
    pub(crate) fn reserve(&self, threads: usize) {
        if let Some(mut registered) = self.0.lock() {
            let more = threads.saturating_sub(registered.records.len());
            registered.records.reserve(more);
        }
    }

    /// Lists a thread that has started.
    pub(crate) fn register(&self, record: Arc<ThreadRecord>) {
        if let Some(mut registered) = self.0.lock() {
            registered.records.push(record);
        }
    }

    /// Takes a thread off the list and keeps what it has counted.
    pub(crate) fn unregister(&self, record: &Arc<ThreadRecord>) {
        let Some(mut registered) = self.0.lock() else { return };
        registered.records.retain(|other| !Arc::ptr_eq(other, record));
        record.counters.add_to(&mut registered.gone);
        if !record.is_general {
            record.counters.add_to(&mut registered.gone_reserved);
        }
    }

    /// The registered threads.
    pub(crate) fn records(&self) -> Vec<Arc<ThreadRecord>> {
        self.0.lock().map(|registered| registered.records.clone()).unwrap_or_default()
    }

    /// Appends the registered threads to `records`.
    pub(crate) fn add_to(&self, records: &mut Vec<Arc<ThreadRecord>>) {
        if let Some(registered) = self.0.lock() {
            records.extend_from_slice(&registered.records);
        }
    }

    /// What the threads of reserves, those that there are and those that have been, have counted.
    pub(crate) fn reserved_counts(&self) -> TaskCounts {
        let Some(registered) = self.0.lock() else { return TaskCounts::default() };
        let mut counts = registered.gone_reserved;
        for record in registered.records.iter().filter(|record| !record.is_general) {
            record.counters.add_to(&mut counts);
        }
        counts
    }

    /// The sums over all threads that there are or have been, and what other threads have counted
    /// in `account`.
    pub(super) fn counts(&self, account: &PoolCounters) -> TaskCounts {
        let Some(registered) = self.0.lock() else { return TaskCounts::default() };
        let mut counts = TaskCounts { cancelled: account.all_cancelled(), ..registered.gone };
        let sum = |count: fn(&ThreadRecord) -> u64| {
            registered.records.iter().map(|record| count(record)).sum::<u64>()
        };
        // In this order: a reader that sees an end sees the start.
        counts.completed += sum(|record| record.counters.runs.completed.get());
        counts.panicked += sum(|record| record.counters.runs.panicked.get());
        counts.denied += sum(|record| record.counters.runs.denied.get());
        counts.started += sum(|record| record.counters.runs.started.get());
        counts.submitted += sum(|record| record.counters.submitted.get()) + account.all_submitted();
        counts
    }
}
