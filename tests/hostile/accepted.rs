//! The process ends while files, streams and other values have accepted bytes that are not written
//! yet: all of the bytes are there afterwards. Where a value never takes them, the wait ends by its
//! time.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Stdio, exit};
use std::time::{Duration, Instant};

use futures_lite::AsyncWriteExt;
use sidestep::fs::File;
use sidestep::{Pool, Unblock, block_on};

use crate::child::{End, start_with};

const BYTES: usize = 100_000;

/// Bytes of which each stands where it belongs.
fn bytes() -> Vec<u8> {
    (0..BYTES).map(|number| (number % 251) as u8).collect()
}

/// Where the child writes.
fn path() -> PathBuf {
    PathBuf::from(std::env::var_os("HOSTILE_PATH").unwrap())
}

/// Starts a child with a path to write to. `None` in the child.
fn start_at(case: &str, path: &Path) -> Option<crate::child::Child> {
    start_with(case, |command| command.env("HOSTILE_PATH", path))
}

/// Runs `body` in a child and returns what it has left in its file, and its end.
fn left_by(case: &str, body: impl FnOnce(&str)) -> (Vec<u8>, End) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    match start_at(case, &file) {
        Some(child) => {
            let end = child.end();
            (std::fs::read(&file).unwrap_or_default(), end)
        }
        None => {
            body(&crate::child::case());
            // The harness would print, and look at its tests.
            exit(0)
        }
    }
}

fn check(case: &str, (left, end): (Vec<u8>, End)) {
    assert!(end.status.success(), "{case}: {}\n{}", end.status, end.output);
    assert!(left == bytes(), "{case}: {} of {BYTES} bytes\n{}", left.len(), end.output);
}

/// A file that has accepted all of it, without a flush.
fn written() -> File {
    block_on(async {
        let mut file = File::create(path()).await.unwrap();
        file.write_all(&bytes()).await.unwrap();
        file
    })
}

/// A value that is slow to take bytes.
struct Slow(std::fs::File);

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        std::thread::sleep(Duration::from_millis(5));
        self.0.write(&bytes[..bytes.len().min(20_000)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A value that writes its last bytes when it is dropped, as an encoder does.
struct Encoder(std::fs::File, Vec<u8>);

impl Write for Encoder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        std::thread::sleep(Duration::from_millis(50));
        self.0.write_all(&self.1).unwrap();
    }
}

fn slow() -> Unblock<Slow> {
    let mut unblock = Unblock::with_capacity(1 << 20, Slow(std::fs::File::create(path()).unwrap()));
    block_on(unblock.write_all(&bytes())).unwrap();
    unblock
}

fn encoder() -> Unblock<Encoder> {
    let mut unblock = Unblock::new(Encoder(std::fs::File::create(path()).unwrap(), Vec::new()));
    block_on(unblock.write_all(&bytes())).unwrap();
    unblock
}

/// tokio: 100 kB without a flush, then the end of `main`.
#[test]
fn sixty_files_of_sixty_are_complete() {
    for number in 0..60 {
        let ends = ["dropped", "kept", "forgotten"];
        let case = ends[number % ends.len()];
        let left = left_by(case, |case| match case {
            "dropped" => drop(written()),
            "kept" => {
                let _file = written();
                exit(0);
            }
            _ => std::mem::forget(written()),
        });
        check(case, left);
    }
}

#[test]
fn the_harness_returns_from_main_and_the_file_is_complete() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    for _ in 0..10 {
        match start_at("", &file) {
            Some(child) => child.passes(),
            None => return std::mem::forget(slow()),
        }
        assert!(std::fs::read(&file).unwrap() == bytes());
        std::fs::remove_file(&file).unwrap();
    }
}

#[test]
fn every_kind_of_value_and_of_end_keeps_its_bytes() {
    let cases = [
        "slow, dropped",
        "slow, kept",
        "encoder, dropped",
        "encoder, flushed and dropped",
        "a pool that is shut down",
        "the global pool shut down",
        "a task exits",
        "a thread exits",
        "a destructor exits",
        "a callback exits",
        "behind a busy pool",
    ];
    for case in cases {
        let left = left_by(case, |case| match case {
            "slow, dropped" => drop(slow()),
            "slow, kept" => std::mem::forget(slow()),
            "encoder, dropped" => drop(encoder()),
            "encoder, flushed and dropped" => {
                let mut unblock = encoder();
                block_on(unblock.flush()).unwrap();
            }
            "a pool that is shut down" => {
                let pool = Pool::builder().max_threads(1).core_threads(1).build().unwrap();
                pool.shutdown().wait();
                let value = Slow(std::fs::File::create(path()).unwrap());
                let mut unblock = Unblock::with_capacity(1 << 20, value).on(&pool);
                block_on(unblock.write_all(&bytes())).unwrap();
            }
            "the global pool shut down" => {
                std::mem::forget(slow());
                drop(Pool::global().shutdown());
            }
            "a task exits" => {
                let unblock = slow();
                let _ = sidestep::spawn(|| exit(0)).wait();
                drop(unblock);
            }
            "a thread exits" => {
                std::mem::forget(slow());
                let _ = std::thread::spawn(|| exit(0)).join();
            }
            "a destructor exits" => {
                struct Exits;
                impl Drop for Exits {
                    fn drop(&mut self) {
                        exit(0);
                    }
                }
                let (_unblock, _exits) = (slow(), Exits);
            }
            "a callback exits" => {
                std::mem::forget(slow());
                sidestep::spawn(|| ()).on_complete(|_| exit(0));
                std::thread::sleep(Duration::MAX);
            }
            "behind a busy pool" => {
                for _ in 0..64 {
                    sidestep::spawn(|| std::thread::sleep(Duration::MAX)).detach();
                }
                drop(slow());
            }
            other => unreachable!("{other}"),
        });
        check(case, left);
    }
}

#[test]
fn what_was_printed_is_there() {
    let Some(child) = start_with("", |command| command) else {
        let mut out = sidestep::io::stdout();
        for number in 0..2000 {
            block_on(out.write_all(format!("line {number}\n").as_bytes())).unwrap();
        }
        block_on(sidestep::io::stderr().write_all(b"the last words\n")).unwrap();
        exit(0);
    };
    let end = child.end();
    assert!(end.output.contains("line 1999\n"), "{}", end.output);
    assert!(end.output.contains("the last words\n"));
}

/// Whether the end came within so much time of the one that was asked for.
fn timed(case: &str, body: impl FnOnce(&str)) -> Option<Duration> {
    let begun = Instant::now();
    let Some(child) = start_with(case, |command| command.stdin(Stdio::null())) else {
        body(&crate::child::case());
        exit(0)
    };
    let end = child.end();
    assert!(end.status.success(), "{case}: {}\n{}", end.status, end.output);
    Some(begun.elapsed())
}

/// A writer that hangs as long as the process is there.
struct Hangs;

impl Write for Hangs {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        std::thread::sleep(Duration::MAX);
        Ok(0)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_write_that_hangs_ends_the_wait_by_its_time() {
    let hang = |milliseconds: u64| {
        sidestep::io::set_exit_timeout(Duration::from_millis(milliseconds));
        let mut unblock = Unblock::new(Hangs);
        block_on(unblock.write_all(b"never taken")).unwrap();
        std::mem::forget(unblock);
    };
    let short = timed("0", |case| hang(case.parse().unwrap())).unwrap();
    let long = timed("1500", |case| hang(case.parse().unwrap())).unwrap();
    assert!(long >= Duration::from_millis(1500), "{long:?}");
    assert!(short < Duration::from_millis(1500), "it waits for nothing: {short:?}");
}

/// A writer whose write exits the process, by itself or by way of another thread.
struct Exits(bool);

impl Write for Exits {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        if self.0 { exit(0) } else { Err(io::ErrorKind::StorageFull.into()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// With the time of a minute, in which the limit of the test would not pass.
#[test]
fn nothing_is_waited_for_that_cannot_come() {
    let cases = [
        "inside its own write",
        "inside a call",
        "after an error",
        "poisoned",
        "read only",
        "a child that was forked",
    ];
    for case in cases {
        let time = timed(case, |case| {
            sidestep::io::set_exit_timeout(Duration::from_secs(60));
            match case {
                "inside its own write" => {
                    let mut unblock = Unblock::new(Exits(true));
                    block_on(unblock.write_all(b"x")).unwrap();
                    std::thread::sleep(Duration::MAX);
                }
                "inside a call" => exits_in_a_call(),
                "after an error" => {
                    let mut unblock = Unblock::new(Exits(false));
                    block_on(unblock.write_all(b"x")).unwrap();
                    assert!(block_on(unblock.flush()).is_err());
                    let _ = block_on(unblock.write_all(b"x"));
                    // The next attempt fails too, and its error is kept for the next call.
                    std::mem::forget(unblock);
                }
                "poisoned" => {
                    struct Panics;
                    impl Write for Panics {
                        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                            std::panic::resume_unwind(Box::new("no"))
                        }
                        fn flush(&mut self) -> io::Result<()> {
                            Ok(())
                        }
                    }
                    let mut unblock = Unblock::new(Panics);
                    let _ = block_on(unblock.write_all(b"x"));
                    assert!(block_on(unblock.flush()).is_err());
                    std::mem::forget(unblock);
                }
                "read only" => {
                    use futures_lite::AsyncReadExt;
                    let (reader, writer) = io::pipe().unwrap();
                    let mut unblock = Unblock::new(reader);
                    let read = block_on(futures_lite::future::poll_once(unblock.read(&mut [0])));
                    assert!(read.is_none());
                    std::mem::forget((unblock, writer));
                }
                _ => forked(),
            }
        });
        assert!(time.unwrap() < Duration::from_secs(50), "{case}: {time:?}");
    }
}

/// The caller asks once more while the closure runs.
fn exits_in_a_call() {
    let mut unblock = Unblock::new(Exits(false));
    let (begun, has_begun) = std::sync::mpsc::channel();
    let (asked, was_asked) = std::sync::mpsc::channel();
    block_on(async {
        let _ = unblock.write_all(b"x").await;
        assert!(unblock.flush().await.is_err());
        assert_eq!(unblock.unwritten().await.unwrap(), b"x");
        let call = unblock.with_mut(move |_| {
            begun.send(()).unwrap();
            was_asked.recv().unwrap();
            exit(0)
        });
        let mut call = std::pin::pin!(call);
        assert!(futures_lite::future::poll_once(&mut call).await.is_none());
        has_begun.recv().unwrap();
        assert!(futures_lite::future::poll_once(&mut call).await.is_none());
        asked.send(()).unwrap();
        std::future::pending::<()>().await;
    });
}

/// The parent's write hangs; the child that it forks exits at once, and keeps its own bytes.
#[cfg(unix)]
fn forked() {
    let mut unblock = Unblock::new(Hangs);
    block_on(unblock.write_all(b"never taken")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("child");
    // SAFETY: the child runs this crate's code, which is meant to stand that, and exits.
    match unsafe { libc::fork() } {
        0 => {
            let open = std::fs::File::create(&file).unwrap();
            let mut own = Unblock::with_capacity(1 << 20, Slow(open));
            block_on(own.write_all(&bytes())).unwrap();
            std::mem::forget((own, unblock));
            exit(7)
        }
        child => {
            let mut status = 0;
            // SAFETY: the child is this process's own.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert_eq!(libc::WEXITSTATUS(status), 7);
            assert!(std::fs::read(&file).unwrap() == bytes(), "the child keeps its own");
        }
    }
    sidestep::io::set_exit_timeout(Duration::ZERO);
    std::mem::forget(unblock);
}

#[cfg(not(unix))]
fn forked() {}

/// Many threads exit at the same time, tasks among them.
#[test]
fn many_exits_at_once_keep_the_bytes() {
    for _ in 0..5 {
        let left = left_by("", |_| {
            std::mem::forget(slow());
            for _ in 0..4 {
                sidestep::spawn(|| exit(0)).detach();
                std::thread::spawn(|| exit(0));
            }
            std::thread::sleep(Duration::MAX);
        });
        check("", left);
    }
}
