//! Callbacks whose time has not come.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt;
use std::time::Instant;

use super::handle::Handle;
use super::mailbox::Event;
use super::slots::{Key, Slots};

use crate::sync::now;

/// Deadlines, the earliest first, and of the same the one that was registered first. A timer that
/// has been cancelled stays until its turn comes, or until such timers are most of the heap.
#[derive(Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(Instant, Key)>>);

impl Timers {
    pub(super) fn add(&mut self, deadline: Instant, key: Key) {
        self.0.push(Reverse((deadline, key)));
    }

    /// The next deadline.
    pub(super) fn next(&mut self, slots: &Slots) -> Option<Instant> {
        while let Some(Reverse((deadline, key))) = self.0.peek() {
            if slots.holds(*key) {
                return Some(*deadline);
            }
            self.0.pop();
        }
        None
    }

    /// Moves those whose time has come to the end of `round`.
    pub(super) fn expire(&mut self, slots: &Slots, round: &mut VecDeque<Event>) {
        if self.0.is_empty() {
            return;
        }
        let now = now();
        while self.next(slots).is_some_and(|deadline| deadline <= now) {
            round.extend(self.0.pop().map(|Reverse((_, key))| Event::Ready(key)));
        }
    }

    /// Frees the memory of cancelled timers, where it is worth while.
    pub(super) fn sweep(&mut self, slots: &Slots) {
        if self.0.len() > 2 * slots.len() + 64 {
            self.0.retain(|Reverse((_, key))| slots.holds(*key));
        }
    }

    pub(super) fn clear(&mut self) {
        self.0 = BinaryHeap::new();
    }
}

/// Stands for a callback that waits for its time: what [`Handle::after`] returns. Only its
/// [`cancel`](Timer::cancel) does anything; dropping it leaves the timer alone.
#[derive(Clone)]
pub struct Timer {
    handle: Handle,
    key: Key,
}

impl Timer {
    pub(super) fn new(handle: Handle, key: Key) -> Self {
        Timer { handle, key }
    }

    /// Drops the callback unrun, now. Once it has begun to run, or with the end of the loop, this
    /// does nothing.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sidestep::EventLoop;
    ///
    /// let mut ev = EventLoop::new();
    /// let late = ev.after(Duration::from_secs(3600), |_| println!("that took long"));
    /// ev.offload(|| 6 * 7, move |_, _| late.cancel());
    /// ev.run(); // does not wait for an hour
    /// ```
    pub fn cancel(&self) {
        self.handle.cancel_timer(self.key);
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").field("is_outstanding", &self.handle.holds(self.key)).finish()
    }
}
