//! The standard output. Each test runs in a process of its own, this binary again, with a pipe as
//! its output.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, PipeReader, Read};
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::process::Stdio;

use futures_lite::future::poll_once;
use futures_util::AsyncWriteExt;
use sidestep::io::{stderr, stdout};
use sidestep::{block_on, fs};

use crate::support::alone::MAX;

const MARK: &str = "SIDESTEP_TEST_STDOUT";
const READY: &str = "ready for more";
const SIZE: usize = 500_000;

fn set_non_blocking(file: &impl AsRawFd) {
    // SAFETY: no memory.
    assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) }, 0);
}

/// Runs `body` as the test `name`, whose standard output is a pipe, and checks that as much comes
/// out as is written. The pipe is read only once the process has said that it is ready, and the
/// process may end only once all has been read.
fn with_output(name: &str, non_blocking: bool, body: impl FnOnce()) {
    if std::env::var_os(MARK).is_some() {
        body();
        // The harness writes to the output too, and would not wait for room.
        let _ = std::io::stdin().read(&mut [0]).unwrap();
        return;
    }
    let (mut reader, writer): (PipeReader, _) = std::io::pipe().unwrap();
    if non_blocking {
        set_non_blocking(&writer);
    }
    let mut command = crate::support::alone::this_program();
    command.args([&format!("io::stdout::{name}"), "--exact", "--nocapture"]).env(MARK, "1").env(MAX, "1");
    let mut child = command.stdin(Stdio::piped()).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    drop(command);
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains(READY) {
        line.clear();
        assert_ne!(errors.read_line(&mut line).unwrap(), 0, "the process has ended");
    }
    let (mut got, mut part) = (Vec::new(), [0; 1_000]);
    while got.iter().filter(|byte| **byte == b'~').count() < SIZE {
        let count = reader.read(&mut part).unwrap();
        assert_ne!(count, 0, "{}", String::from_utf8_lossy(&got[got.len().saturating_sub(500)..]));
        got.extend_from_slice(&part[..count]);
    }
    drop(child.stdin.take());
    reader.read_to_end(&mut got).unwrap();
    assert!(child.wait().unwrap().success());
    let text = String::from_utf8(got).unwrap();
    assert!(text.contains("before~") && text.contains("~after"), "the order is that of the flushes");
}

/// The pipe is full, and the only thread of the pool is free.
fn write_more_than_there_is_room_for() {
    let mut out = stdout();
    block_on(async {
        print!("before");
        std::io::Write::flush(&mut std::io::stdout()).unwrap();
        let bytes = vec![b'~'; SIZE];
        let mut write = pin!(out.write_all(&bytes));
        assert!(poll_once(&mut write).await.is_none());
        fs::read("/proc/self/stat").await.unwrap();
        let mut errors = stderr();
        errors.write_all(format!("{READY}\n").as_bytes()).await.unwrap();
        errors.flush().await.unwrap();
        write.await.unwrap();
        out.flush().await.unwrap();
        out.write_all(b"after").await.unwrap();
        out.close().await.unwrap();
        assert!(out.write(b"x").await.is_err(), "the handle was closed");
        stdout().flush().await.unwrap();
    });
}

#[test]
fn a_full_pipe_holds_no_thread() {
    with_output("a_full_pipe_holds_no_thread", false, write_more_than_there_is_room_for);
}

#[test]
fn an_output_in_non_blocking_mode_is_waited_for() {
    with_output("an_output_in_non_blocking_mode_is_waited_for", true, write_more_than_there_is_room_for);
}
