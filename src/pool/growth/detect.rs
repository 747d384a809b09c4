//! Whether a thread is asleep. That is asked of three detectors in turn, the surest first; the
//! first that knows answers.
//!
//! | detector | asks | where |
//! |---|---|---|
//! | [`ThreadState`] | the scheduler's letter for the thread | Linux with `/proc` |
//! | [`CpuClock`] | how much CPU time the thread has used since the last look | Linux |
//! | [`TimeAlone`] | nothing: a thread that is long in one task counts as blocked while a CPU is to spare | everywhere |
//!
//! The check must not be left out where it can be had: on a busy machine a thread that merely waits
//! for a CPU stays in one task for longer than a tick, and is not blocked.

use std::fmt;
use std::time::Duration;

use crate::sync::{now, thread};
use crate::sys::thread_stat::ThreadKey;
use crate::worker::LastSample;

/// For how many looks a thread must be in one task before its CPU clock counts.
pub(super) const PATIENCE: u32 = 4;
/// For how many looks a CPU must be to spare.
pub(super) const SPARE_LOOKS: u32 = 2;
/// How often [`CpuToSpare`] lets others go first. A thread that has slept has a claim to its CPU,
/// which takes that long to use up: measured on Linux 6.18, where at 32 no look missed three
/// threads that compute on two CPUs.
const YIELDS: u32 = 32;
/// Who is held up for longer when it lets others go first has let one.
const HELD_UP: Duration = Duration::from_micros(200);

/// One thread that is inside a task, as it is seen now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject {
    pub(super) key: ThreadKey,
    /// What the last look left.
    pub(super) note: LastSample,
    /// Its CPU clock.
    pub(super) cpu_time: Option<Duration>,
    /// Since the last look.
    pub(super) elapsed: Duration,
    /// For how many looks a CPU has been to spare.
    pub(super) spare: u32,
}

/// Tells whether a thread sleeps.
pub(super) trait Detector: fmt::Debug + Send {
    /// Whether the thread is asleep; `None` if this detector cannot tell.
    fn is_asleep(&self, subject: &Subject) -> Option<bool>;

    /// Whether a thread that is asleep waits for something outside the process, as far as this
    /// detector can tell.
    fn waits_outside(&self, _: ThreadKey) -> bool {
        false
    }

    /// Whether its word is more than a guess.
    fn is_certain(&self) -> bool {
        true
    }
}

/// The scheduler's own word.
#[derive(Debug)]
pub(super) struct ThreadState;

impl Detector for ThreadState {
    fn is_asleep(&self, subject: &Subject) -> Option<bool> {
        // `R` runs or waits for a CPU; `T` and `t` are stopped by a signal or a debugger, which is
        // no blocking.
        subject.key.state().map(|letter| matches!(letter, b'S' | b'D'))
    }

    fn waits_outside(&self, key: ThreadKey) -> bool {
        key.waits_outside() == Some(true)
    }
}

/// A thread that is long in one task and uses less than a quarter of a CPU sleeps.
#[derive(Debug)]
pub(super) struct CpuClock;

impl Detector for CpuClock {
    fn is_asleep(&self, subject: &Subject) -> Option<bool> {
        let used = subject.cpu_time?.saturating_sub(subject.note.cpu_time?);
        Some(subject.note.stalled >= PATIENCE && used < subject.elapsed / 4)
    }
}

/// A thread that is long in one task sleeps if a CPU is to spare: if it computed it would use that,
/// or others would be at work who do.
#[derive(Debug)]
pub(super) struct TimeAlone;

impl Detector for TimeAlone {
    fn is_asleep(&self, subject: &Subject) -> Option<bool> {
        Some(subject.note.stalled > 0 && subject.spare >= SPARE_LOOKS)
    }

    fn is_certain(&self) -> bool {
        false
    }
}

/// Notices whether a CPU is to spare, by letting others go first: where nobody wants the CPU that
/// this thread is on, that takes no time. The system wakes a thread on a CPU that is idle, if there
/// is one.
#[derive(Debug, Default)]
pub(super) struct CpuToSpare {
    looks: u32,
}

impl CpuToSpare {
    /// For how many looks in a row, this one included, a CPU has been to spare. Whoever does not
    /// `care` begins anew.
    pub(super) fn look(&mut self, care: bool) -> u32 {
        self.looks = if care && is_cpu_to_spare() { self.looks.saturating_add(1) } else { 0 };
        self.looks
    }
}

fn is_cpu_to_spare() -> bool {
    let mut last = now();
    (0..YIELDS).all(|_| {
        thread::yield_now();
        let before = std::mem::replace(&mut last, now());
        last.saturating_duration_since(before) < HELD_UP
    })
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
