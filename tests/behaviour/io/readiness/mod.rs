//! What may never be ready: pipes, sockets, terminals, devices. It is waited for without a thread
//! of the pool. Tests that count threads or descriptors run in a process of their own.
#![cfg(target_os = "linux")]

mod ends;
pub(super) mod kinds;
mod odd;

use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::thread;

use futures_io::AsyncRead;
use futures_lite::future::{or, poll_once, zip};
use futures_util::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use sidestep::{Unblock, block_on, fs};

use self::kinds::{EIGHT, alone, descriptors, file, is_pending, kinds, tcp, terminal};
use crate::support::{Gate, PATIENCE, Wakes, eventually, nothing_happens, threads_called};

#[test]
fn what_comes_late_is_read_by_every_kind() {
    for (name, reader, mut writer) in kinds() {
        let mut reader = fs::File::from(reader);
        let mut buffer = [0; 8];
        assert!(is_pending(reader.read(&mut buffer)), "{name}");
        let gate = Gate::new();
        let feed = gate.clone();
        let feeder = thread::spawn(move || {
            feed.pass();
            writer.write_all(&EIGHT).unwrap();
            writer
        });
        block_on(async {
            let mut read = pin!(reader.read_exact(&mut buffer));
            assert!(poll_once(&mut read).await.is_none(), "{name}");
            gate.open();
            read.await.unwrap();
        });
        let _writer = feeder.join().unwrap();
        assert_eq!(buffer, EIGHT, "{name}");
        assert!(is_pending(reader.read(&mut buffer)), "{name}");
    }
}

#[test]
fn reads_that_are_given_up_leave_neither_threads_nor_descriptors() {
    alone("reads_that_are_given_up_leave_neither_threads_nor_descriptors", || {
        block_on(fs::read("/proc/self/stat")).unwrap();
        assert_eq!(threads_called("sidestep-io"), 0, "a regular file is not waited for");
        drop(fs::File::from(kinds().remove(0).1));
        let before = descriptors();
        for _ in 0..20 {
            let all: Vec<_> = kinds();
            for (name, reader, _writer) in all {
                let mut file = fs::File::from(reader);
                assert!(is_pending(file.read(&mut [0; 100])), "{name}");
                assert!(is_pending(futures_util::AsyncBufReadExt::fill_buf(&mut file)), "{name}");
            }
        }
        eventually("there is one thread", || threads_called("sidestep-io") == 1);
        assert!(descriptors() <= before + 1, "one for the thread: {} and {before}", descriptors());
        // None of the pool's two is held.
        for _ in 0..4 {
            block_on(fs::read("/proc/self/stat")).unwrap();
        }
    });
}

#[test]
fn a_thousand_reads_that_wait_take_one_thread() {
    alone("a_thousand_reads_that_wait_take_one_thread", || {
        let count = || std::fs::read_dir("/proc/self/task").unwrap().count();
        let before = count();
        let (reader, mut writer) = std::io::pipe().unwrap();
        let reader = Arc::new(file(reader));
        let mut waiting: Vec<_> = (0..1_000).map(|_| Unblock::new(Arc::clone(&reader))).collect();
        assert!(waiting.iter_mut().all(|handle| is_pending(handle.read(&mut [0]))));
        assert_eq!(count(), before + 1);
        writer.write_all(&[7; 1_000]).unwrap();
        for handle in &mut waiting {
            block_on(handle.read_exact(&mut [0])).unwrap();
        }
        assert_eq!(count(), before + 1);
    });
}

/// As many as there may be descriptors, and many on one of them.
#[test]
fn tens_of_thousands_wait_at_once_and_all_are_woken() {
    alone("tens_of_thousands_wait_at_once_and_all_are_woken", || {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `limit` is valid for writing.
        unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
        limit.rlim_cur = limit.rlim_max.min(10_100);
        // SAFETY: `limit` is valid for reading.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
        let many = usize::try_from(limit.rlim_cur).unwrap() - 100;
        let (reader, mut writer) = std::io::pipe().unwrap();
        let reader = Arc::new(file(reader));
        let shared = (0..10_000).map(|_| Arc::clone(&reader));
        let own = (0..many).map(|_| Arc::new(reader.try_clone().unwrap()));
        let mut handles: Vec<_> = shared.chain(own).map(Unblock::new).collect();
        let wakes = Wakes::new();
        let waker = Waker::from(Arc::clone(&wakes));
        let poll = |handle: &mut Unblock<Arc<File>>| {
            Pin::new(handle).poll_read(&mut Context::from_waker(&waker), &mut [0; 1])
        };
        assert!(handles.iter_mut().all(|handle| poll(handle).is_pending()));
        let all = handles.len();
        let feeder = thread::spawn(move || writer.write_all(&vec![7; all]).map(|()| writer));
        eventually("all are woken", || wakes.count() >= all);
        let mut waiting: Vec<_> = handles.iter_mut().collect();
        let begin = std::time::Instant::now();
        while !waiting.is_empty() {
            waiting.retain_mut(|handle| poll(handle).is_pending());
            assert!(begin.elapsed() < PATIENCE, "{} wait for ever", waiting.len());
        }
        drop(feeder.join().unwrap().unwrap());
        drop(handles);
    });
}

#[test]
fn both_directions_go_at_once() {
    let ([one, other], [near, far], [master, slave]) = (
        UnixStream::pair().map(|(one, other)| [file(one), file(other)]).unwrap(),
        tcp().map(file),
        terminal(),
    );
    for (this, mut peer) in [(one, other), (near, far), (slave, master)] {
        let mut this = fs::File::from(this);
        assert!(is_pending(this.read(&mut [0; 8])));
        block_on(this.write_all(b"x")).unwrap();
        block_on(this.flush()).unwrap();
        peer.read_exact(&mut [0]).unwrap();
        // Much, while a read waits in the other half.
        let (mut reader, mut writer) = this.split();
        let peer = thread::spawn(move || {
            let mut got = vec![0; 300_000];
            for part in got.chunks_mut(1_000) {
                peer.read_exact(part).unwrap();
            }
            peer.write_all(b"all of it").unwrap();
            // A terminal forgets its input when the other end is closed.
            (got.iter().all(|byte| *byte == 7), peer)
        });
        let mut answer = [0; 9];
        let (read, written) = block_on(zip(reader.read_exact(&mut answer), writer.write_all(&[7; 300_000])));
        read.unwrap();
        written.unwrap();
        assert_eq!(&answer, b"all of it");
        assert!(peer.join().unwrap().0);
    }
}

/// The other end of a pseudo-terminal takes little at a time.
#[test]
fn a_pseudo_terminal_is_written_to_while_it_is_read() {
    let [master, mut slave] = terminal();
    let master = fs::File::from(master);
    let (mut reader, mut writer) = master.split();
    let program = thread::spawn(move || {
        let mut part = [0; 1_000];
        for _ in 0..50 {
            slave.read_exact(&mut part).unwrap();
            slave.write_all(&part).unwrap();
        }
        slave
    });
    let mut answer = vec![0; 50_000];
    let (read, written) = block_on(zip(reader.read_exact(&mut answer), writer.write_all(&[7; 50_000])));
    read.unwrap();
    written.unwrap();
    assert!(answer.iter().all(|byte| *byte == 7));
    drop(program.join().unwrap());
}

#[test]
fn reads_that_are_dropped_half_way_lose_nothing() {
    for (name, reader, mut writer) in kinds().into_iter().filter(|kind| kind.0 != "event") {
        let mut reader = fs::File::from(reader);
        let sent: Vec<u8> = (0..20_000_u32).map(|place| (place % 251) as u8).collect();
        let bytes = sent.clone();
        let feeder = thread::spawn(move || {
            for part in bytes.chunks(97) {
                writer.write_all(part).unwrap();
            }
            writer
        });
        let mut got = Vec::new();
        let mut size = 0;
        while got.len() < sent.len() {
            size = size % 1_000 + 1;
            let mut buffer = vec![0; size];
            // Every other one is dropped if it has to wait.
            let read = match size % 2 {
                0 => block_on(poll_once(reader.read(&mut buffer))),
                _ => Some(block_on(reader.read(&mut buffer))),
            };
            got.extend_from_slice(&buffer[..read.map_or(0, |read| read.unwrap())]);
        }
        assert!(got == sent, "{name}");
        drop(feeder.join().unwrap());
    }
}

/// Only what the caller asks for: the rest stays in the pipe, for others that have it.
#[test]
fn no_more_is_read_than_is_asked_for() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut other = reader.try_clone().unwrap();
    let mut handle = Unblock::new(reader);
    writer.write_all(b"abcdef").unwrap();
    block_on(handle.read_exact(&mut [0; 2])).unwrap();
    let mut next = [0; 2];
    other.read_exact(&mut next).unwrap();
    assert_eq!(&next, b"cd");
    let mut value = block_on(handle.into_inner()).unwrap();
    drop(writer);
    let mut rest = String::new();
    value.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "ef");
}

#[test]
fn lines_of_a_child_arrive_and_end() {
    let mut child = Command::new("sh")
        .args(["-c", "read line; echo \"got $line\"; seq 1 20000; echo oops >&2"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = Unblock::new(child.stdin.take().unwrap());
    let mut output = Unblock::new(child.stdout.take().unwrap());
    let mut errors = Unblock::new(child.stderr.take().unwrap());
    block_on(async {
        let mut line = String::new();
        assert!(poll_once(output.read_line(&mut line)).await.is_none());
        let slices = [IoSlice::new(b"a "), IoSlice::new(b"line\n")];
        assert_eq!(input.write_vectored(&slices).await.unwrap(), 7);
        let mut all = String::new();
        let mut error = String::new();
        let (output, errors) = zip(output.read_to_string(&mut all), errors.read_to_string(&mut error)).await;
        output.unwrap();
        errors.unwrap();
        assert!(all.starts_with("got a line\n1\n2\n"), "{}", &all[..40]);
        assert!(all.ends_with("\n20000\n"));
        assert_eq!(error, "oops\n");
    });
    assert!(child.wait().unwrap().success());
}

/// What is not known to be ready is never waited for in vain: of two that wait one is served.
#[test]
fn of_two_readers_each_gets_what_the_other_leaves() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut first = Unblock::new(reader.try_clone().unwrap());
    let mut second = Unblock::new(reader);
    block_on(async {
        let (mut one, mut two) = ([0; 1], [0; 1]);
        let both = zip(first.read_exact(&mut one), second.read_exact(&mut two));
        let mut both = pin!(both);
        assert!(poll_once(&mut both).await.is_none());
        writer.write_all(b"a").unwrap();
        let timer = async {
            nothing_happens();
            writer.write_all(b"b").unwrap();
            std::future::pending().await
        };
        let (one_end, two_end) = or(both, timer).await;
        one_end.unwrap();
        two_end.unwrap();
        let mut got = [one[0], two[0]];
        got.sort_unstable();
        assert_eq!(&got, b"ab");
    });
}
