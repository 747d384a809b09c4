//! The tokio runtime that a task is spawned in: its closure runs inside of it, and its paused clock
//! stands still meanwhile.
//!
//! Without the feature `tokio` there is neither, and [`CallerRuntime`] takes no room.

mod capture;

#[cfg(feature = "tokio")]
use tokio::runtime::Handle;

#[cfg(feature = "tokio-test-util")]
use super::clock_hold::ClockHold;
#[cfg(feature = "tokio")]
use crate::sync::Mutex;

/// What a task carries of the runtime that it was spawned in.
#[derive(Default)]
pub(crate) struct CallerRuntime {
    /// What its closure runs inside of. Taken by the claimer.
    #[cfg(feature = "tokio")]
    entry: Mutex<Option<RuntimeEntry>>,
    /// Taken when the task has ended and its handle has been woken: else the clock might move on
    /// before the runtime knows of the end.
    #[cfg(feature = "tokio-test-util")]
    clock: Mutex<Option<ClockHold>>,
}

/// The right to run a closure inside a runtime.
#[cfg(feature = "tokio")]
pub(super) struct RuntimeEntry(Handle);

/// The right to run a closure inside a runtime: there is none.
#[cfg(not(feature = "tokio"))]
pub(super) enum RuntimeEntry {}

#[cfg(feature = "tokio")]
impl CallerRuntime {
    /// Whether the task need not carry it.
    pub(crate) fn is_empty(&mut self) -> bool {
        #[cfg(feature = "tokio-test-util")]
        if self.clock.get_mut().is_some() {
            return false;
        }
        self.entry.get_mut().is_none()
    }

    /// What the closure runs inside of, for the first caller.
    pub(super) fn take_entry(&self) -> Option<RuntimeEntry> {
        self.entry.lock().take()
    }

    /// The closure will not run.
    pub(super) fn leave(&self) {
        let entry = self.entry.lock().take();
        drop(entry);
    }

    /// The task has ended and its handle has been woken.
    pub(super) fn end(&self) {
        #[cfg(feature = "tokio-test-util")]
        {
            let hold = self.clock.lock().take();
            drop(hold);
        }
    }
}

#[cfg(not(feature = "tokio"))]
#[expect(clippy::unused_self, reason = "the feature has a use for it")]
impl CallerRuntime {
    #[inline]
    pub(crate) fn is_empty(&mut self) -> bool {
        true
    }

    #[inline]
    pub(super) fn take_entry(&self) -> Option<RuntimeEntry> {
        None
    }

    #[inline]
    pub(super) fn leave(&self) {}

    #[inline]
    pub(super) fn end(&self) {}
}

impl RuntimeEntry {
    /// Calls `run` inside the runtime. A runtime that has ended can be entered, too: what `run`
    /// asks of it fails there.
    #[cfg(feature = "tokio")]
    pub(super) fn around(self, run: &mut dyn FnMut()) {
        let _entered = self.0.enter();
        run();
    }

    #[cfg(not(feature = "tokio"))]
    pub(super) fn around(self, _run: &mut dyn FnMut()) {
        match self {}
    }
}
