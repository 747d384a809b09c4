//! What FreeBSD and DragonFly BSD know of a thread: how long it has used a CPU.
//!
//! The kernel adds up the time of a running thread when it leaves its CPU, and at each tick of the
//! clock of its statistics, which has 128 a second: between two ticks a thread that computes shows
//! no progress.

use std::time::Duration;

use super::ThreadStat;

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

    fn is_gone(&self) -> Option<bool> {
        None
    }

    fn is_asleep(&self) -> Option<bool> {
        None
    }

    fn waits_outside(&self) -> Option<bool> {
        None
    }

    fn cpu_time(&self) -> Option<Duration> {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is valid for writing. The call fails for the clock of a thread that has
        // gone, and for one of another process.
        let status = unsafe { libc::clock_gettime(self.clock?, &raw mut time) };
        if status != 0 {
            return None;
        }
        Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
    }
}
