//! What waits in a lane, and what of it may begin: in the order of submission, or by keys.

use std::any::Any;
use std::collections::VecDeque;
use std::mem::take;
use std::sync::Arc;

use crate::error::TaskId;
use crate::panic::catch_panic;
use crate::task::TaskRef;

/// A key of a keyed lane: the hash of it, and a number that no other key of the lane ever has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyId {
    pub(super) hash: u64,
    pub(super) number: u64,
}

/// A key, whose type only its lane's handles know.
pub(crate) type ErasedKey = Arc<dyn Any + Send + Sync>;

/// Keys that a lane has let go of. Their destructors are user code: this is dropped without a lock.
#[derive(Debug, Default)]
pub(crate) struct GoneKeys(pub(super) Vec<ErasedKey>);

impl GoneKeys {
    /// A reference to one key, which may be the last one.
    pub(crate) fn one(key: ErasedKey) -> Self {
        GoneKeys(vec![key])
    }

    pub(crate) fn first(&self) -> Option<&(dyn Any + Send + Sync)> {
        self.0.first().map(|key| &**key)
    }
}

/// Where in a lane a task is to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LanePlace {
    /// With all others; in a keyed lane under a key of its own.
    InOrder,
    /// Under a key of a keyed lane, which is pinned.
    Key(KeyId),
    /// With the tasks of the session that has the lane to itself.
    Session,
}

/// Moves the tasks of which `goes` is true to `gone`.
pub(super) fn take_out(
    tasks: &mut VecDeque<TaskRef>,
    goes: &dyn Fn(&TaskRef) -> bool,
    gone: &mut Vec<TaskRef>,
) {
    for task in take(tasks) {
        if goes(&task) {
            gone.push(task);
        } else {
            tasks.push_back(task);
        }
    }
}

impl KeyId {
    /// Which key of its hash it is: newer ones have greater numbers.
    pub(crate) fn number(self) -> u64 {
        self.number
    }
}

impl Drop for GoneKeys {
    fn drop(&mut self) {
        for key in take(&mut self.0) {
            catch_panic("the destructor of a lane's key", || drop(key));
        }
    }
}

/// The waiting tasks of a keyed lane. The lane's lock is held around each call, and no call runs
/// user code.
pub(crate) trait KeyOrder: Send {
    /// A pin on a key of this hash whose number is above `after`, and the key, if there is one;
    /// otherwise a pin on what `fresh` returns, which is a new key then.
    fn pin(
        &mut self,
        hash: u64,
        after: u64,
        fresh: &mut dyn FnMut() -> ErasedKey,
    ) -> (KeyId, Option<ErasedKey>);
    /// Takes a pin off.
    fn unpin(&mut self, key: KeyId);
    /// Enqueues a task under a key, which is pinned.
    fn push(&mut self, task: TaskRef, key: KeyId);
    /// Enqueues a task under a key of its own.
    fn push_alone(&mut self, task: TaskRef);
    /// The next task that may begin, which has a place of its key from now on.
    fn pop(&mut self) -> Option<TaskRef>;
    /// A task that was popped gives the place of its key back. A second time, it does nothing.
    fn end(&mut self, task: TaskId);
    /// How many tasks may begin.
    fn ready(&self) -> usize;
    /// How many tasks wait.
    fn waiting(&self) -> usize;
    /// Takes out the tasks of which `goes` is true.
    fn clear(&mut self, goes: &dyn Fn(&TaskRef) -> bool) -> Vec<TaskRef>;
    /// The key under which `task` waits, or whose place it has.
    fn key_of(&self, task: &TaskRef) -> Option<KeyId>;
    /// How many keys there are.
    fn keys(&self) -> usize;
    /// The keys that the lane has let go of since the last call.
    fn take_gone(&mut self) -> GoneKeys;
}

/// What waits in a lane.
pub(super) enum WaitingTasks {
    InOrder(VecDeque<TaskRef>),
    ByKey(Box<dyn KeyOrder>),
}

impl WaitingTasks {
    /// How many tasks may begin, as far as the lane's slots are not concerned.
    pub(super) fn ready(&self) -> usize {
        match self {
            WaitingTasks::InOrder(tasks) => tasks.len(),
            WaitingTasks::ByKey(order) => order.ready(),
        }
    }

    /// How many tasks wait, those among them that have been cancelled.
    pub(super) fn len(&self) -> usize {
        match self {
            WaitingTasks::InOrder(tasks) => tasks.len(),
            WaitingTasks::ByKey(order) => order.waiting(),
        }
    }

    /// Enqueues a task; in a keyed lane under `key`, or under one of its own.
    pub(super) fn push(&mut self, task: TaskRef, key: Option<KeyId>) {
        match (self, key) {
            (WaitingTasks::InOrder(tasks), _) => tasks.push_back(task),
            (WaitingTasks::ByKey(order), Some(key)) => order.push(task, key),
            (WaitingTasks::ByKey(order), None) => order.push_alone(task),
        }
    }

    /// The next task that may begin.
    pub(super) fn pop(&mut self) -> Option<TaskRef> {
        match self {
            WaitingTasks::InOrder(tasks) => tasks.pop_front(),
            WaitingTasks::ByKey(order) => order.pop(),
        }
    }

    /// A task that was popped has ended, or turned out to be a tombstone.
    pub(super) fn end(&mut self, task: TaskId) {
        if let WaitingTasks::ByKey(order) = self {
            order.end(task);
        }
    }

    /// Takes out the tasks of which `goes` is true.
    pub(super) fn clear(&mut self, goes: &dyn Fn(&TaskRef) -> bool) -> Vec<TaskRef> {
        let tasks = match self {
            WaitingTasks::InOrder(tasks) => tasks,
            WaitingTasks::ByKey(order) => return order.clear(goes),
        };
        let mut gone = Vec::new();
        take_out(tasks, goes, &mut gone);
        gone
    }

    /// Puts the tasks of a session before all others, of which there may be many more. A keyed lane
    /// has no sessions.
    pub(super) fn prepend(&mut self, session: VecDeque<TaskRef>) {
        match self {
            WaitingTasks::InOrder(tasks) => {
                session.into_iter().rev().for_each(|task| tasks.push_front(task));
            }
            WaitingTasks::ByKey(order) => session.into_iter().for_each(|task| order.push_alone(task)),
        }
    }

    pub(super) fn order(&mut self) -> Option<&mut dyn KeyOrder> {
        match self {
            WaitingTasks::InOrder(_) => None,
            WaitingTasks::ByKey(order) => Some(&mut **order),
        }
    }

    /// The keys that have become empty.
    pub(super) fn take_gone(&mut self) -> GoneKeys {
        self.order().map(|order| order.take_gone()).unwrap_or_default()
    }
}
