//! What FreeBSD and DragonFly BSD know of a thread: how long it has used a CPU.
//!
//! The kernel adds up the time of a running thread when it leaves its CPU, and at each tick of the
//! clock of its statistics, which has 128 a second: between two ticks a thread that computes shows
//! no progress.

use std::time::Duration;

use super::ThreadStat;
use super::clock::clock_time;

/// The count of this system is not asked for: no rule of the crate depends on it.
pub(crate) fn own_sleeps() -> Option<u64> {
    None
}

/// A thread's CPU clock.
#[derive(Clone, Debug)]
pub(crate) struct ThreadKey {
    clock: Option<libc::clockid_t>,
}

impl ThreadKey {
    /// The key of the calling thread.
    pub(crate) fn current() -> Self {
        let mut clock = 0;
        // SAFETY: no arguments; the calling thread exists.
        let thread = unsafe { libc::pthread_self() };
        // SAFETY: `thread` is the calling thread and `clock` is valid for writing.
        let status = unsafe { libc::pthread_getcpuclockid(thread, &raw mut clock) };
        ThreadKey { clock: (status == 0).then_some(clock) }
    }
}

impl ThreadStat for ThreadKey {
    const LAG: Duration = Duration::from_millis(8);

    fn cpu_time(&self) -> Option<Duration> {
        clock_time(self.clock?)
    }
}
