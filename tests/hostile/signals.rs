//! Signals: masks that are inherited, a process that is stopped, and a reader that is interrupted.

use std::io::{self, Read};
use std::thread;
use std::time::Duration;

use sidestep::Pool;

use crate::child::{alone, start};
use crate::support::pool;
use crate::workload::{everything, tiny};

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
