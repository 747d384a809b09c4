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
//! - **K2** It looks for [`QUEUED`] times while the task is still queued, and for [`LONGEST`] at
//!   most: about what it costs to be woken on an idle machine, and less than what a runtime expects
//!   a poll to take.
//! - **K3** After [`BUDGET`] times in vain it does not look for the next few polls, and for twice
//!   as many with each further time in vain, up to [`LONGEST_PAUSE`]. One success restores the
//!   budget. So where looks do not pay, they cost a few nanoseconds a call. (Such rules are those
//!   of Karlin, Manasse, McGeoch, Owicki, "Competitive randomized algorithms for nonuniform
//!   problems", 1990.)

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::reference::TaskRef;
use crate::sync::{now, thread_local_const};

/// So many looks at a task that is queued.
const QUEUED: u32 = 24;
const LONGEST: Duration = Duration::from_micros(10);
/// So many looks between two looks at the clock.
const BETWEEN: u32 = 16;
const BUDGET: u32 = 4;
const FIRST_PAUSE: u32 = 32;
const LONGEST_PAUSE: u32 = 1024;

thread_local_const! { static POLICY: LookPolicy = LookPolicy::new() }

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
}

/// This thread has just submitted a task: says whether a thread was searching for one.
#[inline]
pub(crate) fn expect_soon(soon: bool) {
    let _ = POLICY.try_with(|policy| policy.soon.set(soon));
}

/// Looks at `task` for a moment, if that is likely to pay. True if it has ended.
#[inline]
pub(super) fn look(task: &TaskRef) -> bool {
    if cfg!(any(sidestep_loom, sidestep_shuttle)) {
        return false;
    }
    POLICY.try_with(|policy| policy.is_willing() && policy.learn(look_now(task))).unwrap_or(false)
}

fn look_now(task: &TaskRef) -> bool {
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
        if now.saturating_duration_since(*begun.get_or_insert(now)) >= LONGEST {
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
        }
    }

    /// Whether to look now (K1, K3).
    #[inline]
    fn is_willing(&self) -> bool {
        if !self.soon.get() {
            return false;
        }
        if self.budget.get() == 0 && self.until_retry.get() > 0 {
            self.until_retry.set(self.until_retry.get() - 1);
            return false;
        }
        true
    }

    /// Takes in whether looking has paid, and returns that.
    fn learn(&self, paid: bool) -> bool {
        if paid {
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
}

#[cfg(all(test, not(any(sidestep_loom, sidestep_shuttle))))]
mod tests;
