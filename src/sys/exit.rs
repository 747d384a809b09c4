//! The exit of the process waits for what must not be lost: each such thing is an [`Unfinished`],
//! counted for the whole process, and a function that runs at the exit waits until there is none.
//!
//! The wait looks again and again, at intervals of a millisecond at most, and takes no lock. It
//! runs when the thread-local variables of its thread are gone, perhaps in the middle of a
//! destructor or of a closure of a pool, or in a forked child whose locks may be held for ever:
//! there is nothing that it could wait in vain for, but the count. Nothing can be lost between two
//! looks, since the count says at each of them what is unfinished then. What is unfinished on the
//! stack of the thread that exits, because its value has called `exit`, does not count: it would
//! never end. And the wait ends after a time that can be set.
//!
//! The process ends without that function, and so without the wait, in `abort`, in `_exit`, by a
//! signal, and on Windows in `std::process::exit`, which ends all other threads first.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::fork::{self, Generation};

/// How many there are in this process.
static UNFINISHED: AtomicUsize = AtomicUsize::new(0);
/// For how long the exit waits, in milliseconds; the greatest number stands for ever.
static TIMEOUT: AtomicU64 = AtomicU64::new(5000);
/// The pauses between two looks: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(1));

thread_local! {
    /// How many are being finished on the stack of this thread.
    static HERE: Cell<usize> = const { Cell::new(0) };
}

/// Sets how long the exit of the process waits, at most, for what files, standard streams and
/// [`Unblock`](crate::Unblock)s have accepted: 5 seconds at first. Zero makes it wait for nothing,
/// [`Duration::MAX`] for as long as it takes.
///
/// The wait begins when `main` has returned, or in [`std::process::exit`], and ends as soon as all
/// of it is written. It is as long as the timeout only where a value does not take the bytes: a
/// pipe that is full and that nothing reads, a mount that is dead. A thread that exits in the
/// middle of a write of its own does not wait for that write. In a forked child the exit waits for
/// what was accepted there. `abort`, `_exit`, and on Windows [`std::process::exit`], do not wait.
///
/// ```
/// use std::time::Duration;
///
/// sidestep::io::set_exit_timeout(Duration::from_secs(30));
/// ```
pub fn set_exit_timeout(timeout: Duration) {
    TIMEOUT.store(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// Something that the exit waits for, until this is dropped.
#[derive(Debug)]
pub(crate) struct Unfinished(Generation);

impl Unfinished {
    pub(crate) fn new() -> Self {
        fork::watch();
        register();
        // Relaxed: the exit follows what it has to wait for, by whatever orders the two.
        UNFINISHED.fetch_add(1, Ordering::Relaxed);
        Unfinished(Generation::current())
    }

    /// Finishes this by calling `f`, which may exit the process.
    pub(crate) fn finish(self, f: impl FnOnce()) {
        finish_here(f);
        drop(self);
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.0.is_past() {
            // ORDERING: Release pairs with the Acquire in `wait`: what was written is written.
            UNFINISHED.fetch_sub(1, Ordering::Release);
        }
    }
}

/// Calls `f`, in which this thread goes on with one of what is unfinished.
pub(crate) fn finish_here<R>(f: impl FnOnce() -> R) -> R {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            // In a child that `f` has forked none is left here.
            HERE.set(HERE.get().saturating_sub(1));
        }
    }
    HERE.set(HERE.get() + 1);
    let _leave = Leave;
    f()
}

/// This process is a forked child: what is unfinished is the parent's.
#[cfg(all(unix, not(miri)))]
pub(super) fn in_child() {
    UNFINISHED.store(0, Ordering::Relaxed);
    HERE.set(0);
}

/// Has the exit wait.
fn register() {
    static DONE: AtomicBool = AtomicBool::new(false);
    // The models of checkers end when they end.
    if cfg!(any(miri, sidestep_loom, sidestep_shuttle)) || DONE.load(Ordering::Relaxed) {
        return;
    }
    if !DONE.swap(true, Ordering::Relaxed) {
        #[cfg(any(unix, windows))]
        // SAFETY: `wait` may be called at any time, and does not unwind. A failure (out of memory)
        // leaves the exit without the wait.
        unsafe {
            atexit(wait)
        };
    }
}

#[cfg(unix)]
use libc::atexit;

#[cfg(windows)]
// It is so declared in the C standard, and each C runtime of the system has it.
unsafe extern "C" {
    fn atexit(function: extern "C" fn()) -> std::ffi::c_int;
}

/// Runs at the exit.
#[cfg_attr(not(any(unix, windows)), expect(dead_code, reason = "the system has no exit"))]
extern "C" fn wait() {
    let timeout = match TIMEOUT.load(Ordering::Relaxed) {
        u64::MAX => Duration::MAX,
        milliseconds => Duration::from_millis(milliseconds),
    };
    let (begun, mut pause) = (Instant::now(), PAUSES.0);
    // ORDERING: Acquire pairs with the Release in the drop of `Unfinished`.
    while UNFINISHED.load(Ordering::Acquire) > HERE.get() && begun.elapsed() < timeout {
        #[expect(clippy::disallowed_methods, reason = "here nothing else is left to wait with")]
        std::thread::sleep(pause.min(timeout.saturating_sub(begun.elapsed())));
        pause = (pause * 2).min(PAUSES.1);
    }
}
