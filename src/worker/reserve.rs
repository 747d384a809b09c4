//! A thread of a lane's reserve: a thread of the pool that runs one lane and nothing else. When it
//! is called, and why no call is lost, is told in `lane::reserve`.
//!
//! It is a [`Worker`] that is for ever inside a reentrant run: like a thread that has taken a slot
//! over while it waits, it takes tasks of the lane and leaves alone what else is queued.
//!
//! - It holds no token, so no submitter relies on it: invariant S of `idle` holds as if it were not
//!   there. What its closures submit goes into the injector, and is announced as by any other
//!   thread.
//! - It owns no deque. It never takes an item out of the queues: the item of the slot that it takes
//!   over stays, as a hint that may come too late (N7).
//! - A closure that waits there is run past only by tasks of this lane: `Worker::runs_inline`. A
//!   scope that a closure opens is part of the closure; the thread runs its tasks inline.

use std::sync::Arc;

use super::record::CurrentGuard;
use super::{Policy, Worker};
use crate::lane::{LaneCore, LaneReserve};
use crate::sync::Parker;
use crate::sync::atomic::{Ordering, fence};
use crate::task::with_host;

/// Works for the lane of `reserve`, in which the caller has counted this thread, until the thread
/// is to leave.
pub(crate) fn work_in_reserve<P: Policy>(pool: Arc<P>, reserve: Arc<LaneReserve>) {
    let worker = Worker::new(pool, Some(Arc::clone(&reserve)));
    // It takes no token.
    worker.depth.set(1);
    with_host(&worker, || worker.main_in_reserve(&reserve));
    worker.exit();
}

impl<P: Policy> Worker<P> {
    /// Calls the hooks, and runs tasks of the lane between the two.
    fn main_in_reserve(&self, reserve: &LaneReserve) {
        let _current = CurrentGuard::enter(&self.context);
        self.pool.on_start();
        self.serve_reserve(reserve);
        if !self.engine().is_forked() {
            self.pool.on_stop();
        }
    }

    /// Runs tasks of the lane until the thread is to leave.
    fn serve_reserve(&self, reserve: &LaneReserve) {
        let parker = Arc::new(Parker::new());
        loop {
            // Read before the look, so that what came before the close has been seen.
            let closed = self.engine().is_closed();
            let Some(lane) = reserve.lane() else { return };
            self.serve_pending(lane);
            if closed || self.retiring.get() || self.engine().is_forked() {
                return;
            }
            if !self.park_in_reserve(reserve, &parker) {
                return;
            }
        }
    }

    /// Takes pending slots of the lane over, one after another, and runs what waits, until none is
    /// pending.
    fn serve_pending(&self, mut lane: Arc<LaneCore>) {
        while let Some(first) = lane.take_over_with_next() {
            let Some(kept) = self.run_while_waiting(Arc::clone(&lane), first) else { continue };
            lane = kept;
            self.release_slot(&lane);
            return;
        }
    }

    /// Parks until there may be something to do. False if the thread is to leave.
    fn park_in_reserve(&self, reserve: &LaneReserve, parker: &Arc<Parker>) -> bool {
        let engine = self.engine();
        let signal = engine.lanes.idle().signal();
        engine.look_for_idle();
        let watch = || {
            if reserve.is_hot() {
                engine.help_waiters.add(parker);
            }
            // ORDERING: pairs with the one in `Idle::notify`, as for all `help_waiters`.
            fence(Ordering::SeqCst);
        };
        let must_look = || {
            let pending = reserve.lane().is_none_or(|lane| lane.has_pending());
            // The fence in `watch` is I1, too.
            let idle_is_wanted = signal.is_before(engine.lanes.idle().signal());
            pending || idle_is_wanted || engine.is_closed() || engine.is_forked()
        };
        // A deep wait counts on it only for a task of the lane.
        self.show_idle_in_reserve(reserve.lane().as_deref());
        let stays = reserve.park(parker, self.pool.reserve_deadline(), watch, must_look);
        self.end_waiting();
        engine.help_waiters.remove(parker);
        stays
    }
}
