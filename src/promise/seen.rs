//! The tasks behind a chain, as far as polling it shows them.
//!
//! What `all` and its like wait for, or a future that awaits promises, lies in a future that cannot
//! be asked. But the chains in it are polled on the stack of the outer poll, on the same thread,
//! and each says there what it waits for. Not every poll comes to each of them, so whoever waits
//! keeps what has been said until it has ended.
//!
//! Another task that is run in place on top of that poll has chains of its own, which do not count.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::mem::take;

use crate::error::TaskId;
use crate::sync::thread_local_const;
use crate::task::{TaskRef, tasks};

/// Tasks, in the order in which they were spawned.
type Tasks = BTreeMap<TaskId, TaskRef>;

struct Notes {
    tasks: Tasks,
    /// The task that the poll is of.
    within: Option<TaskId>,
}

// `None` where nobody wants to know.
thread_local_const! { static NOTES: RefCell<Option<Notes>> = RefCell::new(None) }

/// A chain that is being polled waits for `task`.
pub(super) fn note(task: &TaskRef) {
    // Where the thread is ending there may be no notes any more.
    let _ = NOTES.try_with(|notes| {
        if let Some(notes) = notes.borrow_mut().as_mut().filter(|notes| notes.within == innermost()) {
            notes.tasks.entry(task.id()).or_insert_with(|| task.clone());
        }
    });
}

fn innermost() -> Option<TaskId> {
    tasks().next().map(TaskRef::id)
}

/// What has been seen, and has not ended as far as is known.
#[derive(Default)]
pub(super) struct Seen(Tasks);

impl Seen {
    /// Runs `poll` and keeps what is noted meanwhile.
    pub(super) fn during<R>(&mut self, poll: impl FnOnce() -> R) -> R {
        let outer = exchange(Some(Notes { tasks: take(&mut self.0), within: innermost() }));
        let _noting = Noting { outer, seen: self };
        poll()
    }

    /// The first of them that is queued in what is at `owner`.
    pub(super) fn first_queued(&mut self, owner: *const ()) -> Option<&TaskRef> {
        self.0.retain(|_, task| !task.is_ended());
        self.0.values().find(|task| task.is_owned_by(owner) && task.is_queued())
    }
}

/// Gives the notes back to whoever had them before, also where a panic comes through.
struct Noting<'a> {
    outer: Option<Notes>,
    seen: &'a mut Seen,
}

impl Drop for Noting<'_> {
    fn drop(&mut self) {
        self.seen.0 = exchange(self.outer.take()).map(|notes| notes.tasks).unwrap_or_default();
    }
}

fn exchange(notes: Option<Notes>) -> Option<Notes> {
    NOTES.try_with(|slot| slot.replace(notes)).ok().flatten()
}
