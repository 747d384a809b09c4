//! What the handle and the pump of an `Unblock` share.

use std::sync::Arc;

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
    pub(super) setup: Setup,
}

impl<T: 'static> SharedMachine<T> {
    pub(super) fn new(value: T, capacity: usize, setup: Setup) -> Arc<Self> {
        fork::watch();
        Arc::new(SharedMachine {
            machine: ProcessMutex::new(Machine::new(value, capacity)),
            requests: StaticU64::new(0),
            progress: StaticU64::new(0),
            stale: AtomicBool::new(false),
            setup,
        })
    }

    pub(super) fn target(&self) -> &SpawnTarget {
        &self.setup.target
    }
}
