//! The queued tasks that closures on threads of reserves wait for. Such a thread runs none of them
//! itself, since they are not of its lane; a thread of the pool that waits, and whose pool cannot
//! grow, runs them in its place.
//!
//! Where such a thread waits for room in a full queue, they run whatever is queued.
//!
//! ORDERING: `room` is as `count`, and `count` as in `ParkerSet`: who adds a task fences and then
//! wakes the threads that wait (`Engine::growth_ended`); one of those has registered, fenced
//! (`Engine::watch_growth`), and then looks here.

use crate::sync::ProcessMutex;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::task::TaskRef;

/// Tasks that threads of reserves wait for. In a forked child there are none.
#[derive(Debug, Default)]
pub(super) struct WantedTasks {
    tasks: ProcessMutex<Vec<TaskRef>>,
    /// How many there are, to be asked without the lock.
    count: AtomicUsize,
    /// How many threads of reserves wait for room in a queue.
    room: AtomicUsize,
}

impl WantedTasks {
    pub(super) fn add(&self, task: &TaskRef) {
        let Some(mut tasks) = self.tasks.lock() else { return };
        tasks.push(task.clone());
        self.count.store(tasks.len(), Ordering::SeqCst);
    }

    /// A thread waits for room in a queue, until `remove_room`.
    pub(super) fn add_room(&self) {
        self.room.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn remove_room(&self) {
        self.room.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether a thread waits for room in a queue.
    pub(super) fn wants_room(&self) -> bool {
        self.room.load(Ordering::SeqCst) > 0
    }

    /// The wait is over.
    pub(super) fn remove(&self, task: &TaskRef) {
        let Some(mut tasks) = self.tasks.lock() else { return };
        let place = tasks.iter().position(|other| other.is_same(task));
        let removed = place.map(|place| tasks.swap_remove(place));
        self.count.store(tasks.len(), Ordering::SeqCst);
        drop(tasks);
        // The drop of the last reference to a task may run user code.
        drop(removed);
    }

    /// Whether `task` is one of them.
    pub(super) fn contains(&self, task: &TaskRef) -> bool {
        self.tasks.lock().is_some_and(|tasks| tasks.iter().any(|other| other.is_same(task)))
    }

    /// The first of them that is queued.
    pub(super) fn first_queued(&self) -> Option<TaskRef> {
        self.tasks.lock()?.iter().find(|task| task.is_queued()).cloned()
    }

    /// Takes one of them.
    pub(super) fn take(&self) -> Option<TaskRef> {
        if self.count.load(Ordering::SeqCst) == 0 {
            return None;
        }
        let mut tasks = self.tasks.lock()?;
        let task = tasks.pop();
        self.count.store(tasks.len(), Ordering::SeqCst);
        task
    }
}
