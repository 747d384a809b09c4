//! A close whose value is not dropped at once, against the other calls of the handle.

use std::io::{self, ErrorKind, Read, Write};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use futures_lite::future::{poll_once, zip};
use futures_util::{AsyncReadExt, AsyncWriteExt};
use sidestep::{Unblock, block_on};

use crate::support::{Gate, PATIENCE, builder, occupy, soon};

/// It has nothing to read, counts what is written, and is dropped once the second gate is open.
struct Line {
    dropping: Gate,
    end: Gate,
    written: Arc<AtomicUsize>,
}

fn line() -> (Line, Gate, Gate, Arc<AtomicUsize>) {
    let (dropping, end, written) = (Gate::new(), Gate::new(), Arc::default());
    (
        Line { dropping: dropping.clone(), end: end.clone(), written: Arc::clone(&written) },
        dropping,
        end,
        written,
    )
}

impl Read for Line {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.dropping.pass();
        Ok(0)
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.fetch_add(bytes.len(), Ordering::SeqCst);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.dropping.open();
        self.end.pass();
    }
}

/// Closes one half and then reads from the other, before the pool gets to the close.
fn close_and_read<T: Read + Write + Send + 'static>(value: T) {
    let (done, ended) = mpsc::channel();
    thread::spawn(move || {
        let gate = Gate::new();
        let pool = builder().core_threads(1).max_threads(1).build().unwrap();
        let busy = occupy(&pool, &gate);
        let (mut reader, mut writer) = Unblock::new(value).on(&pool).split();
        let (closed, read) = block_on(async {
            let mut byte = [0];
            let mut both = pin!(zip(writer.close(), reader.read(&mut byte)));
            assert!(poll_once(&mut both).await.is_none());
            gate.open();
            both.await
        });
        soon(busy).unwrap();
        done.send((closed, read)).unwrap();
    });
    let (closed, read) = ended.recv_timeout(PATIENCE).unwrap();
    closed.unwrap();
    assert_eq!(read.unwrap_err().kind(), ErrorKind::NotConnected);
}

#[test]
fn a_read_of_the_other_half_does_not_hold_up_a_close() {
    let (line, _, end, _) = line();
    end.open();
    close_and_read(line);
}

#[cfg(target_os = "linux")]
#[test]
fn nor_does_a_read_of_a_terminal_or_a_socket_that_lingers() {
    use std::os::fd::AsRawFd;

    use super::readiness::kinds::{tcp, terminal};

    let [_master, slave] = terminal();
    close_and_read(slave);
    let [near, _far] = tcp();
    let linger = libc::linger { l_onoff: 1, l_linger: 1 };
    let (data, length) = ((&raw const linger).cast(), size_of::<libc::linger>() as libc::socklen_t);
    // SAFETY: `data` is valid for reading `length` bytes.
    let set = unsafe { libc::setsockopt(near.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, data, length) };
    assert_eq!(set, 0);
    close_and_read(near);
}

/// The close was given up when the value was being dropped.
#[test]
fn what_comes_while_the_value_is_dropped_waits_and_is_refused() {
    let (line, dropping, end, written) = line();
    let mut line = Unblock::new(line);
    block_on(async {
        line.write_all(b"kept").await.unwrap();
        line.flush().await.unwrap();
        // A pump that has told the caller of the flush may not be at rest yet.
        while !dropping.is_open() {
            assert!(poll_once(line.close()).await.is_none());
            thread::yield_now();
        }
        assert!(poll_once(line.write(b"lost")).await.is_none());
        assert!(poll_once(line.read(&mut [0])).await.is_none());
        assert!(poll_once(line.with_mut(|_| ())).await.is_none());
        assert!(poll_once(line.flush()).await.is_none());
        end.open();
        assert_eq!(line.write(b"lost").await.unwrap_err().kind(), ErrorKind::NotConnected);
        line.close().await.unwrap();
    });
    assert_eq!(written.load(Ordering::SeqCst), 4);
}

/// What was given up before the value was taken for it can be used.
#[test]
fn a_write_takes_a_close_back_that_has_not_begun() {
    let (line, _, end, written) = line();
    end.open();
    let gate = Gate::new();
    let pool = builder().core_threads(1).max_threads(1).build().unwrap();
    let busy = occupy(&pool, &gate);
    let mut line = Unblock::new(line).on(&pool);
    block_on(async {
        assert!(poll_once(line.close()).await.is_none());
        line.write_all(b"more").await.unwrap();
        gate.open();
        line.flush().await.unwrap();
        assert_eq!(written.load(Ordering::SeqCst), 4);
        line.close().await.unwrap();
    });
    soon(busy).unwrap();
}
