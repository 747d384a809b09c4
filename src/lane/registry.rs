//! All lanes of a pool, and what they have counted together.

use std::sync::{Arc, Weak};

use super::core::{LaneAccount, LaneCore, LaneCounts};
use super::deadlock::DeadlockDetector;
use crate::counts::TaskCounts;
use crate::numbers::NumberMap;
use crate::sync::ProcessMutex;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// The lanes of a pool.
#[derive(Debug)]
pub(crate) struct Lanes {
    /// How many there have ever been, to be read without the lock.
    made: AtomicUsize,
    /// How many lanes with a reserve there have ever been.
    reserved: AtomicUsize,
    registered: ProcessMutex<RegisteredLanes>,
    deadlocks: Arc<DeadlockDetector>,
    /// Whether what the lanes have counted is kept by name.
    by_name: bool,
}

#[derive(Debug)]
struct RegisteredLane {
    core: Weak<LaneCore>,
    name: Arc<str>,
    account: Arc<LaneAccount>,
}

#[derive(Debug, Default)]
struct RegisteredLanes {
    /// By the address of the account, by which a task knows its owner.
    lanes: NumberMap<RegisteredLane>,
    gone: LaneCounts,
    /// In the order of the names, of which there are few.
    gone_by_name: Vec<(Arc<str>, TaskCounts)>,
}

/// The address by which a task knows its owner.
fn address(account: &Arc<LaneAccount>) -> u64 {
    Arc::as_ptr(account).addr() as u64
}

/// Adds what lanes called `name` have counted.
fn add(sums: &mut Vec<(Arc<str>, TaskCounts)>, name: Arc<str>, counts: TaskCounts) {
    match sums.binary_search_by(|(known, _)| known.cmp(&name)) {
        Ok(index) => sums[index].1 += counts,
        Err(index) => sums.insert(index, (name, counts)),
    }
}

impl Lanes {
    pub(crate) fn new(by_name: bool) -> Arc<Self> {
        Arc::new(Lanes {
            made: AtomicUsize::new(0),
            reserved: AtomicUsize::new(0),
            registered: ProcessMutex::default(),
            deadlocks: DeadlockDetector::of_this_process(),
            by_name,
        })
    }

    /// Lists a new lane. In a forked child it is not listed, and never used.
    pub(super) fn register(&self, core: &Arc<LaneCore>, name: &Arc<str>, account: &Arc<LaneAccount>) {
        let lane = RegisteredLane {
            core: Arc::downgrade(core),
            name: Arc::clone(name),
            account: Arc::clone(account),
        };
        let Some(mut registered) = self.registered.lock() else { return };
        registered.lanes.insert(address(account), lane);
        drop(registered);
        // ORDERING: Release pairs with the Acquire in `none`. A thread that sees an effect of a
        // lane's task, which came later, sees the lane.
        self.made.fetch_add(1, Ordering::Release);
        if core.reserve().is_some() {
            // ORDERING: Release pairs with the Acquire in `reserved`, as above.
            self.reserved.fetch_add(1, Ordering::Release);
        }
        self.deadlocks.activate();
    }

    /// Takes a lane that is being freed off the list, and keeps what it has counted.
    pub(super) fn unregister(&self, account: &Arc<LaneAccount>) {
        let Some(mut registered) = self.registered.lock() else { return };
        if let Some(lane) = registered.lanes.remove(address(account)) {
            let counts = lane.account.counters.counts();
            registered.gone += counts;
            if self.by_name {
                add(&mut registered.gone_by_name, lane.name, counts.tasks);
            }
        }
    }

    /// The threads that wait inside tasks.
    pub(crate) fn deadlocks(&self) -> &DeadlockDetector {
        &self.deadlocks
    }

    /// Whether there has never been a lane.
    pub(crate) fn none(&self) -> bool {
        // ORDERING: Acquire pairs with the Release in `register`.
        self.made.load(Ordering::Acquire) == 0
    }

    /// The lane whose account is at this address. Only for the owner of a task that has not ended:
    /// of one that has, the lane may be gone and another at its address.
    pub(crate) fn find(&self, owner: *const ()) -> Option<Arc<LaneCore>> {
        if self.none() {
            return None;
        }
        self.registered.lock()?.lanes.get(owner.addr() as u64).and_then(|lane| lane.core.upgrade())
    }

    /// All lanes there are. To be dropped without a lock held: the last reference to a lane takes
    /// it off the list.
    pub(crate) fn all(&self) -> Vec<Arc<LaneCore>> {
        if self.none() {
            return Vec::new();
        }
        let Some(registered) = self.registered.lock() else { return Vec::new() };
        let mut all = Vec::new();
        for lane in registered.lanes.values() {
            if let Some(lane) = lane.core.upgrade() {
                all.push(lane);
            }
        }
        all
    }

    /// Whether there has ever been a lane with a reserve.
    pub(crate) fn has_reserves(&self) -> bool {
        // ORDERING: Acquire pairs with the Release in `register`.
        self.reserved.load(Ordering::Acquire) > 0
    }

    /// The lanes that have a reserve. To be dropped without a lock held, as those of `all`.
    pub(crate) fn reserved(&self) -> Vec<Arc<LaneCore>> {
        if !self.has_reserves() {
            return Vec::new();
        }
        let mut lanes = self.all();
        lanes.retain(|lane| lane.reserve().is_some());
        lanes
    }

    /// The sums over all lanes, also those that are gone.
    pub(crate) fn counts(&self) -> LaneCounts {
        if self.none() {
            return LaneCounts::default();
        }
        let Some(registered) = self.registered.lock() else { return LaneCounts::default() };
        let mut sum = registered.gone;
        for lane in registered.lanes.values() {
            sum += lane.account.counters.counts();
        }
        sum
    }

    /// The lanes with pending slots: the address of each one's account, and how many of its tasks
    /// have begun.
    pub(crate) fn pending(&self) -> Vec<(usize, u64)> {
        if self.none() {
            return Vec::new();
        }
        let Some(registered) = self.registered.lock() else { return Vec::new() };
        let mut pending = Vec::new();
        for lane in registered.lanes.values() {
            let counts = lane.account.counters.counts();
            if counts.pending > 0 {
                pending.push((Arc::as_ptr(&lane.account).addr(), counts.tasks.started));
            }
        }
        pending
    }

    /// The sums over all lanes of each name, also those that are gone, where they are kept.
    #[cfg(feature = "metrics")]
    pub(crate) fn counts_by_name(&self) -> Vec<(Arc<str>, TaskCounts)> {
        let Some(registered) = self.registered.lock() else { return Vec::new() };
        let mut sums = registered.gone_by_name.clone();
        for RegisteredLane { name, account, .. } in registered.lanes.values() {
            add(&mut sums, Arc::clone(name), account.counters.counts().tasks);
        }
        sums
    }
}
