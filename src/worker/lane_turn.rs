//! One turn of a lane: a number of its tasks, one after another, on a thread that holds a slot. The
//! page of `lane` says what turns are for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Policy, Worker};
use crate::error::TaskId;
use crate::lane::{LaneCore, QueueItem};
use crate::sync::now;
use crate::task::{Claimed, TaskRef};

/// How many tasks of a lane a thread runs in one turn, if other work waits for the thread.
const TURN_TASKS: u32 = 32;
/// How long such a turn lasts.
const TURN_TIME: Duration = Duration::from_millis(1);

impl<P: Policy> Worker<P> {
    /// Runs a turn of `lane`, of which an item was queued.
    #[inline(never)]
    pub(super) fn serve_lane(&self, lane: Arc<LaneCore>) {
        let next = lane.in_turn().and_then(|lane| Some((lane.begin_with_next()?, lane)));
        let ran = next.is_some_and(|(first, lane)| self.take_turn(lane, first));
        if !ran {
            self.pass_baton();
        }
    }

    /// Runs tasks of a lane, of which this thread has just taken a slot and the `first` entry,
    /// until none waits or the turn is over. False if there was none to run.
    fn take_turn(&self, mut lane: Arc<LaneCore>, first: TaskRef) -> bool {
        let mut tasks = 0;
        let is_alone = || self.engine().queues.looks_empty(self.context.local.get());
        // A turn for which no other work waits needs no clock, and is over once some does.
        let begun = if is_alone() { None } else { Some(self.context.record.mark_clock()) };
        let mut next = self.claim_or_next(&lane, first);
        while let Some(claimed) = next {
            tasks += 1;
            let Some(kept) = self.run_in_lane(claimed, lane) else {
                // Nothing waited, or the slot was released while the result was delivered.
                return true;
            };
            lane = kept;
            let fair = is_alone() || tasks < TURN_TASKS && begun.is_some_and(is_within_turn);
            if !fair || self.retiring.get() || self.engine().is_over_max() {
                self.release_slot(&lane);
                return true;
            }
            next = self.claim_next(&lane);
        }
        self.look_for_idle(&lane);
        tasks > 0
    }

    /// Runs tasks of a lane, of which this thread has just taken a slot and the `first` entry,
    /// until none waits; or returns the lane with the slot, because the thread is to leave.
    pub(super) fn run_while_waiting(&self, mut lane: Arc<LaneCore>, first: TaskRef) -> Option<Arc<LaneCore>> {
        let mut next = self.claim_or_next(&lane, first);
        while let Some(claimed) = next {
            lane = self.run_in_lane(claimed, lane)?;
            if self.retiring.get() || self.engine().is_forked() {
                return Some(lane);
            }
            next = self.claim_next(&lane);
        }
        self.look_for_idle(&lane);
        None
    }

    /// Runs a task of a lane of which this thread holds a slot. Returns the lane if the thread
    /// still holds the slot.
    fn run_in_lane(&self, claimed: Claimed, lane: Arc<LaneCore>) -> Option<Arc<LaneCore>> {
        self.run_special(claimed, Some(lane));
        self.lane.take()
    }

    /// Whether the thread keeps the slot of a lane while it delivers.
    pub(super) fn serves(&self) -> bool {
        let lane = self.lane.take();
        let serves = lane.is_some();
        self.lane.set(lane);
        serves
    }

    /// Releases a slot of `lane`, for the thread that comes next.
    pub(super) fn release_slot(&self, lane: &Arc<LaneCore>) {
        // Behind what waits already, and not in this thread's own deque: that makes turns fair.
        self.release_slot_of(lane, None);
    }

    /// [`release_slot`](Worker::release_slot), perhaps of the task `early`, which goes on.
    pub(super) fn release_slot_of(&self, lane: &Arc<LaneCore>, early: Option<TaskId>) {
        if lane.release(early, || self.engine().queues.push(None, QueueItem::lane(Arc::clone(lane)))) {
            self.engine().notify(&*self.pool);
        }
        self.look_for_idle(lane);
    }

    /// This thread has come to the lock of `lane` since it counted the end of a task there: looks
    /// whether the lane is idle, if that is waited for. A searching token goes, since wakers are
    /// user code.
    pub(super) fn look_for_idle(&self, lane: &LaneCore) {
        if lane.idle().is_wanted() {
            self.pass_baton();
            lane.idle().look().wake();
        }
    }

    /// Runs what waits in `lane`, of which this thread has taken a slot over, inline and in order,
    /// up to `target` and with it.
    pub(super) fn run_through(&self, mut lane: Arc<LaneCore>, target: &TaskRef) {
        while target.is_queued() {
            let Some(claimed) = self.claim_next(&lane) else { return self.look_for_idle(&lane) };
            match self.reenter(|| self.run_in_lane(claimed, lane)) {
                Some(kept) => lane = kept,
                None => return,
            }
        }
        self.release_slot(&lane);
    }

    /// Claims the next task of a lane of which this thread holds a slot. If there is none, the slot
    /// is released.
    fn claim_next(&self, lane: &LaneCore) -> Option<Claimed> {
        let first = lane.next()?;
        self.claim_or_next(lane, first)
    }

    /// Claims `entry`, which has been taken from the lane, or the next task. If there is none, the
    /// slot is released.
    fn claim_or_next(&self, lane: &LaneCore, mut entry: TaskRef) -> Option<Claimed> {
        loop {
            let id = entry.id();
            let claimed = entry.claim();
            if claimed.is_some() {
                return claimed;
            }
            let keys = lane.count_tombstone(id);
            if keys.first().is_some() {
                // Their destructors are user code.
                self.pass_baton();
            }
            drop(keys);
            entry = lane.next()?;
        }
    }

    /// Whether the slot of `task`, which has ended, was released early; the thread forgets that.
    pub(super) fn take_released_early(&self, task: &TaskRef) -> bool {
        let mut released_early = self.released_early.borrow_mut();
        let index = released_early.iter().position(|id| *id == task.id());
        index.map(|index| released_early.swap_remove(index)).is_some()
    }
}

/// Whether a turn that was begun at this time may go on.
fn is_within_turn(begun: Instant) -> bool {
    now().saturating_duration_since(begun) < TURN_TIME
}
