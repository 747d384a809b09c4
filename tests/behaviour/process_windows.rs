//! `process` on Windows: children are this binary again.

use std::io::ErrorKind;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, TryRecvError};
use std::thread;

use sidestep::{block_on, process};

use crate::support::alone::MARK;
use crate::support::nothing_happens;

/// The test of this name, which is a child's part, in a process of its own.
fn part(name: &str) -> Command {
    let mut command = crate::support::alone::this_program();
    let path = format!("process_windows::{name}");
    command.args([&path, "--exact", "--nocapture"]).env(MARK, "1").stdin(Stdio::null());
    command
}

fn is_child() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Writes more than fits into a pipe, to both streams.
#[test]
fn part_that_writes() {
    if is_child() {
        use std::io::Write;
        for _ in 0..100 {
            std::io::stdout().write_all(&[b'o'; 3000]).unwrap();
            std::io::stderr().write_all(&[b'e'; 3000]).unwrap();
        }
    }
}

/// Ends when its standard input does.
#[test]
fn part_that_reads() {
    if is_child() {
        let count = std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
        std::process::exit(if count == 0 { 7 } else { 8 });
    }
}

#[test]
fn the_output_is_all_that_was_written_to_each_stream() {
    let output = block_on(process::output(part("part_that_writes"))).unwrap();
    let count = |bytes: &[u8], of| bytes.iter().filter(|&&byte| byte == of).count();
    assert!(output.status.success());
    assert!(count(&output.stdout, b'o') >= 300_000, "with those of the report of the test");
    assert!(count(&output.stderr, b'e') >= 300_000);
}

#[test]
fn a_status_is_that_of_the_child() {
    let mut quiet = part("part_that_writes");
    quiet.stdout(Stdio::null()).stderr(Stdio::null());
    assert!(block_on(process::status(quiet)).unwrap().success());
    let mut reader = part("part_that_reads");
    reader.stdin(Stdio::piped());
    let status = block_on(process::status(reader)).unwrap();
    assert_eq!(status.code(), Some(7), "its pipe is closed");
}

#[test]
fn what_cannot_be_started_is_an_error() {
    let none = || Command::new("no such program");
    assert_eq!(block_on(process::output(none())).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(block_on(process::status(none())).unwrap_err().kind(), ErrorKind::NotFound);
}

/// The child ends when a pipe does that the test has.
#[test]
fn a_status_is_there_when_the_child_has_ended_and_not_before() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = part("part_that_reads");
    command.stdin(reader).stdout(Stdio::null());
    let (send, ended) = mpsc::channel();
    let waits = thread::spawn(move || send.send(block_on(process::status(command)).unwrap().code()).unwrap());
    nothing_happens();
    assert_eq!(ended.try_recv(), Err(TryRecvError::Empty));
    drop(writer);
    assert_eq!(ended.recv().unwrap(), Some(7));
    waits.join().unwrap();
}
