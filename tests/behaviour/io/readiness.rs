//! What may never be ready: pipes, sockets, terminals, devices. It is waited for without a thread
//! of the pool. Tests that count threads or descriptors run in a process of their own.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::future::Future;
use std::io::{self, ErrorKind, IoSlice, PipeReader, PipeWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;

use futures_io::AsyncRead;
use futures_lite::future::{or, poll_once, zip};
use futures_util::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use sidestep::{Unblock, block_on, fs};

use crate::support::alone::{MAX, alone_as};
use crate::support::fork::in_child;
use crate::support::{Gate, PATIENCE, Wakes, eventually, nothing_happens, threads_called};

/// A descriptor that the system has just made, or of a value of another type.
fn made(fd: RawFd) -> File {
    assert!(fd >= 0, "{}", io::Error::last_os_error());
    // SAFETY: nothing else has the descriptor.
    unsafe { File::from_raw_fd(fd) }
}

fn file(owned: impl Into<OwnedFd>) -> File {
    File::from(owned.into())
}

/// Both ends of a pseudo-terminal, which echoes nothing.
fn terminal() -> [File; 2] {
    let (mut master, mut slave) = (0, 0);
    let (name, mode, size) = (std::ptr::null_mut(), std::ptr::null(), std::ptr::null());
    // SAFETY: two descriptors are written; no name is asked for, and nothing set.
    assert_eq!(unsafe { libc::openpty(&raw mut master, &raw mut slave, name, mode, size) }, 0);
    // SAFETY: plain numbers.
    let mut modes: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: `modes` is valid for writing.
    unsafe { libc::tcgetattr(slave, &raw mut modes) };
    // SAFETY: `modes` is valid for reading and writing.
    unsafe { libc::cfmakeraw(&raw mut modes) };
    // SAFETY: `modes` is valid for reading.
    assert_eq!(unsafe { libc::tcsetattr(slave, libc::TCSANOW, &raw const modes) }, 0);
    [made(master), made(slave)]
}

fn fifo() -> [File; 2] {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fifo");
    let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: a C string.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let both = File::options().read(true).write(true).open(&path).unwrap();
    [both, File::options().write(true).open(&path).unwrap()]
}

fn tcp() -> [TcpStream; 2] {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    [one, listener.accept().unwrap().0]
}

/// An eventfd; eight bytes written to it are there to be read.
fn event() -> [File; 2] {
    // SAFETY: numbers only.
    let one = made(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) });
    [one.try_clone().unwrap(), one]
}

/// What is read, and what makes it ready, for each kind that a `File` can be.
fn kinds() -> Vec<(&'static str, File, File)> {
    let (reader, writer) = std::io::pipe().unwrap();
    let (one, other) = UnixStream::pair().unwrap();
    let [near, far] = tcp();
    let ([fifo, fifo_writer], [event, event_writer]) = (fifo(), event());
    let ([master, slave], [far_master, near_slave]) = (terminal(), terminal());
    vec![
        ("pipe", file(reader), file(writer)),
        ("FIFO", fifo, fifo_writer),
        ("socket", file(one), file(other)),
        ("connection", file(near), file(far)),
        ("terminal", slave, master),
        ("pseudo-terminal", far_master, near_slave),
        ("event", event, event_writer),
    ]
}

const EIGHT: [u8; 8] = 7_u64.to_ne_bytes();

fn is_pending(read: impl Future) -> bool {
    block_on(poll_once(read)).is_none()
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// With a pool of two threads.
fn alone(name: &str, body: impl FnOnce()) {
    alone_as(&format!("io::readiness::{name}"), &[(MAX, "2")], body);
}

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
        assert_eq!(threads_called("sidestep-io"), 1);
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
            got.iter().all(|byte| *byte == 7)
        });
        let mut answer = [0; 9];
        let (read, written) = block_on(zip(reader.read_exact(&mut answer), writer.write_all(&[7; 300_000])));
        read.unwrap();
        written.unwrap();
        assert_eq!(&answer, b"all of it");
        assert!(peer.join().unwrap());
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
        input.write_vectored(&[IoSlice::new(b"a "), IoSlice::new(b"line\n")]).await.unwrap();
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

fn cat() -> std::process::Child {
    Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

#[test]
fn closing_ends_a_childs_input() {
    let mut child = cat();
    let mut stdin = Unblock::new(child.stdin.take().unwrap());
    let mut stdout = Unblock::new(child.stdout.take().unwrap());
    let text: Vec<u8> = (0..200_000_u32).map(|place| (place % 251) as u8).collect();
    block_on(async {
        let mut echo = Vec::new();
        let write = async {
            futures_util::io::copy(&text[..], &mut stdin).await.unwrap();
            stdin.close().await.unwrap();
        };
        zip(write, async { stdout.read_to_end(&mut echo).await.unwrap() }).await;
        assert!(echo == text);
        let error = stdin.write(b"more").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        assert!(error.to_string().contains("closed"), "{error}");
        assert_eq!(stdin.with_mut(|_| ()).await.unwrap_err().kind(), ErrorKind::NotConnected);
        assert_eq!(stdin.get_mut().await.unwrap_err().kind(), ErrorKind::NotConnected);
        stdin.flush().await.unwrap();
        stdin.close().await.unwrap();
        assert_eq!(stdin.into_inner().await.unwrap_err().error().kind(), ErrorKind::NotConnected);
    });
    assert!(child.wait().unwrap().success());
}

#[cfg(feature = "tokio")]
#[test]
fn shutdown_through_tokio_ends_a_childs_input() {
    use tokio::io::AsyncWriteExt;

    let mut child = cat();
    let mut stdin = Unblock::new(child.stdin.take().unwrap());
    let mut stdout = Unblock::new(child.stdout.take().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        tokio::io::copy(&mut &b"hello"[..], &mut stdin).await.unwrap();
        stdin.shutdown().await.unwrap();
        let mut echo = String::new();
        stdout.read_to_string(&mut echo).await.unwrap();
        assert_eq!(echo, "hello");
    });
    assert!(child.wait().unwrap().success());
}

/// Of each kind, through `fs::File`: also where a clone of the socket is still open.
#[test]
fn closing_lets_the_peer_see_the_end() {
    let (reader, writer) = std::io::pipe().unwrap();
    let (one, other) = UnixStream::pair().unwrap();
    let [near, far] = tcp();
    let clone = near.try_clone().unwrap();
    for (this, mut peer) in [(file(writer), file(reader)), (file(one), file(other)), (file(near), file(far))]
    {
        let mut this = fs::File::from(this);
        block_on(this.write_all(b"last words")).unwrap();
        block_on(this.close()).unwrap();
        let mut all = String::new();
        peer.read_to_string(&mut all).unwrap();
        assert_eq!(all, "last words");
        for error in [
            block_on(this.write(b"x")).unwrap_err(),
            block_on(this.read(&mut [0])).unwrap_err(),
            block_on(this.metadata()).unwrap_err(),
            block_on(this.sync_all()).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::NotConnected);
        }
        // There is a descriptor still, to ask for, and it is of nothing.
        assert_eq!((&*std::mem::ManuallyDrop::new(made(this.as_raw_fd()))).read(&mut [0]).unwrap(), 0);
    }
    drop(clone);
}

/// A value of a type that nothing is known of.
struct Told {
    log: Arc<std::sync::Mutex<Vec<String>>>,
}

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.log.lock().unwrap().push(String::from_utf8(bytes.to_vec()).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.log.lock().unwrap().push("flush".to_owned());
        Ok(())
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.log.lock().unwrap().push("drop".to_owned());
    }
}

#[test]
fn closing_writes_and_flushes_and_drops_any_value() {
    let log = Arc::default();
    let mut told = Unblock::new(Told { log: Arc::clone(&log) });
    block_on(told.write_all(b"text")).unwrap();
    block_on(told.close()).unwrap();
    assert_eq!(*log.lock().unwrap(), ["text", "flush", "drop"]);
    assert_eq!(block_on(told.write(b"x")).unwrap_err().kind(), ErrorKind::NotConnected);
    // One that nothing was written to is dropped, too.
    let mut told = Unblock::new(Told { log: Arc::clone(&log) });
    block_on(told.close()).unwrap();
    assert_eq!(log.lock().unwrap().last().unwrap(), "drop");
}

#[test]
fn a_reader_that_waits_learns_that_its_other_half_has_closed() {
    let (this, _peer) = UnixStream::pair().unwrap();
    let (mut reader, mut writer) = Unblock::new(this).split();
    block_on(async {
        let mut buffer = [0; 8];
        let mut read = pin!(reader.read(&mut buffer));
        assert!(poll_once(&mut read).await.is_none());
        let (read, closed) = zip(read, writer.close()).await;
        closed.unwrap();
        assert_eq!(read.unwrap_err().kind(), ErrorKind::NotConnected);
    });
}

/// The descriptor is that of the value that is there, not of the one that was.
#[test]
fn a_value_that_is_replaced_is_waited_for() {
    let (first, _first_writer) = std::io::pipe().unwrap();
    let (second, mut writer) = std::io::pipe().unwrap();
    let mut handle = Unblock::new(first);
    assert!(is_pending(handle.read(&mut [0; 8])));
    block_on(handle.with_mut(|value| *value = second)).unwrap();
    assert!(is_pending(handle.read(&mut [0; 8])));
    writer.write_all(b"new").unwrap();
    let mut buffer = [0; 8];
    assert_eq!(block_on(handle.read(&mut buffer)).unwrap(), 3);
    let (third, mut writer) = std::io::pipe().unwrap();
    *block_on(handle.get_mut()).unwrap() = third;
    assert!(is_pending(handle.read(&mut [0; 8])));
    writer.write_all(b"newer").unwrap();
    assert_eq!(block_on(handle.read(&mut buffer)).unwrap(), 5);
}

/// Whoever shares the description finds it as it was.
#[test]
fn the_mode_of_a_descriptor_is_left_alone_and_either_works() {
    for non_blocking in [false, true] {
        for (name, reader, mut writer) in kinds() {
            let flags = |file: &File| {
                // SAFETY: no memory.
                unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) }
            };
            let clone = reader.try_clone().unwrap();
            if non_blocking {
                // SAFETY: no memory.
                unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_SETFL, flags(&clone) | libc::O_NONBLOCK) };
            }
            let before = flags(&clone);
            let mut reader = fs::File::from(reader);
            assert!(is_pending(reader.read(&mut [0; 8])), "{name}");
            writer.write_all(&EIGHT).unwrap();
            block_on(reader.read_exact(&mut [0; 8])).unwrap();
            drop(reader);
            assert_eq!(flags(&clone), before, "{name}");
        }
    }
}

#[test]
fn changes_of_a_directory_are_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = std::ffi::CString::new(dir.path().to_str().unwrap()).unwrap();
    // SAFETY: numbers only.
    let watch = made(unsafe { libc::inotify_init1(libc::IN_CLOEXEC) });
    // SAFETY: a C string.
    assert!(unsafe { libc::inotify_add_watch(watch.as_raw_fd(), path.as_ptr(), libc::IN_CREATE) } >= 0);
    let mut watch = fs::File::from(watch);
    let mut buffer = [0; 300];
    assert!(is_pending(watch.read(&mut buffer)));
    std::fs::write(dir.path().join("new"), "").unwrap();
    let count = block_on(watch.read(&mut buffer)).unwrap();
    assert!(buffer[..count].windows(3).any(|name| name == b"new"));
    assert!(is_pending(watch.read(&mut buffer)));
}

#[test]
fn a_timer_is_waited_for() {
    // SAFETY: numbers only.
    let timer = made(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, 0) });
    let soon = libc::timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    let when = libc::itimerspec { it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 }, it_value: soon };
    // SAFETY: `when` is valid for reading, and the old value is not asked for.
    let set = unsafe { libc::timerfd_settime(timer.as_raw_fd(), 0, &raw const when, std::ptr::null_mut()) };
    assert_eq!(set, 0);
    let mut count = [0; 8];
    block_on(fs::File::from(timer).read_exact(&mut count)).unwrap();
    assert_eq!(u64::from_ne_bytes(count), 1);
}

#[test]
fn devices_do_as_in_std() {
    block_on(async {
        let mut zero = fs::File::open("/dev/zero").await.unwrap();
        let mut bytes = vec![1; 100_000];
        zero.read_exact(&mut bytes).await.unwrap();
        assert!(bytes.iter().all(|byte| *byte == 0));
        let mut null = fs::File::options().read(true).write(true).open("/dev/null").await.unwrap();
        assert_eq!(null.read(&mut bytes).await.unwrap(), 0);
        null.write_all(&bytes).await.unwrap();
        null.close().await.unwrap();
        let mut full = fs::File::options().write(true).open("/dev/full").await.unwrap();
        let written = match full.write_all(b"x").await {
            Ok(()) => full.flush().await,
            error => error,
        };
        assert_eq!(written.unwrap_err().kind(), ErrorKind::StorageFull);
        let mut random = fs::File::open("/dev/urandom").await.unwrap();
        random.read_exact(&mut bytes).await.unwrap();
        assert!(bytes.iter().any(|byte| *byte != 0));
        let value = 0x1234_5678_u32;
        let mut memory = fs::File::open("/proc/self/mem").await.unwrap();
        let at = std::io::SeekFrom::Start(&raw const value as u64);
        futures_util::AsyncSeekExt::seek(&mut memory, at).await.unwrap();
        let mut bytes = [0; 4];
        memory.read_exact(&mut bytes).await.unwrap();
        assert_eq!(u32::from_ne_bytes(bytes), value);
        let mut directory = fs::File::open("/").await.unwrap();
        assert_eq!(directory.read(&mut bytes).await.unwrap_err().kind(), ErrorKind::IsADirectory);
    });
}

/// A device that seeks in its own way, and whose reads are whole records.
#[test]
fn the_log_of_the_kernel_is_read_record_by_record() {
    let mut line = [0; 8192];
    let Ok(mut plain) = File::open("/dev/kmsg") else { return };
    let Ok(count) = plain.read(&mut line) else { return };
    let first = line[..count].to_vec();
    block_on(async {
        let mut log = fs::File::open("/dev/kmsg").await.unwrap();
        let count = log.read(&mut line).await.unwrap();
        assert_eq!(line[..count], first);
    });
}

#[test]
fn a_descriptor_that_is_closed_is_an_error() {
    alone("a_descriptor_that_is_closed_is_an_error", || {
        for waits in [false, true] {
            let (reader, _writer) = std::io::pipe().unwrap();
            let fd = reader.as_raw_fd();
            let mut handle = std::mem::ManuallyDrop::new(Unblock::new(reader));
            if waits {
                assert!(is_pending(handle.read(&mut [0; 8])));
            }
            // SAFETY: the handle, which has it, is never dropped.
            unsafe { libc::close(fd) };
            let error = block_on(handle.read(&mut [0; 8])).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EBADF));
        }
    });
}

/// Writes to `writer`, whose reader is gone.
fn breaks(mut writer: Unblock<impl Write + Send + 'static>) {
    let result = block_on(async {
        writer.write_all(b"x").await?;
        writer.flush().await
    });
    assert_eq!(result.unwrap_err().kind(), ErrorKind::BrokenPipe);
}

fn without_reader() -> PipeWriter {
    let (_, writer) = std::io::pipe().unwrap();
    writer
}

#[test]
fn a_pipe_without_a_reader_does_not_end_the_process() {
    alone("a_pipe_without_a_reader_does_not_end_the_process", || {
        // SAFETY: no function is installed.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        for _ in 0..3 {
            breaks(Unblock::new(without_reader()));
            breaks(Unblock::new(file(without_reader())));
            let (socket, _) = UnixStream::pair().unwrap();
            breaks(Unblock::new(socket));
            let mut child = cat();
            drop(child.stdout.take());
            let input = child.stdin.take().unwrap();
            child.kill().unwrap();
            child.wait().unwrap();
            breaks(Unblock::new(input));
        }
        // SAFETY: plain bits.
        let mut pending: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: the set is valid for writing.
        unsafe { libc::sigpending(&raw mut pending) };
        // SAFETY: the set is valid for reading.
        assert_eq!(unsafe { libc::sigismember(&raw const pending, libc::SIGPIPE) }, 0);
    });
}

/// A program that wants to hear of it does.
#[test]
fn a_handler_of_the_signal_is_called() {
    alone("a_handler_of_the_signal_is_called", || {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        extern "C" fn handler(_: i32) {
            CALLS.fetch_add(1, Ordering::SeqCst);
        }
        // SAFETY: the handler only counts.
        unsafe { libc::signal(libc::SIGPIPE, handler as *const () as libc::sighandler_t) };
        breaks(Unblock::new(without_reader()));
        assert_eq!(CALLS.load(Ordering::SeqCst), 1);
    });
}

/// Takes every descriptor that there is.
fn take_all_descriptors() -> Vec<File> {
    let limit = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
    // SAFETY: `limit` is valid for reading.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    taken
}

#[test]
fn without_a_descriptor_to_wait_with_a_read_holds_a_thread() {
    alone("without_a_descriptor_to_wait_with_a_read_holds_a_thread", || {
        let [(reader, mut writer), (other, mut other_writer)]: [(PipeReader, PipeWriter); 2] =
            [std::io::pipe().unwrap(), std::io::pipe().unwrap()];
        let taken = take_all_descriptors();
        let mut handle = Unblock::new(reader);
        let mut buffer = [0; 8];
        assert!(is_pending(handle.read(&mut buffer)));
        writer.write_all(b"old way").unwrap();
        assert_eq!(block_on(handle.read(&mut buffer)).unwrap(), 7);
        assert_eq!(&buffer[..7], b"old way");
        drop(taken);
        // And then there is one.
        let mut handle = Unblock::new(other);
        assert!(is_pending(handle.read(&mut buffer)));
        assert_eq!(threads_called("sidestep-io"), 1);
        other_writer.write_all(b"new").unwrap();
        assert_eq!(block_on(handle.read(&mut buffer)).unwrap(), 3);
    });
}

#[test]
fn a_forked_child_waits_by_itself() {
    let (reader, _writer) = std::io::pipe().unwrap();
    let mut handle = Unblock::new(reader);
    assert!(is_pending(handle.read(&mut [0; 8])));
    let status = in_child(|list| {
        let mut buffer = [0; 8];
        list.check(block_on(handle.read(&mut buffer)).is_err());
        drop(handle);
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut own = Unblock::new(reader);
        list.check(is_pending(own.read(&mut buffer)));
        let feeder = thread::spawn(move || writer.write_all(b"child"));
        list.check(block_on(own.read(&mut buffer)).is_ok_and(|count| count == 5));
        list.check(feeder.join().is_ok());
    });
    assert_eq!(status, 0);
}

/// The parent's own goes on.
#[test]
fn a_fork_does_not_disturb_the_parent() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut handle = Unblock::new(reader);
    let mut buffer = [0; 8];
    let wakes = Wakes::new();
    let waker = Waker::from(Arc::clone(&wakes));
    let poll = Pin::new(&mut handle).poll_read(&mut Context::from_waker(&waker), &mut buffer);
    assert!(matches!(poll, Poll::Pending));
    assert_eq!(in_child(|list| list.check(true)), 0);
    nothing_happens();
    assert_eq!(wakes.count(), 0);
    writer.write_all(b"x").unwrap();
    eventually("it is woken", || wakes.count() == 1);
    assert_eq!(block_on(handle.read(&mut buffer)).unwrap(), 1);
}

/// Each write is accepted only as far as it has gone over: so there is nothing to lose.
#[test]
fn a_write_that_returns_has_been_written() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut writer = Unblock::new(writer);
    let mut total = 0;
    block_on(async {
        while let Some(count) = poll_once(writer.write(&[7; 10_000])).await {
            total += count.unwrap();
        }
    });
    let mut unread: i32 = 0;
    // SAFETY: FIONREAD writes one int.
    unsafe { libc::ioctl(reader.as_raw_fd(), libc::FIONREAD, &raw mut unread) };
    assert_eq!(usize::try_from(unread).unwrap(), total);
    // Nothing holds up the end.
    drop(writer);
    let mut all = Vec::new();
    { reader }.read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), total);
}

#[test]
fn a_writer_that_waits_is_woken_when_there_is_room() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut writer = Unblock::new(writer);
    let gate = Gate::new();
    let drain = gate.clone();
    let drain = thread::spawn(move || {
        drain.pass();
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        all.len()
    });
    block_on(async {
        let bytes = vec![7; 1 << 20];
        let mut write = pin!(writer.write_all(&bytes));
        assert!(poll_once(&mut write).await.is_none());
        gate.open();
        write.await.unwrap();
        writer.close().await.unwrap();
    });
    assert_eq!(drain.join().unwrap(), 1 << 20);
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
