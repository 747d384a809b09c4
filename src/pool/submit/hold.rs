//! Holding a pool open for what is on its way into the queue.
//!
//! What waits for room in a full queue is in no queue that a shutdown could see. A [`HoldOpen`]
//! that is begun before the wait makes the shutdown see it: no shutdown of the pool reports the end
//! while there is one.
//!
//! # Why no shutdown misses a hold
//!
//! The holds are counted with the threads that sort entries out (`Ending::begin_sorting`), which
//! keep a pool open in the way that is needed here: while any is counted no look finds the end, and
//! whoever ends the last one looks. A hold counts first and then looks whether admission is closed;
//! a shutdown closes admission first, and its looks read the count. Both are sequentially
//! consistent: either the hold sees the closed flag, or every look sees the hold. A hold that sees
//! the flag is none, unless another was counted at that moment: then the count has not been zero
//! since a time at which the pool was held, and no look has found the end in between.
//!
//! A task that enters by [`HoldOpen::spawn`] has the hold with it until it begins or is dropped.
//! When it begins, the thread that runs it keeps the pool open. Until then it is in the queue, and
//! `notify` sees to a thread, as it does for the entries that a sorting thread puts back.

use std::panic::Location;
use std::sync::Arc;

use super::Submitter;
use crate::pool::Pool;
use crate::pool::inner::Inner;
use crate::task::{Metadata, OnShutdown, Task};

/// Keeps a pool from reporting that its shutdown has ended.
pub(crate) struct HoldOpen(Arc<Inner>);

impl HoldOpen {
    /// `None` if the shutdown may have ended, and in a forked child.
    fn new(inner: &Arc<Inner>) -> Option<Self> {
        if inner.engine.is_forked() {
            return None;
        }
        let was_held = inner.ending.begin_sorting();
        let hold = HoldOpen(Arc::clone(inner));
        (was_held || !inner.engine.is_closed()).then_some(hold)
    }

    /// Queues `f` although the pool is shut down or its queue is full. Every shutdown runs it.
    #[track_caller]
    pub(crate) fn spawn(self, f: impl FnOnce() + Send + 'static) -> Task<()> {
        let inner = Arc::clone(&self.0);
        let metadata = Metadata { on_shutdown: OnShutdown::AlwaysRun, ..Metadata::default() };
        let metadata = inner.carried.metadata_with(metadata);
        let submitter = Submitter { inner: &inner, queue: &inner, has_permit: true };
        let run = move || {
            drop(self);
            f();
        };
        submitter.spawn_late(run, Location::caller(), Some(metadata))
    }
}

impl Drop for HoldOpen {
    fn drop(&mut self) {
        let inner = &self.0;
        if inner.engine.is_forked() {
            return;
        }
        inner.ending.end_sorting();
        if inner.engine.is_closed() {
            inner.ending.look(|| inner.threads_left());
        }
    }
}

impl Pool {
    /// Keeps shutdowns of the pool from reporting their end; see [`HoldOpen`].
    pub(crate) fn hold_open(&self) -> Option<HoldOpen> {
        HoldOpen::new(&self.inner)
    }
}
