//! The wait-for graph of the whole process: which threads wait inside tasks, and for what, so that
//! a circle of waits through lanes is found.
//!
//! A wait ends when its target has ended. A target that runs is *held up* if a thread that is
//! inside it waits, or one that is inside a task of a scope that it has opened. A target that is
//! queued in a lane is held up if every slot of the lane is held by a task that a thread which
//! waits is inside. Any other target goes on, as far as can be seen: it runs, waits for a thread,
//! or is being cancelled. A set of waits is *stuck* if the target of each is held up by waits of
//! the set alone: none of them will ever end.
//!
//! - **W1** No set of the waits that are listed is stuck.
//! - **W2** The lists of this process and of those it was forked from are leaked: what `NEWEST` has
//!   pointed to is neither changed nor freed.
//!
//! A set can become stuck only by a new wait: all else that happens to a target (a thread takes it,
//! it ends, a slot is released or taken) makes it go on, since a thread that does something does
//! not wait. A wait is listed under the lock only after the detector has tried it, and a wait that
//! would break the rule gets an error instead. By the rule before, the new wait is part of every
//! stuck set that there is with it: so the error goes to a thread of the circle, and to none that
//! only waits for the circle.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::error::TaskId;
use crate::sync::ProcessMutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::task::{HeldTask, TaskRef, tasks};

/// An edge of the graph: a thread of a pool waits for a task.
#[derive(Debug)]
pub(crate) struct WaitFor {
    /// A number that tells threads apart.
    pub(crate) thread: usize,
    pub(crate) target: TaskRef,
    /// What cannot end before the thread goes on: see [`inside`].
    pub(crate) inside: Vec<HeldTask>,
}

/// What the target of a wait needs.
enum Need {
    /// The end of this task, which runs.
    End(TaskId),
    /// A slot of the lane whose account is at this address.
    Slot(usize),
}

/// The waits inside tasks, none of which would never end.
#[derive(Debug, Default)]
pub(crate) struct DeadlockDetector {
    list: ProcessMutex<Vec<WaitFor>>,
    /// Whether there has ever been a lane. Before that there are no circles of this kind.
    active: AtomicBool,
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
            if let Some(detector) = known.filter(|detector| !detector.list.is_forked()) {
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

    /// Lists `wait`, until `remove`. False if the wait would never end; then it is not listed. In a
    /// forked child no wait is listed.
    #[must_use]
    pub(crate) fn add(&self, wait: WaitFor) -> bool {
        let Some(mut list) = self.list.lock() else { return true };
        let old = take(&mut list, wait.thread, &wait.target);
        list.push(wait);
        let refused = if is_last_stuck(&list) { list.pop() } else { None };
        drop(list);
        drop(old);
        refused.is_none()
    }

    /// The wait has ended.
    pub(crate) fn remove(&self, thread: usize, target: &TaskRef) {
        let Some(mut list) = self.list.lock() else { return };
        let wait = take(&mut list, thread, target);
        drop(list);
        // The drop of the last reference to a task may run user code.
        drop(wait);
    }
}

/// The tasks that cannot end before this thread goes on: those that it is inside, and where one of
/// them is part of a scope, also those that the scope is inside. `slot_of` finds where a task holds
/// a slot of a lane: the address of the lane's account, and how many slots the lane has.
pub(crate) fn inside(slot_of: impl Fn(&TaskRef) -> Option<(usize, usize)>) -> Vec<HeldTask> {
    let mut all = Vec::new();
    for task in tasks() {
        all.push(HeldTask { task: task.id(), slot: slot_of(task) });
        if let Some(on_release) = task.metadata().and_then(|metadata| metadata.on_release.as_ref()) {
            all.extend(on_release.held_up());
        }
    }
    all
}

fn take(list: &mut Vec<WaitFor>, thread: usize, target: &TaskRef) -> Option<WaitFor> {
    let place = list.iter().position(|wait| wait.thread == thread && wait.target.is_same(target));
    place.map(|place| list.swap_remove(place))
}

/// Whether the last wait of `list` is one of a stuck set (W1).
fn is_last_stuck(list: &[WaitFor]) -> bool {
    let Some(last) = list.last() else { return false };
    // All that it may depend on, itself the first.
    let mut stuck = vec![(last, Need::of(&last.target))];
    let mut next = 0;
    while let Some((_, need)) = stuck.get(next) {
        let more: Vec<_> = list.iter().filter(|wait| need.concerns(wait)).collect();
        for wait in more {
            if !stuck.iter().any(|(known, _)| std::ptr::eq(*known, wait)) {
                stuck.push((wait, Need::of(&wait.target)));
            }
        }
        next += 1;
    }
    // What is left when all that goes on has been taken away.
    loop {
        let held_up: Vec<_> = stuck.iter().map(|(_, need)| need.is_unmet(&stuck)).collect();
        if !held_up[0] {
            return false;
        }
        if held_up.iter().all(|held_up| *held_up) {
            return true;
        }
        let mut held_up = held_up.into_iter();
        stuck.retain(|_| held_up.next().unwrap_or_default());
    }
}

impl Need {
    fn of(target: &TaskRef) -> Self {
        if target.is_queued() { Need::Slot(target.owner().addr()) } else { Need::End(target.id()) }
    }

    /// Whether the end of `wait` may be what meets the need.
    fn concerns(&self, wait: &WaitFor) -> bool {
        wait.inside.iter().any(|inside| match self {
            Need::End(task) => inside.task == *task,
            Need::Slot(lane) => inside.slot.is_some_and(|(held, _)| held == *lane),
        })
    }

    /// Whether the need cannot be met while none of `stuck` ends.
    fn is_unmet(&self, stuck: &[(&WaitFor, Need)]) -> bool {
        let Need::Slot(lane) = self else { return stuck.iter().any(|(wait, _)| self.concerns(wait)) };
        let inside = stuck.iter().flat_map(|(wait, _)| &wait.inside);
        let held = inside.filter_map(|inside| {
            inside.slot.filter(|(held, _)| held == lane).map(|(_, limit)| (inside.task, limit))
        });
        let held: BTreeSet<(TaskId, usize)> = held.collect();
        held.first().is_some_and(|(_, limit)| held.len() >= *limit)
    }
}
