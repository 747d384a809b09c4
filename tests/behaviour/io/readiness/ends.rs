//! Writing to what has a peer, closing it, and a peer that is gone.

use std::io::{self, ErrorKind, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use futures_lite::future::{poll_once, zip};
use futures_util::{AsyncReadExt, AsyncWriteExt};
use sidestep::{Unblock, block_on, fs};

use super::kinds::{alone, file, made, tcp};
use crate::support::{Gate, builder, take_all_descriptors};

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
    alone("ends::a_pipe_without_a_reader_does_not_end_the_process", || {
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

/// A write that waits on a thread which takes signals, since there is no descriptor to wait with.
#[test]
fn nor_does_a_reader_that_leaves_in_the_middle_of_a_write() {
    alone("ends::nor_does_a_reader_that_leaves_in_the_middle_of_a_write", || {
        // SAFETY: no function is installed.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        let pool = builder().block_signals(false).build().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        let mut writer = Unblock::with_capacity(1 << 20, writer).on(&pool);
        let none_left = take_all_descriptors();
        let bytes = vec![7; 200_000];
        block_on(async {
            // What the pipe has room for goes over at once.
            while writer.write(&bytes).await.unwrap() < bytes.len() {}
        });
        // The write has given some of its bytes when more have been read than went over before.
        reader.read_exact(&mut vec![0; 100_000]).unwrap();
        drop(reader);
        assert_eq!(block_on(writer.flush()).unwrap_err().kind(), ErrorKind::BrokenPipe);
        drop(none_left);
    });
}

/// A program that wants to hear of it does.
#[test]
fn a_handler_of_the_signal_is_called() {
    alone("ends::a_handler_of_the_signal_is_called", || {
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
