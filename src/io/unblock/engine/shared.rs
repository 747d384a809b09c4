//! What the handle and the pump of an `Unblock` share.

use std::sync::Arc;

use super::room::RoomWait;
use crate::io::unblock::buffers::sizes::Sizes;
use crate::io::unblock::state::machine::Machine;
use crate::pool::SpawnTarget;
use crate::sync::ProcessMutex;
use crate::sync::atomic::{AtomicBool, StaticU64};
use crate::sys::fork;

/// How an `Unblock` was set up.
pub(crate) struct Setup {
    /// Where the pump runs.
    pub(crate) target: SpawnTarget,
    /// Closing the value takes no time worth a trip to the pool.
    pub(crate) drops_in_place: bool,
    /// All that is written is flushed, without a request to do so.
    pub(crate) flushes: bool,
    /// How many items are taken from an iterator before the first of them is given out.
    pub(crate) batch: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Setup { target: SpawnTarget::GLOBAL, drops_in_place: false, flushes: false, batch: 1 }
    }
}

/// The machine behind its lock, and two counters that are hints: no promise rests on them.
pub(super) struct SharedMachine<T> {
    pub(super) machine: ProcessMutex<Machine<T>>,
    /// Counts what the handle asks while the pump has the value, so that a pump that spins sees it.
    pub(super) requests: StaticU64,
    /// Counts what the pump has done, so that a handle that spins sees it.
    pub(super) progress: StaticU64,
    /// What was read ahead is not what the value has any more.
    pub(super) stale: AtomicBool,
    /// The last wait of a pump for room in a full queue.
    room: ProcessMutex<Option<Arc<RoomWait>>>,
    pub(super) setup: Setup,
}

impl<T: 'static> SharedMachine<T> {
    pub(super) fn new(value: T, sizes: Sizes, setup: Setup) -> Arc<Self> {
        fork::watch();
        Arc::new(SharedMachine {
            machine: ProcessMutex::new(Machine::new(value, sizes)),
            requests: StaticU64::new(0),
            progress: StaticU64::new(0),
            stale: AtomicBool::new(false),
            room: ProcessMutex::new(None),
            setup,
        })
    }

    /// The pump that is queued waits for room by `wait`.
    pub(super) fn set_room_wait(&self, wait: Arc<RoomWait>) {
        let before = self.room.lock().and_then(|mut room| room.replace(wait));
        drop(before);
    }

    /// The pump is not needed any more: if it waits for room, it leaves the queue of waiters.
    pub(super) fn withdraw_room_wait(&self) {
        let wait = self.room.lock().and_then(|mut room| room.take());
        wait.into_iter().for_each(|wait| wait.withdraw());
    }

    pub(super) fn target(&self) -> &SpawnTarget {
        &self.setup.target
    }
}
