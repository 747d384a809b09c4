//! The reserves of lanes: when a thread of a reserve is called, how it is made, and what the pool
//! decides for it. What such a thread does is told in `lane::reserve` and `worker::reserve`.
//!
//! # When
//!
//! While something is queued and no token is out, the pool's monitor is armed (`growth::monitor`):
//! so it is whenever a slot of a lane is pending and no general thread is on its way. With each
//! look the monitor also looks at the lanes that have a reserve. If a slot has been pending for two
//! looks and a millisecond, and no task of the lane has begun meanwhile, no general thread gets to
//! it: the monitor calls a thread of the reserve for each pending slot. As long as the pool may
//! grow it waits for ten milliseconds, since a general thread may be on its way.
//!
//! Where the system refuses the monitor's own thread there are no looks. Then whoever would have
//! armed it calls at once.
//!
//! # A reserved lane always gets a thread
//!
//! Let a slot of the lane be pending for ever, while fewer threads of its reserve than it has been
//! given hang inside closures or wakers. No general thread takes the slot: then all of them hang,
//! since one that does not would come to the item in the end. None of those that hang holds a
//! searching token, for no user code runs with one. So either the monitor is armed, finds the slot
//! pending with no task begun, and calls again and again; or it was refused, and the submitter has
//! called. By the argument of `lane::reserve` a call that finds no thread idle and none to be made
//! leaves it to one that looks afterwards. Only a system that refuses threads keeps a lane from its
//! reserve, and only as long as it does: the monitor tries again after each pause.
//!
//! None of this asks whether the pool is at its limit, pauses after a refusal of general threads
//! that has ended since, or drains for a shutdown.
//!
//! # Accounts
//!
//! `max_threads` bounds the general threads alone. Those of reserves count apart, in the same word:
//! a shutdown waits until that is zero as a whole. A thread of a reserve is no evidence for growth,
//! whether it works or hangs: it is not among the threads that the monitor asks, and what it starts
//! and completes is not counted. A declaration that it blocks entitles the pool to no other thread.

use std::time::Duration;

use super::growth::MOST_COUNTED;
use super::inner::Inner;
use super::threads::start_in_reserve;
use crate::lane::{Called, LaneCore, LaneReserve};
use crate::trace::event;
use crate::worker::Policy;

/// A slot that no general thread gets to is overdue after so long,
const OVERDUE: Duration = Duration::from_millis(1);
/// and as long as the pool may grow, after so long.
const PATIENCE: Duration = Duration::from_millis(10);

impl Inner {
    /// One look of the monitor, `elapsed` after the last one.
    pub(super) fn look_at_reserves(&self, elapsed: Duration) {
        let patience = || if self.may_grow() { PATIENCE } else { OVERDUE };
        for lane in self.engine.lanes.reserved() {
            let Some(reserve) = lane.reserve() else { continue };
            let counts = lane.account().counters.counts();
            let elapsed = elapsed.min(MOST_COUNTED);
            if reserve.is_overdue(counts.tasks.started, counts.pending, elapsed, patience()) {
                self.call_reserve(&lane, counts.pending);
            }
        }
    }

    /// There is no monitor to look: calls for every slot that is pending.
    pub(super) fn call_reserves(&self) {
        for lane in self.engine.lanes.reserved() {
            self.call_reserve(&lane, lane.account().counters.counts().pending);
        }
    }

    /// Calls threads for `pending` slots of `lane`.
    fn call_reserve(&self, lane: &LaneCore, pending: u64) {
        let Some((reserve, pool)) = lane.reserve().zip(self.owned()) else { return };
        for _ in 0..pending {
            // Counted before: a shutdown must not see the pool end while a thread is being made.
            self.threads.counts().enter_reserve();
            match reserve.call() {
                Called::Woken => self.leave_reserve(),
                Called::AtWork => return self.leave_reserve(),
                Called::Reserved if self.threads.backoff().is_on() => {
                    reserve.release();
                    return self.leave_reserve();
                }
                Called::Reserved => {
                    event!(DEBUG, lane = lane.name(), "a lane gets a thread of its reserve");
                    start_in_reserve(&pool, lane.name(), reserve);
                }
            }
        }
    }

    /// A thread of a reserve is gone, or none has been made.
    fn leave_reserve(&self) {
        self.threads.counts().leave_reserve();
        // One of them may have counted on it.
        self.engine.look_at_deep_waits();
        self.on_thread_gone();
    }

    /// A thread of `reserve` is gone, or will not come: another one may have to.
    pub(super) fn release_reserved(&self, reserve: &LaneReserve, may_follow: bool) {
        reserve.release();
        if may_follow {
            if let Some(lane) = reserve.lane().filter(|lane| lane.has_pending()) {
                self.call_reserve(&lane, 1);
            }
        }
        self.leave_reserve();
    }

    /// The pool has been closed: idle threads of reserves are to leave.
    pub(super) fn close_reserves(&self) {
        for lane in self.engine.lanes.reserved() {
            lane.reserve().into_iter().for_each(|reserve| reserve.wake_all());
        }
    }
}
