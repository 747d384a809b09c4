//! What the operating system knows of a thread, by a key that stays harmless after the thread has gone.

use std::time::Duration;

/// A thread's names in the system's books.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadKey {
    #[cfg(target_os = "linux")]
    tid: libc::pid_t,
    #[cfg(target_os = "linux")]
    clock: Option<libc::clockid_t>,
}

impl ThreadKey {
    /// The key of the calling thread.
    pub(crate) fn current() -> Self {
        ThreadKey {
            #[cfg(target_os = "linux")]
            // SAFETY: no arguments, no memory.
            tid: unsafe { libc::gettid() },
            #[cfg(target_os = "linux")]
            clock: linux_clock(),
        }
    }

    /// The thread's scheduling state as Linux names it: `R` runs or waits for a CPU, `S` and `D` sleep.
    #[cfg(target_os = "linux")]
    pub(crate) fn state(self) -> Option<u8> {
        let stat = std::fs::read(format!("/proc/self/task/{}/stat", self.tid)).ok()?;
        // The name in parentheses may hold anything, parentheses included: the state follows the last one.
        let name_end = stat.iter().rposition(|&byte| byte == b')')?;
        stat.get(name_end + 2).copied()
    }

    /// As on Linux; this system has no such letter.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn state(self) -> Option<u8> {
        None
    }

    /// Whether the thread, which sleeps, waits inside a system call that is no futex: for a timer, a peer or a child, and
    /// not for another thread's lock or signal.
    #[cfg(target_os = "linux")]
    pub(crate) fn waits_outside(self) -> Option<bool> {
        let call = std::fs::read_to_string(format!("/proc/self/task/{}/syscall", self.tid)).ok()?;
        // The first word is the call's number, or `running`.
        let number: libc::c_long = call.split_ascii_whitespace().next()?.parse().ok()?;
        Some(number >= 0 && number != libc::SYS_futex)
    }

    /// As on Linux; this system does not tell.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn waits_outside(self) -> Option<bool> {
        None
    }

    /// How long the thread has used a CPU.
    #[cfg(target_os = "linux")]
    pub(crate) fn cpu_time(self) -> Option<Duration> {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is valid for writing. The clock of a thread that has gone gives an error.
        let status = unsafe { libc::clock_gettime(self.clock?, &raw mut time) };
        if status != 0 {
            return None;
        }
        Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
    }

    /// As on Linux; here the crate knows no such clock.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn cpu_time(self) -> Option<Duration> {
        None
    }
}

#[cfg(target_os = "linux")]
fn linux_clock() -> Option<libc::clockid_t> {
    let mut clock = 0;
    // SAFETY: no arguments; the calling thread exists.
    let thread = unsafe { libc::pthread_self() };
    // SAFETY: `thread` is the calling thread and `clock` is valid for writing.
    let status = unsafe { libc::pthread_getcpuclockid(thread, &raw mut clock) };
    (status == 0).then_some(clock)
}

#[cfg(all(test, not(sidestep_loom), target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_thread_runs_and_uses_its_cpu() {
        let key = ThreadKey::current();
        assert_eq!(key.state(), Some(b'R'));
        let before = key.cpu_time().unwrap();
        while key.cpu_time().unwrap() == before {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn a_socket_is_outside_and_a_channel_is_not() {
        let (send, receive) = std::sync::mpsc::channel();
        let (end, wait) = std::sync::mpsc::channel::<()>();
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let thread = std::thread::spawn(move || {
            send.send(ThreadKey::current()).unwrap();
            let _ = wait.recv();
            std::io::Read::read(&mut theirs, &mut [0])
        });
        let key = receive.recv().unwrap();
        while key.state() != Some(b'S') {
            std::thread::yield_now();
        }
        let told = key.waits_outside();
        drop(end);
        // Some kernels keep it to themselves.
        if let Some(outside) = told {
            assert!(!outside, "the other end of a channel is a thread");
            while key.waits_outside() != Some(true) {
                std::thread::yield_now();
            }
        }
        drop(ours);
        assert_eq!(thread.join().unwrap().unwrap(), 0);
    }

    #[test]
    fn a_waiting_thread_sleeps_and_a_gone_one_is_unknown() {
        let (send, receive) = std::sync::mpsc::channel();
        let (end, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            send.send(ThreadKey::current()).unwrap();
            let _ = wait.recv();
        });
        let key = receive.recv().unwrap();
        while key.state() != Some(b'S') {
            std::thread::yield_now();
        }
        drop(end);
        thread.join().unwrap();
        assert!(key.cpu_time().is_none());
        while key.state().is_some() {
            std::thread::yield_now();
        }
    }
}
