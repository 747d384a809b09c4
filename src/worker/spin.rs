//! For how long it pays a thread to spin before it sleeps: a pure rule, whose input is the time and
//! whether a phase of spinning has found something.
//!
//! - **L1** A spin phase lasts up to [`SPIN_TIME`], which is of the order of what it costs to sleep
//!   and wake up where the CPU sleeps too: so in the worst case spinning doubles that cost (Karlin,
//!   Manasse, McGeoch, Owicki, "Competitive randomized algorithms for nonuniform problems", 1990).
//! - **L2** The worst case does not last: after [`BUDGET`] phases in vain the thread sleeps at once
//!   [`RETRY`] times between two phases, until one succeeds.
//! - **L3** A thread that is preempted during a phase shares its CPU with others that want it. The
//!   thread backs off for [`BACKOFF`] times as long as it was preempted; or, if it had not been
//!   free to spin for [`QUIET`] times as long as it backed off before, for twice as long as then,
//!   up to [`LONGEST_BACKOFF`]. So a busy machine does not feel the spinning, and a short
//!   disturbance does not matter for long.
//! - **L4** Every [`YIELD`] looks at the clock the thread lets others go first: perhaps it holds up
//!   the very thread that would submit; and if it holds up any other thread, L3 shows that.

use std::cell::Cell;
use std::time::{Duration, Instant};

const SPIN_TIME: Duration =
    Duration::from_micros(if cfg!(any(sidestep_loom, sidestep_shuttle)) { 0 } else { 50 });
const BUDGET: u32 = 8;
const RETRY: u32 = 32;
/// Longer than an interrupt takes, or a thread that runs for a moment between two waits; shorter
/// than a scheduler's slice.
const PREEMPTED: Duration = Duration::from_micros(500);
const BACKOFF: u32 = 8;
const QUIET: u32 = 4;
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);
const YIELD: u32 = 32;

/// What a thread has learnt.
#[derive(Debug)]
pub(super) struct SpinPolicy {
    /// How many more phases may fail in a row.
    budget: Cell<u32>,
    /// How many times the thread still sleeps at once, when there is no budget.
    until_retry: Cell<u32>,
    back_off_until: Cell<Option<Instant>>,
    /// How long the last time of backing off was.
    backed_off: Cell<Duration>,
}

/// What to do after a look at the clock.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SpinNext {
    /// Look into the queues again.
    Look,
    /// Let other threads go first, then look again.
    Yield,
    /// The phase was in vain.
    Sleep,
}

/// One phase of spinning.
#[derive(Debug)]
pub(super) struct SpinPhase<'a> {
    policy: &'a SpinPolicy,
    begun: Instant,
    last_look: Instant,
    looks: u32,
}

impl SpinPolicy {
    pub(super) fn new() -> Self {
        SpinPolicy {
            budget: Cell::new(BUDGET),
            until_retry: Cell::new(0),
            back_off_until: Cell::new(None),
            backed_off: Cell::new(Duration::ZERO),
        }
    }

    /// Whether to begin a phase now (L2, L3).
    pub(super) fn is_willing(&self, now: Instant) -> bool {
        if self.budget.get() == 0 && self.until_retry.get() > 0 {
            self.until_retry.set(self.until_retry.get() - 1);
            return false;
        }
        self.back_off_until.get().is_none_or(|time| time <= now)
    }

    pub(super) fn begin(&self, now: Instant) -> SpinPhase<'_> {
        SpinPhase { policy: self, begun: now, last_look: now, looks: 0 }
    }

    /// The thread has been preempted for `gap` until `now` (L3).
    fn preempted(&self, gap: Duration, now: Instant) {
        let free = self.back_off_until.get().map(|end| now.saturating_duration_since(end));
        let before = self.backed_off.get();
        let again = free.is_some_and(|free| free < before.saturating_mul(QUIET));
        let longer = if again { 2 * before } else { Duration::ZERO };
        let length = longer.max(gap.saturating_mul(BACKOFF)).min(LONGEST_BACKOFF);
        self.backed_off.set(length);
        self.back_off_until.set(now.checked_add(length));
    }
}

impl SpinPhase<'_> {
    /// Something has come by `now`. If it came while the thread was preempted, it has waited for a
    /// CPU just as if its submitter had had to wake a sleeper: no success (L3).
    pub(super) fn succeed(self, now: Instant) {
        let gap = now.saturating_duration_since(self.last_look);
        if gap >= PREEMPTED {
            self.policy.preempted(gap, now);
        } else {
            self.policy.budget.set(BUDGET);
        }
    }

    /// Nothing has come until `now` (L1, L4).
    pub(super) fn go_on(&mut self, now: Instant) -> SpinNext {
        let gap = now.saturating_duration_since(self.last_look);
        if gap >= PREEMPTED {
            self.policy.preempted(gap, now);
            return SpinNext::Sleep;
        }
        if now.saturating_duration_since(self.begun) >= SPIN_TIME {
            self.fail();
            return SpinNext::Sleep;
        }
        self.last_look = now;
        self.looks += 1;
        if self.looks % YIELD == 0 { SpinNext::Yield } else { SpinNext::Look }
    }

    fn fail(&self) {
        let left = self.policy.budget.get().saturating_sub(1);
        self.policy.budget.set(left);
        if left == 0 {
            self.policy.until_retry.set(RETRY);
        }
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
