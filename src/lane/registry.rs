//! All lanes of a pool, by their accounts and by their names, and what they have counted together.
//!
//! # One name, one lane
//!
//! A lane *lives* while it has a handle, a task of it has not ended, or a session of it is open.
//! Whether it does is asked under the lock of the registry, and without a handle it cannot begin to
//! live again but by a request for its name, under that lock too; a task of it that runs may make a
//! handle, and so may a session, under that lock as well, and then it has not ceased to live. So of
//! two lanes of one name that are listed, one lives at most. A lane is made without the lock, since
//! a recorder of metrics may be called for it, and listed only if no other one has been listed
//! meanwhile.
//!
//! Lanes of strands, and those of the global pool's own services, have no name by which they can be
//! found: their names are labels.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::take;
use std::sync::{Arc, Weak};

use super::account::{LaneAccount, LaneCounts};
use super::core::LaneCore;
use super::deadlock::DeadlockDetector;
use super::settings::LaneSettings;
use super::shares::Shares;
use crate::counts::{IdleWaiters, TaskCounts};
use crate::latency::LatencyRecorder;
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
    shares: Shares<LaneCore>,
    /// Those that wait until the pool is idle.
    idle: Arc<IdleWaiters>,
    /// Whether what the lanes have counted is kept by name.
    by_name: bool,
}

/// What is wanted of a name.
pub(crate) enum Naming {
    /// The lane that has the name, or else a new one that has it.
    Shared,
    /// A new lane, of which the name is a label.
    Label,
}

/// What lanes of one name show together.
#[cfg(feature = "metrics")]
#[derive(Clone, Debug, Default)]
pub(crate) struct NamedCounts {
    pub(crate) tasks: TaskCounts,
    /// How many of their closures may run at one time. Of lanes that are gone, none.
    pub(crate) limit: u64,
    /// How many of their tasks may wait, if their queues are limited.
    pub(crate) queue_limit: Option<u64>,
}

#[derive(Debug)]
struct RegisteredLane {
    core: Weak<LaneCore>,
    name: Arc<str>,
    account: Arc<LaneAccount>,
    /// The hash of the name, if the lane can be found by that.
    named: Option<u64>,
}

#[derive(Debug, Default)]
struct RegisteredLanes {
    /// By the address of the account, by which a task knows its owner.
    lanes: NumberMap<RegisteredLane>,
    /// The addresses of the lanes that can be found by names, by the hashes of those.
    named: NumberMap<Vec<u64>>,
    gone: LaneCounts,
    /// In the order of the names, of which there are few.
    gone_by_name: Vec<(Arc<str>, TaskCounts)>,
}

/// The address by which a task knows its owner.
fn address(account: &Arc<LaneAccount>) -> u64 {
    Arc::as_ptr(account).addr() as u64
}

fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

impl RegisteredLanes {
    /// The living lane of this name. The references to others of its hash go to `others`: they may
    /// be the last ones, which are not dropped under the lock.
    fn find(&self, name: &str, others: &mut Vec<Arc<LaneCore>>) -> Option<Arc<LaneCore>> {
        for address in self.named.get(hash(name))? {
            let lane = self.lanes.get(*address).and_then(|lane| lane.core.upgrade());
            match lane {
                Some(lane) if lane.name() == name && lane.is_living() => return Some(lane),
                other => others.extend(other),
            }
        }
        None
    }

    fn add(&mut self, core: &Arc<LaneCore>, named: Option<u64>) {
        let account = core.account();
        if let Some(hash) = named {
            let mut addresses = self.named.remove(hash).unwrap_or_default();
            addresses.push(address(account));
            self.named.insert(hash, addresses);
        }
        let (core, name) = (Arc::downgrade(core), Arc::clone(core.shared_name()));
        let lane = RegisteredLane { core, name, account: Arc::clone(account), named };
        self.lanes.insert(address(account), lane);
    }

    fn remove(&mut self, account: &Arc<LaneAccount>) -> Option<RegisteredLane> {
        let lane = self.lanes.remove(address(account))?;
        if let Some(hash) = lane.named {
            let mut addresses = self.named.get_mut(hash).map(take).unwrap_or_default();
            addresses.retain(|other| *other != address(account));
            if addresses.is_empty() {
                self.named.remove(hash);
            } else {
                self.named.insert(hash, addresses);
            }
        }
        Some(lane)
    }
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
            shares: Shares::default(),
            idle: Arc::new(IdleWaiters::new()),
            by_name,
        })
    }

    /// A handle more of a lane that lives. The caller has the lane look at its handles
    /// next.
    pub(crate) fn add_handle(&self, core: &LaneCore) {
        let _registered = self.registered.lock();
        core.add_handle();
    }

    /// The lane called `name`, with a handle more than before: a living one, whatever its settings,
    /// or a new one with `settings`. `latency` makes what records its times, and may call user
    /// code. The caller has the lane look at its handles next.
    pub(crate) fn get_or_make(
        self: &Arc<Self>,
        name: String,
        naming: Naming,
        settings: LaneSettings,
        latency: impl FnOnce(&str) -> LatencyRecorder,
    ) -> Arc<LaneCore> {
        let is_shared = matches!(naming, Naming::Shared);
        let (mut others, mut core) = (Vec::new(), None);
        if let Some(registered) = is_shared.then(|| self.registered.lock()).flatten() {
            core = registered.find(&name, &mut others);
            core.iter().for_each(|core| core.add_handle());
        }
        if core.is_none() {
            let latency = latency(&name);
            let made = LaneCore::new(name.into(), settings, latency, self);
            core = Some(self.register(made, is_shared, &mut others));
        }
        // Dropped without a lock.
        drop(others);
        let Some(core) = core else { unreachable!("it has been made") };
        core
    }

    /// Lists a new lane, with its first handle; or returns the living one of its name, if the name
    /// is to be unique and another thread has listed one meanwhile. In a forked child it is not
    /// listed, and never used.
    fn register(
        &self,
        core: Arc<LaneCore>,
        is_named: bool,
        others: &mut Vec<Arc<LaneCore>>,
    ) -> Arc<LaneCore> {
        let Some(mut registered) = self.registered.lock() else { return core };
        if let Some(first) = is_named.then(|| registered.find(core.name(), others)).flatten() {
            first.add_handle();
            others.push(core);
            return first;
        }
        core.add_handle();
        registered.add(&core, is_named.then(|| hash(core.name())));
        drop(registered);
        // ORDERING: Release pairs with the Acquire in `none`. A thread that sees an effect of a
        // lane's task, which came later, sees the lane.
        self.made.fetch_add(1, Ordering::Release);
        if core.reserve().is_some() {
            // ORDERING: Release pairs with the Acquire in `reserved`, as above.
            self.reserved.fetch_add(1, Ordering::Release);
        }
        self.deadlocks.activate();
        core
    }

    /// Takes a lane that is being freed off the list, and keeps what it has counted.
    pub(super) fn unregister(&self, account: &Arc<LaneAccount>) {
        let Some(mut registered) = self.registered.lock() else { return };
        if let Some(lane) = registered.remove(account) {
            let counts = lane.account.counters.counts();
            registered.gone += counts;
            if self.by_name {
                add(&mut registered.gone_by_name, lane.name, counts.tasks);
            }
        }
    }

    /// Which lane with a share has the next turn.
    pub(super) fn shares(&self) -> &Shares<LaneCore> {
        &self.shares
    }

    /// Those that wait until the pool is idle.
    pub(crate) fn idle(&self) -> &Arc<IdleWaiters> {
        &self.idle
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
    pub(crate) fn counts_by_name(&self) -> Vec<(Arc<str>, NamedCounts)> {
        let Some(registered) = self.registered.lock() else { return Vec::new() };
        let mut sums = Vec::new();
        for (name, tasks) in &registered.gone_by_name {
            sums.push((Arc::clone(name), NamedCounts { tasks: *tasks, ..NamedCounts::default() }));
        }
        let mut living = Vec::new();
        for RegisteredLane { core, name, account, .. } in registered.lanes.values() {
            let index = match sums.binary_search_by(|(known, _)| known.cmp(name)) {
                Ok(index) => index,
                Err(index) => {
                    sums.insert(index, (Arc::clone(name), NamedCounts::default()));
                    index
                }
            };
            let sum = &mut sums[index].1;
            sum.tasks += account.counters.counts().tasks;
            let Some(core) = core.upgrade() else { continue };
            sum.limit = sum.limit.saturating_add(core.limit() as u64);
            let more = core.settings().queue_limit.map(|limit| limit as u64);
            let both = sum.queue_limit.zip(more).map(|(one, other)| one.saturating_add(other));
            sum.queue_limit = both.or(sum.queue_limit).or(more);
            living.push(core);
        }
        // A last reference is not dropped under the lock.
        drop(registered);
        drop(living);
        sums
    }
}
