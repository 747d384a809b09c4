//! For how long it pays a thread to look on before it sleeps: a pure rule, told of time and of
//! success.
//!
//! - **L1** A vigil lasts up to [`VIGIL`], which is of the order of what it costs to sleep and be
//!   woken where the CPU sleeps too: so in the worst case lingering doubles that cost (Karlin,
//!   Manasse, McGeoch, Owicki, "Competitive randomized algorithms for nonuniform problems", 1990).
//! - **L2** The worst case does not last: after [`CREDIT`] vigils in vain the thread sleeps at once
//!   [`PROBE`] times between two vigils, until one succeeds.
//! - **L3** A thread that is held up during a vigil shares its CPU with others that want it. It
//!   abstains for [`ABSTAIN`] times as long as it was held up; or, if it had not been free to
//!   linger for [`CALM`] times as long as it abstained before, for twice as long as then, up to
//!   [`LONGEST`]. So a busy machine does not feel it, and a short disturbance does not matter for
//!   long.
//! - **L4** Every [`YIELD`] looks at the clock the thread lets others go first: perhaps it holds up
//!   the very thread that it looks out for; and if that is a stranger, L3 shows it.

use std::cell::Cell;
use std::time::{Duration, Instant};

const VIGIL: Duration =
    Duration::from_micros(if cfg!(any(sidestep_loom, sidestep_shuttle)) { 0 } else { 50 });
const CREDIT: u32 = 8;
const PROBE: u32 = 32;
/// Longer than an interrupt takes, or a thread that runs for a moment between two waits; shorter
/// than a scheduler's slice.
const HELD_UP: Duration = Duration::from_micros(500);
const ABSTAIN: u32 = 8;
const CALM: u32 = 4;
const LONGEST: Duration = Duration::from_secs(1);
const YIELD: u32 = 32;

/// What a thread has learnt.
#[derive(Debug)]
pub(super) struct Patience {
    /// How many more vigils may fail in a row.
    credit: Cell<u32>,
    /// How many rests to go without a vigil, when there is no credit.
    until_probe: Cell<u32>,
    abstain_until: Cell<Option<Instant>>,
    /// For how long it abstained.
    abstained: Cell<Duration>,
}

/// What to do after a look at the clock.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Look into the queues again.
    Look,
    /// Let other threads go first, then look again.
    Yield,
    /// The vigil was in vain.
    Sleep,
}

/// One vigil.
#[derive(Debug)]
pub(super) struct Vigil<'a> {
    patience: &'a Patience,
    begun: Instant,
    last_look: Instant,
    looks: u32,
}

impl Patience {
    pub(super) fn new() -> Self {
        Patience {
            credit: Cell::new(CREDIT),
            until_probe: Cell::new(0),
            abstain_until: Cell::new(None),
            abstained: Cell::new(Duration::ZERO),
        }
    }

    /// Whether to keep a vigil now (L2, L3).
    pub(super) fn is_willing(&self, now: Instant) -> bool {
        if self.credit.get() == 0 && self.until_probe.get() > 0 {
            self.until_probe.set(self.until_probe.get() - 1);
            return false;
        }
        self.abstain_until.get().is_none_or(|time| time <= now)
    }

    pub(super) fn begin(&self, now: Instant) -> Vigil<'_> {
        Vigil { patience: self, begun: now, last_look: now, looks: 0 }
    }

    /// Has been held up for `gap` until `now` (L3).
    fn held_up(&self, gap: Duration, now: Instant) {
        let free = self.abstain_until.get().map(|end| now.saturating_duration_since(end));
        let before = self.abstained.get();
        let again = free.is_some_and(|free| free < before.saturating_mul(CALM));
        let longer = if again { 2 * before } else { Duration::ZERO };
        let length = longer.max(gap.saturating_mul(ABSTAIN)).min(LONGEST);
        self.abstained.set(length);
        self.abstain_until.set(now.checked_add(length));
    }
}

impl Vigil<'_> {
    /// Something has come by `now`. If that was while the thread was held up, it has waited for a
    /// CPU just as if it had had to wake a sleeper: no success (L3).
    pub(super) fn succeed(self, now: Instant) {
        let gap = now.saturating_duration_since(self.last_look);
        if gap >= HELD_UP {
            self.patience.held_up(gap, now);
        } else {
            self.patience.credit.set(CREDIT);
        }
    }

    /// Nothing has come until `now` (L1, L4).
    pub(super) fn go_on(&mut self, now: Instant) -> Next {
        let gap = now.saturating_duration_since(self.last_look);
        if gap >= HELD_UP {
            self.patience.held_up(gap, now);
            return Next::Sleep;
        }
        if now.saturating_duration_since(self.begun) >= VIGIL {
            self.fail();
            return Next::Sleep;
        }
        self.last_look = now;
        self.looks += 1;
        if self.looks.is_multiple_of(YIELD) { Next::Yield } else { Next::Look }
    }

    fn fail(&self) {
        let left = self.patience.credit.get().saturating_sub(1);
        self.patience.credit.set(left);
        if left == 0 {
            self.patience.until_probe.set(PROBE);
        }
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
