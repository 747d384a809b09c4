//! What Linux, and Android, knows of a thread: its state letter, the system call that it is in, and
//! its CPU clock. Where the process may not read the call, as may be on Android, the thread does
//! not count as one that waits for something outside.

use std::ffi::{CStr, OsStr};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use super::ThreadStat;
use super::clock::clock_time;

/// The calling thread, for `getrusage`: `libc` does not name it for Android.
const RUSAGE_THREAD: libc::c_int = 1;

/// How often the calling thread has gone to sleep so far: its voluntary context switches.
pub(crate) fn own_sleeps() -> Option<u64> {
    // SAFETY: all zeros is a value of this plain struct.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is valid for writing.
    let status = unsafe { libc::getrusage(RUSAGE_THREAD, &raw mut usage) };
    if status == 0 { u64::try_from(usage.ru_nvcsw).ok() } else { None }
}

/// A thread's names in the system's books.
#[derive(Clone, Debug)]
pub(crate) struct ThreadKey {
    tid: libc::pid_t,
    clock: Option<libc::clockid_t>,
}

impl ThreadKey {
    /// The key of the calling thread.
    pub(crate) fn current() -> Self {
        // SAFETY: no arguments, no memory.
        let tid = unsafe { libc::gettid() };
        ThreadKey { tid, clock: own_clock() }
    }
}

impl ThreadStat for ThreadKey {
    /// The clock of a running thread is exact whenever it is read.
    const LAG: Duration = Duration::ZERO;

    fn is_gone(&self) -> Option<bool> {
        // SAFETY: no arguments, no memory.
        let process = unsafe { libc::getpid() };
        // SAFETY: numbers only; signal 0 is none, and only asks for the thread.
        let status = unsafe { libc::syscall(libc::SYS_tgkill, process, self.tid, 0) };
        Some(status != 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH))
    }

    fn is_asleep(&self) -> Option<bool> {
        let mut text = [0; TEXT];
        let stat = read(format_args!("/proc/self/task/{}/stat\0", self.tid), &mut text)?;
        // The name in parentheses may hold anything, parentheses included: the state follows the
        // last one. `R` runs or waits for a CPU, `T` and `t` are stopped.
        let name_end = stat.iter().rposition(|&byte| byte == b')')?;
        stat.get(name_end + 2).map(|letter| matches!(letter, b'S' | b'D'))
    }

    fn waits_outside(&self) -> Option<bool> {
        let mut text = [0; TEXT];
        let call = read(format_args!("/proc/self/task/{}/syscall\0", self.tid), &mut text)?;
        let call = std::str::from_utf8(call).ok()?;
        // The first word is the call's number, or `running`; the second is its first argument.
        let mut words = call.split_ascii_whitespace();
        let word = words.next()?;
        // Between two calls it is -1.
        if word.starts_with('-') {
            return Some(false);
        }
        let number = libc::c_long::try_from(word.parse::<u64>().ok()?).ok()?;
        if OUTSIDE.contains(&number) {
            return Some(true);
        }
        let argument = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
        if BY_CODE == Some(number) {
            return Some(OUTSIDE_CODES.contains(&argument));
        }
        if !BY_DESCRIPTOR.contains(&number) {
            return Some(false);
        }
        let what = follow(format_args!("/proc/self/fd/{argument}\0"), &mut text)?;
        Some(what.starts_with(b"socket:"))
    }

    fn cpu_time(&self) -> Option<Duration> {
        clock_time(self.clock?)
    }
}

/// Longer than the text of any file that is read here.
const TEXT: usize = 512;

/// Calls `f` with `path`, which ends in a NUL. Nothing here is on the heap: the monitor asks while
/// threads fill that with what lives for an instant.
fn with_path<R>(path: fmt::Arguments<'_>, f: impl FnOnce(&CStr) -> Option<R>) -> Option<R> {
    let mut name = [0; 64];
    (&mut name[..]).write_fmt(path).ok()?;
    f(CStr::from_bytes_until_nul(&name).ok()?)
}

/// Reads the file at `path`, which ends in a NUL and has a short text, as a whole.
fn read<'a>(path: fmt::Arguments<'_>, text: &'a mut [u8; TEXT]) -> Option<&'a [u8]> {
    // `std` has a path as short as that on the stack as well.
    let open = |path: &CStr| File::open(OsStr::from_bytes(path.to_bytes())).ok();
    let mut file = with_path(path, open)?;
    loop {
        match file.read(text) {
            Ok(length) => return Some(&text[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

/// Where the link at `path`, which ends in a NUL, leads to, or as much of that as there is room
/// for.
fn follow<'a>(path: fmt::Arguments<'_>, text: &'a mut [u8; TEXT]) -> Option<&'a [u8]> {
    let length = with_path(path, |path| {
        // SAFETY: the path ends in a NUL, and `text` is valid for writing its size in bytes.
        let length = unsafe { libc::readlink(path.as_ptr(), text.as_mut_ptr().cast(), TEXT) };
        usize::try_from(length).ok()
    })?;
    Some(&text[..length])
}

/// Calls in which a thread that sleeps waits for a timer, a peer or a child.
const OUTSIDE: [libc::c_long; 11] = [
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    CLOCK_NANOSLEEP_TIME64,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_connect,
    libc::SYS_accept4,
    libc::SYS_wait4,
    libc::SYS_waitid,
];
/// The sleep of a C library whose times have 64 bits, on a machine of 32: a number that all
/// architectures share, and that means nothing on one of 64.
const CLOCK_NANOSLEEP_TIME64: libc::c_long = 407;
/// The one call through which the C libraries of some architectures call all those of sockets,
const BY_CODE: Option<libc::c_long> = if cfg!(any(target_arch = "x86", target_arch = "s390x")) {
    // `libc` does not name it for all C libraries.
    Some(102)
} else {
    None
};
/// and its codes, the first argument, for `connect`, `accept`, `send`, `recv`, `sendto`,
/// `recvfrom`, `sendmsg`, `recvmsg` and `accept4`.
const OUTSIDE_CODES: [u64; 9] = [3, 5, 9, 10, 11, 12, 16, 17, 18];
/// Calls in which it does if the descriptor, which is their first argument, is a socket.
const BY_DESCRIPTOR: [libc::c_long; 4] = [libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev];

fn own_clock() -> Option<libc::clockid_t> {
    let mut clock = 0;
    // SAFETY: no arguments; the calling thread exists.
    let thread = unsafe { libc::pthread_self() };
    // SAFETY: `thread` is the calling thread and `clock` is valid for writing.
    let status = unsafe { libc::pthread_getcpuclockid(thread, &raw mut clock) };
    (status == 0).then_some(clock)
}

#[cfg(test)]
mod tests;
