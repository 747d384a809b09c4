//! Limits of the system, reached: address space, threads, file descriptors, stacks; and a system
//! that does not tell how threads are.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use sidestep::{Pool, TaskError, current};

use crate::child::{alone, cannot, start_with};
use crate::support::{Gate, check_accounts};
use crate::workload::everything;

#[cfg(target_env = "gnu")]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type Resource = libc::c_int;

/// Sets the soft limit of this process.
fn limit(resource: Resource, value: u64) {
    let mut both = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `both` is valid for writing.
    assert_eq!(unsafe { libc::getrlimit(resource, &raw mut both) }, 0);
    both.rlim_cur = (value as libc::rlim_t).min(both.rlim_max);
    // SAFETY: `both` is valid for reading.
    let set = unsafe { libc::setrlimit(resource, &raw const both) };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
}

/// Wants `wanted` threads of a system that gives fewer: everything runs on those, and the refusals
/// are counted.
fn run_on_fewer(pool: &Pool, wanted: usize) {
    let (gate, most) = (Gate::new(), Arc::new(AtomicUsize::new(0)));
    let tasks: Vec<_> = (0..wanted)
        .map(|_| {
            let (pass, most) = (gate.clone(), Arc::clone(&most));
            pool.spawn(move || {
                most.fetch_add(1, Ordering::SeqCst);
                current::will_block(|| {
                    while !pass.is_open() {
                        thread::sleep(std::time::Duration::from_millis(1));
                    }
                });
            })
        })
        .collect();
    while pool.metrics().spawn_failures() == 0 {
        thread::yield_now();
    }
    gate.open();
    for task in tasks {
        task.wait().unwrap();
    }
    let metrics = pool.metrics();
    check_accounts(&metrics);
    assert!((1..wanted).contains(&metrics.threads_peak()), "{metrics:?}");
    assert_eq!(most.load(Ordering::SeqCst), wanted);
    assert_eq!(pool.shutdown().wait().still_running, 0);
}

/// How much address space this process has taken.
fn address_space() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096
}

#[test]
fn ten_thousand_threads_are_wanted_and_there_is_room_for_a_few() {
    const STACK: u64 = 32 << 20;
    // One arena of `malloc`, or the arenas take the space.
    let Some(child) = start_with("", |command| command.env("MALLOC_ARENA_MAX", "1")) else {
        let builder = Pool::builder().core_threads(1).max_threads(10_000);
        let pool = builder.stack_size(usize::try_from(STACK).unwrap()).build().unwrap();
        pool.spawn(|| ()).wait().unwrap();
        // Half a stack is left for all else, whenever the system refuses one.
        limit(libc::RLIMIT_AS, address_space() + 12 * STACK + STACK / 2);
        return run_on_fewer(&pool, 10_000);
    };
    child.passes();
}

#[test]
fn the_user_may_have_no_thread_more() {
    alone(|| {
        let pool = Pool::builder().core_threads(1).max_threads(100).build().unwrap();
        pool.spawn(|| ()).wait().unwrap();
        // The limit is not for root.
        const SOMEBODY: libc::uid_t = 54_321;
        // SAFETY: numbers only.
        let is_root = unsafe { libc::geteuid() } == 0;
        // SAFETY: numbers only.
        if is_root && unsafe { libc::setresuid(SOMEBODY, SOMEBODY, SOMEBODY) } != 0 {
            return cannot("becoming another user");
        }
        limit(libc::RLIMIT_NPROC, 1);
        if thread::Builder::new().spawn(|| ()).is_ok() {
            return println!("not here: the number of threads is not limited");
        }
        let error = Pool::new().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
        run_on_fewer(&pool, 50);
        let refused: Result<(), TaskError> = sidestep::spawn(|| ()).wait();
        assert!(refused.unwrap_err().is_no_thread());
    });
}

/// Takes every file descriptor that there is.
fn take_all_descriptors() -> Vec<File> {
    limit(libc::RLIMIT_NOFILE, 64);
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    assert!(std::fs::read_dir("/proc/self/task").is_err(), "threads cannot be looked at");
    taken
}

#[test]
fn without_a_file_descriptor() {
    alone(|| {
        let taken = take_all_descriptors();
        everything();
        let error = sidestep::block_on(sidestep::fs::read("/proc/self/stat")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
        drop(taken);
    });
}

/// Lays an empty file system over `/proc`, for this process alone.
fn hide_proc() -> bool {
    const PROC: &CStr = c"/proc";
    // SAFETY: numbers only; this is the child's only thread but for the harness, which waits.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return false;
    }
    let mount = |kind: &CStr, on: &CStr, flags| {
        let kind = kind.as_ptr();
        // SAFETY: all are strings that end, and there is no data.
        unsafe { libc::mount(kind, on.as_ptr(), kind, flags, std::ptr::null()) == 0 }
    };
    mount(c"none", c"/", libc::MS_REC | libc::MS_PRIVATE) && mount(c"tmpfs", PROC, 0)
}

#[test]
fn without_proc() {
    alone(|| {
        if !hide_proc() {
            return cannot("hiding /proc");
        }
        assert!(std::fs::read("/proc/self/stat").is_err());
        everything();
    });
}

/// Spawns, waits, panics and grows on stacks of so many bytes.
fn works_on_stacks_of(bytes: usize) {
    std::panic::set_hook(Box::new(|_| ()));
    let builder = Pool::builder().core_threads(2).max_threads(8).stack_size(bytes);
    let pool = builder.build().unwrap();
    let all = Arc::new(Barrier::new(8));
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let all = Arc::clone(&all);
            pool.spawn(move || all.wait().is_leader())
        })
        .collect();
    tasks.into_iter().for_each(|task| assert!(task.wait().is_ok()));
    let inner = pool.clone();
    assert_eq!(pool.spawn(move || inner.spawn(|| 1).wait().unwrap()).wait().unwrap(), 1);
    assert!(pool.spawn(|| panic!("on a small stack")).wait().unwrap_err().is_panic());
    let lane = pool.lane("narrow", 1);
    (0..100).for_each(|_| lane.spawn(|| ()).wait().unwrap());
    assert_eq!(pool.shutdown().wait().still_running, 0);
}

#[test]
fn on_small_stacks() {
    alone(|| [1, 4096, 64 << 10, 128 << 10].into_iter().for_each(works_on_stacks_of));
}

#[test]
fn a_stack_that_there_is_no_room_for_is_refused() {
    let error = Pool::builder().stack_size(usize::MAX / 4).build().unwrap_err();
    assert!(error.raw_os_error().is_some(), "{error}");
}

#[test]
fn whatever_the_system_thinks_of_stacks() {
    for (case, size) in [("tiny", 64 << 10), ("none", u64::MAX)] {
        let Some(child) = start_with(case, |command| command) else {
            let size = if crate::child::case() == "tiny" { 64 << 10 } else { size };
            limit(libc::RLIMIT_STACK, size);
            return everything();
        };
        child.passes();
    }
}
