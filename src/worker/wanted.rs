//! The queued tasks that closures on threads of reserves wait for. Such a thread runs none of them
//! itself, since they are not of its lane; a thread of the pool that waits, and whose pool cannot
//! grow, runs them in its place.
//!
//! ORDERING: `count` as in `ParkerSet`: who adds a task fences and then wakes the threads that
//! wait (`Engine::growth_ended`); one of those has registered, fenced (`Engine::watch_growth`), and
//! then looks here.

use crate::sync::ProcessMutex;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::task::TaskRef;

/// Tasks that threads of reserves wait for. In a forked child there are none.
#[derive(Debug, Default)]
pub(super) struct WantedTasks {
    tasks: ProcessMutex<Vec<TaskRef>>,
    /// How many there are, to be asked without the lock.
    count: AtomicUsize,
}

impl WantedTasks {
    pub(super) fn add(&self, task: &TaskRef) {
        let Some(mut tasks) = self.tasks.lock() else { return };
        tasks.push(task.clone());
        self.count.store(tasks.len(), Ordering::SeqCst);
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
