//! All lanes of a pool, and what they have counted together.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use super::Core;
use super::account::{LaneAccount, LaneCounts};
use super::waits::Waits;
use crate::counts::TaskCounts;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};

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
    account: Arc<LaneAccount>,
}

#[derive(Debug, Default)]
struct Listed {
    /// By the address of the account, which is what a task knows its owner by.
    lanes: BTreeMap<usize, Listing>,
    gone: LaneCounts,
    gone_by_name: BTreeMap<Arc<str>, TaskCounts>,
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

    pub(super) fn enlist(&self, core: &Arc<Core>, name: &Arc<str>, account: &Arc<LaneAccount>) {
        let listing =
            Listing { core: Arc::downgrade(core), name: Arc::clone(name), account: Arc::clone(account) };
        self.listed.lock().lanes.insert(Arc::as_ptr(account).addr(), listing);
        // ORDERING: Release pairs with the Acquire in `none`. Whoever sees an effect of a lane's
        // task, which came later, sees the lane.
        self.made.fetch_add(1, Ordering::Release);
        self.waits.begin_to_matter();
    }

    /// Takes a lane off the list that is being freed, and keeps what it has counted.
    pub(super) fn dismiss(&self, account: &Arc<LaneAccount>) {
        let mut listed = self.listed.lock();
        let listing = listed.lanes.remove(&Arc::as_ptr(account).addr());
        if let Some(Listing { name, account, .. }) = listing {
            let counts = account.counters.counts();
            listed.gone += counts;
            if self.by_name {
                *listed.gone_by_name.entry(name).or_default() += counts.tasks;
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

    /// The lane whose account is at this address. For the owner of a task that is queued: of one
    /// that has ended, the lane may be gone and another in its place.
    pub(crate) fn find(&self, owner: *const ()) -> Option<Arc<Core>> {
        if self.none() {
            return None;
        }
        self.listed.lock().lanes.get(&owner.addr()).and_then(|listing| listing.core.upgrade())
    }

    /// All lanes there are. To be dropped without a lock held: the last reference to a lane takes
    /// it off the list.
    pub(crate) fn all(&self) -> Vec<Arc<Core>> {
        if self.none() {
            return Vec::new();
        }
        self.listed.lock().lanes.values().filter_map(|listing| listing.core.upgrade()).collect()
    }

    /// The sums over all lanes, also those that are gone.
    pub(crate) fn counts(&self) -> LaneCounts {
        if self.none() {
            return LaneCounts::default();
        }
        let listed = self.listed.lock();
        let mut sum = listed.gone;
        for listing in listed.lanes.values() {
            sum += listing.account.counters.counts();
        }
        sum
    }

    /// The lanes with pending slots: what each is known by, and how many of its tasks have begun.
    pub(crate) fn pending(&self) -> Vec<(usize, u64)> {
        if self.none() {
            return Vec::new();
        }
        let listed = self.listed.lock();
        let counts =
            listed.lanes.iter().map(|(&address, listing)| (address, listing.account.counters.counts()));
        counts
            .filter(|(_, counts)| counts.pending > 0)
            .map(|(id, counts)| (id, counts.tasks.started))
            .collect()
    }

    /// The sums over all lanes of each name, also those that are gone, where they are kept.
    #[cfg(feature = "metrics")]
    pub(crate) fn counts_by_name(&self) -> BTreeMap<Arc<str>, TaskCounts> {
        let listed = self.listed.lock();
        let mut sums = listed.gone_by_name.clone();
        for Listing { name, account, .. } in listed.lanes.values() {
            *sums.entry(Arc::clone(name)).or_default() += account.counters.counts().tasks;
        }
        sums
    }
}
