//! Too little CPU, or none for a while: everything still ends, the books balance, and tiny work
//! gets no threads for it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::child::{alone, cannot, is_child, start, start_with};
use crate::workload::{everything, something};

/// Confines the calling thread, and all that it makes, to the first CPU it may use.
fn to_one_cpu() {
    // SAFETY: all zeros is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::cpu_set_t>();
    // SAFETY: `set` is valid for writing and of this size.
    assert_eq!(unsafe { libc::sched_getaffinity(0, size, &raw mut set) }, 0);
    // SAFETY: the number is within the set.
    let first = (0..8 * size).find(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).unwrap();
    // SAFETY: as above.
    unsafe { libc::CPU_ZERO(&mut set) };
    // SAFETY: as above.
    unsafe { libc::CPU_SET(first, &mut set) };
    // SAFETY: `set` is valid for reading and of this size.
    assert_eq!(unsafe { libc::sched_setaffinity(0, size, &raw const set) }, 0);
}

/// Runs `body` beside threads that use all the CPU they get.
fn beside_hogs(count: usize, body: impl FnOnce()) {
    let over = Arc::new(AtomicBool::new(false));
    let hogs: Vec<_> = (0..count)
        .map(|_| {
            let over = Arc::clone(&over);
            thread::spawn(move || while !over.load(Ordering::Relaxed) {})
        })
        .collect();
    body();
    over.store(true, Ordering::Relaxed);
    for hog in hogs {
        hog.join().unwrap();
    }
}

#[test]
fn on_one_cpu() {
    alone(|| {
        to_one_cpu();
        everything();
    });
}

#[test]
fn on_one_cpu_beside_hogs() {
    alone(|| {
        to_one_cpu();
        beside_hogs(2, everything);
    });
}

#[test]
fn beside_a_hog_on_each_cpu() {
    alone(|| beside_hogs(thread::available_parallelism().unwrap().get(), everything));
}

/// Nobody's turn comes after this one's.
#[test]
fn where_everybody_else_goes_first() {
    alone(|| {
        // SAFETY: numbers only.
        assert_eq!(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) }, 0);
        something();
    });
}

/// The kernel may wake each sleeper of this process so much later than it wants: no look of the
/// monitor is in time.
#[test]
fn where_every_sleep_takes_long() {
    alone(|| {
        const SLACK: libc::c_ulong = 30_000_000;
        // SAFETY: numbers only. Threads inherit it.
        assert_eq!(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, SLACK) }, 0);
        something();
    });
}

/// Stopped for most of the time: what a quota of CPU time does.
#[test]
fn stopped_for_nine_tenths_of_the_time() {
    let Some(mut child) = start() else { return something() };
    while !child.has_ended() {
        thread::sleep(Duration::from_millis(2));
        // SAFETY: the child is this test's own, and not waited for yet.
        unsafe { libc::kill(child.id(), libc::SIGSTOP) };
        thread::sleep(Duration::from_millis(18));
        // SAFETY: as above.
        unsafe { libc::kill(child.id(), libc::SIGCONT) };
    }
    child.passes();
}

/// A control group with a fifth of a CPU. Its drop removes it, which needs it to be empty.
struct Quota(PathBuf);

impl Quota {
    /// `None` if this process may not make one.
    fn new() -> Option<Self> {
        let name = format!("sidestep-{}", std::process::id());
        let versions = [
            ("/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", "20000"),
            ("/sys/fs/cgroup", "cpu.max", "20000 100000"),
        ];
        versions.into_iter().find_map(|(root, file, value)| {
            let folder = Path::new(root).join(&name);
            fs::create_dir(&folder).ok()?;
            let quota = Quota(folder);
            // Without the file there is no such group: a plain folder, or a controller that is off.
            fs::OpenOptions::new()
                .write(true)
                .open(quota.0.join(file))
                .ok()?
                .write_all(value.as_bytes())
                .ok()?;
            Some(quota)
        })
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn with_a_fifth_of_a_cpu() {
    if is_child() {
        let group = std::env::var("HOSTILE_GROUP").unwrap();
        return match fs::write(Path::new(&group).join("cgroup.procs"), "0") {
            Ok(()) => everything(),
            Err(_) => cannot("entering a control group"),
        };
    }
    match Quota::new() {
        Some(quota) => start_with("", |command| command.env("HOSTILE_GROUP", &quota.0)).unwrap().passes(),
        None => cannot("a control group for CPU time"),
    }
}
