//! The signal that a write raises on the calling thread.

use std::io;

/// Makes a write that raises no `SIGPIPE`: that a pipe has no reader is an error, and not the end
/// of the process, even where the signal has its default action. A program that has a handler for
/// it gets the signal.
pub(crate) fn without_sigpipe<R>(write: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
    let _blocked = Blocked::new();
    write()
}

/// `SIGPIPE`, if it would end the process, is blocked on this thread until this is dropped, and
/// taken away if it has been raised meanwhile.
struct Blocked {
    before: libc::sigset_t,
    was_pending: bool,
}

impl Blocked {
    #[inline(never)]
    fn new() -> Option<Self> {
        if !ends_the_process() {
            return None;
        }
        let (pipe, mut before) = (pipe_signal(), no_signals());
        // SAFETY: one set is valid for reading and the other for writing.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const pipe, &raw mut before) };
        Some(Blocked { before, was_pending: is_pending() })
    }
}

impl Drop for Blocked {
    #[inline(never)]
    fn drop(&mut self) {
        // A write that succeeds may raise it too: it has waited for room for its last bytes, when
        // the reader, which has taken the first, went away.
        if !self.was_pending && is_pending() {
            let (pipe, now) = (pipe_signal(), libc::timespec { tv_sec: 0, tv_nsec: 0 });
            // Another thread may have taken it, if it was sent to the whole process.
            // SAFETY: both arguments are valid for reading, and no information is asked for.
            while unsafe { libc::sigtimedwait(&raw const pipe, std::ptr::null_mut(), &raw const now) } < 0
                && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
            {}
        }
        // SAFETY: the set is valid for reading, and the old one is not asked for.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut()) };
    }
}

/// Whether `SIGPIPE` has its default action.
fn ends_the_process() -> bool {
    // SAFETY: zeros are a valid `sigaction`.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: nothing is set, and `action` is valid for writing.
    let status = unsafe { libc::sigaction(libc::SIGPIPE, std::ptr::null(), &raw mut action) };
    status == 0 && action.sa_sigaction == libc::SIG_DFL
}

fn is_pending() -> bool {
    let mut pending = no_signals();
    // SAFETY: the set is valid for writing.
    unsafe { libc::sigpending(&raw mut pending) };
    // SAFETY: the set is valid for reading.
    unsafe { libc::sigismember(&raw const pending, libc::SIGPIPE) == 1 }
}

fn no_signals() -> libc::sigset_t {
    // SAFETY: a set is plain bits.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is valid for writing.
    unsafe { libc::sigemptyset(&raw mut set) };
    set
}

fn pipe_signal() -> libc::sigset_t {
    let mut set = no_signals();
    // SAFETY: the set is valid for writing.
    unsafe { libc::sigaddset(&raw mut set, libc::SIGPIPE) };
    set
}
