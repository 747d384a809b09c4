//! What macOS, iOS and their kin know of a thread: `thread_info` reports a state and the time that
//! the thread has used a CPU, of any thread of the process.
//!
//! A key holds a right to the port of its thread. Without it the port's name would be used again
//! when the thread has gone, perhaps for a port of another service, to which the question would be
//! sent as a message. With it the name stays that of a thread that runs, or of a dead one.
//!
//! The kernel adds up the time of a running thread when it leaves its CPU, when it enters or leaves
//! the kernel, and at the end of its quantum of 10 ms: a thread that computes shows no progress in
//! between.

use std::sync::Arc;
use std::time::Duration;

use super::ThreadStat;

/// This system has no such count of a single thread.
pub(crate) fn own_sleeps() -> Option<u64> {
    None
}

unsafe extern "C" {
    static mach_task_self_: libc::mach_port_t;
    fn mach_port_deallocate(task: libc::mach_port_t, name: libc::mach_port_t) -> libc::kern_return_t;
}

/// A right to send to the port of a thread, which keeps its name from being used again.
#[derive(Debug)]
struct Port(libc::mach_port_t);

impl Port {
    /// That of the calling thread.
    #[expect(deprecated, reason = "`libc` leaves the calls of Mach to another crate")]
    fn current() -> Self {
        // SAFETY: no arguments; the calling thread exists. The call adds a right, which nothing
        // else gives back.
        Port(unsafe { libc::mach_thread_self() })
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
        // SAFETY: `info` is valid for writing `count` integers, and plain numbers. The port of a
        // thread that has gone is an error.
        let status = unsafe { libc::thread_info(self.0, flavor, (&raw mut info).cast(), &raw mut count) };
        (status == libc::KERN_SUCCESS).then_some(info)
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // SAFETY: the C library sets it before the program begins, and leaves it so.
        let task = unsafe { mach_task_self_ };
        // SAFETY: numbers only. `self` has the right, and uses it no more.
        unsafe { mach_port_deallocate(task, self.0) };
    }
}

/// A thread's port.
#[derive(Clone, Debug)]
pub(crate) struct ThreadKey(Arc<Port>);

impl ThreadKey {
    /// The key of the calling thread.
    pub(crate) fn current() -> Self {
        ThreadKey(Arc::new(Port::current()))
    }
}

impl ThreadStat for ThreadKey {
    const LAG: Duration = Duration::from_millis(10);

    fn is_asleep(&self) -> Option<bool> {
        match self.0.info()?.run_state {
            libc::TH_STATE_WAITING | libc::TH_STATE_UNINTERRUPTIBLE => Some(true),
            libc::TH_STATE_RUNNING | libc::TH_STATE_STOPPED => Some(false),
            _ => None,
        }
    }

    fn cpu_time(&self) -> Option<Duration> {
        let info = self.0.info()?;
        Some(time(info.user_time)? + time(info.system_time)?)
    }
}

fn time(value: libc::time_value_t) -> Option<Duration> {
    let seconds = Duration::from_secs(u64::try_from(value.seconds).ok()?);
    Some(seconds + Duration::from_micros(u64::try_from(value.microseconds).ok()?))
}
