//! Locks between processes: of a parent and its forked child, of another process, and of one that
//! dies.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, Stdio};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use sidestep::fs::{File, TryLockError};

use super::files::ends;
use super::lock_queue::{ATTEMPTS, is_free, lock_file, open, waiting, worst_but_a_hundredth};
use crate::support::alone::{MARK, alone_as};
use crate::support::fork::in_child;
use crate::support::{eventually, nothing_happens, poll};

#[test]
fn in_a_forked_child_a_call_ends_and_the_parent_keeps_its_lock() {
    alone_as("fs::lock_processes::in_a_forked_child_a_call_ends_and_the_parent_keeps_its_lock", &[], || {
        let (_dir, path) = lock_file();
        let (holder, waiter) = (open(&path), open(&path));
        ends(holder.lock()).unwrap();
        let mut call = waiting(&waiter);
        let status = in_child(|list| {
            let mut context = Context::from_waker(Waker::noop());
            list.check(matches!(call.poll_unpin(&mut context), Poll::Ready(Err(_)) | Poll::Pending));
            drop(call);
            list.check(holder.lock().now_or_never().is_some_and(|end| end.is_err()));
            list.check(holder.unlock().now_or_never().is_some_and(|end| end.is_err()));
            list.check(waiter.try_lock().now_or_never().is_some_and(|end| end.is_err()));
            drop((holder, waiter));
            // Files that the child opens are its own.
            let fresh = [(); 2].map(|()| sidestep::block_on(File::open(&path)));
            let [Ok(one), Ok(two)] = fresh else { return list.check(false) };
            let tried = sidestep::block_on(one.try_lock());
            list.check(matches!(tried, Err(TryLockError::WouldBlock)));
            let another = path.with_file_name("of the child");
            let fresh = [(); 2].map(|()| sidestep::block_on(File::create(&another)));
            let [Ok(mine), Ok(other)] = fresh else { return list.check(false) };
            list.check(sidestep::block_on(mine.lock()).is_ok());
            let mut call = Box::pin(other.lock());
            list.check(poll(&mut call, Waker::noop()).is_pending());
            list.check(sidestep::block_on(mine.unlock()).is_ok());
            list.check(sidestep::block_on(call).is_ok());
            drop(two);
        });
        assert_eq!(status, 0);
        // The closure has taken the parent's handles along.
        eventually("the parent's handles are closed", || is_free(&path));
    });
}

/// Another process, which locks a file by `std`.
struct Other {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStderr>,
}

impl Other {
    fn start(test: &str, path: &Path) -> Self {
        let mut command = crate::support::alone::this_program();
        command.args([test, "--exact", "--nocapture"]).env(MARK, path);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let (to, from) = (process.stdin.take().unwrap(), process.stderr.take().unwrap());
        Other { process, to, from: BufReader::new(from) }
    }

    /// Does what the parent says, as the process that it has started.
    fn run_if_started() -> bool {
        let Some(path) = std::env::var_os(MARK) else { return false };
        let file = std::fs::File::open(path).unwrap();
        for line in std::io::stdin().lines() {
            match line.unwrap().as_str() {
                "lock" => file.lock().unwrap(),
                "unlock" => file.unlock().unwrap(),
                other => panic!("{other}"),
            }
            eprintln!("done");
        }
        true
    }

    fn ask(&mut self, what: &str) {
        writeln!(self.to, "{what}").unwrap();
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        assert_eq!(line, "done\n");
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[test]
fn the_lock_of_another_process_is_waited_for() {
    if Other::run_if_started() {
        return;
    }
    let (_dir, path) = lock_file();
    let waiter = open(&path);
    let mut other = Other::start("fs::lock_processes::the_lock_of_another_process_is_waited_for", &path);
    let mut figure = || {
        let mut times: Vec<_> = (0..100_u64)
            .map(|round| {
                other.ask("lock");
                let mut call = waiting(&waiter);
                // It has waited for so long, and the intervals are as long.
                let since = Instant::now();
                while since.elapsed() < Duration::from_millis(round % 10) {
                    assert!(poll(&mut call, Waker::noop()).is_pending());
                    std::thread::yield_now();
                }
                let since = Instant::now();
                other.ask("unlock");
                sidestep::block_on(call).unwrap();
                let time = since.elapsed();
                sidestep::block_on(waiter.unlock()).unwrap();
                time
            })
            .collect();
        worst_but_a_hundredth(&mut times)
    };
    let least = (0..ATTEMPTS).map(|_| figure()).min();
    println!("between two processes, at the 99th percentile, at best: {least:?}");
    assert!(least < Some(Duration::from_millis(100)), "{least:?}");
}

#[test]
fn the_lock_of_a_process_that_dies_is_free() {
    if Other::run_if_started() {
        return;
    }
    let (_dir, path) = lock_file();
    let waiters = [open(&path), open(&path)];
    let mut other = Other::start("fs::lock_processes::the_lock_of_a_process_that_dies_is_free", &path);
    other.ask("lock");
    let [mut first, second] = [waiting(&waiters[0]), waiting(&waiters[1])];
    nothing_happens();
    assert!(poll(&mut first, Waker::noop()).is_pending());
    drop(other);
    ends(first).unwrap();
    drop(waiters[0].unlock().now_or_never().unwrap());
    ends(second).unwrap();
}
