//! Blocking and waiting on a pool's thread.
//!
//! A thread that blocks by declaration counts apart: the pool is entitled to one thread more meanwhile, so a wait
//! below `max_threads` is no loss. Where the pool cannot grow, the waiter runs the task it waits for itself, if that
//! is still queued.
//!
//! # Why a wait does not deadlock
//!
//! Let every thread of the pool be inside a wait for tasks of this pool. If the pool may grow and something is
//! queued, the last of them to declare itself blocked has notified, and a thread is being started. If it may not
//! grow: a waiter registers ([`Workplace::watch_growth`]) *before* it looks whether the pool may grow, and whoever
//! makes the pool unable to grow wakes all who are registered *after* that shows. So each waiter has looked since the
//! pool last became unable to grow, and a target that was queued then has been claimed: by the waiter or by someone
//! else, whose thread runs it above all waits on its stack. The innermost of these targets is run by a thread that
//! does not wait: a contradiction. A task that waits for itself is refused (`is_deadlock`).

use std::sync::Arc;

use super::{Worker, Workplace};
use crate::sync::Parker;
use crate::sync::atomic::Ordering;
use crate::task::{Claimed, Host, TaskRef, claim_in_place};

impl<P: Workplace> Worker<P> {
    /// Runs a task in the middle of another one. This thread is not blocked meanwhile, whatever it has declared.
    fn run_nested(&self, claimed: Claimed) {
        let declared = self.blocking.replace(0);
        if declared > 0 {
            self.stop_blocking();
        }
        self.place.free_place();
        self.depth.set(self.depth.get() + 1);
        self.run(claimed);
        self.depth.set(self.depth.get() - 1);
        if self.blocking.replace(declared) == 0 && declared > 0 {
            self.start_blocking();
        }
    }

    fn start_blocking(&self) {
        self.station.slot.blocking.store(true, Ordering::Relaxed);
        self.place.begin_blocking();
    }

    fn stop_blocking(&self) {
        self.station.slot.blocking.store(false, Ordering::Relaxed);
        self.place.end_blocking();
    }
}

impl<P: Workplace> Host for Worker<P> {
    fn begin_blocking(&self) {
        self.blocking.set(self.blocking.get() + 1);
        if self.blocking.get() == 1 {
            if self.delivering.take() {
                self.place.idle().release_delivering();
            }
            self.start_blocking();
        }
    }

    fn end_blocking(&self) {
        self.blocking.set(self.blocking.get() - 1);
        if self.blocking.get() == 0 {
            self.stop_blocking();
        }
    }

    fn run_in_place(&self, target: &TaskRef) -> bool {
        if !target.is_owned_by(self.owner()) || self.place.may_grow() {
            return false;
        }
        claim_in_place(target).map(|claimed| self.run_nested(claimed)).is_some()
    }

    fn watch(&self, target: &TaskRef, parker: &Arc<Parker>) {
        if target.is_owned_by(self.owner()) && target.is_queued() {
            self.place.watch_growth(parker);
        }
    }

    fn unwatch(&self, parker: &Arc<Parker>) {
        self.place.unwatch_growth(parker);
    }

    fn run_any_in_place(&self) -> bool {
        let Some(task) = self.place.queues().take_any() else { return false };
        if let Some(claimed) = task.claim() {
            self.run_nested(claimed);
        }
        true
    }

    fn retire(&self) {
        self.retiring.set(true);
    }

    fn owner(&self) -> *const () {
        self.station.owner
    }
}
