//! The standard input. Each test runs in a process of its own, this binary again, with a pipe as
//! its input.

use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use futures_io::AsyncRead;
use futures_lite::AsyncReadExt;
use sidestep::block_on;
use sidestep::io::{Stdin, stdin};

use crate::support::{PATIENCE, Wakes, eventually, nothing_happens};

const MARK: &str = "SIDESTEP_TEST_STDIN";
const READY: &str = "ready for more";

/// The process with the test in it.
struct Tested {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Tested {
    fn write(&mut self, text: &str) {
        self.input.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn close(&mut self) {
        self.input = None;
    }

    /// Waits until the process says that it is ready.
    fn ready(&mut self) {
        let mut line = String::new();
        while !line.contains(READY) {
            line.clear();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the process has ended");
        }
    }

    /// The process must end by itself, and well, though its input is still open.
    fn end(mut self) {
        let begin = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            if begin.elapsed() > PATIENCE {
                self.child.kill().unwrap();
                panic!("the process does not end");
            }
            std::thread::yield_now();
        }
        let mut text = String::new();
        self.output.read_to_string(&mut text).unwrap();
        assert!(self.child.wait().unwrap().success(), "{text}");
        assert!(text.contains("1 passed"), "the test is called otherwise: {text}");
    }
}

/// Runs `body` as the test `name` in a process of its own, whose input `feed` writes.
fn with_input(name: &str, feed: impl FnOnce(&mut Tested), body: impl FnOnce()) {
    with_input_from(name, Stdio::piped(), feed, body);
}

/// As [`with_input`], with another input than a pipe.
fn with_input_from(name: &str, input: Stdio, feed: impl FnOnce(&mut Tested), body: impl FnOnce()) {
    if std::env::var_os(MARK).is_some() {
        return body();
    }
    let mut command = crate::support::alone::this_program();
    command.args([&format!("io::stdin::{name}"), "--exact", "--nocapture"]).env(MARK, "1");
    let mut child = command.stdin(input).stdout(Stdio::piped()).spawn().unwrap();
    let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
    let mut tested = Tested { child, input, output };
    feed(&mut tested);
    tested.end();
}

fn say_ready() {
    println!("\n{READY}");
}

fn poll_read(handle: &mut Stdin, into: &mut [u8], waker: &Waker) -> Poll<std::io::Result<usize>> {
    AsyncRead::poll_read(std::pin::Pin::new(handle), &mut Context::from_waker(waker), into)
}

/// Waits for bytes that are to be `expected`.
fn expect(handle: &mut Stdin, expected: &str) {
    let mut bytes = vec![0; expected.len()];
    block_on(handle.read_exact(&mut bytes)).unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), expected);
}

fn expect_end(handle: &mut Stdin) {
    assert_eq!(block_on(handle.read(&mut [0; 9])).unwrap(), 0);
}

#[test]
fn lines_that_are_piped_in_arrive() {
    let lines: String = (0..20_000).map(|line| format!("line {line}\n")).collect();
    let all = lines.clone();
    with_input(
        "lines_that_are_piped_in_arrive",
        |tested| {
            tested.write(&lines);
            tested.close();
        },
        || {
            let mut got = String::new();
            block_on(stdin().read_to_string(&mut got)).unwrap();
            assert!(got == all);
            expect_end(&mut stdin());
        },
    );
}

#[test]
fn a_read_that_is_dropped_loses_nothing() {
    with_input(
        "a_read_that_is_dropped_loses_nothing",
        |tested| {
            tested.ready();
            tested.write("hello ");
            tested.ready();
            tested.write("world");
        },
        || {
            let mut first = stdin();
            let mut bytes = [0; 100];
            let wakes = Wakes::new();
            assert!(poll_read(&mut first, &mut bytes, &Waker::from(Arc::clone(&wakes))).is_pending());
            say_ready();
            eventually("the bytes are there", || wakes.count() == 1);
            drop(first);
            expect(&mut stdin(), "hello ");
            let mut second = stdin();
            assert!(poll_read(&mut second, &mut bytes, Waker::noop()).is_pending());
            drop(second);
            say_ready();
            expect(&mut stdin(), "world");
        },
    );
}

#[test]
fn a_read_that_waits_does_not_hold_up_the_exit() {
    with_input(
        "a_read_that_waits_does_not_hold_up_the_exit",
        |_| (),
        || {
            let mut handle = stdin();
            assert!(poll_read(&mut handle, &mut [0; 9], Waker::noop()).is_pending());
            #[cfg(target_os = "linux")]
            eventually("it waits", || crate::support::threads_called("sidestep-io") == 1);
        },
    );
}

#[test]
fn everybody_who_waits_is_served() {
    with_input(
        "everybody_who_waits_is_served",
        |tested| {
            tested.ready();
            tested.write("ab");
            tested.ready();
            tested.close();
        },
        || {
            let (mut handles, wakes) = ([stdin(), stdin()], [Wakes::new(), Wakes::new()]);
            let mut into = [0; 1];
            for (handle, wakes) in handles.iter_mut().zip(&wakes) {
                assert!(poll_read(handle, &mut into, &Waker::from(Arc::clone(wakes))).is_pending());
            }
            say_ready();
            eventually("both are woken", || wakes.iter().all(|wakes| wakes.count() == 1));
            let [first, second] = &mut handles;
            expect(second, "a");
            expect(first, "b");
            let both_end = async {
                let (mut one, mut two) = ([0; 1], [0; 1]);
                let both = futures_util::future::join(first.read(&mut one), second.read(&mut two));
                let mut both = std::pin::pin!(both);
                assert!(futures_util::poll!(both.as_mut()).is_pending());
                say_ready();
                both.await
            };
            let (one, two) = block_on(both_end);
            assert_eq!((one.unwrap(), two.unwrap()), (0, 0));
        },
    );
}

#[test]
fn nothing_is_read_before_somebody_asks() {
    with_input(
        "nothing_is_read_before_somebody_asks",
        |tested| {
            tested.write("for std\n");
            tested.ready();
            tested.write("for us");
        },
        || {
            let mut handle = stdin();
            assert!(matches!(poll_read(&mut handle, &mut [], Waker::noop()), Poll::Ready(Ok(0))));
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).unwrap();
            assert_eq!(line, "for std\n");
            #[cfg(target_os = "linux")]
            assert_eq!(crate::support::threads_called("sidestep-stdin"), 0);
            say_ready();
            expect(&mut handle, "for us");
        },
    );
}

#[test]
fn a_regular_file_is_read_by_one_thread_and_no_pool() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"abc").unwrap();
    file.rewind().unwrap();
    with_input_from(
        "a_regular_file_is_read_by_one_thread_and_no_pool",
        file.into(),
        |_| (),
        || {
            for letter in ["a", "b", "c"] {
                expect(&mut stdin(), letter);
            }
            expect_end(&mut stdin());
            expect_end(&mut stdin());
            #[cfg(target_os = "linux")]
            {
                assert_eq!(crate::support::threads_called("sidestep-stdin"), 1);
                assert_eq!(crate::support::threads_called("sidestep"), 1);
            }
        },
    );
}

/// And what no handle asks for any more stays in the pipe.
#[cfg(target_os = "linux")]
#[test]
fn a_pipe_is_waited_for_without_a_thread_of_the_pool() {
    with_input(
        "a_pipe_is_waited_for_without_a_thread_of_the_pool",
        |tested| {
            tested.ready();
            tested.write("abc");
            tested.ready();
            tested.write("def");
            tested.close();
        },
        || {
            let (mut first, mut second) = (stdin(), stdin());
            for handle in [&mut first, &mut second] {
                assert!(poll_read(handle, &mut [0; 9], Waker::noop()).is_pending());
            }
            nothing_happens();
            assert_eq!(crate::support::threads_called("sidestep"), 1, "there is one that waits for all");
            drop((first, second));
            say_ready();
            let unread = || {
                let mut count: i32 = 0;
                // SAFETY: FIONREAD writes one int.
                unsafe { libc::ioctl(0, libc::FIONREAD, &raw mut count) };
                count
            };
            eventually("the bytes are in the pipe", || unread() == 3);
            nothing_happens();
            assert_eq!(unread(), 3, "there is no handle that asks");
            expect(&mut stdin(), "a");
            say_ready();
            expect(&mut stdin(), "bcdef");
            expect_end(&mut stdin());
            assert_eq!(crate::support::threads_called("sidestep-stdin"), 0);
        },
    );
}

/// The description is shared with the parent, which may want it so.
#[cfg(target_os = "linux")]
#[test]
fn a_standard_input_in_non_blocking_mode_is_waited_for() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    set_non_blocking(&reader);
    with_input_from(
        "a_standard_input_in_non_blocking_mode_is_waited_for",
        reader.into(),
        move |tested| {
            for part in [&b"abc"[..], b"def"] {
                tested.ready();
                writer.write_all(part).unwrap();
            }
        },
        || {
            let mut handle = stdin();
            for part in ["abc", "def"] {
                assert!(poll_read(&mut handle, &mut [0; 9], Waker::noop()).is_pending());
                say_ready();
                expect(&mut handle, part);
            }
            expect_end(&mut handle);
        },
    );
}

#[cfg(target_os = "linux")]
fn set_non_blocking(file: &impl std::os::fd::AsRawFd) {
    // SAFETY: no memory.
    assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) }, 0);
}

#[cfg(feature = "tokio")]
#[test]
fn it_is_a_reader_of_tokios_too() {
    with_input(
        "it_is_a_reader_of_tokios_too",
        |tested| {
            tested.ready();
            tested.write("abcd");
            tested.close();
        },
        || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let read = async |handle: &mut Stdin| {
                let mut bytes = [0; 3];
                let mut buffer = tokio::io::ReadBuf::new(&mut bytes);
                std::future::poll_fn(|context| {
                    tokio::io::AsyncRead::poll_read(std::pin::Pin::new(&mut *handle), context, &mut buffer)
                })
                .await
                .unwrap();
                buffer.filled().to_vec()
            };
            say_ready();
            let got = runtime.block_on(async {
                let mut handle = stdin();
                [read(&mut handle).await, read(&mut handle).await, read(&mut stdin()).await]
            });
            assert_eq!(got, [b"abc".to_vec(), b"d".to_vec(), Vec::new()]);
        },
    );
}

#[cfg(unix)]
#[test]
fn a_forked_child_gets_an_error() {
    with_input(
        "a_forked_child_gets_an_error",
        |tested| {
            tested.ready();
            tested.write("for the parent");
        },
        || {
            let mut handle = stdin();
            assert!(poll_read(&mut handle, &mut [0; 9], Waker::noop()).is_pending());
            let status = crate::support::fork::in_child(|list| {
                let told = block_on(handle.read(&mut [0; 9]));
                list.check(told.is_err_and(|error| error.to_string().contains("fork")));
                list.check(block_on(stdin().read(&mut [0; 9])).is_err());
                drop(handle);
            });
            assert_eq!(status, 0);
            say_ready();
            expect(&mut stdin(), "for the parent");
        },
    );
}
