//! What the operating system knows of a thread, by a key that stays harmless after the thread has
//! gone. Of shuttle's threads it knows nothing: they are one to it. Miri lacks these calls.

#[cfg(all(target_os = "linux", not(miri)))]
use std::{
    ffi::{CStr, OsStr},
    fmt,
    fs::File,
    io::{self, Read, Write},
    os::unix::ffi::OsStrExt,
};

use std::time::Duration;

/// How often the calling thread has gone to sleep so far: its voluntary context switches.
#[cfg(all(target_os = "linux", not(any(miri, sidestep_loom, sidestep_shuttle))))]
pub(crate) fn own_sleeps() -> Option<u64> {
    // SAFETY: all zeros is a value of this plain struct.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is valid for writing.
    let status = unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
    if status == 0 { u64::try_from(usage.ru_nvcsw).ok() } else { None }
}

/// As on Linux; this system does not say so.
#[cfg(not(all(target_os = "linux", not(any(miri, sidestep_loom, sidestep_shuttle)))))]
pub(crate) fn own_sleeps() -> Option<u64> {
    None
}

/// A thread's names in the system's books.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadKey {
    #[cfg(all(target_os = "linux", not(miri)))]
    tid: libc::pid_t,
    #[cfg(all(target_os = "linux", not(miri)))]
    clock: Option<libc::clockid_t>,
}

impl ThreadKey {
    /// The key of the calling thread.
    pub(crate) fn current() -> Self {
        ThreadKey {
            #[cfg(all(target_os = "linux", not(miri)))]
            // SAFETY: no arguments, no memory.
            tid: unsafe { libc::gettid() },
            #[cfg(all(target_os = "linux", not(miri)))]
            clock: linux_clock(),
        }
    }

    /// Whether the system has no such thread any more. `None` where it does not say so, and of
    /// shuttle's threads.
    #[cfg(all(target_os = "linux", not(miri)))]
    pub(crate) fn is_gone(self) -> Option<bool> {
        if cfg!(any(sidestep_shuttle, sidestep_loom)) {
            return None;
        }
        // SAFETY: no arguments, no memory.
        let process = unsafe { libc::getpid() };
        // SAFETY: numbers only; signal 0 is none, and only asks for the thread.
        let status = unsafe { libc::syscall(libc::SYS_tgkill, process, self.tid, 0) };
        Some(status != 0 && std::io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH))
    }

    /// As on Linux; this system does not say so.
    #[cfg(any(not(target_os = "linux"), miri))]
    #[expect(clippy::unused_self, reason = "Linux has a use for it")]
    pub(crate) fn is_gone(self) -> Option<bool> {
        None
    }

    /// The thread's scheduling state as Linux names it: `R` runs or waits for a CPU, `S` and `D`
    /// sleep.
    #[cfg(all(target_os = "linux", not(miri)))]
    pub(crate) fn state(self) -> Option<u8> {
        if cfg!(sidestep_shuttle) {
            return None;
        }
        let mut text = [0; TEXT];
        let stat = read(format_args!("/proc/self/task/{}/stat\0", self.tid), &mut text)?;
        // The name in parentheses may hold anything, parentheses included: the state follows the
        // last one.
        let name_end = stat.iter().rposition(|&byte| byte == b')')?;
        stat.get(name_end + 2).copied()
    }

    /// As on Linux; this system has no such letter.
    #[cfg(any(not(target_os = "linux"), miri))]
    pub(crate) fn state(self) -> Option<u8> {
        None
    }

    /// Whether the thread, which sleeps, waits in a system call for a timer, a peer or a child. Not
    /// so where it may wait for another thread of this process: in a futex, for a file's lock, a
    /// pipe or an event descriptor.
    #[cfg(all(target_os = "linux", not(miri)))]
    pub(crate) fn waits_outside(self) -> Option<bool> {
        if cfg!(sidestep_shuttle) {
            return None;
        }
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
        if !BY_DESCRIPTOR.contains(&number) {
            return Some(false);
        }
        let descriptor = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
        let what = follow(format_args!("/proc/self/fd/{descriptor}\0"), &mut text)?;
        Some(what.starts_with(b"socket:"))
    }

    /// As on Linux; this system does not tell.
    #[cfg(any(not(target_os = "linux"), miri))]
    pub(crate) fn waits_outside(self) -> Option<bool> {
        None
    }

    /// How long the thread has used a CPU.
    #[cfg(all(target_os = "linux", not(miri)))]
    pub(crate) fn cpu_time(self) -> Option<Duration> {
        if cfg!(sidestep_shuttle) {
            return None;
        }
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is valid for writing. The call fails for the clock of a thread that has
        // gone.
        let status = unsafe { libc::clock_gettime(self.clock?, &raw mut time) };
        if status != 0 {
            return None;
        }
        Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
    }

    /// As on Linux; here the crate knows no such clock.
    #[cfg(any(not(target_os = "linux"), miri))]
    pub(crate) fn cpu_time(self) -> Option<Duration> {
        None
    }
}

/// Longer than the text of any file that is read here.
#[cfg(all(target_os = "linux", not(miri)))]
const TEXT: usize = 512;

/// Calls `f` with `path`, which ends in a NUL. Nothing here is on the heap: the monitor asks while
/// threads fill that with what lives for an instant.
#[cfg(all(target_os = "linux", not(miri)))]
fn with_path<R>(path: fmt::Arguments<'_>, f: impl FnOnce(&CStr) -> Option<R>) -> Option<R> {
    let mut name = [0; 64];
    (&mut name[..]).write_fmt(path).ok()?;
    f(CStr::from_bytes_until_nul(&name).ok()?)
}

/// Reads the file at `path`, which ends in a NUL and has a short text, as a whole.
#[cfg(all(target_os = "linux", not(miri)))]
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
#[cfg(all(target_os = "linux", not(miri)))]
fn follow<'a>(path: fmt::Arguments<'_>, text: &'a mut [u8; TEXT]) -> Option<&'a [u8]> {
    let length = with_path(path, |path| {
        // SAFETY: the path ends in a NUL, and `text` is valid for writing its size in bytes.
        let length = unsafe { libc::readlink(path.as_ptr(), text.as_mut_ptr().cast(), TEXT) };
        usize::try_from(length).ok()
    })?;
    Some(&text[..length])
}

/// Calls in which a thread that sleeps waits for a timer, a peer or a child.
#[cfg(all(target_os = "linux", not(miri)))]
const OUTSIDE: [libc::c_long; 10] = [
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_connect,
    libc::SYS_accept4,
    libc::SYS_wait4,
    libc::SYS_waitid,
];
/// Calls in which it does if the descriptor, which is their first argument, is a socket.
#[cfg(all(target_os = "linux", not(miri)))]
const BY_DESCRIPTOR: [libc::c_long; 4] = [libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev];

#[cfg(all(target_os = "linux", not(miri)))]
fn linux_clock() -> Option<libc::clockid_t> {
    let mut clock = 0;
    // SAFETY: no arguments; the calling thread exists.
    let thread = unsafe { libc::pthread_self() };
    // SAFETY: `thread` is the calling thread and `clock` is valid for writing.
    let status = unsafe { libc::pthread_getcpuclockid(thread, &raw mut clock) };
    (status == 0).then_some(clock)
}

#[cfg(all(test, not(sidestep_loom), target_os = "linux", not(miri)))]
mod tests;
