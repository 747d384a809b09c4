//! What the operating system knows of a thread, by a key that stays harmless after the thread has
//! gone. Of the threads of model checkers it knows nothing: they are one to it; and Miri lacks the
//! calls.
//!
//! | file | owns |
//! |---|---|
//! | `linux` | Linux and Android: a state, a system call, a CPU clock that is exact |
//! | `apple` | macOS, iOS and their kin: a state, and a CPU clock that lags |
//! | `freebsd` | FreeBSD and DragonFly BSD: a CPU clock that lags |
//! | `windows` | Windows: a CPU clock that lags, and whether the thread has ended |
//! | `clock` | how a CPU clock is read, for `linux` and `freebsd` |
//! | `elsewhere` | other systems, which say nothing |
//!
//! Each file has a `ThreadKey` of the same shape. What a system does not say is `None`. A clock
//! *lags* where the system adds up the time of a running thread only now and then: such a clock may
//! stand still for as long as `ThreadKey::LAG` while the thread computes, and then jump.

use std::time::Duration;

#[cfg(all(target_vendor = "apple", not(any(miri, sidestep_loom, sidestep_shuttle))))]
mod apple;
#[cfg(all(
    any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "dragonfly"),
    not(any(miri, sidestep_loom, sidestep_shuttle))
))]
mod clock;
#[cfg(any(
    miri,
    sidestep_loom,
    sidestep_shuttle,
    not(any(
        target_os = "linux",
        target_os = "android",
        target_vendor = "apple",
        target_os = "freebsd",
        target_os = "dragonfly",
        windows
    ))
))]
mod elsewhere;
#[cfg(all(
    any(target_os = "freebsd", target_os = "dragonfly"),
    not(any(miri, sidestep_loom, sidestep_shuttle))
))]
mod freebsd;
#[cfg(all(any(target_os = "linux", target_os = "android"), not(any(miri, sidestep_loom, sidestep_shuttle))))]
mod linux;
#[cfg(all(windows, not(any(miri, sidestep_loom, sidestep_shuttle))))]
mod windows;

#[cfg(all(target_vendor = "apple", not(any(miri, sidestep_loom, sidestep_shuttle))))]
pub(crate) use self::apple::{ThreadKey, own_sleeps};
#[cfg(any(
    miri,
    sidestep_loom,
    sidestep_shuttle,
    not(any(
        target_os = "linux",
        target_os = "android",
        target_vendor = "apple",
        target_os = "freebsd",
        target_os = "dragonfly",
        windows
    ))
))]
pub(crate) use self::elsewhere::{ThreadKey, own_sleeps};
#[cfg(all(
    any(target_os = "freebsd", target_os = "dragonfly"),
    not(any(miri, sidestep_loom, sidestep_shuttle))
))]
pub(crate) use self::freebsd::{ThreadKey, own_sleeps};
#[cfg(all(
    any(target_os = "linux", target_os = "android"),
    not(any(miri, sidestep_loom, sidestep_shuttle))
))]
pub(crate) use self::linux::{ThreadKey, own_sleeps};
#[cfg(all(windows, not(any(miri, sidestep_loom, sidestep_shuttle))))]
pub(crate) use self::windows::{ThreadKey, own_sleeps};

/// What the detectors ask of a system. It does not say what it has no answer of its own to.
pub(crate) trait ThreadStat {
    /// For how long the clock of a thread that computes may stand still.
    const LAG: Duration;

    /// Whether the system has no such thread any more.
    fn is_gone(&self) -> Option<bool> {
        None
    }

    /// Whether the thread is asleep. One that is stopped, by a signal or a debugger, is not: that
    /// is no blocking.
    fn is_asleep(&self) -> Option<bool> {
        None
    }

    /// Whether the thread, which sleeps, waits for a timer, a peer or a child. Not so where it may
    /// wait for another thread of this process: for a lock, a pipe or an event.
    fn waits_outside(&self) -> Option<bool> {
        None
    }

    /// How long the thread has used a CPU.
    fn cpu_time(&self) -> Option<Duration> {
        None
    }
}

#[cfg(all(test, not(any(miri, sidestep_loom, sidestep_shuttle))))]
mod tests;
