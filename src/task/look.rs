//! How long a handle looks at its task before it makes a channel and has itself woken: a pure rule,
//! whose input is what the looks have brought.
//!
//! A thread that spins in its pool takes a task within a few hundred nanoseconds, and a short
//! closure ends as soon. A handle that is polled at once comes just too early: it would pay for a
//! channel, for going to sleep and for being woken, and where its CPU goes idle meanwhile, the last
//! costs tens of microseconds. So the handle looks at the task's word a few times first. It looks
//! in vain where the task is not taken, where the closure is long, and where the other thread gets
//! no CPU because this one has it. Hence:
//!
//! - **K1** A thread looks only if a thread of the pool was awake and searching when this one last
//!   submitted: a thread that has to be woken takes longer than looks may.
//! - **K2** It looks for [`QUEUED`] times while the task is still queued, and for as long as
//!   [`Patience`] says at most. For a poll that is little more than what it takes to submit a task:
//!   the thread may have other tasks to poll, whose calls would run beside this one. A thread that
//!   would block has nothing else to do, and looks for as long as it takes to put two CPUs to sleep
//!   and to wake them up.
//! - **K3** After [`BUDGET`] times in vain it does not look for the next few polls, and for twice
//!   as many with each further time in vain, up to [`LONGEST_PAUSE`]. One success restores the
//!   budget. So where looks do not pay, they cost a few nanoseconds a call. (Such rules are those
//!   of Karlin, Manasse, McGeoch, Owicki, "Competitive randomized algorithms for nonuniform
//!   problems", 1990.)
//! - **K4** A look that pays makes the poll ready. So an async task that awaits one short call
//!   after another would come to its end in a single poll, however many calls those are, and its
//!   thread would run nothing else meanwhile. Once such looks have gone on for [`LONGEST_RUN`],
//!   with no poll between them that had to wait, the thread looks no more until one has.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::reference::TaskRef;
use crate::sync::{now, thread_local_const};

/// So many looks at a task that is queued.
const QUEUED: u32 = 2 * BETWEEN;
/// So many looks between two looks at the clock.
const BETWEEN: u32 = 16;
const BUDGET: u32 = 4;
const FIRST_PAUSE: u32 = 32;
const LONGEST_PAUSE: u32 = 1024;
const LONGEST_RUN: Duration = Duration::from_millis(1);
/// So many looks that have paid between two looks at the clock.
const RUN_STEP: u32 = 16;

thread_local_const! { static POLICY: LookPolicy = LookPolicy::new() }

/// For how long a look may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// That of a poll, beside which the thread may have others to do.
    Poll,
    /// That of a thread that would block.
    Wait,
}

impl Patience {
    const fn time(self) -> Duration {
        Duration::from_micros(match self {
            Patience::Poll => 3,
            Patience::Wait => 60,
        })
    }
}

/// What a thread has learnt of looking.
#[derive(Debug)]
struct LookPolicy {
    /// A thread was searching when this one last submitted (K1).
    soon: Cell<bool>,
    /// How many more times in a row the thread may look in vain.
    budget: Cell<u32>,
    /// How many polls pass without a look, when there is no budget.
    until_retry: Cell<u32>,
    /// How many those were the last time.
    pause: Cell<u32>,
    /// How many looks have paid since a poll had to wait (K4).
    run: Cell<u32>,
    /// When the first of those was.
    run_begun: Cell<Option<Instant>>,
    /// They have gone on for long.
    run_is_long: Cell<bool>,
}

/// This thread has just submitted a task: says whether a thread was searching for one.
#[inline]
pub(crate) fn expect_soon(soon: bool) {
    let _ = POLICY.try_with(|policy| policy.soon.set(soon));
}

/// This thread has just left a bell: what has polled goes on with something else (K4).
#[inline]
pub(super) fn has_to_wait() {
    let _ = POLICY.try_with(LookPolicy::end_run);
}

/// Looks at `task` for a moment, if that is likely to pay. True if it has ended.
#[inline]
pub(super) fn look(task: &TaskRef, patience: Patience) -> bool {
    if cfg!(any(sidestep_loom, sidestep_shuttle)) {
        return false;
    }
    POLICY
        .try_with(|policy| policy.is_willing() && policy.learn(look_now(task, patience.time()), now))
        .unwrap_or(false)
}

fn look_now(task: &TaskRef, longest: Duration) -> bool {
    let mut begun: Option<Instant> = None;
    let mut looks = 0;
    loop {
        for _ in 0..BETWEEN {
            std::hint::spin_loop();
            if task.is_ended() {
                return true;
            }
        }
        looks += BETWEEN;
        if looks >= QUEUED && task.is_queued() {
            return false;
        }
        let now = now();
        if now.saturating_duration_since(*begun.get_or_insert(now)) >= longest {
            return false;
        }
    }
}

impl LookPolicy {
    const fn new() -> Self {
        LookPolicy {
            soon: Cell::new(false),
            budget: Cell::new(BUDGET),
            until_retry: Cell::new(0),
            pause: Cell::new(FIRST_PAUSE),
            run: Cell::new(0),
            run_begun: Cell::new(None),
            run_is_long: Cell::new(false),
        }
    }

    /// Whether to look now (K1, K3, K4).
    #[inline]
    fn is_willing(&self) -> bool {
        if !self.soon.get() || self.run_is_long.get() {
            return false;
        }
        if self.budget.get() == 0 && self.until_retry.get() > 0 {
            self.until_retry.set(self.until_retry.get() - 1);
            return false;
        }
        true
    }

    /// Takes in whether looking has paid, and returns that.
    fn learn(&self, paid: bool, clock: impl FnOnce() -> Instant) -> bool {
        if paid {
            self.count_run(clock);
            self.budget.set(BUDGET);
            self.pause.set(FIRST_PAUSE);
        } else {
            let left = self.budget.get().saturating_sub(1);
            self.budget.set(left);
            if left == 0 {
                self.until_retry.set(self.pause.get());
                self.pause.set((2 * self.pause.get()).min(LONGEST_PAUSE));
            }
        }
        paid
    }

    /// One look more has paid (K4).
    fn count_run(&self, clock: impl FnOnce() -> Instant) {
        if self.run.get().is_multiple_of(RUN_STEP) {
            let now = clock();
            let begun = self.run_begun.get().unwrap_or(now);
            self.run_begun.set(Some(begun));
            self.run_is_long.set(now.saturating_duration_since(begun) >= LONGEST_RUN);
        }
        self.run.set(self.run.get().wrapping_add(1));
    }

    /// A poll has to wait (K4).
    fn end_run(&self) {
        self.run.set(0);
        self.run_begun.set(None);
        self.run_is_long.set(false);
    }
}

#[cfg(all(test, not(any(sidestep_loom, sidestep_shuttle))))]
mod tests;
