//! Storms of signals, which interrupt every system call of every thread.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use sidestep::Pool;

use crate::child::alone;
use crate::workload::{everything, take_signals};

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
fn in_a_storm_of_signals_everything_goes_on() {
    alone(|| in_a_storm(everything));
}

/// With threads that take signals, too.
#[test]
fn in_a_storm_of_signals_that_interrupt_its_threads_everything_goes_on() {
    alone(|| {
        take_signals();
        in_a_storm(everything);
    });
}

#[test]
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
