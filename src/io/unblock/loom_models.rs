//! Models of handle and pump for the model checker.
//!
//! A handle that waits for ever is a deadlock, which the checker reports: so each model ends only
//! if no wake-up is lost.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncSeek, AsyncWrite};
use loom::thread;

use super::Unblock;
use crate::sync::stand_in::model::check;
use crate::sync::{Mutex, Parker};

/// Polls until there is an answer.
fn wait<R>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<io::Result<R>>) -> R {
    let parker = Arc::new(Parker::new());
    let waker = parker.waker();
    loop {
        if let Poll::Ready(result) = poll(&mut Context::from_waker(&waker)) {
            return result.unwrap();
        }
        assert!(parker.park(None), "there is no deadline");
    }
}

/// A file of few bytes, which are read one at a time; all that is written to it is seen from
/// outside.
struct Tape {
    bytes: Arc<Mutex<Vec<u8>>>,
    place: usize,
    flushed: Arc<Mutex<usize>>,
}

impl Tape {
    fn new(bytes: &[u8]) -> (Self, Arc<Mutex<Vec<u8>>>, Arc<Mutex<usize>>) {
        let bytes = Arc::new(Mutex::new(bytes.to_vec()));
        let flushed = Arc::new(Mutex::new(0));
        (Tape { bytes: Arc::clone(&bytes), place: 0, flushed: Arc::clone(&flushed) }, bytes, flushed)
    }
}

impl Read for Tape {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.bytes.lock();
        let Some(byte) = bytes.get(self.place) else { return Ok(0) };
        buffer[0] = *byte;
        self.place += 1;
        Ok(1)
    }
}

impl Write for Tape {
    fn write(&mut self, written: &[u8]) -> io::Result<usize> {
        let mut bytes = self.bytes.lock();
        bytes.truncate(self.place);
        bytes.push(written[0]);
        self.place += 1;
        Ok(1)
    }

    fn flush(&mut self) -> io::Result<()> {
        *self.flushed.lock() = self.bytes.lock().len();
        Ok(())
    }
}

impl Seek for Tape {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => place as i64,
            SeekFrom::Current(offset) => self.place as i64 + offset,
            SeekFrom::End(offset) => self.bytes.lock().len() as i64 + offset,
        };
        self.place = usize::try_from(place).map_err(|_| io::ErrorKind::InvalidInput)?;
        Ok(self.place as u64)
    }
}

fn read(tape: &mut Unblock<Tape>) -> Option<u8> {
    let mut byte = [0];
    let count = wait(|context| Pin::new(&mut *tape).poll_read(context, &mut byte));
    (count == 1).then_some(byte[0])
}

fn write(tape: &mut Unblock<Tape>, byte: u8) {
    assert_eq!(wait(|context| Pin::new(&mut *tape).poll_write(context, &[byte])), 1);
}

#[test]
fn loom_a_reader_gets_each_byte_and_the_end() {
    for seekable in [false, true] {
        check(Some(2), move || {
            let mut tape = Unblock::with_capacity(1, Tape::new(b"ab").0);
            if seekable {
                tape = tape.seekable();
            }
            assert_eq!([read(&mut tape), read(&mut tape), read(&mut tape)], [Some(b'a'), Some(b'b'), None]);
        });
    }
}

#[test]
fn loom_a_writer_waits_for_room_and_a_flush_for_all() {
    check(Some(2), || {
        let (tape, bytes, flushed) = Tape::new(b"");
        let mut tape = Unblock::with_capacity(1, tape);
        write(&mut tape, b'a');
        write(&mut tape, b'b');
        wait(|context| Pin::new(&mut tape).poll_flush(context));
        assert_eq!(*bytes.lock(), b"ab");
        assert_eq!(*flushed.lock(), 2);
    });
}

/// A pump that is still reading ahead when the caller begins to write: the bytes go to the right
/// place.
#[test]
fn loom_what_was_read_ahead_is_undone_before_a_write() {
    check(Some(2), || {
        let (tape, bytes, _) = Tape::new(b"abc");
        let mut tape = Unblock::with_capacity(2, tape).seekable();
        assert_eq!(read(&mut tape), Some(b'a'));
        write(&mut tape, b'z');
        assert_eq!(wait(|context| Pin::new(&mut tape).poll_seek(context, SeekFrom::Current(0))), 2);
        assert_eq!(*bytes.lock(), b"az");
    });
}

/// Each half of a handle that was split waits for its own; neither forgets the other.
#[test]
fn loom_a_reader_and_a_writer_wait_at_the_same_time() {
    check(Some(1), || {
        let tape = Arc::new(Mutex::new(Unblock::with_capacity(1, Tape::new(b"ab").0)));
        let half = Arc::clone(&tape);
        let writer = thread::spawn(move || {
            let written = wait(|context| Pin::new(&mut *half.lock()).poll_write(context, b"z"));
            assert_eq!(written, 1);
            wait(|context| Pin::new(&mut *half.lock()).poll_flush(context));
        });
        let mut byte = [0];
        assert!(wait(|context| Pin::new(&mut *tape.lock()).poll_read(context, &mut byte)) <= 1);
        writer.join().unwrap();
    });
}

/// Two threads that share the handle wait for one write.
#[test]
fn loom_all_who_wait_for_a_write_are_told() {
    check(Some(2), || {
        let (tape, bytes, _) = Tape::new(b"");
        let mut tape = Unblock::with_capacity(1, tape);
        write(&mut tape, b'a');
        let tape = Arc::new(tape);
        let other = Arc::clone(&tape);
        let waiter = thread::spawn(move || wait(|context| other.poll_written(context)));
        wait(|context| tape.poll_written(context));
        assert_eq!(*bytes.lock(), b"a");
        waiter.join().unwrap();
    });
}

/// A handle that is dropped at any point of a write: the bytes are written and flushed, and the
/// value is dropped.
#[test]
fn loom_a_dropped_handle_leaves_nothing_unwritten() {
    check(Some(3), || {
        let (tape, bytes, flushed) = Tape::new(b"");
        let parker = Arc::new(Parker::new());
        let ended = Ended(tape, Arc::clone(&parker));
        let mut handle = Unblock::with_capacity(1, ended);
        assert_eq!(wait(|context| Pin::new(&mut handle).poll_write(context, b"a")), 1);
        drop(handle);
        assert!(parker.park(None), "there is no deadline");
        assert_eq!(*bytes.lock(), b"a");
        assert_eq!(*flushed.lock(), 1);
    });
}

/// Closing has ended once the value is gone, and a reader that waits beside it learns of that.
#[test]
fn loom_closing_writes_all_and_drops_the_value() {
    check(Some(2), || {
        let (tape, bytes, flushed) = Tape::new(b"");
        let parker = Arc::new(Parker::new());
        let mut handle = Unblock::with_capacity(1, Ended(tape, Arc::clone(&parker)));
        assert_eq!(wait(|context| Pin::new(&mut handle).poll_write(context, b"a")), 1);
        wait(|context| Pin::new(&mut handle).poll_close(context));
        assert!(parker.park(None), "there is no deadline");
        assert_eq!((&**bytes.lock(), *flushed.lock()), (&b"a"[..], 1));
        let mut context = Context::from_waker(std::task::Waker::noop());
        let write = Pin::new(&mut handle).poll_write(&mut context, b"b");
        assert!(matches!(write, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::NotConnected));
    });
}

/// Unparks a thread when it is dropped.
struct Ended(Tape, Arc<Parker>);

impl Write for Ended {
    fn write(&mut self, written: &[u8]) -> io::Result<usize> {
        self.0.write(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.1.unpark();
    }
}
