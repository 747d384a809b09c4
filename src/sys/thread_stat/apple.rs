//! What macOS, iOS and their kin know of a thread: `thread_info` reports a state and the time that
//! the thread has used a CPU, of any thread of the process.
//!
//! The name of the thread's port is used again when the thread has gone, so each answer comes with
//! a look at the number of the thread, which is not. The kernel adds up the time of a running
//! thread when it leaves its CPU, when it enters or leaves the kernel, and at the end of its
//! quantum of 10 ms: a thread that computes shows no progress in between.

use std::time::Duration;

use super::ThreadStat;

/// This system has no such count of a single thread.
pub(crate) fn own_sleeps() -> Option<u64> {
    None
}

/// A thread's names in the system's books.
#[derive(Clone, Debug)]
pub(crate) struct ThreadKey {
    port: libc::mach_port_t,
    number: u64,
}

impl ThreadKey {
    /// The key of the calling thread.
    pub(crate) fn current() -> Self {
        // SAFETY: no arguments; the calling thread exists.
        let thread = unsafe { libc::pthread_self() };
        // SAFETY: `thread` is the calling thread.
        let port = unsafe { libc::pthread_mach_thread_np(thread) };
        let number = identity(port).map_or(0, |identity| identity.thread_id);
        ThreadKey { port, number }
    }

    /// What the system reports of the thread, if it has it still.
    fn info(&self) -> Option<libc::thread_basic_info> {
        let mut info = libc::thread_basic_info {
            user_time: libc::time_value_t { seconds: 0, microseconds: 0 },
            system_time: libc::time_value_t { seconds: 0, microseconds: 0 },
            cpu_usage: 0,
            policy: 0,
            run_state: 0,
            flags: 0,
            suspend_count: 0,
            sleep_time: 0,
        };
        let mut count = libc::THREAD_BASIC_INFO_COUNT;
        let flavor = libc::THREAD_BASIC_INFO as libc::thread_flavor_t;
        // SAFETY: `info` is valid for writing `count` integers, and plain numbers. A port that
        // names no thread is an error.
        let status = unsafe { libc::thread_info(self.port, flavor, (&raw mut info).cast(), &raw mut count) };
        // Looked at afterwards: a thread that has the number now had it all the time.
        let same = identity(self.port).is_some_and(|identity| identity.thread_id == self.number);
        (status == libc::KERN_SUCCESS && same).then_some(info)
    }
}

/// The numbers of the thread that `port` names.
fn identity(port: libc::mach_port_t) -> Option<libc::thread_identifier_info> {
    let mut identity = libc::thread_identifier_info { thread_id: 0, thread_handle: 0, dispatch_qaddr: 0 };
    let mut count = libc::THREAD_IDENTIFIER_INFO_COUNT;
    let flavor = libc::THREAD_IDENTIFIER_INFO as libc::thread_flavor_t;
    // SAFETY: `identity` is valid for writing `count` integers, and plain numbers. A port that
    // names no thread is an error.
    let status = unsafe { libc::thread_info(port, flavor, (&raw mut identity).cast(), &raw mut count) };
    (status == libc::KERN_SUCCESS).then_some(identity)
}

impl ThreadStat for ThreadKey {
    const LAG: Duration = Duration::from_millis(10);

    fn is_gone(&self) -> Option<bool> {
        None
    }

    fn is_asleep(&self) -> Option<bool> {
        match self.info()?.run_state {
            libc::TH_STATE_WAITING | libc::TH_STATE_UNINTERRUPTIBLE => Some(true),
            libc::TH_STATE_RUNNING | libc::TH_STATE_STOPPED => Some(false),
            _ => None,
        }
    }

    fn waits_outside(&self) -> Option<bool> {
        None
    }

    fn cpu_time(&self) -> Option<Duration> {
        let info = self.info()?;
        Some(time(info.user_time)? + time(info.system_time)?)
    }
}

fn time(value: libc::time_value_t) -> Option<Duration> {
    let seconds = Duration::from_secs(u64::try_from(value.seconds).ok()?);
    Some(seconds + Duration::from_micros(u64::try_from(value.microseconds).ok()?))
}
