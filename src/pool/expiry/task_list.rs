//! A list of queued tasks that a shutdown must find, without those that were claimed long ago.

use std::collections::VecDeque;
use std::mem;

use crate::sync::Mutex;
use crate::task::TaskRef;

/// A list shorter than this is not swept.
const FEW: usize = 64;

/// Queued tasks, and some tasks that are not queued any more: never many more than the queued ones.
/// A sweep removes these whenever the list has doubled, so adding a task takes amortised constant
/// time.
#[derive(Debug)]
pub(in crate::pool) struct TaskList(Mutex<Listing>);

#[derive(Debug)]
struct Listing {
    /// `None` once the list is closed.
    tasks: Option<VecDeque<TaskRef>>,
    sweep_at: usize,
}

impl TaskList {
    pub(in crate::pool) fn new() -> Self {
        TaskList(Mutex::new(Listing { tasks: Some(VecDeque::new()), sweep_at: FEW }))
    }

    /// Adds a task. False if the list is closed.
    #[must_use]
    pub(in crate::pool) fn add(&self, task: TaskRef) -> bool {
        let mut listing = self.0.lock();
        let sweep_at = listing.sweep_at;
        let Some(tasks) = &mut listing.tasks else { return false };
        tasks.push_back(task);
        let mut swept = Vec::new();
        if tasks.len() >= sweep_at {
            for task in mem::take(tasks) {
                if task.is_queued() {
                    tasks.push_back(task);
                } else {
                    swept.push(task);
                }
            }
            listing.sweep_at = next_sweep(tasks.len());
        }
        drop(listing);
        // The drop of a task's last reference may run user code.
        drop(swept);
        true
    }

    /// Removes the task that was added first.
    pub(in crate::pool) fn pop(&self) -> Option<TaskRef> {
        self.0.lock().tasks.as_mut()?.pop_front()
    }

    /// Removes all tasks and closes the list: it takes no other task from now on.
    pub(in crate::pool) fn close(&self) -> VecDeque<TaskRef> {
        self.0.lock().tasks.take().unwrap_or_default()
    }
}

/// How long a list that has just been swept to `left` may get before it is swept again.
pub(in crate::pool) fn next_sweep(left: usize) -> usize {
    (2 * left).max(FEW)
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
