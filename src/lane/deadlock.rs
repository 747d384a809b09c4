//! The wait-for graph of the whole process: which threads wait inside tasks, and for what, so that
//! a circle of waits through lanes is found.
//!
//! A wait ends when its target has ended. A target that runs is *held up* if a thread that is
//! inside it waits, or one that is inside a task of a scope that it has opened. A target that is
//! queued in a lane is held up if every slot of the lane is held by a task that a thread which
//! waits is inside; in a keyed lane also if every place of its key is. Any other target goes on, as
//! far as can be seen: it runs, waits for a thread, waits in a lane that is paused and can be
//! resumed, or is being cancelled. A set of waits is *stuck* if the target of each is held up by
//! waits of the set alone: none of them will ever end.
//!
//! - **W1** No set of the waits that are listed is stuck.
//! - **W2** The lists of this process and of those it was forked from are leaked: what `NEWEST` has
//!   pointed to is neither changed nor freed.
//!
//! A set can become stuck only by a new wait, or by a new limit of a lane: all else that happens to
//! a target (a thread takes it, it ends, a slot is released or taken) makes it go on, since a
//! thread that does something does not wait. A wait is listed under the lock only after the
//! detector has tried it, and a wait that would break the rule gets an error instead. By the rule
//! before, the new wait is part of every stuck set that there is with it: so the error goes to a
//! thread of the circle, and to none that only waits for the circle.
//!
//! A new limit can break the rule until the waits have been tried again: so whoever sets it wakes
//! the threads whose targets are queued in the lane, of which every set has one that is stuck by
//! that limit. Each takes its wait off the list and tries it anew. The first whose wait closes a
//! circle then gets the error. The limit is written before the lock is taken for that: so a wait
//! that comes to the list later is tried with the new limit.

use std::sync::Arc;

use super::waiting::KeyId;
use crate::error::TaskId;
use crate::numbers::{NumberMap, NumberSet};
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Parker, ProcessMutex};
use crate::task::{TaskRef, tasks};

/// An edge of the graph: a thread of a pool waits for a task.
#[derive(Debug)]
struct WaitFor {
    /// A number that tells threads apart.
    thread: usize,
    target: TaskRef,
    /// The key under which the target is queued, if its lane has keys.
    key: Option<KeyId>,
    parker: Option<Arc<Parker>>,
    /// What cannot end before the thread goes on: the tasks that it is inside, and where one of
    /// them is part of a scope, also those that the opener of the scope is inside.
    held: Vec<HeldTask>,
}

/// A task that a thread is inside.
#[derive(Clone, Debug)]
struct HeldTask {
    task: TaskId,
    /// The slot of a lane that it holds, if it holds one.
    slot: Option<HeldSlot>,
}

/// Where a task holds a slot of a lane.
#[derive(Clone, Debug)]
pub(crate) struct HeldSlot {
    /// The address of the lane's account.
    pub(super) lane: usize,
    /// How many slots the lane has now.
    pub(super) limit: Arc<AtomicUsize>,
    /// The key whose place the task holds too, and how many places that has.
    pub(super) key: Option<(KeyId, usize)>,
}

/// A wait of a thread that is inside a task, before it is listed.
#[derive(Debug)]
pub(crate) struct NewWait<'a> {
    /// A number that tells threads apart.
    pub(crate) thread: usize,
    pub(crate) target: &'a TaskRef,
    /// The key under which the target is queued, if its lane has keys.
    pub(crate) key: Option<KeyId>,
    /// To wake the thread by.
    pub(crate) parker: Option<Arc<Parker>>,
}

/// What the target of a wait needs.
#[derive(Clone, Copy)]
enum Need {
    /// The end of this task, which runs.
    End(TaskId),
    /// A slot of the lane whose account is at this address, and a place of the key, if there is
    /// one.
    Slot(usize, Option<KeyId>),
}

/// The waits inside tasks, each of which may end.
#[derive(Debug, Default)]
pub(crate) struct DeadlockDetector {
    graph: ProcessMutex<WaitGraph>,
    /// Whether there has ever been a lane. Before that there are no circles of this kind.
    active: AtomicBool,
}

/// What changes under the lock. In a forked child it is out of reach: what it lists are the
/// parent's.
#[derive(Debug, Default)]
struct WaitGraph {
    waits: Vec<WaitFor>,
    /// What the openers of scopes are inside, by the address of what observes the release of the
    /// scope's tasks.
    scopes: NumberMap<Vec<HeldTask>>,
}

impl DeadlockDetector {
    /// The detector of this process.
    #[cfg(not(any(sidestep_loom, sidestep_shuttle)))]
    pub(super) fn of_this_process() -> Arc<Self> {
        use crate::sync::atomic::AtomicPtr;
        use std::ptr::null_mut;

        /// Each is leaked: a forked child has one of its own.
        static NEWEST: AtomicPtr<Arc<DeadlockDetector>> = AtomicPtr::new(null_mut());

        loop {
            // ORDERING: Acquire pairs with the Release of the exchange below.
            let newest = NEWEST.load(Ordering::Acquire);
            // SAFETY: W2: null, or leaked by this function.
            let known = unsafe { newest.as_ref() };
            if let Some(detector) = known.filter(|detector| !detector.graph.is_forked()) {
                return Arc::clone(detector);
            }
            let next = Box::into_raw(Box::<Arc<DeadlockDetector>>::default());
            // ORDERING: Release pairs with the Acquire of the load above.
            if NEWEST.compare_exchange(newest, next, Ordering::Release, Ordering::Relaxed).is_err() {
                // SAFETY: W2: from `into_raw` above, but `NEWEST` has not pointed to it: no other
                // thread has seen it.
                drop(unsafe { Box::from_raw(next) });
            }
        }
    }

    /// Loom follows no statics: the detector of one pool.
    #[cfg(sidestep_loom)]
    pub(super) fn of_this_process() -> Arc<Self> {
        Arc::default()
    }

    /// The detector of one run.
    #[cfg(sidestep_shuttle)]
    pub(super) fn of_this_process() -> Arc<Self> {
        shuttle::lazy_static! { static ref DETECTOR: Arc<DeadlockDetector> = Arc::default(); }
        Arc::clone(&DETECTOR)
    }

    /// There is a lane.
    pub(super) fn activate(&self) {
        if !self.is_active() {
            // ORDERING: Release pairs with the Acquire in `is_active`.
            self.active.store(true, Ordering::Release);
        }
    }

    /// Whether waits have to be listed: there is, or has been, a lane.
    pub(crate) fn is_active(&self) -> bool {
        // ORDERING: Acquire pairs with the Release in `activate`. A thread that waits for a task of
        // a lane has been given the task by a way that orders as well: it sees that there is a
        // lane.
        self.active.load(Ordering::Acquire)
    }

    /// Lists the wait of this thread, until `remove`. False if it would never end; then it is not
    /// listed. In a forked child no wait is listed. `slot_of` finds the slot that a task holds.
    #[must_use]
    pub(crate) fn add(&self, wait: NewWait<'_>, slot_of: &dyn Fn(&TaskRef) -> Option<HeldSlot>) -> bool {
        let here = held_here(slot_of);
        let NewWait { thread, target, key, parker } = wait;
        let Some(mut graph) = self.graph.lock() else { return true };
        let old = graph.take(thread, target);
        let held = graph.with_scopes(here);
        graph.waits.push(WaitFor { thread, target: target.clone(), key, parker, held });
        let refused = if is_last_stuck(&graph.waits) { graph.waits.pop() } else { None };
        drop(graph);
        drop(old);
        refused.is_none()
    }

    /// The wait has ended.
    pub(crate) fn remove(&self, thread: usize, target: &TaskRef) {
        let Some(mut graph) = self.graph.lock() else { return };
        let wait = graph.take(thread, target);
        drop(graph);
        // The drop of the last reference to a task may run user code.
        drop(wait);
    }

    /// The lane whose account is at this address has another limit.
    pub(super) fn limit_changed(&self, lane: *const ()) {
        if !self.is_active() {
            return;
        }
        let Some(graph) = self.graph.lock() else { return };
        let mut woken = Vec::new();
        for wait in &graph.waits {
            if matches!(Need::of(wait), Need::Slot(needed, _) if needed == lane.addr()) {
                woken.extend(wait.parker.clone());
            }
        }
        drop(graph);
        woken.iter().for_each(|parker| parker.unpark());
    }

    /// This thread opens the scope whose tasks' release is observed by what is at this address.
    pub(crate) fn open_scope(&self, scope: *const (), slot_of: &dyn Fn(&TaskRef) -> Option<HeldSlot>) {
        let here = held_here(slot_of);
        if let Some(mut graph) = self.graph.lock() {
            let held = graph.with_scopes(here);
            graph.scopes.insert(scope.addr() as u64, held);
        }
    }

    /// All tasks of the scope are released.
    pub(crate) fn close_scope(&self, scope: *const ()) {
        if let Some(mut graph) = self.graph.lock() {
            graph.scopes.remove(scope.addr() as u64);
        }
    }
}

/// The tasks that this thread is inside, each with the address of its scope, if it is part of one.
fn held_here(slot_of: &dyn Fn(&TaskRef) -> Option<HeldSlot>) -> Vec<(HeldTask, Option<usize>)> {
    let mut held = Vec::new();
    for task in tasks() {
        let observer = task.metadata().and_then(|metadata| metadata.on_release.as_ref());
        let scope = observer.map(|observer| Arc::as_ptr(observer).cast::<()>().addr());
        held.push((HeldTask { task: task.id(), slot: slot_of(task) }, scope));
    }
    held
}

impl WaitGraph {
    /// The tasks, and those that the openers of their scopes are inside.
    fn with_scopes(&self, tasks: Vec<(HeldTask, Option<usize>)>) -> Vec<HeldTask> {
        let mut all = Vec::with_capacity(tasks.len());
        let mut known = NumberSet::default();
        for (task, scope) in tasks {
            // What a scope has listed is complete: with each task, what the opener of the task's
            // own scope is inside. So a task that is known by now adds nothing, and nested scopes
            // do not multiply.
            if known.insert(task.task.as_u64()) {
                all.push(task);
                let outer = scope.and_then(|scope| self.scopes.get(scope as u64));
                for held in outer.map_or(&[][..], Vec::as_slice) {
                    if known.insert(held.task.as_u64()) {
                        all.push(held.clone());
                    }
                }
            }
        }
        all
    }

    fn take(&mut self, thread: usize, target: &TaskRef) -> Option<WaitFor> {
        let index = self.waits.iter().position(|wait| wait.thread == thread && wait.target.is_same(target));
        index.map(|index| self.waits.swap_remove(index))
    }
}

/// Whether the last wait of `list` is one of a stuck set (W1).
fn is_last_stuck(list: &[WaitFor]) -> bool {
    let Some(last) = list.last() else { return false };
    // All that it may depend on, itself the first.
    let mut stuck = vec![(last, Need::of(last))];
    let mut next = 0;
    while next < stuck.len() {
        for wait in list {
            let is_new = || !stuck.iter().any(|(known, _)| std::ptr::eq(*known, wait));
            if stuck[next].1.concerns(wait) && is_new() {
                stuck.push((wait, Need::of(wait)));
            }
        }
        next += 1;
    }
    // What is left when all that goes on has been taken away.
    loop {
        if !stuck[0].1.is_unmet(&stuck) {
            return false;
        }
        let mut left = Vec::with_capacity(stuck.len());
        for (wait, need) in &stuck {
            if need.is_unmet(&stuck) {
                left.push((*wait, *need));
            }
        }
        if left.len() == stuck.len() {
            return true;
        }
        stuck = left;
    }
}

impl Need {
    fn of(wait: &WaitFor) -> Self {
        let target = &wait.target;
        if target.is_queued() { Need::Slot(target.owner().addr(), wait.key) } else { Need::End(target.id()) }
    }

    /// Whether the end of `wait` may be what meets the need.
    fn concerns(&self, wait: &WaitFor) -> bool {
        wait.held.iter().any(|held| match self {
            Need::End(task) => held.task == *task,
            Need::Slot(lane, _) => held.slot.as_ref().is_some_and(|slot| slot.lane == *lane),
        })
    }

    /// Whether the need cannot be met while none of `stuck` ends.
    fn is_unmet(&self, stuck: &[(&WaitFor, Need)]) -> bool {
        let Need::Slot(lane, key) = self else {
            return stuck.iter().any(|(wait, _)| self.concerns(wait));
        };
        let (mut tasks, mut of_key) = (NumberSet::default(), NumberSet::default());
        let (mut limit, mut places) = (0, usize::MAX);
        for held in stuck.iter().flat_map(|(wait, _)| &wait.held) {
            let Some(slot) = held.slot.as_ref().filter(|slot| slot.lane == *lane) else { continue };
            tasks.insert(held.task.as_u64());
            limit = slot.limit.load(Ordering::Relaxed);
            if let Some((_, per_key)) = slot.key.filter(|(held, _)| Some(*held) == *key) {
                of_key.insert(held.task.as_u64());
                places = per_key;
            }
        }
        // A pause may end.
        limit > 0 && (tasks.len() >= limit || of_key.len() >= places)
    }
}
