//! Whether a thread is asleep. The sampler asks three detectors in turn, the surest first; the
//! first that knows answers.
//!
//! | detector | asks | where |
//! |---|---|---|
//! | [`ThreadState`] | the scheduler's state of the thread | Linux with `/proc`, macOS |
//! | [`CpuClock`] | how much CPU time the thread has used since the last look | Linux |
//! | [`LaggingClock`] | how much it has used over a longer time | macOS, FreeBSD, Windows |
//! | [`TimeAlone`] | nothing: a thread that is long in one task counts as blocked while a CPU is idle | everywhere |
//!
//! The check must not be left out where the system offers it: on a busy machine a thread that
//! merely waits for a CPU stays in one task for longer than a tick, and is not blocked.

use std::fmt;
use std::time::Duration;

use crate::sync::{now, thread};
use crate::sys::thread_stat::{ThreadKey, ThreadStat};
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
pub(super) struct Subject<'a> {
    pub(super) key: &'a ThreadKey,
    /// The thread's last sample.
    pub(super) last: LastSample,
    /// The thread's CPU clock.
    pub(super) cpu_time: Option<Duration>,
    /// The time since the last look.
    pub(super) elapsed: Duration,
    /// For how many looks a CPU has been idle.
    pub(super) spare: u32,
}

/// What the answer of a detector is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Certainty {
    Fact,
    /// A fact if all threads that are long in one task seem to sleep, and no other runs.
    IfAllSleep,
    Guess,
}

/// Detects whether a thread sleeps.
pub(super) trait Detector: fmt::Debug + Send {
    /// Whether the thread is asleep; `None` if this detector does not know.
    fn is_asleep(&self, subject: &Subject<'_>) -> Option<bool>;

    /// Whether a thread that is asleep waits for something outside the process, as far as this
    /// detector knows.
    fn waits_outside(&self, _: &ThreadKey) -> bool {
        false
    }

    /// What its answer is worth.
    fn certainty(&self, _: &Subject<'_>) -> Certainty {
        Certainty::Fact
    }
}

/// Reads the scheduler's own state of the thread.
#[derive(Debug)]
pub(super) struct ThreadState;

impl Detector for ThreadState {
    fn is_asleep(&self, subject: &Subject<'_>) -> Option<bool> {
        subject.key.is_asleep()
    }

    fn waits_outside(&self, key: &ThreadKey) -> bool {
        key.waits_outside() == Some(true)
    }
}

/// Takes a thread that is long in one task and uses less than a quarter of a CPU to be asleep.
#[derive(Debug)]
pub(super) struct CpuClock;

impl Detector for CpuClock {
    fn is_asleep(&self, subject: &Subject<'_>) -> Option<bool> {
        let used = subject.cpu_time?.saturating_sub(subject.last.cpu_time?);
        Some(subject.last.stalled >= PATIENCE && used < subject.elapsed / 4)
    }
}

/// As [`CpuClock`], of a clock that stands still for a while though the thread computes: it must be
/// watched for longer. A thread that computes but gets no CPU meanwhile looks like one that sleeps,
/// so that answer is certain only while a CPU is idle.
#[derive(Debug)]
pub(super) struct LaggingClock;

impl Detector for LaggingClock {
    fn is_asleep(&self, subject: &Subject<'_>) -> Option<bool> {
        subject.cpu_time?;
        subject.last.window.is_asleep()
    }

    fn certainty(&self, subject: &Subject<'_>) -> Certainty {
        let is_awake = subject.last.window.is_asleep() == Some(false);
        if is_awake || subject.spare > 0 { Certainty::Fact } else { Certainty::IfAllSleep }
    }
}

/// Takes a thread that is long in one task to be asleep if a CPU is idle: if the thread computed it
/// would use that CPU, or other threads that compute would.
#[derive(Debug)]
pub(super) struct TimeAlone;

impl Detector for TimeAlone {
    fn is_asleep(&self, subject: &Subject<'_>) -> Option<bool> {
        Some(subject.last.stalled > 0 && subject.spare >= SPARE_LOOKS)
    }

    fn certainty(&self, _: &Subject<'_>) -> Certainty {
        Certainty::Guess
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
