//! How many tasks a thread takes from the injector at once: a pure rule, whose input is the time.
//!
//! To take one costs two locked instructions on lines that all threads of the pool and all
//! submitters write to. To take several costs no more. But those wait behind the first: for another
//! thread that finds nothing else and steals them, or for the monitor, which moves them back to the
//! injector once the thread has been in one task from one of its looks to the next. So:
//!
//! - **B1** A thread takes as many as would last [`SHARE`] altogether, if they were as long as
//!   those that it has run last, and [`MOST`] at most. The share is below the time between two
//!   looks of the monitor: where tasks are as they were, the last of a batch waits for less than
//!   that; where one of them blocks, the others wait for two looks.
//! - **B2** A thread looks at the clock once in [`MOST`] tasks. The time between two looks includes
//!   whatever the thread has waited for: so a thread that had time to sleep takes one at a time,
//!   and needs no more.
//! - **B3** A thread that the monitor has found in one task for long takes one at a time until it
//!   has looked at the clock again.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// For how long the tasks of a batch may last.
const SHARE: Duration = Duration::from_micros(200);
/// How many tasks there are in a batch at most, and between two looks at the clock.
const MOST: u32 = 32;
/// How many a new thread takes.
#[cfg(not(sidestep_loom))]
const fn first() -> u32 {
    1
}

/// How many a new thread takes: as the model says.
#[cfg(sidestep_loom)]
fn first() -> u32 {
    use crate::sync::atomic::Ordering;
    u32::try_from(MODEL_SIZE.load(Ordering::Relaxed)).unwrap_or(MOST)
}

/// How many tasks the threads of a model take at once.
#[cfg(sidestep_loom)]
pub(super) static MODEL_SIZE: crate::sync::atomic::StaticU64 = crate::sync::atomic::StaticU64::new(1);

/// What a thread has learnt of its tasks.
#[derive(Debug)]
pub(super) struct BatchPolicy {
    size: Cell<u32>,
    /// After so many tasks the thread looks at the clock.
    until_look: Cell<u32>,
    /// When it has looked last.
    looked: Cell<Option<Instant>>,
}

impl BatchPolicy {
    pub(super) fn new() -> Self {
        BatchPolicy { size: Cell::new(first()), until_look: Cell::new(MOST), looked: Cell::new(None) }
    }

    /// How many tasks the thread may take, which takes at least one.
    #[inline]
    pub(super) fn size(&self, clock: impl FnOnce() -> Instant) -> usize {
        let until_look = self.until_look.get() - 1;
        self.until_look.set(until_look);
        if until_look == 0 {
            self.look(clock());
        }
        self.size.get() as usize
    }

    /// The thread has been in one task for long (B3).
    pub(super) fn stalled(&self) {
        self.size.set(1);
    }

    /// The thread has taken [`MOST`] tasks since it looked last (B1, B2).
    #[cold]
    fn look(&self, now: Instant) {
        self.until_look.set(MOST);
        if let Some(before) = self.looked.replace(Some(now)) {
            let elapsed = now.saturating_duration_since(before);
            let count = (SHARE * MOST).as_nanos() / elapsed.as_nanos().max(1);
            self.size.set(u32::try_from(count).unwrap_or(MOST).clamp(1, MOST));
        }
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
