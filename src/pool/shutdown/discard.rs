//! Taking out of the queues what is not to run: because of a shutdown, or since there is no thread.
//!
//! ORDERING: `sorting` pairs with the look in `Shared::threads_left`, between which is the lock of
//! `Ending`.

use crate::error::Reason;
use crate::lane::{Entry, Job};
use crate::pool::inner::Shared;
use crate::sync::atomic::Ordering;
use crate::task::{Claimed, OnShutdown, TaskRef};

impl Shared {
    /// Discards what is queued because of a shutdown, but for tasks that block it.
    pub(in crate::pool) fn discard_queued(&self) {
        let stays =
            |task: &TaskRef| task.extras().is_some_and(|extras| extras.on_shutdown == OnShutdown::AlwaysRun);
        self.sort_out(|claimed| {
            let mut staying = Vec::new();
            while let Some(entry) = self.engine.queues.take_any() {
                match entry.open() {
                    Job::Task(task) if stays(&task) => staying.push(Entry::task(task)),
                    Job::Task(task) => claimed.extend(claim(task)),
                    Job::Lane(lane) => staying.push(Entry::lane(lane)),
                }
            }
            for lane in self.engine.lanes.all() {
                claimed.extend(lane.clear(|task| !stays(task)).into_iter().filter_map(claim));
            }
            let puts_back = !staying.is_empty();
            if puts_back {
                staying.into_iter().for_each(|entry| self.engine.queues.push(None, entry));
                self.notify();
            }
            puts_back
        });
    }

    /// Drops the queued tasks that any shutdown drops.
    pub(in crate::pool) fn drop_discardable(&self) {
        self.sort_out(|claimed| {
            claimed.extend(self.discardable.close().into_iter().filter_map(claim));
            false
        });
    }

    /// Discards what `sort` claims, once it has claimed everything: foreign code may take its time.
    /// Until then the pool does not look over, though entries that stay are in no queue for a
    /// while; `sort` says whether there were any.
    fn sort_out(&self, sort: impl FnOnce(&mut Vec<Claimed>) -> bool) {
        self.sorting.fetch_add(1, Ordering::SeqCst);
        let mut claimed = Vec::new();
        let puts_back = sort(&mut claimed);
        self.ending.count_discarded(claimed.len() as u64);
        claimed.into_iter().for_each(|claimed| claimed.discard(Reason::Shutdown));
        self.sorting.fetch_sub(1, Ordering::SeqCst);
        if puts_back {
            self.ending.announce(|| self.threads_left());
        } else {
            self.ending.look(|| self.threads_left());
        }
    }
}

/// Ends what stands behind an entry unrun. Returns how many tasks that were.
pub(in crate::pool) fn give_up(entry: Entry, reason: impl Fn() -> Reason) -> u64 {
    let end = |task| {
        let claimed = claim(task);
        let count = u64::from(claimed.is_some());
        claimed.into_iter().for_each(|claimed| claimed.discard(reason()));
        count
    };
    match entry.open() {
        Job::Task(task) => end(task),
        // As a thread would do it: the slot is released with the last task.
        Job::Lane(lane) if lane.begin() => std::iter::from_fn(|| lane.next()).map(end).sum(),
        Job::Lane(_) => 0,
    }
}

/// Takes a queued task that is not to run, and counts it. `None` if it was the husk of one that
/// somebody else had claimed.
fn claim(task: TaskRef) -> Option<Claimed> {
    task.claim().inspect(Claimed::count_cancelled)
}
