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
//! - **K2** It looks for [`QUEUED`] while the task is still queued, which is more than the thread
//!   takes that searches, and for as long as [`Patience`] says at most. For a poll that is little
//!   more than what it takes to submit a task: the thread may have other tasks to poll, whose calls
//!   would run beside this one. A thread that would block has nothing else to do, and looks for as
//!   long as it takes to put two CPUs to sleep and to wake them up.
//! - **K3** After [`BUDGET`] times in vain it does not look for the next few polls, and for twice
//!   as many with each further time in vain, up to [`LONGEST_PAUSE`]. One success restores the
//!   budget. So where looks do not pay, they cost a few nanoseconds a call. (Such rules are those
//!   of Karlin, Manasse, McGeoch, Owicki, "Competitive randomized algorithms for nonuniform
//!   problems", 1990.) Long looks and short ones have a budget each.
//! - **K4** A look that pays makes the poll ready. So an async task that awaits one short call
//!   after another would come to its end in a single poll, however many calls those are, and its
//!   thread would run nothing else meanwhile. Once such looks have gone on for [`LONGEST_RUN`],
//!   with no new bell left between them, the thread looks no more until one is. (Tasks that have
//!   ended before their first poll need no look, and are not counted.)
//! - **K5** A poll is as patient as a thread that would block, once the thread has waited for
//!   [`ALONE`] bells in a row, with no second one left meanwhile, and has slept each time: so the
//!   executor had nothing else to poll. Where the thread has not slept, or a second bell is left,
//!   the count begins anew; and where it has not slept, the next [`UNOBSERVED`] bells do not count,
//!   since to ask the system costs as much as a look. K4 makes the thread leave a bell now and
//!   then, and that one is always asked about: so the thread soon finds out that something else is
//!   to be polled. Where the system does not say whether a thread has slept, no poll is so patient.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::reference::TaskRef;
use crate::sync::{now, thread_local_const};
use crate::sys::thread_stat::own_sleeps;

/// So long at a task that is queued.
const QUEUED: Duration = Duration::from_micros(2);
/// So many looks between two looks at the clock.
const BETWEEN: u32 = 16;
const BUDGET: u32 = 4;
const FIRST_PAUSE: u32 = 32;
const LONGEST_PAUSE: u32 = 1024;
const LONGEST_RUN: Duration = Duration::from_micros(200);
/// So many looks, in calls that have paid, between two looks at the clock.
const RUN_STEP: u32 = 16 * BETWEEN;
const ALONE: u32 = 4;
const UNOBSERVED: u32 = 32;

thread_local_const! { static POLICY: LookPolicy = LookPolicy::new() }

/// For how long a look may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// That of a poll, beside which the thread may have others to do.
    Poll,
    /// That of a thread that would block, or would go to sleep in its executor.
    Wait,
}

impl Patience {
    const fn time(self) -> Duration {
        Duration::from_micros(match self {
            Patience::Poll => 3,
            Patience::Wait => 60,
        })
    }

    /// This, unless it may last beyond `deadline`.
    pub(super) fn until(self, deadline: Option<Instant>) -> Option<Self> {
        let is_due = deadline.is_some_and(|deadline| deadline.saturating_duration_since(now()) < self.time());
        (!is_due).then_some(self)
    }
}

/// What looks of one length have brought (K3).
#[derive(Debug)]
struct LookBudget {
    /// How many more times in a row the thread may look in vain.
    left: Cell<u32>,
    /// How many polls pass without a look, when nothing is left.
    until_retry: Cell<u32>,
    /// How many those were the last time.
    pause: Cell<u32>,
}

/// What a thread has learnt of looking.
#[derive(Debug)]
struct LookPolicy {
    /// A thread was searching when this one last submitted (K1).
    soon: Cell<bool>,
    short: LookBudget,
    long: LookBudget,
    /// How many looks there were in polls that did not have to wait, since one had to (K4).
    run: Cell<u32>,
    /// When the first of those was.
    run_begun: Cell<Option<Instant>>,
    /// They have gone on for long.
    run_is_long: Cell<bool>,
    /// The task in whose cell a poll of this thread last left a bell, until that is heard (K5).
    last_bell: Cell<Option<usize>>,
    /// How often the thread had slept when it left that bell, if that counts.
    slept: Cell<Option<u64>>,
    /// For how many bells in a row the thread has slept, with no second one left meanwhile.
    alone: Cell<u32>,
    /// How many more bells do not count.
    unobserved: Cell<u32>,
}

/// What looks have seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Looked {
    ended: bool,
    looks: u32,
}

/// This thread has just submitted a task: says whether a thread was searching for one.
#[inline]
pub(crate) fn expect_soon(soon: bool) {
    let _ = POLICY.try_with(|policy| policy.soon.set(soon));
}

/// A poll on this thread has just left a bell: what has polled goes on with something else.
#[inline]
pub(super) fn left_bell(task: &TaskRef) {
    let _ = POLICY.try_with(|policy| policy.left_bell(task.address(), own_sleeps));
}

/// A poll on this thread has taken the result of a task whose bell has rung.
#[inline]
pub(super) fn heard_bell(task: &TaskRef) {
    let _ = POLICY.try_with(|policy| policy.heard_bell(task.address(), own_sleeps));
}

/// Looks at `task` for a moment, if that is likely to pay. True if it has ended.
#[inline]
pub(super) fn look(task: &TaskRef, patience: Patience) -> bool {
    if cfg!(any(sidestep_loom, sidestep_shuttle)) {
        return false;
    }
    POLICY
        .try_with(|policy| {
            let Some(chosen) = policy.choose(patience) else { return false };
            policy.learn(patience, chosen, look_now(task, chosen.time()), now)
        })
        .unwrap_or(false)
}

fn look_now(task: &TaskRef, longest: Duration) -> Looked {
    let mut begun: Option<Instant> = None;
    let mut looks = 0;
    loop {
        for _ in 0..BETWEEN {
            std::hint::spin_loop();
            looks += 1;
            if task.is_ended() {
                return Looked { ended: true, looks };
            }
        }
        let now = now();
        let looked = now.saturating_duration_since(*begun.get_or_insert(now));
        if looked >= longest || (looked >= QUEUED && task.is_queued()) {
            return Looked { ended: false, looks };
        }
    }
}

impl LookBudget {
    const fn new() -> Self {
        LookBudget { left: Cell::new(BUDGET), until_retry: Cell::new(0), pause: Cell::new(FIRST_PAUSE) }
    }

    #[inline]
    fn is_willing(&self) -> bool {
        if self.left.get() == 0 && self.until_retry.get() > 0 {
            self.until_retry.set(self.until_retry.get() - 1);
            return false;
        }
        true
    }

    #[inline]
    fn paid(&self) {
        self.left.set(BUDGET);
        self.pause.set(FIRST_PAUSE);
    }

    fn in_vain(&self) {
        let left = self.left.get().saturating_sub(1);
        self.left.set(left);
        if left == 0 {
            self.until_retry.set(self.pause.get());
            self.pause.set((2 * self.pause.get()).min(LONGEST_PAUSE));
        }
    }
}

impl LookPolicy {
    const fn new() -> Self {
        LookPolicy {
            soon: Cell::new(false),
            short: LookBudget::new(),
            long: LookBudget::new(),
            run: Cell::new(0),
            run_begun: Cell::new(None),
            run_is_long: Cell::new(false),
            last_bell: Cell::new(None),
            slept: Cell::new(None),
            alone: Cell::new(0),
            unobserved: Cell::new(0),
        }
    }

    /// How to look now, if at all (K1, K3 to K5).
    #[inline]
    fn choose(&self, patience: Patience) -> Option<Patience> {
        if !self.soon.get() {
            return None;
        }
        let is_long = match patience {
            Patience::Wait => true,
            Patience::Poll if self.run_is_long.get() => return None,
            Patience::Poll => self.alone.get() >= ALONE,
        };
        if is_long && self.long.is_willing() {
            return Some(Patience::Wait);
        }
        (patience == Patience::Poll && self.short.is_willing()).then_some(Patience::Poll)
    }

    /// Takes in what looks of the chosen length have seen, and returns whether they have paid.
    fn learn(
        &self,
        patience: Patience,
        chosen: Patience,
        seen: Looked,
        clock: impl FnOnce() -> Instant,
    ) -> bool {
        let budget = match chosen {
            Patience::Poll => &self.short,
            Patience::Wait => &self.long,
        };
        if !seen.ended {
            budget.in_vain();
            return false;
        }
        budget.paid();
        if patience == Patience::Poll {
            self.count_run(seen.looks, clock);
        }
        true
    }

    /// One call more has paid (K4).
    fn count_run(&self, looks: u32, clock: impl FnOnce() -> Instant) {
        let before = self.run.get();
        let run = before.wrapping_add(looks.max(BETWEEN));
        if before / RUN_STEP != run / RUN_STEP || self.run_begun.get().is_none() {
            let now = clock();
            let begun = self.run_begun.get().unwrap_or(now);
            self.run_begun.set(Some(begun));
            self.run_is_long.set(now.saturating_duration_since(begun) >= LONGEST_RUN);
        }
        self.run.set(run);
    }

    /// A poll has to wait (K4, K5). `sleeps` asks how often the thread has slept.
    fn left_bell(&self, task: usize, sleeps: impl FnOnce() -> Option<u64>) {
        self.run.set(0);
        self.run_begun.set(None);
        let had_to_leave_one = self.run_is_long.replace(false);
        let mut slept = None;
        if self.last_bell.replace(Some(task)).is_some() {
            self.alone.set(0);
        } else if had_to_leave_one || self.counts() {
            slept = sleeps();
        }
        self.slept.set(slept);
    }

    /// Whether a bell counts that the thread was free to leave or not.
    fn counts(&self) -> bool {
        let left = self.unobserved.get();
        self.unobserved.set(left.saturating_sub(1));
        left == 0 && self.alone.get() < ALONE
    }

    /// The task has ended (K5).
    fn heard_bell(&self, task: usize, sleeps: impl FnOnce() -> Option<u64>) {
        if self.last_bell.get() != Some(task) {
            self.alone.set(0);
            return;
        }
        self.last_bell.set(None);
        let Some(before) = self.slept.take() else { return };
        if sleeps().is_some_and(|now| now != before) {
            self.alone.set(self.alone.get().saturating_add(1));
        } else {
            self.alone.set(0);
            self.unobserved.set(UNOBSERVED);
        }
    }
}

#[cfg(all(test, not(any(sidestep_loom, sidestep_shuttle))))]
mod tests;
