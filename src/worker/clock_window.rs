//! What the readings of a CPU clock that lags show of a thread: whether it sleeps.
//!
//! Such a clock stands still for up to its lag while the thread computes, and then jumps. So two
//! readings show nothing until at least two lags lie between them: a thread that has computed all
//! the time has used at least half of that time by then as far as the clock shows. A *window* is
//! such a stretch; when one is over the next begins. A thread is asleep that has used next to
//! nothing of it, less than a 32nd: a greater part may be the share of one that computes and has to
//! share its CPU with others. It counts as awake before the end of its window as soon as it has
//! used more than that may be. A clock that has gone back shows nothing: the window begins anew.

use std::time::Duration;

/// A thread that sleeps uses less of a CPU than this part.
const SLEEPS: u32 = 32;

/// The readings of a thread's CPU clock in one task.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClockWindow {
    /// What the clock showed when the window began, and how long ago that is.
    begun: Option<Duration>,
    length: Duration,
    asleep: Option<bool>,
}

impl ClockWindow {
    /// Time passes with the thread in the same task.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.length = self.length.saturating_add(time);
    }

    /// Takes in a reading of a clock that may lag by `lag`.
    pub(crate) fn read(&mut self, used: Duration, lag: Duration) {
        let Some(used_here) = self.begun.and_then(|before| used.checked_sub(before)) else {
            (self.begun, self.length) = (Some(used), Duration::ZERO);
            return;
        };
        if self.length >= 2 * lag {
            let asleep = Some(used_here < self.length / SLEEPS);
            *self = ClockWindow { begun: Some(used), length: Duration::ZERO, asleep };
        } else if used_here >= lag / 2 {
            self.asleep = Some(false);
        }
    }

    /// Whether the thread sleeps; `None` until a window has shown that.
    pub(crate) fn is_asleep(self) -> Option<bool> {
        self.asleep
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
