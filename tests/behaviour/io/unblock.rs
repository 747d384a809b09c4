//! `Unblock`: reading, writing, seeking, iterating; what is buffered, and what stands when the
//! value is at rest.

use std::io::{self, Cursor, ErrorKind, Read, SeekFrom, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Waker};

use futures_util::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use futures_util::{AsyncWrite, StreamExt};
use sidestep::Unblock;

use crate::support::fake::{Bytes, Fake, at_rest, begin_read, in_time};
use crate::support::{Drops, Gate, eventually, poll, pool, quiet_panic};

/// The bytes from `from` on of an endless sequence without a short period.
fn sequence(from: usize, count: usize) -> Vec<u8> {
    (from..from + count).map(|place| (place % 251) as u8).collect()
}

/// Reads that sequence, for ever.
fn sequential() -> (Fake, Arc<AtomicUsize>) {
    let place = Arc::new(AtomicUsize::new(0));
    let (read, moved) = (Arc::clone(&place), Arc::clone(&place));
    let fake = Fake::new()
        .reads(move |buffer| {
            let from = read.fetch_add(buffer.len(), Ordering::SeqCst);
            buffer.copy_from_slice(&sequence(from, buffer.len()));
            Ok(buffer.len())
        })
        .seeks(move |to| {
            let from = moved.load(Ordering::SeqCst);
            let to = match to {
                SeekFrom::Start(to) => usize::try_from(to).unwrap(),
                SeekFrom::Current(by) => {
                    let by = isize::try_from(by).map_err(|_| ErrorKind::InvalidInput)?;
                    from.checked_add_signed(by).ok_or(ErrorKind::InvalidInput)?
                }
                SeekFrom::End(_) => return Err(ErrorKind::Unsupported.into()),
            };
            moved.store(to, Ordering::SeqCst);
            Ok(to as u64)
        });
    (fake, place)
}

#[test]
#[should_panic(expected = "capacity 0")]
fn a_capacity_of_nothing_is_refused() {
    drop(Unblock::with_capacity(0, Cursor::new(b"")));
}

#[test]
fn all_is_read_in_order_whatever_the_capacity_and_the_buffer() {
    let text = sequence(0, 20_000);
    for capacity in [1, 2, 3, 4095, 4096, 4097, 64 << 10, usize::MAX] {
        for size in [1, 7, 4096, 100_000] {
            let mut reader = Unblock::with_capacity(capacity, Cursor::new(text.clone()));
            let (mut all, mut buffer) = (Vec::new(), vec![0; size]);
            let count = text.len().min(size * 200).min(capacity.saturating_mul(200));
            in_time(async {
                while all.len() < count {
                    assert_eq!(reader.read(&mut []).await.unwrap(), 0);
                    let count = reader.read(&mut buffer).await.unwrap();
                    assert!(count > 0);
                    all.extend_from_slice(&buffer[..count]);
                }
            });
            assert_eq!(all, text[..all.len()], "capacity {capacity}, buffer {size}");
        }
    }
}

#[test]
fn no_more_is_read_ahead_than_the_capacity_and_no_thread_is_held_then() {
    for most in [64 << 10, 10_000, 1] {
        let pool = pool(1, 2);
        let (value, read) = sequential();
        let reader = match most {
            65536 => Unblock::new(value),
            _ => Unblock::with_capacity(most, value),
        };
        let mut reader = reader.seekable().on(&pool);
        let mut taken = 0;
        for _ in 0..most.min(100) {
            in_time(reader.read_exact(&mut [0; 777])).unwrap();
            taken += 777;
            let ahead = read.load(Ordering::SeqCst) - taken;
            assert!(ahead <= most, "{ahead} of {most} bytes ahead");
        }
        at_rest(&pool);
        let ahead = read.load(Ordering::SeqCst) - taken;
        assert!(ahead <= most && (ahead > 0 || most == 1), "{ahead} of {most} bytes ahead");
    }
}

#[test]
fn what_may_be_written_to_is_read_only_when_it_is_asked() {
    let ((send, receive), answers) = (channel::<Vec<u8>>(), Bytes::default());
    let seen = answers.clone();
    // A peer that answers each request with as much as it was sent; a read blocks until there is
    // one.
    let socket = Fake::new()
        .reads(move |buffer| {
            let answer = receive.recv_timeout(crate::support::PATIENCE).map_err(io::Error::other)?;
            buffer[..answer.len()].copy_from_slice(&answer);
            Ok(answer.len())
        })
        .writes(move |bytes| {
            send.send(bytes.to_vec()).map_err(io::Error::other)?;
            seen.add(bytes)
        });
    let mut socket = Unblock::with_capacity(8 << 10, socket);
    for size in [4096, 1, 4096, 4095, 4096, 1024, 4096] {
        let request = sequence(size, size);
        let mut answer = vec![0; size];
        in_time(async {
            socket.write_all(&request).await.unwrap();
            socket.flush().await.unwrap();
            socket.read_exact(&mut answer).await.unwrap();
        });
        assert_eq!(answer, request);
    }
}

#[test]
fn a_blocked_writer_is_given_no_more_than_the_capacity() {
    for capacity in [1, 2, 3, 1000, 64 << 10] {
        let (gate, started, bytes) = (Gate::new(), Gate::new(), Bytes::default());
        let (pass, announce, seen) = (gate.clone(), started.clone(), bytes.clone());
        let value = Fake::new().writes(move |bytes| {
            announce.open();
            pass.pass();
            seen.add(&bytes[..bytes.len().min(999)])
        });
        let mut writer = Unblock::with_capacity(capacity, value);
        let text = sequence(0, 3 * capacity);
        let mut accepted = 0;
        let mut write = |waker: &Waker| {
            let polled = Pin::new(&mut writer).poll_write(&mut Context::from_waker(waker), &text[accepted..]);
            if let Poll::Ready(count) = &polled {
                accepted += count.as_ref().unwrap();
            }
            (polled.is_pending(), accepted)
        };
        assert!(!write(Waker::noop()).0);
        started.pass();
        let mut last = 0;
        for _ in 0..600 {
            last = write(Waker::noop()).1;
        }
        assert!(last <= capacity && last * 2 >= capacity, "{last} of {capacity}");
        gate.open();
        in_time(writer.write_all(&text[last..])).unwrap();
        in_time(writer.flush()).unwrap();
        assert_eq!(bytes.get(), text);
    }
}

#[test]
fn vectored_calls_move_all_parts_in_order() {
    let mut file = Unblock::new(Cursor::new(Vec::new()));
    let parts = [&b"one"[..], b"", b" two", b" three"].map(io::IoSlice::new);
    assert_eq!(in_time(file.write_vectored(&parts)).unwrap(), 13);
    assert_eq!(in_time(file.write_vectored(&[io::IoSlice::new(b"")])).unwrap(), 0);
    in_time(file.seek(SeekFrom::Start(0))).unwrap();
    let (mut one, mut two) = ([0; 5], [0; 8]);
    let mut parts = [io::IoSliceMut::new(&mut one), io::IoSliceMut::new(&mut two)];
    assert_eq!(in_time(file.read_vectored(&mut parts)).unwrap(), 13);
    assert_eq!((&one, &two), (b"one t", b"wo three"));
    assert_eq!(in_time(file.read_vectored(&mut [])).unwrap(), 0);
}

// Origin: pitfall 21
#[test]
fn after_an_error_the_bytes_are_still_there_and_can_be_given_up() {
    let (fails, bytes) = (Arc::new(AtomicUsize::new(1)), Bytes::default());
    let (failing, seen) = (Arc::clone(&fails), bytes.clone());
    let value = Fake::new().writes(move |bytes| match failing.load(Ordering::SeqCst) {
        0 => seen.add(bytes),
        _ => Err(ErrorKind::StorageFull.into()),
    });
    let mut file = Unblock::new(value);
    in_time(file.write_all(b"abc")).unwrap();
    for _ in 0..3 {
        assert_eq!(in_time(file.flush()).unwrap_err().kind(), ErrorKind::StorageFull);
    }
    assert_eq!(in_time(file.unwritten()).unwrap(), b"abc");
    fails.store(0, Ordering::SeqCst);
    in_time(file.write_all(b"def")).unwrap();
    in_time(file.flush()).unwrap();
    assert_eq!(in_time(file.unwritten()).unwrap(), b"");
    assert_eq!(bytes.get(), b"def");
}

#[test]
fn a_flush_that_fails_can_be_given_up_so_that_the_value_comes_back() {
    let value = Fake::new().flushes(|| Err(ErrorKind::BrokenPipe.into()));
    let mut pipe = Unblock::new(value);
    in_time(pipe.write_all(b"abc")).unwrap();
    for _ in 0..3 {
        assert_eq!(in_time(pipe.flush()).unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
    assert!(in_time(pipe.get_mut()).is_err());
    assert_eq!(in_time(pipe.unwritten()).unwrap(), b"");
    in_time(pipe.flush()).unwrap();

    in_time(pipe.write_all(b"def")).unwrap();
    assert!(in_time(pipe.flush()).is_err(), "it is tried again once there is more");
    assert_eq!(in_time(pipe.unwritten()).unwrap(), b"");
    drop(in_time(pipe.into_inner()).unwrap());
}

#[test]
fn giving_up_nothing_gives_up_no_flush() {
    let flushes = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&flushes);
    let value = Fake::new().flushes(move || {
        counting.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    let mut pipe = Unblock::new(value);
    in_time(pipe.write_all(b"abc")).unwrap();
    assert_eq!(in_time(pipe.unwritten()).unwrap(), b"");
    in_time(pipe.flush()).unwrap();
    assert_eq!(flushes.load(Ordering::SeqCst), 1);
}

#[test]
fn a_writer_that_takes_nothing_and_one_that_is_interrupted() {
    let mut calls = 0;
    let bytes = Bytes::default();
    let seen = bytes.clone();
    let value = Fake::new().writes(move |bytes| {
        calls += 1;
        match calls {
            1 => Err(ErrorKind::Interrupted.into()),
            2 => Ok(0),
            _ => seen.add(&bytes[..1]),
        }
    });
    let mut file = Unblock::new(value);
    in_time(file.write_all(b"abc")).unwrap();
    assert_eq!(in_time(file.flush()).unwrap_err().kind(), ErrorKind::WriteZero);
    in_time(file.flush()).unwrap();
    assert_eq!(bytes.get(), b"abc");
}

// Origin: pitfall 22
#[test]
fn a_relative_seek_and_the_value_itself_know_nothing_of_what_was_read_ahead() {
    let (value, place) = sequential();
    let mut file = Unblock::new(value).seekable();
    let mut buffer = [0; 10];
    in_time(file.read_exact(&mut buffer)).unwrap();
    assert_eq!(in_time(file.seek(SeekFrom::Current(5))).unwrap(), 15);
    in_time(file.read_exact(&mut buffer)).unwrap();
    assert_eq!(buffer, *sequence(15, 10));
    let at = Arc::clone(&place);
    assert_eq!(in_time(file.with_mut(move |_| at.load(Ordering::SeqCst))).unwrap(), 25);
    in_time(file.read_exact(&mut buffer)).unwrap();
    in_time(file.get_mut()).unwrap();
    assert_eq!(place.load(Ordering::SeqCst), 35);
    assert!(in_time(file.seek(SeekFrom::Current(i64::MIN))).is_err());
    in_time(file.read_exact(&mut buffer)).unwrap();
    let value = in_time(file.into_inner()).unwrap();
    assert!(place.load(Ordering::SeqCst) == 45, "it is moved back");
    drop(value);
}

#[test]
fn a_dropped_read_loses_no_byte() {
    let pool = pool(1, 1);
    let (value, _) = sequential();
    let mut reader = Unblock::with_capacity(4096, value).on(&pool);
    let mut all = Vec::new();
    while all.len() < 20_000 {
        let mut buffer = [0; 1000];
        let polled = begin_read(&mut reader, &mut buffer);
        if let Poll::Ready(count) = polled {
            all.extend_from_slice(&buffer[..count.unwrap()]);
        }
    }
    assert_eq!(all, sequence(0, all.len()));
}

#[test]
fn an_end_that_is_told_only_once_is_not_lost_to_a_write() {
    let (gate, started, mut reads) = (Gate::new(), Gate::new(), 0);
    let (pass, announce) = (gate.clone(), started.clone());
    let terminal = Fake::new().reads(move |buffer| {
        reads += 1;
        announce.open();
        pass.pass();
        buffer[0] = b'x';
        Ok(usize::from(reads > 1))
    });
    let mut terminal = Unblock::new(terminal);
    let polled = begin_read(&mut terminal, &mut [0; 4]);
    assert!(polled.is_pending());
    started.pass();
    in_time(terminal.write_all(b"prompt")).unwrap();
    gate.open();
    in_time(terminal.flush()).unwrap();
    assert_eq!(in_time(terminal.read(&mut [0; 4])).unwrap(), 0);
    assert_eq!(in_time(terminal.read(&mut [0; 4])).unwrap(), 1);
}

#[test]
fn items_come_in_order_and_no_more_are_taken_ahead_than_the_capacity() {
    for capacity in [1, 2, 3, 100] {
        let (pool, taken) = (pool(1, 1), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&taken);
        let items = (0..1000).inspect(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
        });
        let mut stream = Unblock::with_capacity(capacity, items).on(&pool);
        for number in 0..1000 {
            assert_eq!(in_time(stream.next()), Some(number));
            let ahead = taken.load(Ordering::SeqCst) - (number + 1);
            assert!(ahead <= capacity, "{ahead} of {capacity} items ahead");
        }
        for _ in 0..3 {
            assert_eq!(in_time(stream.next()), None);
        }
        at_rest(&pool);
    }
}

// Origin: pitfall 18
#[test]
fn a_stream_that_is_dropped_drops_its_items_and_the_iterator_once() {
    const MANY: usize = 50;
    let (pool, drops, ends, made) = (pool(1, 1), Drops::new(), Drops::new(), Arc::new(AtomicUsize::new(0)));
    let (token, counted, count) = (ends.token(), drops.clone(), Arc::clone(&made));
    let items = std::iter::repeat_with(move || {
        let _held = &token;
        count.fetch_add(1, Ordering::SeqCst);
        counted.token()
    });
    let mut stream = Unblock::with_capacity(MANY, items).on(&pool);
    for number in 1..=10 {
        assert!(in_time(stream.next()).is_some());
        assert_eq!(drops.count(), number);
    }
    drop(stream);
    eventually("the iterator is dropped", || ends.count() == 1);
    at_rest(&pool);
    assert_eq!((drops.count(), ends.count()), (made.load(Ordering::SeqCst), 1));
}

// Origin: pitfall 11
#[test]
fn a_panic_is_an_error_from_then_on_wherever_it_was() {
    let values: [fn() -> Fake; 6] = [
        || Fake::new().reads(|_| quiet_panic("broken")),
        || Fake::new().writes(|_| quiet_panic("broken")),
        || Fake::new().flushes(|| quiet_panic("broken")),
        || Fake::new().seeks(|_| quiet_panic("broken")),
        // Counts that cannot be.
        || Fake::new().reads(|buffer| Ok(buffer.len() + 1)),
        || Fake::new().writes(|bytes| Ok(bytes.len() + 1)),
    ];
    for (number, value) in values.into_iter().enumerate() {
        let mut file = Unblock::new(value());
        let first = in_time(async {
            file.write_all(b"x").await?;
            file.flush().await?;
            file.seek(SeekFrom::Start(0)).await?;
            file.read(&mut [0; 10]).await
        });
        let text = first.unwrap_err().to_string();
        assert!(text.contains("has panicked"), "{number}: {text}");
        assert!(in_time(file.read(&mut [0])).is_err() && in_time(file.write(&[0])).is_err());
        assert!(in_time(file.flush()).is_err() && in_time(file.seek(SeekFrom::Start(0))).is_err());
        assert!(in_time(file.get_mut()).is_err() && in_time(file.unwritten()).is_err());
        assert!(in_time(file.with_mut(|_| ())).is_err() && in_time(file.into_inner()).is_err());
    }
}

#[test]
fn a_closure_that_is_given_up_before_it_runs_never_runs_and_is_dropped_at_once() {
    let (gate, started, drops) = (Gate::new(), Gate::new(), Drops::new());
    let (pass, announce) = (gate.clone(), started.clone());
    let value = Fake::new().reads(move |_| {
        announce.open();
        pass.pass();
        Ok(0)
    });
    let mut file = Unblock::new(value);
    let polled = begin_read(&mut file, &mut [0]);
    assert!(polled.is_pending());
    started.pass();
    let token = drops.token();
    {
        let mut call = Box::pin(file.with_mut(move |_| drop(token)));
        assert!(poll(&mut call, Waker::noop()).is_pending());
    }
    assert_eq!(drops.count(), 1);
    gate.open();
    assert_eq!(in_time(file.with_mut(|file| file.read(&mut [0]))).unwrap().unwrap(), 0);
    assert_eq!(in_time(file.with_mut(|file| file.write(&[0]))).unwrap().unwrap(), 1);
}
