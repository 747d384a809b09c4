//! How long tasks have waited, derived from counts.
//!
//! A task carries no time of its own: to read the clock would cost each task more than the queue
//! does. But queues are first-in first-out, nearly. So an observer that remembers how many tasks
//! had been submitted at one time, and later finds that fewer have been taken, knows that the
//! oldest has waited since then at least. Such a *mark* stays until that many tasks have been
//! taken; then the next look sets a new one. Only threads that take tasks move a queue: while none
//! does, a new mark is as old as the one before, even if tasks are cancelled meanwhile.

use std::time::Duration;

use super::sample::Queued;
use crate::numbers::NumberMap;

/// How long the oldest task of the pool's own queues and the pending slots of lanes have waited.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    own: Option<Mark>,
    lanes: NumberMap<Mark>,
}

/// The counts at one look, and how long ago that look was.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// Tasks that had been submitted; 0 for a lane.
    submitted: u64,
    /// Tasks that had begun.
    begun: u64,
    age: Duration,
}

/// One look at a lane that has slots pending.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingLane {
    /// What identifies the lane.
    pub(super) id: usize,
    /// Tasks of the lane that have begun.
    pub(super) started: u64,
    /// Whether the lane's tasks occupy as many threads as the pool has core threads: then its
    /// waiting tasks are of that kind too.
    pub(super) occupied: bool,
}

impl Mark {
    /// The mark of a look `elapsed` later.
    fn later(self, elapsed: Duration) -> Self {
        Mark { age: self.age.saturating_add(elapsed), ..self }
    }
}

impl Waiting {
    /// Takes in a look at the pool's own queues, `elapsed` after the last. Returns how long the
    /// oldest task has waited at least; `None` if no task waits.
    pub(super) fn look_at_own(&mut self, queued: &Queued, elapsed: Duration) -> Option<Duration> {
        let Queued { submitted, begun, cancelled, .. } = *queued;
        let before = self.own.take().map(|mark| mark.later(elapsed));
        self.own = match before {
            _ if queued.own() == 0 => None,
            Some(mark) if begun + cancelled < mark.submitted => Some(mark),
            Some(mark) if begun == mark.begun => Some(Mark { submitted, ..mark }),
            _ => Some(Mark { submitted, begun, age: Duration::ZERO }),
        };
        self.own.map(|mark| mark.age)
    }

    /// Takes in a look at the lanes with pending slots. Returns the longest time in which none of
    /// the tasks of one such lane has begun.
    pub(super) fn look_at_lanes(
        &mut self,
        pending: impl Iterator<Item = PendingLane>,
        elapsed: Duration,
    ) -> Option<Duration> {
        let before = std::mem::take(&mut self.lanes);
        for PendingLane { id, started, .. } in pending.filter(|lane| !lane.occupied) {
            let mark = match before.get(id as u64) {
                Some(mark) if mark.begun == started => mark.later(elapsed),
                _ => Mark { submitted: 0, begun: started, age: Duration::ZERO },
            };
            self.lanes.insert(id as u64, mark);
        }
        self.lanes.values().map(|mark| mark.age).max()
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
