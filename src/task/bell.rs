//! What a handle that waits leaves in its task's cell: the sender of a oneshot, or the group of a
//! batch. Rule T10 of `cell` says whose it is.

use std::collections::VecDeque;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::sync::Arc;
use std::task::Waker;

use super::state::BellKind;
use crate::error::TaskId;
use crate::sync::ProcessMutex;
use crate::sync::oneshot::Sender;

/// An empty list with room for no more than this keeps it.
const FEW: usize = 64;

/// Room for a bell of either kind (T10).
pub(super) union BellRoom {
    channel: ManuallyDrop<Sender<()>>,
    group: ManuallyDrop<Arc<Group>>,
}

/// What is rung when a task ends.
pub(super) enum Bell {
    /// The sender of a oneshot: its drop wakes the receiver.
    Channel(Sender<()>),
    /// The group that the task is a member of.
    Group(Arc<Group>),
}

impl Bell {
    /// What lies in the cell, and what the word is to say of it.
    pub(super) fn into_room(self) -> (BellKind, BellRoom) {
        match self {
            Bell::Channel(sender) => (BellKind::Channel, BellRoom { channel: ManuallyDrop::new(sender) }),
            Bell::Group(group) => (BellKind::Group, BellRoom { group: ManuallyDrop::new(group) }),
        }
    }

    /// Takes a bell out of its room.
    ///
    /// # Safety
    ///
    /// There is one of this kind, and it is the caller's, which takes it once (T10).
    pub(super) unsafe fn take(room: &mut MaybeUninit<BellRoom>, kind: BellKind) -> Bell {
        // SAFETY: T10.
        let room = unsafe { std::mem::replace(room, MaybeUninit::uninit()).assume_init() };
        match kind {
            // SAFETY: T10.
            BellKind::Channel => Bell::Channel(ManuallyDrop::into_inner(unsafe { room.channel })),
            // SAFETY: T10.
            BellKind::Group => Bell::Group(ManuallyDrop::into_inner(unsafe { room.group })),
        }
    }

    /// Tells the one who waits that task `id` has ended. Runs a waker, which is user code.
    pub(super) fn ring(self, id: TaskId) {
        match self {
            Bell::Channel(sender) => drop(sender),
            Bell::Group(group) => group.list(id).into_iter().for_each(Waker::wake),
        }
    }
}

/// Tasks whose ends are announced to one place: which of them have ended since the last look, and
/// whom to wake for the next one. In a forked child there is no such place: the batch asks each
/// task.
#[derive(Debug, Default)]
pub(crate) struct Group {
    state: ProcessMutex<GroupState>,
}

#[derive(Debug, Default)]
struct GroupState {
    ended: VecDeque<TaskId>,
    waker: Option<Waker>,
}

impl GroupState {
    fn pop(&mut self) -> Option<TaskId> {
        let id = self.ended.pop_front();
        if self.ended.is_empty() && self.ended.capacity() > FEW {
            // A batch may live as long as its program: what a burst has needed is not kept.
            self.ended = VecDeque::new();
        }
        id
    }
}

impl Group {
    /// The next task that has ended.
    ///
    /// # Errors
    ///
    /// If there is none, the waker that was left last, which is no longer to be called: to drop one
    /// is user code.
    pub(super) fn next_or_take_waker(&self) -> Result<TaskId, Option<Waker>> {
        let Some(mut state) = self.state.lock() else { return Err(None) };
        state.pop().ok_or_else(|| state.waker.take())
    }

    /// The next task that has ended; or, if there is none, leaves `waker` to be called for that.
    /// Returns the waker that is not needed any more as well.
    #[must_use]
    pub(super) fn next_or_leave(&self, waker: Waker) -> (Option<TaskId>, Option<Waker>) {
        let Some(mut state) = self.state.lock() else { return (None, Some(waker)) };
        match state.pop() {
            Some(id) => (Some(id), Some(waker)),
            None => (None, state.waker.replace(waker)),
        }
    }

    /// The next task that has ended. The waker that was left last stays.
    pub(super) fn pop(&self) -> Option<TaskId> {
        self.state.lock()?.pop()
    }

    /// No batch waits any more. Returns the waker that was left last.
    #[must_use]
    pub(super) fn take_waker(&self) -> Option<Waker> {
        self.state.lock()?.waker.take()
    }

    /// A task has ended. Returns whom to wake.
    #[must_use]
    pub(super) fn list(&self, id: TaskId) -> Option<Waker> {
        let mut state = self.state.lock()?;
        state.ended.push_back(id);
        state.waker.take()
    }
}

#[cfg(all(test, unix, not(any(sidestep_loom, sidestep_shuttle, miri))))]
mod tests;
