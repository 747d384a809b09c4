//! `process`: children that are run to their ends, waited for without threads, and killed where
//! nothing waits for them any more.

use std::cell::RefCell;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, TryRecvError};
use std::thread;

use futures_lite::future::poll_once;
use futures_util::future::join_all;
use sidestep::{Pool, block_on, process};

use crate::support::alone::alone_as;
use crate::support::{eventually, nothing_happens};

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::null());
    command
}

/// Whether there is a process of this number, be it one that has ended and is not reaped.
fn exists(id: i32) -> bool {
    // SAFETY: no memory; signal 0 is none.
    unsafe { libc::kill(id, 0) == 0 }
}

/// The number that a script has written to a file, once it is whole.
fn written(path: &Path) -> i32 {
    eventually("the child has started", || fs::read_to_string(path).is_ok_and(|text| text.ends_with('\n')));
    fs::read_to_string(path).unwrap().trim().parse().unwrap()
}

#[test]
fn the_output_is_all_that_was_written_to_each_stream() {
    // More than fits into a pipe, to both at once.
    let script =
        "head -c 300000 /dev/zero >&2; head -c 500000 /dev/zero; head -c 200000 /dev/zero >&2; exit 7";
    let output = block_on(process::output(shell(script))).unwrap();
    assert_eq!((output.stdout.len(), output.stderr.len()), (500_000, 500_000));
    assert_eq!(output.status.code(), Some(7));
    let nothing = block_on(process::output(shell(":"))).unwrap();
    assert!(nothing.status.success() && nothing.stdout.is_empty() && nothing.stderr.is_empty());
}

#[test]
fn a_status_is_that_of_the_child() {
    let status = |script| block_on(process::status(shell(script))).unwrap();
    assert!(status("exit 0").success());
    assert_eq!(status("exit 3").code(), Some(3));
    assert_eq!(status("kill -9 $$").signal(), Some(9));
    assert_eq!(status("kill -TERM $$; sleep 1000").signal(), Some(15), "the child takes signals");
}

#[test]
fn what_cannot_be_started_is_an_error() {
    let none = || Command::new("/no/such/program");
    assert_eq!(block_on(process::output(none())).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(block_on(process::status(none())).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_pipe_to_the_child_is_closed_where_nothing_is_written_to_it() {
    let command = || {
        let mut command = Command::new("cat");
        command.stdin(Stdio::piped());
        command
    };
    assert!(block_on(process::status(command())).unwrap().success());
    let output = block_on(process::output(command())).unwrap();
    assert!(output.status.success() && output.stdout.is_empty());
}

#[test]
fn a_status_does_not_wait_for_a_reader_of_the_child_s_pipes() {
    let mut command = shell("head -c 300000 /dev/zero >&2; head -c 300000 /dev/zero; echo end >&2; exit 7");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    assert_eq!(block_on(process::status(command)).unwrap().code(), Some(7), "and no signal of a lost pipe");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("grandchild");
    let mut command = shell(&format!("sleep 1000 2>&- & echo $! > {}; exit 8", path.display()));
    command.stdout(Stdio::piped());
    assert_eq!(block_on(process::status(command)).unwrap().code(), Some(8));
    let grandchild = written(&path);
    assert!(exists(grandchild), "it has the pipe");
    // SAFETY: no memory.
    unsafe { libc::kill(grandchild, libc::SIGKILL) };
}

#[test]
fn a_child_that_closes_its_pipes_is_waited_for() {
    let output = block_on(process::output(shell("echo out; exec >&- 2>&-; sleep 0.2; exit 9"))).unwrap();
    assert_eq!((output.status.code(), &*output.stdout), (Some(9), &b"out\n"[..]));
}

/// Where a program ignores `SIGCHLD` the system reaps its children, and their numbers may be those
/// of others at once.
#[cfg(target_os = "linux")]
#[test]
fn a_child_that_the_system_reaps_is_an_error_and_is_killed_if_it_runs() {
    alone_as("process::a_child_that_the_system_reaps_is_an_error_and_is_killed_if_it_runs", &[], || {
        // SAFETY: no handler.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        let dir = tempfile::tempdir().unwrap();
        let error = block_on(process::status(shell("exit 3"))).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ECHILD));
        let error = block_on(process::output(shell("echo lost"))).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ECHILD));
        let path = dir.path().join("number");
        let command = shell(&format!("echo $$ > {}; exec sleep 1000", path.display()));
        block_on(async {
            let mut running = pin!(process::status(command));
            while !path.exists() {
                assert!(poll_once(running.as_mut()).await.is_none());
                thread::yield_now();
            }
            // Before it is killed.
            written(&path);
        });
        let id = written(&path);
        eventually("it is killed", || !exists(id));
        // A tool that looks for leaks at the exit waits for a child of its own.
        // SAFETY: no handler.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    });
}

#[test]
fn standard_input_is_what_the_command_says() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("in"), "some bytes").unwrap();
    let mut command = Command::new("cat");
    command.stdin(fs::File::open(dir.path().join("in")).unwrap());
    assert_eq!(block_on(process::output(command)).unwrap().stdout, b"some bytes");
}

#[test]
fn a_future_that_is_dropped_kills_its_child_and_reaps_it() {
    let dir = tempfile::tempdir().unwrap();
    for (number, takes_output) in [true, false].into_iter().enumerate() {
        let path = dir.path().join(number.to_string());
        let command = shell(&format!("echo $$ > {}; exec sleep 1000", path.display()));
        block_on(async {
            let running = async {
                match takes_output {
                    true => process::output(command).await.map(drop),
                    false => process::status(command).await.map(drop),
                }
            };
            let mut running = pin!(running);
            let id = loop {
                assert!(poll_once(running.as_mut()).await.is_none());
                if path.exists() {
                    break written(&path);
                }
                thread::yield_now();
            };
            assert!(exists(id));
            // The end of this block drops the future.
        });
        let id = written(&path);
        eventually("it is killed and reaped", || !exists(id));
    }
}

#[test]
fn nothing_is_started_before_the_first_poll() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("started");
    let command = || shell(&format!("echo $$ > {}", path.display()));
    drop((process::output(command()), process::status(command())));
    nothing_happens();
    assert!(!path.exists());
}

#[test]
fn the_output_is_whole_although_a_grandchild_has_the_pipe() {
    let output = block_on(process::output(shell("(sleep 0.2; echo late) & echo soon"))).unwrap();
    assert_eq!(output.stdout, b"soon\nlate\n");
}

#[cfg(target_os = "linux")]
#[test]
fn many_children_are_waited_for_without_a_thread_each() {
    alone_as("process::many_children_are_waited_for_without_a_thread_each", &[], || {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("go");
        let made = Command::new("mkfifo").arg(&fifo).status().unwrap();
        assert!(made.success());
        // Each writes its line, and waits until the pipe has a writer that goes away.
        let script = format!("echo here; read line < {}; exit 5", fifo.display());
        let children = join_all((0..60).map(|_| process::output(shell(&script))));
        let pool = Pool::global();
        let mut children = pin!(children);
        let starting = RefCell::new(children.as_mut());
        let begun = pool.metrics().tasks_submitted();
        eventually("all have started", || {
            assert!(block_on(poll_once(starting.borrow_mut().as_mut())).is_none());
            let metrics = pool.metrics();
            metrics.tasks_submitted() >= begun + 60 && metrics.tasks_running() + metrics.tasks_queued() == 0
        });
        let threads = pool.metrics().threads();
        assert!(threads < 30, "{threads} threads for 60 children");
        let go = fs::File::options().write(true).open(&fifo).unwrap();
        drop(go);
        // One that opens the pipe only now waits for the next writer.
        let (end, ended) = mpsc::channel::<()>();
        let writer = thread::spawn(move || {
            while ended.try_recv() == Err(TryRecvError::Empty) {
                // An error where nothing waits.
                let _ = fs::File::options().write(true).custom_flags(libc::O_NONBLOCK).open(&fifo);
                thread::yield_now();
            }
        });
        for output in block_on(children) {
            let output = output.unwrap();
            assert_eq!((output.status.code(), &*output.stdout), (Some(5), &b"here\n"[..]));
        }
        drop(end);
        writer.join().unwrap();
    });
}
