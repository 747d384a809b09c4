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

use crate::pool::submit::{Destination, DestinationRef, NewTask, Queue, Submitter};
use crate::semaphore::Semaphore;
use crate::task::{ColdPart, Metadata, OnShutdown, Task};

/// Keeps a pool from reporting that its shutdown has ended, for the queue of the pool or of one of
/// its lanes.
pub(crate) struct HoldOpen(Destination);

impl HoldOpen {
    /// `None` if the shutdown may have ended, and in a forked child.
    pub(super) fn new(target: DestinationRef<'_>) -> Option<Self> {
        let inner = &target.pool().inner;
        if inner.engine.is_forked() {
            return None;
        }
        let was_held = inner.ending.begin_sorting();
        let hold = HoldOpen(target.to_owned());
        (was_held || !inner.engine.is_closed()).then_some(hold)
    }

    /// Queues `f` although the pool is shut down or the queue is full. Every shutdown runs it.
    #[track_caller]
    pub(crate) fn spawn(self, f: impl FnOnce() + Send + 'static) -> Task<()> {
        let target = self.0.clone();
        let metadata = Metadata { on_shutdown: OnShutdown::AlwaysRun, ..Metadata::default() };
        let metadata = Some(target.pool().inner.carried.metadata_with(metadata));
        let run = move || {
            drop(self);
            f();
        };
        let site = Location::caller();
        match &target {
            Destination::Pool(pool) => {
                Submitter { has_permit: true, ..pool.submitter() }.spawn_late(run, site, metadata)
            }
            Destination::Lane(lane) => {
                Submitter { has_permit: true, ..lane.submitter() }.spawn_late(run, site, metadata)
            }
            Destination::Key(key) => {
                Submitter { has_permit: true, ..key.submitter() }.spawn_late(run, site, metadata)
            }
        }
    }
}

impl Drop for HoldOpen {
    fn drop(&mut self) {
        let inner = &self.0.pool().inner;
        if inner.engine.is_forked() {
            return;
        }
        inner.end_sorting();
        if inner.engine.is_closed() {
            inner.ending.look(&|| inner.threads_left());
        }
    }
}

impl<Q: Queue> Submitter<'_, Q> {
    /// Queues `f` whether the queue has room or not, and although the pool may be shut down: a hold
    /// keeps that open until `f` begins.
    fn spawn_late(
        &self,
        f: impl FnOnce() + Send + 'static,
        site: &'static Location<'static>,
        cold: Option<Box<ColdPart>>,
    ) -> Task<()> {
        if self.inner.engine.is_forked() {
            return self.spawn(f, site, cold);
        }
        let NewTask { entry, task } = self.make(f, site, cold);
        self.queue.places().into_iter().for_each(Semaphore::acquire_beyond);
        task.new_ref().metadata().into_iter().for_each(|metadata| self.show(task.new_ref(), metadata));
        if self.queue.push(self.inner, entry) {
            self.inner.notify();
        }
        task
    }
}
