//! What of a lane changes under its lock: what waits, and its slots.

use std::collections::VecDeque;

use super::waiting::{GoneKeys, LanePlace, WaitingTasks, take_out};
use crate::error::TaskId;
use crate::task::TaskRef;

/// A queue with no more tombstones than this is not swept.
const FEW_TOMBSTONES: u64 = 32;

/// What changes under the lock. In a forked child it is out of reach: what waits is the parent's.
pub(super) struct LaneQueue {
    pub(super) waiting: WaitingTasks,
    /// The tasks of the session, while one is open: then no others begin (N11).
    pub(super) session: Option<VecDeque<TaskRef>>,
    pub(super) pending: usize,
    pub(super) active: usize,
    /// How many items are in the pool's queues (N7). A lane with a share counts none here (N9).
    pub(super) items: usize,
    /// How many cancelled tasks have been taken out of `waiting`.
    cleared: u64,
    pub(super) limits: LaneLimits,
}

/// Where the limit of a lane comes from.
#[derive(Debug)]
pub(super) struct LaneLimits {
    /// What has been set; 0 for a pause.
    pub(super) set: usize,
    /// The pool is being shut down.
    pub(super) is_closing: bool,
    /// The lane has no handle.
    pub(super) is_abandoned: bool,
    /// The highest that may be set: for the calls of a strand, or of a resource pool, there are
    /// only so many values.
    pub(super) most: usize,
}

impl LaneLimits {
    pub(super) fn new(limit: usize) -> Self {
        LaneLimits { set: limit, is_closing: false, is_abandoned: false, most: usize::MAX }
    }

    /// The limit that holds. A pause that nothing would end is none.
    pub(super) fn in_force(&self) -> usize {
        let must_go_on = self.is_closing || self.is_abandoned;
        if self.set == 0 && must_go_on { 1 } else { self.set }
    }
}

impl LaneQueue {
    pub(super) fn new(waiting: WaitingTasks, limit: usize) -> Self {
        LaneQueue {
            waiting,
            session: None,
            pending: 0,
            active: 0,
            items: 0,
            cleared: 0,
            limits: LaneLimits::new(limit),
        }
    }

    /// Enqueues a task.
    pub(super) fn push(&mut self, task: TaskRef, place: LanePlace) {
        match (place, &mut self.session) {
            (LanePlace::Session, Some(session)) => session.push_back(task),
            // The session has ended meanwhile.
            (LanePlace::Session | LanePlace::InOrder, _) => self.waiting.push(task, None),
            (LanePlace::Key(key), _) => self.waiting.push(task, Some(key)),
        }
    }

    /// How many tasks may begin, as far as the lane's slots are not concerned.
    pub(super) fn ready(&self) -> usize {
        self.session.as_ref().map_or_else(|| self.waiting.ready(), VecDeque::len)
    }

    /// The next task that may begin.
    pub(super) fn pop(&mut self) -> Option<TaskRef> {
        match &mut self.session {
            Some(session) => session.pop_front(),
            None => self.waiting.pop(),
        }
    }

    /// How many tasks wait, those among them that have been cancelled.
    fn len(&self) -> usize {
        self.waiting.len() + self.session.as_ref().map_or(0, VecDeque::len)
    }

    /// Whether a task may begin that needs a slot (N2), and one is free (N1).
    pub(super) fn is_slot_due(&self, limit: usize) -> bool {
        self.pending < self.ready() && self.pending + self.active < limit
    }

    /// Whether more slots are taken than there are.
    pub(super) fn is_over(&self, limit: usize) -> bool {
        self.pending + self.active > limit
    }

    /// Takes the tombstones of cancelled tasks out if most of what waits is tombstones: callers
    /// that give up during an outage must not pile up. The keys are those that are empty now.
    pub(super) fn sweep(&mut self, cancelled: u64) -> Option<(Vec<TaskRef>, GoneKeys)> {
        let tombstones = cancelled.saturating_sub(self.cleared);
        if tombstones <= FEW_TOMBSTONES || tombstones <= self.len() as u64 / 2 {
            return None;
        }
        let swept = self.clear(&|task| !task.is_queued());
        self.cleared = cancelled;
        Some((swept, self.waiting.take_gone()))
    }

    /// Takes all tombstones out if more waits than the `queued` tasks.
    pub(super) fn sweep_beyond(&mut self, queued: impl FnOnce() -> u64) -> Option<(Vec<TaskRef>, GoneKeys)> {
        let has_tombstones = self.len() > 0 && self.len() as u64 > queued();
        has_tombstones.then(|| (self.clear(&|task| !task.is_queued()), self.waiting.take_gone()))
    }

    /// Takes out the entries of which `goes` is true.
    pub(super) fn clear(&mut self, goes: &dyn Fn(&TaskRef) -> bool) -> Vec<TaskRef> {
        let mut gone = self.waiting.clear(goes);
        self.session.iter_mut().for_each(|session| take_out(session, goes, &mut gone));
        self.cleared += gone.len() as u64;
        gone
    }

    /// An entry that was taken out of the queue turned out to be a tombstone.
    pub(super) fn count_tombstone(&mut self, tombstone: TaskId) -> GoneKeys {
        self.cleared += 1;
        self.end(tombstone)
    }

    /// The closure of a task that was taken out of the queue has ended, in truth or as far as the
    /// lane is concerned.
    pub(super) fn end(&mut self, task: TaskId) -> GoneKeys {
        self.waiting.end(task);
        self.waiting.take_gone()
    }
}
