//! `Unblock`.

use std::collections::VecDeque;
use std::io::{self, Cursor, ErrorKind, Read, SeekFrom, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use futures_lite::future::block_on;
use futures_lite::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt, StreamExt};

use super::support::{Drops, Token, eventually, panic_of};
use crate::subject::Unblock;

fn sequence(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}

/// Gives its parts one after the other: an empty one is an end, none an error.
struct Parts(VecDeque<Option<&'static [u8]>>);

impl Parts {
    fn new<const N: usize>(parts: [Option<&'static [u8]>; N]) -> Self {
        Parts(parts.into())
    }
}

impl Read for Parts {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.0.pop_front() {
            Some(Some(part)) => {
                into[..part.len()].copy_from_slice(part);
                Ok(part.len())
            }
            Some(None) => Err(ErrorKind::TimedOut.into()),
            None => Ok(0),
        }
    }
}

/// Keeps what is written, and counts the flushes and its own end.
#[derive(Default)]
struct Sink {
    written: Arc<Mutex<Vec<u8>>>,
    flushes: Arc<AtomicUsize>,
    _end: Option<Token>,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flushes.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

#[test]
fn all_is_read_in_order_and_the_reader_comes_back() {
    let bytes = sequence(2_000_000);
    block_on(async {
        let mut reader = Unblock::new(Cursor::new(bytes.clone()));
        let mut read = Vec::new();
        reader.read_to_end(&mut read).await.unwrap();
        assert!(read == bytes);
        assert_eq!(reader.into_inner().await.position(), 2_000_000);
    });
}

#[test]
fn all_is_written_in_order_and_the_writer_comes_back() {
    let bytes = sequence(2_000_000);
    block_on(async {
        let mut writer = Unblock::new(Cursor::new(Vec::new()));
        writer.write_all(&bytes).await.unwrap();
        assert!(writer.into_inner().await.into_inner() == bytes);
    });
}

#[test]
fn a_small_buffer_passes_everything_through() {
    let bytes = sequence(1_000);
    block_on(async {
        let mut reader = Unblock::with_capacity(7, Cursor::new(bytes.clone()));
        let mut read = Vec::new();
        reader.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, bytes);

        let mut writer = Unblock::with_capacity(7, Vec::new());
        writer.write_all(&bytes).await.unwrap();
        assert_eq!(writer.into_inner().await, bytes);
    });
}

#[test]
fn a_value_can_be_sought_in() {
    block_on(async {
        let mut value = Unblock::new(Cursor::new(sequence(100)));
        assert_eq!(value.seek(SeekFrom::Current(7)).await.unwrap(), 7);
        assert_eq!(value.seek(SeekFrom::Current(8)).await.unwrap(), 15);
        assert_eq!(value.seek(SeekFrom::End(-10)).await.unwrap(), 90);
        assert!(value.seek(SeekFrom::Current(-91)).await.is_err());
        let mut byte = [0];
        value.read_exact(&mut byte).await.unwrap();
        assert_eq!(byte, [90]);
    });
}

#[test]
fn one_value_can_be_written_sought_and_read() {
    block_on(async {
        let mut value = Unblock::new(Cursor::new(Vec::new()));
        value.write_all(b"hello").await.unwrap();
        assert_eq!(value.seek(SeekFrom::Start(1)).await.unwrap(), 1);
        let mut text = String::new();
        value.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "ello");
        value.write_all(b"!").await.unwrap();
        value.flush().await.unwrap();
        assert_eq!(value.get_mut().await.get_ref(), b"hello!");
    });
}

#[test]
fn bytes_come_before_the_error_behind_them_and_reading_can_go_on() {
    block_on(async {
        let mut reader = Unblock::new(Parts::new([Some(b"one"), None, Some(b"two")]));
        let mut bytes = [0; 3];
        reader.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"one");
        assert_eq!(reader.read(&mut bytes).await.unwrap_err().kind(), ErrorKind::TimedOut);
        reader.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"two");
    });
}

#[test]
fn after_an_end_there_may_be_more() {
    block_on(async {
        let mut reader = Unblock::new(Parts::new([Some(b""), Some(b"more")]));
        for expected in ["", "more", ""] {
            let mut text = String::new();
            reader.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, expected);
        }
    });
}

#[test]
fn a_flush_waits_until_all_is_written_and_flushed() {
    let sink = Sink::default();
    let (written, flushes) = (Arc::clone(&sink.written), Arc::clone(&sink.flushes));
    block_on(async {
        let mut writer = Unblock::new(sink);
        writer.write_all(b"all").await.unwrap();
        writer.flush().await.unwrap();
        assert_eq!(*written.lock().unwrap(), b"all");
        assert!(flushes.load(Ordering::SeqCst) > 0);
    });
}

#[test]
fn a_flush_reports_a_failed_write() {
    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    block_on(async {
        let mut writer = Unblock::new(Full);
        writer.write_all(b"lost").await.unwrap();
        assert_eq!(writer.flush().await.unwrap_err().kind(), ErrorKind::StorageFull);
        // What cannot report an error gives the value all the same.
        writer.with_mut(|_| ()).await;
        writer.get_mut().await;
        writer.into_inner().await;
    });
}

#[test]
fn a_value_comes_back_though_it_cannot_be_flushed() {
    struct Stiff;

    impl Write for Stiff {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(ErrorKind::StorageFull.into())
        }
    }

    block_on(async {
        let mut writer = Unblock::new(Stiff);
        writer.write_all(b"written").await.unwrap();
        writer.get_mut().await;
        writer.write_all(b"again").await.unwrap();
        writer.with_mut(|_| ()).await;
        writer.into_inner().await;
    });
}

#[test]
fn closing_flushes_and_drops_the_value() {
    let ends = Drops::new();
    let sink = Sink { _end: Some(ends.token()), ..Sink::default() };
    let written = Arc::clone(&sink.written);
    block_on(async {
        let mut writer = Unblock::new(sink);
        writer.write_all(b"all").await.unwrap();
        writer.close().await.unwrap();
        assert_eq!(*written.lock().unwrap(), b"all");
        eventually(|| ends.count() == 1);
        writer.flush().await.unwrap();
        writer.close().await.unwrap();
    });
}

#[test]
fn items_come_in_order_from_an_iterator_that_blocks() {
    let (sender, receiver) = mpsc::sync_channel(100);
    let producer = thread::spawn(move || (0..20_000).try_for_each(|item| sender.send(item)));
    let items = Unblock::new(receiver.into_iter());
    let items: Vec<i32> = block_on(items.collect());
    assert!(items.into_iter().eq(0..20_000));
    producer.join().unwrap().unwrap();
}

#[test]
fn an_iterator_is_not_run_far_ahead_and_dropped_with_its_stream() {
    let (ends, taken) = (Drops::new(), Arc::new(AtomicUsize::new(0)));
    let (end, counts) = (ends.token(), Arc::clone(&taken));
    let endless = std::iter::repeat_with(move || {
        let _held = &end;
        counts.fetch_add(1, Ordering::SeqCst)
    });
    let mut items = Unblock::with_capacity(4, endless);
    assert_eq!(block_on(items.next()), Some(0));
    super::support::let_nothing_happen();
    assert!(taken.load(Ordering::SeqCst) <= 1 + 4 + 1, "{taken:?}");
    drop(items);
    eventually(|| ends.count() == 1);
}

#[test]
fn an_ended_iterator_stays_ended_and_comes_back() {
    block_on(async {
        let mut items = Unblock::new(0..2);
        assert_eq!([items.next().await, items.next().await], [Some(0), Some(1)]);
        assert_eq!([items.next().await, items.next().await], [None, None]);
        assert_eq!(items.into_inner().await, 2..2);
    });
}

#[test]
fn a_panic_of_the_iterator_resumes_at_the_stream() {
    let mut items = Unblock::new((0..2).inspect(|item| assert!(*item == 0, "item {item}")));
    assert_eq!(block_on(items.next()), Some(0));
    assert_eq!(panic_of(items.next()), "item 1");
}

#[test]
fn closures_reach_the_value_on_the_pool_and_at_home() {
    block_on(async {
        let mut value = Unblock::new(vec![1]);
        let there = value.with_mut(|value| {
            value.push(2);
            thread::current().id()
        });
        assert_ne!(there.await, thread::current().id());
        value.get_mut().await.push(3);
        assert_eq!(value.into_inner().await, [1, 2, 3]);
    });
}

#[test]
fn a_panic_of_a_closure_reaches_its_caller() {
    let mut value = Unblock::new(());
    let message = panic_of(value.with_mut(|()| panic!("in the closure")));
    assert!(message.contains("panicked"), "{message}");
}
