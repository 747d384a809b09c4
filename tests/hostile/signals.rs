//! Signals: storms that interrupt every system call, masks that are inherited, and a process that
//! is stopped.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use sidestep::Pool;

use crate::child::{alone, start};
use crate::support::pool;
#[cfg(target_os = "linux")]
use crate::workload::take_signals;
use crate::workload::{everything, tiny};

static SIGNALS: AtomicUsize = AtomicUsize::new(0);
static OVER: AtomicBool = AtomicBool::new(false);

extern "C" fn count(_: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// Has each signal `number` counted; system calls that it interrupts are not restarted.
fn handle(number: libc::c_int) {
    // SAFETY: all zeros is an action without flags, `SA_RESTART` among them, and with an empty
    // mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = count as extern "C" fn(libc::c_int) as usize;
    // SAFETY: `action` is valid for reading, and its handler may run at any time.
    assert_eq!(unsafe { libc::sigaction(number, &raw const action, std::ptr::null_mut()) }, 0);
}

/// Sends signals to all threads of this process in turn, thousands per second, while `body` runs.
#[cfg(target_os = "linux")]
fn in_a_storm(body: impl FnOnce()) {
    handle(libc::SIGUSR1);
    // SAFETY: no arguments.
    let process = unsafe { libc::getpid() };
    let storm = thread::spawn(move || {
        while !OVER.load(Ordering::Relaxed) {
            let tasks = std::fs::read_dir("/proc/self/task").unwrap();
            for task in tasks.filter_map(Result::ok) {
                let tid: libc::pid_t = task.file_name().to_str().unwrap().parse().unwrap();
                // SAFETY: numbers only; a thread that has gone gives an error.
                unsafe { libc::syscall(libc::SYS_tgkill, process, tid, libc::SIGUSR1) };
            }
            thread::sleep(Duration::from_micros(200));
        }
    });
    while SIGNALS.load(Ordering::Relaxed) < 100 {
        assert!(!storm.is_finished(), "there is no storm");
        thread::yield_now();
    }
    body();
    OVER.store(true, Ordering::Relaxed);
    storm.join().unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn in_a_storm_of_signals_everything_goes_on() {
    alone(|| in_a_storm(everything));
}

/// With threads that take signals, too.
#[test]
#[cfg(target_os = "linux")]
fn in_a_storm_of_signals_that_interrupt_its_threads_everything_goes_on() {
    alone(|| {
        take_signals();
        in_a_storm(everything);
    });
}

#[test]
#[cfg(target_os = "linux")]
fn in_a_storm_of_signals_no_byte_is_lost() {
    use futures_lite::AsyncReadExt;
    use std::io::Write;
    alone(|| {
        Pool::builder().block_signals(false).build_global().unwrap();
        in_a_storm(|| {
            let (reader, mut writer) = io::pipe().unwrap();
            let text: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
            let expected = text.clone();
            // A pipe that is slower than its reader, whose reads sleep and are interrupted.
            let feeder = thread::spawn(move || {
                for piece in text.chunks(8000) {
                    writer.write_all(piece).unwrap();
                    thread::sleep(Duration::from_micros(500));
                }
            });
            let mut unblock = sidestep::Unblock::new(reader);
            let mut read = Vec::new();
            sidestep::block_on(unblock.read_to_end(&mut read)).unwrap();
            assert!(read == expected);
            feeder.join().unwrap();
            let file = sidestep::block_on(sidestep::fs::read("/proc/self/status")).unwrap();
            assert!(!file.is_empty());
        });
    });
}

/// The signals that this thread does not let in.
fn blocked() -> libc::sigset_t {
    // SAFETY: all zeros is a set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: nothing is changed, and `set` is valid for writing.
    let status = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, std::ptr::null(), &raw mut set) };
    assert_eq!(status, 0);
    set
}

#[test]
fn a_thread_that_blocks_all_signals_builds_pools_and_uses_them() {
    alone(|| {
        // SAFETY: all zeros is a set.
        let mut all: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: `all` is valid for writing.
        unsafe { libc::sigfillset(&raw mut all) };
        // SAFETY: `all` is valid for reading.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut()) };
        let pool = pool(2, 8);
        let seen = pool.spawn(|| {
            let set = blocked();
            // SAFETY: `set` is valid for reading.
            [libc::SIGINT, libc::SIGTERM, libc::SIGUSR1]
                .map(|number| unsafe { libc::sigismember(&raw const set, number) })
        });
        assert_eq!(seen.wait().unwrap(), [1, 1, 1]);
        everything();
    });
}

#[test]
fn a_process_that_is_stopped_and_continued_goes_on_with_the_threads_it_had() {
    let Some(mut child) = start() else {
        // Tiny work is no reason for threads, however long a burst seems to take.
        tiny(60);
        return everything();
    };
    for _ in 0..4 {
        thread::sleep(Duration::from_millis(30));
        if child.has_ended() {
            break;
        }
        // SAFETY: the child is this test's own, and not waited for yet.
        unsafe { libc::kill(child.id(), libc::SIGSTOP) };
        thread::sleep(Duration::from_millis(300));
        // SAFETY: as above.
        unsafe { libc::kill(child.id(), libc::SIGCONT) };
    }
    child.passes();
}

#[test]
fn a_reader_that_is_interrupted_reads_again() {
    use futures_lite::AsyncReadExt;

    /// Every other read is interrupted.
    struct Interrupted(u32);

    impl Read for Interrupted {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            match self.0 {
                odd if odd % 2 == 1 => Err(io::ErrorKind::Interrupted.into()),
                ..=100 => {
                    buffer[0] = 1;
                    Ok(1)
                }
                _ => Ok(0),
            }
        }
    }

    let mut read = Vec::new();
    let pool: Pool = pool(1, 1);
    let mut unblock = sidestep::Unblock::new(Interrupted(0)).on(&pool);
    sidestep::block_on(unblock.read_to_end(&mut read)).unwrap();
    assert_eq!(read, [1; 50]);
}
