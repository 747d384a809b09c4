//! All lanes of a pool, and what they have counted together.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use crossbeam_utils::CachePadded;

use super::Core;
use super::waits::Waits;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What one lane or all of them have counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) submitted: u64,
    pub(crate) started: u64,
    pub(crate) completed: u64,
    pub(crate) panicked: u64,
    pub(crate) cancelled: u64,
    /// Slots for which an entry waits in the pool's queues.
    pub(crate) pending: u64,
}

impl Counts {
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

    fn add(&mut self, other: Counts) {
        self.submitted += other.submitted;
        self.started += other.started;
        self.completed += other.completed;
        self.panicked += other.panicked;
        self.cancelled += other.cancelled;
        self.pending += other.pending;
    }
}

/// What is counted about one lane. Each step is counted before the next can happen.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    submitted: AtomicU64,
    pub(super) cancelled: AtomicU64,
    pending: AtomicUsize,
    /// Apart, since submitters and threads that run are on different CPUs.
    pub(super) runs: CachePadded<Runs>,
}

/// What is counted by the threads that run a lane.
#[derive(Debug, Default)]
pub(super) struct Runs {
    pub(super) started: AtomicU64,
    pub(super) completed: AtomicU64,
    pub(super) panicked: AtomicU64,
}

impl Tallies {
    /// Counts a submission; under the lane's lock.
    pub(super) fn count_submitted(&self) {
        // ORDERING: Release pairs with the Acquire in `counts`. One thread writes at a time, so a store will do.
        self.submitted.store(self.submitted.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// How many slots are pending now; told under the lane's lock.
    pub(super) fn show_pending(&self, pending: usize) {
        // ORDERING: Release pairs with the Acquire in `counts`; one thread writes at a time, as above.
        self.pending.store(pending, Ordering::Release);
    }

    /// What has been counted: ends first, then starts, then submissions, so that the differences are never negative.
    pub(crate) fn counts(&self) -> Counts {
        // ORDERING: Acquire pairs with the Release of each count: who sees an end sees the start.
        let cancelled = self.cancelled.load(Ordering::Acquire);
        let panicked = self.runs.panicked.load(Ordering::Acquire);
        let completed = self.runs.completed.load(Ordering::Acquire);
        let started = self.runs.started.load(Ordering::Acquire);
        let submitted = self.submitted.load(Ordering::Acquire);
        let pending = self.pending.load(Ordering::Acquire) as u64;
        Counts { submitted, started, completed, panicked, cancelled, pending }
    }
}

/// The lanes of a pool.
#[derive(Debug)]
pub(crate) struct Lanes {
    /// How many there have ever been, to be asked without the lock.
    made: AtomicUsize,
    listed: Mutex<Listed>,
    waits: Arc<Waits>,
    /// Whether what the lanes have counted is kept by name.
    by_name: bool,
}

#[derive(Debug)]
struct Listing {
    core: Weak<Core>,
    name: Arc<str>,
    tallies: Arc<Tallies>,
}

#[derive(Debug, Default)]
struct Listed {
    /// By address, which is what a task knows its owner by.
    lanes: BTreeMap<usize, Listing>,
    gone: Counts,
    gone_by_name: BTreeMap<Arc<str>, Counts>,
}

impl Lanes {
    pub(crate) fn new(by_name: bool) -> Arc<Self> {
        Arc::new(Lanes {
            made: AtomicUsize::new(0),
            listed: Mutex::new(Listed::default()),
            waits: Waits::of_this_process(),
            by_name,
        })
    }

    pub(super) fn enlist(&self, core: &Arc<Core>, name: &Arc<str>, tallies: &Arc<Tallies>) {
        let listing =
            Listing { core: Arc::downgrade(core), name: Arc::clone(name), tallies: Arc::clone(tallies) };
        self.listed.lock().lanes.insert(Arc::as_ptr(core).addr(), listing);
        // ORDERING: Release pairs with the Acquire in `none`. Whoever sees an effect of a lane's task, which came
        // later, sees the lane.
        self.made.fetch_add(1, Ordering::Release);
        self.waits.begin_to_matter();
    }

    /// Takes a lane off the list that is being freed, and keeps what it has counted.
    pub(super) fn dismiss(&self, core: *const ()) {
        let mut listed = self.listed.lock();
        let listing = listed.lanes.remove(&core.addr());
        if let Some(Listing { name, tallies, .. }) = listing {
            let counts = tallies.counts();
            listed.gone.add(counts);
            if self.by_name {
                listed.gone_by_name.entry(name).or_default().add(counts);
            }
        }
    }

    /// Who waits for what inside tasks.
    pub(crate) fn waits(&self) -> &Waits {
        &self.waits
    }

    /// Whether there has never been a lane.
    pub(crate) fn none(&self) -> bool {
        // ORDERING: Acquire pairs with the Release in `enlist`.
        self.made.load(Ordering::Acquire) == 0
    }

    /// The lane at this address. For the owner of a task that is queued: of one that has ended, the lane may be gone and
    /// another in its place.
    pub(crate) fn find(&self, owner: *const ()) -> Option<Arc<Core>> {
        if self.none() {
            return None;
        }
        self.listed.lock().lanes.get(&owner.addr()).and_then(|listing| listing.core.upgrade())
    }

    /// All lanes there are. To be dropped without a lock held: the last reference to a lane takes it off the list.
    pub(crate) fn all(&self) -> Vec<Arc<Core>> {
        if self.none() {
            return Vec::new();
        }
        self.listed.lock().lanes.values().filter_map(|listing| listing.core.upgrade()).collect()
    }

    /// The sums over all lanes, also those that are gone.
    pub(crate) fn counts(&self) -> Counts {
        if self.none() {
            return Counts::default();
        }
        let listed = self.listed.lock();
        let mut sum = listed.gone;
        for listing in listed.lanes.values() {
            sum.add(listing.tallies.counts());
        }
        sum
    }

    /// The sums over all lanes of each name, also those that are gone, where they are kept.
    #[cfg(feature = "metrics")]
    pub(crate) fn counts_by_name(&self) -> BTreeMap<Arc<str>, Counts> {
        let listed = self.listed.lock();
        let mut sums = listed.gone_by_name.clone();
        for Listing { name, tallies, .. } in listed.lanes.values() {
            sums.entry(Arc::clone(name)).or_default().add(tallies.counts());
        }
        sums
    }
}
