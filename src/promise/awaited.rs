//! Records the tasks that a chain waits for, as far as polling it shows them.
//!
//! What `all` and its like wait for, or a future that awaits promises, lies in a future that has no
//! method to name its tasks. But the chains in such a future are polled on the stack of the outer
//! poll, on the same thread, and each chain records its task in a thread-local variable. One poll
//! need not reach all of the chains, so a wait keeps the tasks that its polls have recorded until
//! these have ended.
//!
//! Another task that is run inline on top of that poll polls chains of its own, which do not count.

use std::cell::RefCell;
use std::mem::take;

use crate::error::TaskId;
use crate::numbers::NumberMap;
use crate::sync::thread_local_const;
use crate::task::{TaskRef, tasks};

/// Tasks, in the order in which they were spawned.
type Tasks = NumberMap<TaskRef>;

struct Recording {
    tasks: Tasks,
    /// The task that polls.
    within: Option<TaskId>,
}

// `None` where no wait is recording.
thread_local_const! { static RECORDING: RefCell<Option<Recording>> = RefCell::new(None) }

/// Records that a chain that is being polled waits for `task`.
pub(super) fn record(task: &TaskRef) {
    // On a thread that is ending the variable may be gone.
    let _ = RECORDING.try_with(|recording| {
        let mut recording = recording.borrow_mut();
        if let Some(recording) = recording.as_mut().filter(|recording| recording.within == innermost()) {
            let number = task.id().as_u64();
            if !recording.tasks.contains(number) {
                recording.tasks.insert(number, task.clone());
            }
        }
    });
}

fn innermost() -> Option<TaskId> {
    tasks().next().map(TaskRef::id)
}

/// The tasks that polls have recorded, and that had not ended when last looked at.
#[derive(Default)]
pub(super) struct AwaitedTasks(Tasks);

impl AwaitedTasks {
    /// Runs `poll` and keeps the tasks that it records.
    pub(super) fn during<R>(&mut self, poll: impl FnOnce() -> R) -> R {
        let outer = exchange(Some(Recording { tasks: take(&mut self.0), within: innermost() }));
        let _guard = RecordingGuard { outer, awaited: self };
        poll()
    }

    /// The first task that is queued in the pool or lane at `owner`.
    pub(super) fn first_queued(&mut self, owner: *const ()) -> Option<&TaskRef> {
        let ended = |(number, task): (u64, &TaskRef)| task.is_ended().then_some(number);
        let ended: Vec<u64> = self.0.iter().filter_map(ended).collect();
        ended.into_iter().for_each(|number| drop(self.0.remove(number)));
        self.0.iter().map(|(_, task)| task).find(|task| task.is_owned_by(owner) && task.is_queued())
    }
}

/// Restores the outer recording when it is dropped, even if the poll panics.
struct RecordingGuard<'a> {
    outer: Option<Recording>,
    awaited: &'a mut AwaitedTasks,
}

impl Drop for RecordingGuard<'_> {
    fn drop(&mut self) {
        let inner = exchange(self.outer.take());
        self.awaited.0 = inner.map(|recording| recording.tasks).unwrap_or_default();
    }
}

fn exchange(recording: Option<Recording>) -> Option<Recording> {
    RECORDING.try_with(|slot| slot.replace(recording)).ok().flatten()
}
