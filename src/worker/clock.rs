//! About when a thread has begun its task, where the task carries no times: for questions that come
//! too late to have watched.
//!
//! A thread looks at the clock now and then for reasons of its own: when it wakes, when it has spun
//! with success, once in 32 tasks that it takes (`batch`), in the turns of lanes. It leaves a mark
//! then: the time, and how many tasks it had begun. So one who asks later knows that what runs now
//! began after the mark, and how many tasks before it did. If there was none, the mark is the
//! beginning. Otherwise those that have ended are taken to have lasted as long as the ones between
//! the last two marks without sleep in between, on average; the rest of the time is the running
//! task's. What hangs for seconds among tasks that last microseconds is found so to within
//! microseconds.
//!
//! The marks are hints: one thread writes them, and a reader that comes in between learns nothing.

use std::time::{Duration, Instant};

use crate::sync::atomic::{HintU64, Ordering};
use crate::sync::now;

/// When a thread has looked at the clock last.
#[derive(Debug)]
pub(super) struct ClockMark {
    /// What `at` counts from.
    base: Instant,
    /// In nanoseconds.
    at: HintU64,
    /// How many tasks the thread had begun.
    started: HintU64,
    /// How long a task has lasted lately, in nanoseconds.
    mean: HintU64,
}

impl ClockMark {
    /// The mark of a thread that begins now.
    pub(super) fn new() -> Self {
        ClockMark { base: now(), at: HintU64::new(0), started: HintU64::new(0), mean: HintU64::new(0) }
    }

    fn since_base(&self, time: Instant) -> u64 {
        u64::try_from(time.saturating_duration_since(self.base).as_nanos()).unwrap_or(u64::MAX)
    }

    /// The thread, which has begun `started` tasks and is inside none, looks at the clock after it
    /// has been asleep or without work.
    pub(super) fn wake(&self, now: Instant, started: u64) {
        self.at.store(self.since_base(now), Ordering::Relaxed);
        self.started.store(started, Ordering::Relaxed);
    }

    /// The thread looks at the clock between two tasks.
    pub(super) fn pass(&self, now: Instant, started: u64) {
        let tasks = started.saturating_sub(self.started.load(Ordering::Relaxed));
        let elapsed = self.since_base(now).saturating_sub(self.at.load(Ordering::Relaxed));
        if let Some(mean) = elapsed.checked_div(tasks) {
            self.mean.store(mean, Ordering::Relaxed);
        }
        self.wake(now, started);
    }

    /// The thread goes on with a task inside of which it has run others: nothing is known of when
    /// it began.
    pub(super) fn lose(&self) {
        self.started.store(u64::MAX, Ordering::Relaxed);
    }

    /// About when the task began that the thread is inside, the last of `started`.
    pub(super) fn estimate(&self, now: Instant, started: u64) -> Option<Instant> {
        let at = self.at.load(Ordering::Relaxed);
        let ended = started.checked_sub(self.started.load(Ordering::Relaxed))?.checked_sub(1)?;
        let before = ended.saturating_mul(self.mean.load(Ordering::Relaxed));
        if at != self.at.load(Ordering::Relaxed) {
            return None;
        }
        let began = Duration::from_nanos(at.saturating_add(before));
        Some(self.base.checked_add(began)?.min(now))
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
