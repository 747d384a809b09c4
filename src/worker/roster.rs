//! Everything a pool counts about tasks, in shards that threads do not fight over.
//!
//! A pool's thread counts in its own slot, anybody else in one of a few shared shards. The sums
//! obey
//!
//! ```text
//! submitted = completed + panicked + cancelled + queued + running
//! ```
//!
//! at every reading, because every step is counted before the next can happen and the readers go
//! the other way: ends first, then starts, then submissions.

use std::cell::Cell;
use std::sync::Arc;

use super::account::PoolAccount;
use super::slot::{Slot, Tallies};
use crate::semaphore::Semaphore;
use crate::sync::atomic::{Ordering, StaticU64};
use crate::sync::{Mutex, thread_local_const};

/// The threads of a pool and the counts of its tasks.
#[derive(Debug)]
pub(crate) struct Roster {
    listed: Mutex<Listed>,
    account: Arc<PoolAccount>,
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
    /// The roster of a pool whose queue has these places, if it is limited.
    pub(crate) fn new(places: Option<Semaphore>) -> Self {
        Roster { listed: Mutex::new(Listed::default()), account: PoolAccount::new(places) }
    }

    /// What the pool's tasks refer to.
    pub(crate) fn account(&self) -> &Arc<PoolAccount> {
        &self.account
    }

    /// What the pool's tasks and threads know it by.
    pub(crate) fn owner(&self) -> *const () {
        Arc::as_ptr(&self.account).cast()
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

    pub(crate) fn totals(&self) -> Totals {
        let listed = self.listed.lock();
        let sum =
            |count: fn(&Tallies) -> u64| listed.slots.iter().map(|slot| count(&slot.tallies)).sum::<u64>();
        // In this order: the Acquire in each pairs with the Release of the count, so who sees an
        // end sees the start.
        let cancelled = self.account.cancelled();
        let completed = sum(|tallies| tallies.completed.get()) + listed.gone.completed;
        let panicked = sum(|tallies| tallies.panicked.get()) + listed.gone.panicked;
        let started = sum(|tallies| tallies.started.get()) + listed.gone.started;
        let submitted =
            sum(|tallies| tallies.submitted.get()) + self.account.submitted() + listed.gone.submitted;
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
