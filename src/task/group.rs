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
//!
//! # Tasks that were polled before they became members
//!
//! Such a task has a bell in its cell already, and a second one would be written over it (T10). Its
//! handle has what hears that bell, the *ear*; so the ear is polled, once, with a waker that lists
//! the task. The ear gives its waker up for the new one before it looks whether it has been rung:
//! so either the new waker is called, or this poll is ready and the batch lists the task itself.
//! Both may happen; then the task is listed twice. A batch that finds no member for an id, or none
//! with a result, looks at the next id.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use super::bell::{Bell, Group};
use super::handle::Task;
use super::reference::TaskRef;
use super::result::ResultRef;
use super::wake::{discard, wake};
use crate::error::{Reason, TaskError, TaskId};
use crate::panic::catch_panic;
use crate::sync::oneshot::Receiver;
use crate::sync::trampoline;

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

    /// The next task that has ended, if there is one now. The waker of an earlier call of `next`
    /// stays.
    pub(crate) fn try_next(&self) -> Option<TaskId> {
        self.pop()
    }

    /// Lists a task whose end is not announced, since it has come already.
    pub(crate) fn add_ended(&self, id: TaskId) {
        self.list(id).into_iter().for_each(wake);
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
    /// result is there, or has been taken, or the task is one from before a fork. To be called
    /// once.
    #[must_use]
    pub(crate) fn announce_to(&mut self, group: &Arc<Group>) -> bool {
        let Some(result) = self.result.as_mut().filter(|result| !result.task().is_over()) else {
            return false;
        };
        result.leave_bell(Bell::Group(Arc::clone(group))).is_ok()
    }

    /// The result, if the task has ended, for the first caller; in a forked child the error that
    /// says so.
    pub(crate) fn try_take(&mut self) -> Option<Result<T, TaskError>> {
        let result = self.result.take_if(|result| result.task().is_over())?;
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

/// A task that became a member later than it was spawned: it may have been polled before.
#[derive(Debug)]
pub(crate) struct LateMember<T> {
    /// What hears the bell that the task's handle has left. Dropped before the member, whose end
    /// wakes none then.
    ear: Option<Ear>,
    pub(crate) member: Member<T>,
}

impl<T> LateMember<T> {
    pub(crate) fn new(task: Task<T>) -> Self {
        let (result, ear) = task.into_join().into_parts();
        LateMember { ear: ear.map(|receiver| Ear(Some(receiver))), member: Member { result } }
    }

    /// As [`Member::announce_to`].
    #[must_use]
    pub(crate) fn announce_to(&mut self, group: &Arc<Group>) -> bool {
        match (self.member.task(), &mut self.ear) {
            (Some(task), Some(ear)) if !task.is_over() => ear.announce_to(group, task.id()),
            _ => self.member.announce_to(group),
        }
    }

    /// Lets the task go on without a handle.
    pub(crate) fn detach(self) {
        let LateMember { ear, member } = self;
        drop(ear);
        member.detach();
    }
}

/// The receiver of a oneshot whose sender lies in a task's cell.
#[derive(Debug)]
struct Ear(Option<Receiver<()>>);

impl Ear {
    /// False if the bell has been rung.
    fn announce_to(&mut self, group: &Arc<Group>, id: TaskId) -> bool {
        let Some(receiver) = &mut self.0 else { return false };
        let waker = Waker::from(Arc::new(ListedWhenRung { group: Arc::clone(group), id }));
        let mut context = Context::from_waker(&waker);
        let mut is_pending = || {
            // It drops the waker of an earlier wait, which is user code.
            catch_panic("the destructor of a waker", || {
                Pin::new(&mut *receiver).poll(&mut context).is_pending()
            })
        };
        is_pending().or_else(is_pending).unwrap_or(false)
    }
}

impl Drop for Ear {
    /// The waker in it may be that of an earlier wait, and own another one, and so on.
    fn drop(&mut self) {
        let receiver = self.0.take();
        trampoline::bounce(move || _ = catch_panic("the destructor of a waker", || drop(receiver)));
    }
}

/// Lists its task when the bell of that is rung.
struct ListedWhenRung {
    group: Arc<Group>,
    id: TaskId,
}

impl Wake for ListedWhenRung {
    fn wake(self: Arc<Self>) {
        self.group.list(self.id).into_iter().for_each(Waker::wake);
    }
}
