//! The tasks of a batch, whose ends are announced to one place: so a handle of many tasks waits for
//! whichever ends next, without a channel and a waker for each.
//!
//! A member that is not ended leaves the group as its bell. The thread that ends the task lists its
//! id and wakes the batch. The list is under a lock, as the waker is; a batch that finds the list
//! empty leaves its waker under the same lock, so it misses no id.
//!
//! A waker is user code, and may wait on this thread when it is cloned or dropped: such a wait may
//! share the parker of the batch's own, and take its wake-up. So the clone is made and the last
//! waker dropped before the look that leaves the new one, and nothing comes between that look and
//! the parking.
//!
//! The tasks may outlast the batch, and the group with them. The batch takes its waker back before
//! it lets go of its members: none is woken for it any more, and none is kept.

use std::sync::Arc;
use std::task::Waker;

use super::bell::{Bell, Group};
use super::handle::Task;
use super::reference::TaskRef;
use super::result::ResultRef;
use super::wake::discard;
use crate::error::{Reason, TaskError, TaskId};

impl Group {
    /// The next task that has ended; `waker` is called when there is one.
    pub(crate) fn next(&self, waker: &Waker) -> Option<TaskId> {
        match self.next_or_take_waker() {
            Ok(id) => return Some(id),
            Err(last) => last.into_iter().for_each(discard),
        }
        let (id, unneeded) = self.next_or_leave(waker.clone());
        unneeded.into_iter().for_each(discard);
        id
    }

    /// No batch waits any more.
    pub(crate) fn forget_waker(&self) {
        self.take_waker().into_iter().for_each(discard);
    }
}

/// A task of a batch. Dropping it cancels the task, if its result has not been taken.
#[derive(Debug)]
pub(crate) struct Member<T> {
    /// `None` once the result has been taken.
    result: Option<ResultRef<T>>,
}

impl<T> Member<T> {
    /// A member for a task that has not been polled.
    pub(crate) fn new(task: Task<T>) -> Self {
        Member { result: task.into_result() }
    }

    /// The task, while its result has not been taken.
    pub(crate) fn task(&self) -> Option<&TaskRef> {
        self.result.as_ref().map(ResultRef::task)
    }

    /// Has the end of the task announced to `group`. False if there is nothing to announce: the
    /// result is there, or has been taken. To be called once.
    #[must_use]
    pub(crate) fn announce_to(&mut self, group: &Arc<Group>) -> bool {
        let Some(result) = self.result.as_mut().filter(|result| !result.task().is_ended()) else {
            return false;
        };
        result.leave_bell(Bell::Group(Arc::clone(group))).is_ok()
    }

    /// The result, if the task has ended, for the first caller; in a forked child the error that
    /// says so.
    pub(crate) fn try_take(&mut self) -> Option<Result<T, TaskError>> {
        let result = self.result.take_if(|result| result.task().is_ended() || result.task().is_forked())?;
        Some(if result.task().is_ended() { result.take() } else { Err(result.task().forked_error()) })
    }

    /// The result of a task that nobody will wait for, for this reason: it is cancelled unless it
    /// runs.
    pub(crate) fn give_up(&mut self, reason: Reason) -> Option<TaskError> {
        self.result.take().map(|result| result.give_up(reason))
    }

    /// Lets the task go on without a handle.
    pub(crate) fn detach(mut self) {
        self.result.take().into_iter().for_each(ResultRef::detach);
    }
}

impl<T> Drop for Member<T> {
    fn drop(&mut self) {
        self.result.take().into_iter().for_each(ResultRef::cancel);
    }
}
