//! Everything a pool counts about tasks, in shards that threads do not fight over.
//!
//! A pool's thread counts in its own slot, anybody else in one of a few shared shards. The sums obey
//!
//! ```text
//! submitted = completed + panicked + cancelled + queued + running
//! ```
//!
//! at every reading, because every step is counted before the next can happen and the readers go the other way:
//! ends first, then starts, then submissions.

use std::cell::Cell;
use std::sync::Arc;

use crossbeam_utils::CachePadded;

use super::slot::{Slot, Tallies};
use crate::sync::atomic::{AtomicU64, Ordering, StaticU64};
use crate::sync::{Mutex, thread_local_const};

const SHARDS: usize = if cfg!(sidestep_loom) { 1 } else { 16 };

#[derive(Debug)]
struct Shard {
    submitted: AtomicU64,
    cancelled: AtomicU64,
}

/// The threads of a pool and the counts of its tasks.
#[derive(Debug)]
pub(crate) struct Roster {
    listed: Mutex<Listed>,
    shards: Box<[CachePadded<Shard>]>,
}

#[derive(Debug, Default)]
struct Listed {
    slots: Vec<Arc<Slot>>,
    /// What threads had counted that have gone.
    gone: Totals,
}

/// Task counts of a whole pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) submitted: u64,
    pub(crate) started: u64,
    pub(crate) completed: u64,
    pub(crate) panicked: u64,
    pub(crate) cancelled: u64,
}

/// What [`Roster::waiting_for_shutdown`] has found.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) threads: usize,
    pub(crate) tasks: u64,
}

impl Totals {
    pub(crate) fn queued(&self) -> u64 {
        self.submitted - self.started - self.cancelled
    }

    pub(crate) fn running(&self) -> u64 {
        self.started - self.completed - self.panicked
    }

    /// Whether every task has ended.
    pub(crate) fn balanced(&self) -> bool {
        self.submitted == self.completed + self.panicked + self.cancelled
    }
}

impl Roster {
    pub(crate) fn new() -> Self {
        let shard = || CachePadded::new(Shard { submitted: AtomicU64::new(0), cancelled: AtomicU64::new(0) });
        Roster { listed: Mutex::new(Listed::default()), shards: (0..SHARDS).map(|_| shard()).collect() }
    }

    /// Lists a thread that has started.
    pub(crate) fn enlist(&self, slot: Arc<Slot>) {
        self.listed.lock().slots.push(slot);
    }

    /// Takes a thread off the list and keeps what it has counted.
    pub(crate) fn dismiss(&self, slot: &Arc<Slot>) {
        let mut listed = self.listed.lock();
        listed.slots.retain(|other| !Arc::ptr_eq(other, slot));
        let tallies = &slot.tallies;
        listed.gone.completed += tallies.completed.get();
        listed.gone.panicked += tallies.panicked.get();
        listed.gone.started += tallies.started.get();
        listed.gone.submitted += tallies.submitted.get();
    }

    /// The listed threads.
    pub(crate) fn slots(&self) -> Vec<Arc<Slot>> {
        self.listed.lock().slots.clone()
    }

    /// The threads that wait for the pool's shutdown, and the tasks on their stacks.
    pub(crate) fn waiting_for_shutdown(&self) -> Waiting {
        let listed = self.listed.lock();
        // ORDERING: pairs with the changes in `ShutdownMark`; see there.
        let waits = |slot: &&Arc<Slot>| slot.awaits_shutdown.load(Ordering::SeqCst) > 0;
        let waiting = listed.slots.iter().filter(waits);
        waiting.fold(Waiting::default(), |sum, slot| Waiting {
            threads: sum.threads + 1,
            tasks: sum.tasks + slot.running(),
        })
    }

    fn shard(&self) -> &Shard {
        &self.shards[thread_number() % SHARDS]
    }

    /// A task is about to be queued by a thread that is not the pool's.
    pub(crate) fn count_submitted(&self) {
        // ORDERING: Release pairs with the Acquire in `totals`. For the monitor the fence in `Idle::notify`, which
        // comes after, does.
        self.shard().submitted.fetch_add(1, Ordering::Release);
    }

    /// A queued task has been claimed and will not run. The counting is the caller's last use of the roster, where
    /// it has no other hold on it.
    pub(crate) fn count_cancelled(&self) {
        // ORDERING: Release pairs with the Acquire in `totals`: who sees the count may free the roster.
        self.shard().cancelled.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn totals(&self) -> Totals {
        let listed = self.listed.lock();
        let sum =
            |count: fn(&Tallies) -> u64| listed.slots.iter().map(|slot| count(&slot.tallies)).sum::<u64>();
        // ORDERING: Acquire, here and in `Tally::get`, pairs with the Release of each count: who sees an end sees the start.
        let shards = |count: fn(&Shard) -> &AtomicU64| {
            self.shards.iter().map(|shard| count(shard).load(Ordering::Acquire)).sum::<u64>()
        };
        let cancelled = shards(|shard| &shard.cancelled);
        let completed = sum(|tallies| tallies.completed.get()) + listed.gone.completed;
        let panicked = sum(|tallies| tallies.panicked.get()) + listed.gone.panicked;
        let started = sum(|tallies| tallies.started.get()) + listed.gone.started;
        let submitted =
            sum(|tallies| tallies.submitted.get()) + shards(|shard| &shard.submitted) + listed.gone.submitted;
        Totals { submitted, started, completed, panicked, cancelled }
    }
}

/// A number for this thread: small, and different for threads that started near each other.
pub(crate) fn thread_number() -> usize {
    static NEXT: StaticU64 = StaticU64::new(1);
    thread_local_const! { static NUMBER: Cell<usize> = Cell::new(0) }
    NUMBER.with(|number| {
        if number.get() == 0 {
            number.set(NEXT.fetch_add(1, Ordering::Relaxed) as usize);
        }
        number.get()
    })
}
