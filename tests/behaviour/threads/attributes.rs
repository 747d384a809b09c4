//! What a thread of the library is made with: what the process has, and not what the thread has
//! that made it. Each test runs in a process of its own, on a thread that is not the main thread.
#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sidestep::{Dedicated, Pool, current};

use crate::support::alone::alone_as;
use crate::support::fork::in_child;
use crate::support::{Gate, eventually, occupy, soon};

fn alone(name: &str, body: impl FnOnce()) {
    alone_as(&format!("threads::attributes::{name}"), &[], body);
}

/// A line of the books of a thread, by its number or as `self` or `thread-self`.
fn line(thread: &str, key: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim().to_owned()
}

/// The CPUs of a thread: of the main one, which is `self`, or of the calling one.
fn cpus(thread: &str) -> String {
    line(thread, "Cpus_allowed:")
}

/// Looks again where the C library blocks all signals for an instant, its own (32 and 33) included.
fn blocked(thread: &str) -> u64 {
    let looks = std::iter::repeat_with(|| u64::from_str_radix(&line(thread, "SigBlk:"), 16).unwrap());
    looks.take(10_000).find(|mask| !has(*mask, 32) && !has(*mask, 33)).unwrap()
}

fn has(mask: u64, signal: libc::c_int) -> bool {
    mask >> (signal - 1) & 1 == 1
}

/// Pins the calling thread to the first of its CPUs. False if it has only one.
fn pin() -> bool {
    // SAFETY: all zeros is a set.
    let mut all: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `all` is valid for writing.
    assert_eq!(0, unsafe { libc::sched_getaffinity(0, size_of_val(&all), &raw mut all) });
    // SAFETY: as above.
    let mut one: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the number is below that of the bits in a set.
    let first = (0..1024).find(|&cpu| unsafe { libc::CPU_ISSET(cpu, &all) }).unwrap();
    // SAFETY: as above.
    unsafe { libc::CPU_SET(first, &mut one) };
    // SAFETY: `one` is valid for reading.
    assert_eq!(0, unsafe { libc::sched_setaffinity(0, size_of_val(&one), &raw const one) });
    // SAFETY: `all` is a set.
    unsafe { libc::CPU_COUNT(&all) > 1 }
}

fn policy() -> libc::c_int {
    // SAFETY: numbers only.
    unsafe { libc::sched_getscheduler(0) }
}

fn niceness() -> i64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().parse().unwrap()
}

/// What `f` returns on a thread of a pool with these settings, and on one that a thread of the pool
/// has made.
fn on_threads<T: Send + 'static>(builder: sidestep::PoolBuilder, f: fn() -> T) -> [T; 2] {
    let pool = builder.core_threads(1).max_threads(4).build().unwrap();
    let inner = pool.clone();
    let nested = pool.spawn(move || current::will_block(|| inner.spawn(f).wait().unwrap()));
    [soon(pool.spawn(f)).unwrap(), soon(nested).unwrap()]
}

/// glommio, nearcore: a pool that a pinned thread makes.
#[test]
fn a_pool_that_a_pinned_thread_makes_is_not_pinned() {
    alone("a_pool_that_a_pinned_thread_makes_is_not_pinned", || {
        let size = || {
            let text = format!("{:?}", Pool::new().unwrap());
            text.split_once(", threads").unwrap().0.to_owned()
        };
        let before = size();
        if !pin() {
            return;
        }
        let process = cpus("self");
        assert_ne!(cpus("thread-self"), process, "this one is");
        assert_eq!(size(), before, "nor of another size");
        assert_eq!(on_threads(Pool::builder(), || cpus("thread-self")), [process.clone(), process.clone()]);
        let own = Dedicated::new(|| ()).unwrap();
        assert_eq!(own.call(|()| cpus("thread-self")).wait().unwrap(), process);
        assert_ne!(on_threads(Pool::builder().inherit_affinity(true), || cpus("thread-self"))[0], process);
        assert_ne!(cpus("thread-self"), process, "and it still is");
    });
}

#[test]
fn helpers_are_not_pinned_either() {
    alone("helpers_are_not_pinned_either", || {
        if !pin() {
            return;
        }
        let (pool, gate) = (Pool::builder().core_threads(1).max_threads(2).build().unwrap(), Gate::new());
        let busy = [occupy(&pool, &gate), occupy(&pool, &gate)];
        pool.options().expire_after(Duration::from_secs(3600)).spawn(|| ()).detach();
        eventually("all of them have the CPUs and the signals of the process", || {
            let mut seen = BTreeSet::new();
            for thread in std::fs::read_dir("/proc/self/task").unwrap().map(Result::unwrap) {
                let path = format!("self/task/{}", thread.file_name().to_str().unwrap());
                let name = line(&path, "Name:");
                if name.starts_with("sidestep-")
                    && cpus(&path) == cpus("self")
                    && has(blocked(&path), libc::SIGTERM)
                {
                    seen.insert(name);
                }
            }
            seen.len() == 4
        });
        gate.open();
        busy.into_iter().for_each(|task| soon(task).unwrap());
    });
}

#[test]
fn a_pool_that_a_niced_thread_makes_is_not_niced() {
    alone("a_pool_that_a_niced_thread_makes_is_not_niced", || {
        let before = niceness();
        // SAFETY: numbers only; on Linux this is about the calling thread.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 15) };
        assert_eq!(niceness(), 15);
        assert_eq!(on_threads(Pool::builder().inherit_priority(true), niceness), [15, 15]);
        // SAFETY: no arguments.
        if unsafe { libc::geteuid() } == 0 {
            assert_eq!(on_threads(Pool::builder(), niceness), [before, before]);
        } else {
            assert!(on_threads(Pool::builder(), niceness).iter().all(|&now| now >= before));
        }
    });
}

#[test]
fn a_pool_that_a_real_time_thread_makes_is_none() {
    alone("a_pool_that_a_real_time_thread_makes_is_none", || {
        let parameter = libc::sched_param { sched_priority: 5 };
        // SAFETY: `parameter` is valid for reading.
        if unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameter) } != 0 {
            return println!("not here: {}", std::io::Error::last_os_error());
        }
        assert_eq!(policy(), libc::SCHED_FIFO);
        assert_eq!(on_threads(Pool::builder(), policy), [libc::SCHED_OTHER; 2]);
        assert_eq!(on_threads(Pool::builder().inherit_priority(true), policy), [libc::SCHED_FIFO; 2]);
    });
}

/// A thread that runs only when no other wants to (`SCHED_IDLE`) makes no such threads.
#[test]
fn a_pool_that_an_idle_class_thread_makes_is_none() {
    alone("a_pool_that_an_idle_class_thread_makes_is_none", || {
        let parameter = libc::sched_param { sched_priority: 0 };
        // SAFETY: `parameter` is valid for reading.
        assert_eq!(0, unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameter) });
        assert_eq!(on_threads(Pool::builder(), policy), [libc::SCHED_OTHER; 2]);
    });
}

const FAULTS: [libc::c_int; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL];
const OTHERS: [libc::c_int; 6] =
    [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1, libc::SIGCHLD, libc::SIGPIPE];

/// Sets what the calling thread blocks to these signals.
fn block(signals: &[libc::c_int]) {
    // SAFETY: all zeros is a set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is valid for writing.
    signals.iter().for_each(|&signal| assert_eq!(0, unsafe { libc::sigaddset(&raw mut set, signal) }));
    // SAFETY: `set` is valid for reading.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) };
}

#[test]
fn a_thread_blocks_all_signals_but_those_of_faults() {
    alone("a_thread_blocks_all_signals_but_those_of_faults", || {
        for mine in [&[][..], &[libc::SIGUSR1, libc::SIGSEGV], &OTHERS] {
            block(mine);
            let before = blocked("thread-self");
            for mask in on_threads(Pool::builder(), || blocked("thread-self")) {
                assert!(OTHERS.iter().all(|&signal| has(mask, signal)), "{mask:x}");
                assert!(!FAULTS.iter().any(|&signal| has(mask, signal)), "{mask:x}");
            }
            assert_eq!(blocked("thread-self"), before, "the maker's are as they were");
        }
    });
}

#[test]
fn without_blocking_a_thread_has_the_signals_of_the_process() {
    alone("without_blocking_a_thread_has_the_signals_of_the_process", || {
        block(&OTHERS);
        let process = blocked("self");
        let builder = Pool::builder().block_signals(false);
        assert_eq!(on_threads(builder, || blocked("thread-self")), [process; 2]);
    });
}

#[test]
fn the_threads_of_a_handler_are_what_it_makes_them() {
    alone("the_threads_of_a_handler_are_what_it_makes_them", || {
        block(&[libc::SIGUSR1]);
        pin();
        let mine = (blocked("thread-self"), cpus("thread-self"));
        let handler = |new: sidestep::NewThread| {
            std::thread::Builder::new().spawn(|| new.run())?;
            Ok(())
        };
        let builder = Pool::builder().spawn_handler(handler);
        let [one, other] = on_threads(builder, || (blocked("thread-self"), cpus("thread-self")));
        assert_eq!([one, other], [mine.clone(), mine]);
    });
}

static HANDLED: AtomicUsize = AtomicUsize::new(0);
static ON_A_WORKER: AtomicUsize = AtomicUsize::new(0);
thread_local! { static IS_WORKER: std::cell::Cell<bool> = const { std::cell::Cell::new(false) } }

extern "C" fn count(_: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::SeqCst);
    if IS_WORKER.get() {
        ON_A_WORKER.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn no_handler_runs_on_a_thread_of_a_pool() {
    alone("no_handler_runs_on_a_thread_of_a_pool", || {
        let handler = count as extern "C" fn(libc::c_int) as usize;
        for signal in [libc::SIGUSR1, libc::SIGUSR2, libc::SIGALRM] {
            // SAFETY: the handler only changes atomics and reads a variable of its thread.
            assert_ne!(unsafe { libc::signal(signal, handler) }, libc::SIG_ERR);
        }
        let pool = Pool::builder()
            .core_threads(4)
            .max_threads(8)
            .on_thread_start(|| IS_WORKER.set(true))
            .build()
            .unwrap();
        let gate = Gate::new();
        let busy = [occupy(&pool, &gate), occupy(&pool, &gate)];
        for round in 1..=3000 {
            for signal in [libc::SIGUSR1, libc::SIGUSR2, libc::SIGALRM] {
                let process = std::process::id().cast_signed();
                // SAFETY: numbers only.
                unsafe { libc::kill(process, signal) };
            }
            if round % 100 == 0 {
                pool.spawn(|| ()).wait().unwrap();
            }
        }
        eventually("some are handled", || HANDLED.load(Ordering::SeqCst) > 100);
        assert_eq!(ON_A_WORKER.load(Ordering::SeqCst), 0);
        gate.open();
        busy.into_iter().for_each(|task| soon(task).unwrap());
    });
}

/// The signals that a program blocks which is started here.
fn blocked_by_child(command: &mut Command) -> u64 {
    let output = command.args(["SigBlk:", "/proc/self/status"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    u64::from_str_radix(text.trim_start_matches("SigBlk:").trim(), 16).unwrap()
}

/// That of a program which is started with `posix_spawn`.
fn of_spawned() -> u64 {
    blocked_by_child(&mut Command::new("grep"))
}

/// That of a program which is started with `fork`.
fn of_forked() -> u64 {
    let mut command = Command::new("grep");
    // SAFETY: the closure does nothing.
    unsafe { command.pre_exec(|| Ok(())) };
    blocked_by_child(&mut command)
}

#[test]
fn a_program_that_a_closure_starts_has_the_signals_of_the_process() {
    alone("a_program_that_a_closure_starts_has_the_signals_of_the_process", || {
        block(&[libc::SIGUSR1]);
        let process = blocked("self");
        let with_signals = || current::with_process_signals(of_spawned);
        assert_eq!(on_threads(Pool::builder(), with_signals), [process; 2]);
        assert_eq!(on_threads(Pool::builder(), of_forked), [process; 2], "after a fork, by itself");
        assert_eq!(on_threads(Pool::builder().block_signals(false), of_spawned), [process; 2]);
        let after = || {
            let _ = std::panic::catch_unwind(|| current::with_process_signals(|| panic!("on the way")));
            blocked("thread-self")
        };
        std::panic::set_hook(Box::new(|_| ()));
        assert!(has(on_threads(Pool::builder(), after)[0], libc::SIGTERM), "blocked again");
        assert_eq!(current::with_process_signals(|| blocked("thread-self")), blocked("thread-self"));
    });
}

/// `posix_spawn` leaves no place for the library: this is why `with_process_signals` exists.
#[test]
fn a_program_that_a_closure_spawns_without_it_has_them_blocked() {
    alone("a_program_that_a_closure_spawns_without_it_has_them_blocked", || {
        assert!(has(on_threads(Pool::builder(), of_spawned)[0], libc::SIGTERM));
    });
}

#[test]
fn a_program_that_a_closure_starts_ends_by_a_signal() {
    alone("a_program_that_a_closure_starts_ends_by_a_signal", || {
        use std::os::unix::process::ExitStatusExt;
        let start = || {
            current::with_process_signals(|| {
                let mut child = Command::new("sleep").arg("600").spawn().unwrap();
                // SAFETY: the child is not waited for yet.
                unsafe { libc::kill(child.id().cast_signed(), libc::SIGTERM) };
                child.wait().unwrap().signal()
            })
        };
        assert_eq!(on_threads(Pool::builder(), start), [Some(libc::SIGTERM); 2]);
    });
}

#[test]
fn a_forked_child_of_a_closure_takes_signals() {
    alone("a_forked_child_of_a_closure_takes_signals", || {
        let fork = || {
            in_child(|list| {
                list.check(!has(blocked("self"), libc::SIGTERM));
                list.check(current::with_process_signals(|| !has(blocked("self"), libc::SIGTERM)));
            })
        };
        assert!(!has(blocked("self"), libc::SIGTERM), "the main thread blocks nothing");
        assert_eq!(on_threads(Pool::builder(), fork), [0; 2]);
        let inside = || current::with_process_signals(|| in_child(|list| list.check(true)));
        assert_eq!(on_threads(Pool::builder(), inside), [0; 2]);
    });
}
