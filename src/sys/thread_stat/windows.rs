//! What Windows knows of a thread: how long it has used a CPU, and whether it has ended.
//!
//! A key holds a handle of the thread. So the thread's number, which the system uses again, plays
//! no part, and no other process is asked about: the handle stays that of this thread, which has
//! ended or not. It costs the process a handle and the system a small object until the key is
//! dropped.
//!
//! # Two clocks
//!
//! `QueryThreadCycleTime` counts the cycles of the CPU that the thread has used. It counts whole
//! stretches: a thread that wakes for an instant, a hundred times a second, shows how little that
//! is. How many cycles a second has is measured once for the process, by a thread that computes for
//! some microseconds. Where the counter follows the frequency of its CPU, or the CPUs differ, a
//! thread that computes may seem to use a part of a CPU alone, or one that sleeps more than it
//! does. The detector can do with a factor of ten: a thread sleeps for it that uses less than a
//! 32nd, as `worker::clock_window` says.
//!
//! Where the call fails, or counts nothing (as some layers that run programs for Windows on other
//! systems do), it is `GetThreadTimes`, which counts in whole ticks of the system's clock: a thread
//! that runs when the clock ticks has used the tick.
//!
//! Both lag by a tick of that clock, 15.625 ms where no program has asked for a finer one: the
//! second by definition, and the first since the system need not add up the cycles of a thread that
//! runs on another CPU before that thread is interrupted there.

use std::os::windows::io::{AsRawHandle, BorrowedHandle, OwnedHandle};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{FILETIME, WAIT_OBJECT_0, WAIT_TIMEOUT};
use windows_sys::Win32::System::Threading::{GetCurrentThread, GetThreadTimes, WaitForSingleObject};
use windows_sys::Win32::System::WindowsProgramming::QueryThreadCycleTime;

use super::ThreadStat;

/// How often, and for how long, the process measures how many cycles a second has.
const TRIES: usize = 8;
const TRY: Duration = Duration::from_micros(50);

/// This system has no such count of a single thread.
pub(crate) fn own_sleeps() -> Option<u64> {
    None
}

/// A thread's handle. Without one, which the system may refuse, nothing is known of the thread.
#[derive(Clone, Debug)]
pub(crate) struct ThreadKey {
    handle: Option<Arc<OwnedHandle>>,
}

impl ThreadKey {
    /// The key of the calling thread.
    pub(crate) fn current() -> Self {
        ThreadKey { handle: this_thread().try_clone_to_owned().ok().map(Arc::new) }
    }
}

impl ThreadStat for ThreadKey {
    const LAG: Duration = Duration::from_micros(15_625);

    fn is_gone(&self) -> Option<bool> {
        let handle = self.handle.as_ref()?.as_raw_handle();
        // SAFETY: the handle is open, and has all rights. The call does not wait.
        match unsafe { WaitForSingleObject(handle, 0) } {
            WAIT_OBJECT_0 => Some(true),
            WAIT_TIMEOUT => Some(false),
            _ => None,
        }
    }

    fn cpu_time(&self) -> Option<Duration> {
        let handle = self.handle.as_ref()?;
        if self.is_gone() != Some(false) {
            return None;
        }
        let handle = std::os::windows::io::AsHandle::as_handle(&**handle);
        match cycles_per_second() {
            Some(rate) => Some(Duration::from_secs_f64(cycles(handle)? as f64 / rate)),
            None => ticks(handle),
        }
    }
}

/// The calling thread, by a handle that means each thread to itself.
fn this_thread() -> BorrowedHandle<'static> {
    // SAFETY: no arguments.
    let handle = unsafe { GetCurrentThread() };
    // SAFETY: the handle is a constant that is always valid.
    unsafe { BorrowedHandle::borrow_raw(handle) }
}

/// How many cycles the thread has used.
fn cycles(thread: BorrowedHandle<'_>) -> Option<u64> {
    let mut cycles = 0;
    // SAFETY: the handle is open, and `cycles` is valid for writing.
    let done = unsafe { QueryThreadCycleTime(thread.as_raw_handle(), &raw mut cycles) };
    (done != 0).then_some(cycles)
}

/// How long the thread has used a CPU, in whole ticks.
fn ticks(thread: BorrowedHandle<'_>) -> Option<Duration> {
    let zero = FILETIME { dwLowDateTime: 0, dwHighDateTime: 0 };
    let (mut created, mut ended, mut kernel, mut user) = (zero, zero, zero, zero);
    // SAFETY: the handle is open, and the four times are valid for writing.
    let done = unsafe {
        GetThreadTimes(
            thread.as_raw_handle(),
            &raw mut created,
            &raw mut ended,
            &raw mut kernel,
            &raw mut user,
        )
    };
    (done != 0).then(|| time(kernel) + time(user))
}

/// A time in units of 100 ns.
fn time(file_time: FILETIME) -> Duration {
    let units = u64::from(file_time.dwHighDateTime) << 32 | u64::from(file_time.dwLowDateTime);
    Duration::from_nanos(units.saturating_mul(100))
}

/// How many cycles a thread uses that computes for a second; `None` if the system does not count
/// them.
fn cycles_per_second() -> Option<f64> {
    static RATE: OnceLock<Option<f64>> = OnceLock::new();
    // A try in which the thread loses its CPU finds fewer.
    let measure = || (0..TRIES).filter_map(|_| try_cycles_per_second()).reduce(f64::max);
    *RATE.get_or_init(measure)
}

fn try_cycles_per_second() -> Option<f64> {
    let (before, begun) = (cycles(this_thread())?, Instant::now());
    while begun.elapsed() < TRY {
        std::hint::spin_loop();
    }
    let used = cycles(this_thread())?.saturating_sub(before);
    (used > 0).then(|| used as f64 / begun.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests;
