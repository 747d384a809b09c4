//! Whether a thread is asleep. The sampler asks three detectors in turn, the surest first; the
//! first that knows answers.
//!
//! | detector | asks | where |
//! |---|---|---|
//! | [`ThreadState`] | the scheduler's letter for the thread | Linux with `/proc` |
//! | [`CpuClock`] | how much CPU time the thread has used since the last look | Linux |
//! | [`TimeAlone`] | nothing: a thread that is long in one task counts as blocked while a CPU is idle | everywhere |
//!
//! The check must not be left out where the system offers it: on a busy machine a thread that
//! merely waits for a CPU stays in one task for longer than a tick, and is not blocked.

use std::fmt;
use std::time::Duration;

use crate::sync::{now, thread};
use crate::sys::thread_stat::ThreadKey;
use crate::worker::LastSample;

/// For how many looks a thread must be in one task before its CPU clock counts.
pub(super) const PATIENCE: u32 = 4;
/// For how many looks a CPU must be idle.
pub(super) const SPARE_LOOKS: u32 = 2;
/// How often [`IdleCpu`] yields. A thread that has slept has a claim to its CPU, which takes that
/// many yields to use up: measured on Linux 6.18, where with 32 no look missed three threads that
/// compute on two CPUs.
const YIELDS: u32 = 32;
/// A yield that takes longer has let another thread run.
const YIELDED: Duration = Duration::from_micros(200);

/// One thread that is inside a task, as this look sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject {
    pub(super) key: ThreadKey,
    /// The thread's last sample.
    pub(super) last: LastSample,
    /// The thread's CPU clock.
    pub(super) cpu_time: Option<Duration>,
    /// The time since the last look.
    pub(super) elapsed: Duration,
    /// For how many looks a CPU has been idle.
    pub(super) spare: u32,
}

/// Detects whether a thread sleeps.
pub(super) trait Detector: fmt::Debug + Send {
    /// Whether the thread is asleep; `None` if this detector does not know.
    fn is_asleep(&self, subject: &Subject) -> Option<bool>;

    /// Whether a thread that is asleep waits for something outside the process, as far as this
    /// detector knows.
    fn waits_outside(&self, _: ThreadKey) -> bool {
        false
    }

    /// Whether its answer is more than a guess.
    fn is_certain(&self) -> bool {
        true
    }
}

/// Reads the scheduler's own state of the thread.
#[derive(Debug)]
pub(super) struct ThreadState;

impl Detector for ThreadState {
    fn is_asleep(&self, subject: &Subject) -> Option<bool> {
        // `R` runs or waits for a CPU; a signal or a debugger has stopped `T` and `t`, which is no
        // blocking.
        subject.key.state().map(|letter| matches!(letter, b'S' | b'D'))
    }

    fn waits_outside(&self, key: ThreadKey) -> bool {
        key.waits_outside() == Some(true)
    }
}

/// Takes a thread that is long in one task and uses less than a quarter of a CPU to be asleep.
#[derive(Debug)]
pub(super) struct CpuClock;

impl Detector for CpuClock {
    fn is_asleep(&self, subject: &Subject) -> Option<bool> {
        let used = subject.cpu_time?.saturating_sub(subject.last.cpu_time?);
        Some(subject.last.stalled >= PATIENCE && used < subject.elapsed / 4)
    }
}

/// Takes a thread that is long in one task to be asleep if a CPU is idle: if the thread computed it
/// would use that CPU, or other threads that compute would.
#[derive(Debug)]
pub(super) struct TimeAlone;

impl Detector for TimeAlone {
    fn is_asleep(&self, subject: &Subject) -> Option<bool> {
        Some(subject.last.stalled > 0 && subject.spare >= SPARE_LOOKS)
    }

    fn is_certain(&self) -> bool {
        false
    }
}

/// Notices whether a CPU is idle, by yielding: where no other thread wants this thread's CPU, a
/// yield takes no time. The system wakes a thread on an idle CPU, if there is one.
#[derive(Debug, Default)]
pub(super) struct IdleCpu {
    looks: u32,
}

impl IdleCpu {
    /// For how many looks in a row, this one included, a CPU has been idle. A look that does not
    /// `care` resets the count.
    pub(super) fn look(&mut self, care: bool) -> u32 {
        self.looks = if care && is_a_cpu_idle() { self.looks.saturating_add(1) } else { 0 };
        self.looks
    }
}

fn is_a_cpu_idle() -> bool {
    let mut last = now();
    (0..YIELDS).all(|_| {
        thread::yield_now();
        let before = std::mem::replace(&mut last, now());
        last.saturating_duration_since(before) < YIELDED
    })
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
