//! Reads the CPU clock of a thread, where a number names that.

use std::time::Duration;

/// What the CPU clock of a thread shows. `None` for that of a thread that has gone.
pub(super) fn clock_time(clock: libc::clockid_t) -> Option<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writing. The call fails for the clock of a thread that has gone,
    // and for one of another process.
    let status = unsafe { libc::clock_gettime(clock, &raw mut time) };
    if status != 0 {
        return None;
    }
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}
