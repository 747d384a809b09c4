//! Ending tasks unrun: because of a shutdown, or since there is no thread.

use crate::error::Reason;
use crate::lane::{Job, QueueItem};
use crate::task::{Claimed, TaskRef};

/// Ends the tasks behind a queue entry unrun. Returns how many tasks that were.
pub(in crate::pool) fn give_up(entry: QueueItem, reason: &dyn Fn() -> Reason) -> u64 {
    let end = |task| {
        let claimed = claim(task);
        let count = u64::from(claimed.is_some());
        claimed.into_iter().for_each(|claimed| claimed.discard(reason()));
        count
    };
    match entry.open() {
        Job::Task(task) => end(task),
        // As a thread would do: the last task releases the slot.
        Job::Lane(lane) => {
            let mut ended = 0;
            let Some(lane) = lane.in_turn() else { return 0 };
            let mut next = lane.begin_with_next();
            while let Some(task) = next {
                lane.end_unrun(task.id());
                ended += end(task);
                next = lane.next();
            }
            ended
        }
    }
}

/// Claims a queued task that is not to run, and counts it. `None` if the entry was a tombstone:
/// another thread had claimed the task.
pub(super) fn claim(task: TaskRef) -> Option<Claimed> {
    task.claim().inspect(Claimed::count_cancelled)
}
