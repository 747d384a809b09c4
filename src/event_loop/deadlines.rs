//! The deadlines of the timers.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::slots::{Key, Slots};
use crate::sync::now;

/// Deadlines, the earliest first, and of equal ones the first that was registered. The deadline
/// of a cancelled timer stays until it is the earliest, or until such deadlines are most of the
/// heap.
#[derive(Default)]
pub(super) struct DeadlineHeap(BinaryHeap<Reverse<(Instant, Key)>>);

impl DeadlineHeap {
    pub(super) fn add(&mut self, deadline: Instant, key: Key) {
        self.0.push(Reverse((deadline, key)));
    }

    /// The next deadline.
    pub(super) fn next<E>(&mut self, slots: &Slots<E>) -> Option<Instant> {
        while let Some(Reverse((deadline, key))) = self.0.peek() {
            if slots.holds(*key) {
                return Some(*deadline);
            }
            self.0.pop();
        }
        None
    }

    /// Removes the deadlines that have come, and calls `due` with the key of each.
    pub(super) fn expire<E>(&mut self, slots: &Slots<E>, mut due: impl FnMut(Key)) {
        if self.0.is_empty() {
            return;
        }
        let now = now();
        while self.next(slots).is_some_and(|deadline| deadline <= now) {
            self.0.pop().into_iter().for_each(|Reverse((_, key))| due(key));
        }
    }

    /// Frees the memory of cancelled timers, if they are most of the heap.
    pub(super) fn sweep<E>(&mut self, slots: &Slots<E>) {
        if self.0.len() > 2 * slots.len() + 64 {
            self.0.retain(|Reverse((_, key))| slots.holds(*key));
        }
    }

    pub(super) fn clear(&mut self) {
        self.0 = BinaryHeap::new();
    }
}
