//! `Unblock` in the hands of odd users: cancelled calls, errors and destructors with a life of
//! their own.

use std::io::{Cursor, Error, ErrorKind, SeekFrom};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;

use futures_util::StreamExt;
use futures_util::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use sidestep::Unblock;

use crate::support::fake::{Bytes, Fake, at_rest, begin_read, begin_write, in_time};
use crate::support::{
    Drops, Gate, HoldOnDrop, PanicOnDrop, check_sound, eventually, occupy, poll, pool, quiet_panic, soon,
};

/// An error with something in it that has a destructor.
fn error_with(kind: ErrorKind, payload: impl Send + Sync + 'static) -> Error {
    struct Payload<P>(P);
    impl<P> std::fmt::Debug for Payload<P> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a payload")
        }
    }
    impl<P> std::fmt::Display for Payload<P> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a payload")
        }
    }
    impl<P> std::error::Error for Payload<P> {}
    Error::new(kind, Payload(payload))
}

// Origin: pitfall 22
#[test]
fn what_a_dropped_handle_has_written_is_not_moved_by_what_it_has_read_ahead() {
    let (pool, gate, bytes) = (pool(1, 1), Gate::new(), Bytes::default());
    let place = Arc::new(AtomicUsize::new(0));
    let (at, moved) = (Arc::clone(&place), Arc::clone(&place));
    let written_at = Arc::new(AtomicUsize::new(usize::MAX));
    let (wrote, seen) = (Arc::clone(&written_at), bytes.clone());
    let value = Fake::new()
        .reads(move |buffer| {
            buffer.fill(b'r');
            place.fetch_add(buffer.len(), Ordering::SeqCst);
            Ok(buffer.len())
        })
        .writes(move |bytes| {
            wrote.store(at.load(Ordering::SeqCst), Ordering::SeqCst);
            seen.add(bytes)
        })
        .seeks(move |to| {
            let SeekFrom::Current(by) = to else { return Err(ErrorKind::Unsupported.into()) };
            let to = moved.load(Ordering::SeqCst).saturating_add_signed(isize::try_from(by).unwrap());
            moved.store(to, Ordering::SeqCst);
            Ok(to as u64)
        });
    let mut file = Unblock::new(value).seekable().on(&pool);
    in_time(file.read_exact(&mut [0; 3])).unwrap();
    at_rest(&pool);
    let running = occupy(&pool, &gate);
    in_time(file.write_all(b"x")).unwrap();
    drop(file);
    gate.open();
    soon(running).unwrap();
    eventually("the byte is written", || bytes.get() == b"x");
    assert_eq!(written_at.load(Ordering::SeqCst), 3);
}

// Origin: pitfall 8
#[test]
fn the_destructor_of_an_error_of_a_seek_does_not_run_under_the_lock() {
    // The first seek is the one that finds out whether the value can; the second moves it back.
    for failing in 0..2 {
        let (held, begun, leave) = HoldOnDrop::new();
        let mut held = Some(Mutex::new(held));
        let mut seeks = 0;
        let pool = pool(1, 1);
        let value = Fake::new().reads(|buffer| Ok(buffer.len())).seeks(move |_| {
            seeks += 1;
            match if seeks > failing { held.take() } else { None } {
                Some(held) => Err(error_with(ErrorKind::NotSeekable, held)),
                None => Ok(0),
            }
        });
        let mut file = Unblock::new(value).seekable().on(&pool);
        let _ = begin_read(&mut file, &mut [0; 10]);
        if failing == 1 {
            in_time(file.read_exact(&mut [0; 10])).unwrap();
            in_time(file.write_all(b"x")).unwrap();
        }
        begun.pass();
        // It would wait for the lock here, and the destructor for this thread.
        let _ = begin_write(&mut file, b"y");
        leave.open();
        in_time(file.flush()).unwrap();
        at_rest(&pool);
    }
}

#[test]
fn a_panic_in_the_destructor_of_an_error_that_nobody_was_told_hangs_nobody() {
    let drops = Drops::new();
    let (panics, failed) = (drops.clone(), Gate::new());
    let (announce, mut reads) = (failed.clone(), 0);
    let value = Fake::new().reads(move |buffer| {
        reads += 1;
        match reads {
            1 | 2 => Ok(buffer.len()),
            3 => {
                announce.open();
                Err(error_with(ErrorKind::Other, PanicOnDrop(panics.clone())))
            }
            _ => Ok(0),
        }
    });
    let pool = pool(1, 1);
    let mut file = Unblock::with_capacity(64 << 10, value).seekable().on(&pool);
    in_time(file.read_exact(&mut [0; 5000])).unwrap();
    failed.pass();
    at_rest(&pool);
    assert_eq!(in_time(file.seek(SeekFrom::Start(0))).unwrap(), 0);
    eventually("the error is dropped", || drops.count() == 1);
    assert_eq!(in_time(file.read(&mut [0; 10])).unwrap(), 0);
}

#[test]
fn a_seek_that_was_refused_does_not_happen_later() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let mut cursor = Unblock::new(Cursor::new(b"0123456789".to_vec())).on(&pool);
    let running = occupy(&pool, &gate);
    let mut seek = cursor.seek(SeekFrom::Start(7));
    assert!(poll(&mut seek, Waker::noop()).is_pending());
    drop(seek);
    let shutdown = pool.shutdown().discard_queued();
    assert!(in_time(cursor.seek(SeekFrom::Start(7))).is_err());
    gate.open();
    soon(running).unwrap();
    let _ = shutdown.wait();
    assert_eq!(in_time(cursor.get_mut()).unwrap().position(), 0);
}

// Origin: pitfall 21
#[test]
fn a_seek_that_was_told_the_error_of_a_write_does_not_happen_later() {
    let (bytes, gate, fails) = (Bytes::default(), Gate::new(), Arc::new(AtomicUsize::new(1)));
    let (seen, pass) = (bytes.clone(), gate.clone());
    let seeks = Arc::new(AtomicUsize::new(0));
    let sought = Arc::clone(&seeks);
    let value = Fake::new()
        .writes(move |bytes| {
            pass.pass();
            if fails.swap(0, Ordering::SeqCst) == 1 {
                Err(ErrorKind::StorageFull.into())
            } else {
                seen.add(bytes)
            }
        })
        .seeks(move |_| {
            sought.fetch_add(1, Ordering::SeqCst);
            Ok(0)
        });
    let mut file = Unblock::new(value);
    in_time(file.write_all(b"abc")).unwrap();
    let result = in_time(async {
        let mut seek = file.seek(SeekFrom::Start(0));
        assert!(poll(&mut seek, Waker::noop()).is_pending());
        gate.open();
        seek.await
    });
    assert_eq!(result.unwrap_err().kind(), ErrorKind::StorageFull);
    in_time(file.flush()).unwrap();
    in_time(file.write_all(b"def")).unwrap();
    in_time(file.flush()).unwrap();
    assert_eq!((bytes.get().as_slice(), seeks.load(Ordering::SeqCst)), (&b"abcdef"[..], 0));
}

#[test]
fn an_end_that_nobody_was_told_is_forgotten_where_the_value_was_used_otherwise() {
    for lent in [false, true] {
        let pool = pool(1, 1);
        let mut cursor = Unblock::new(Cursor::new(b"0123456789".to_vec())).on(&pool);
        in_time(cursor.read_exact(&mut [0; 10])).unwrap();
        at_rest(&pool);
        // A read that is dropped finds the end.
        assert!(begin_read(&mut cursor, &mut [0; 10]).is_pending());
        at_rest(&pool);
        if lent {
            in_time(cursor.get_mut()).unwrap().set_position(4);
        } else {
            in_time(cursor.with_mut(|cursor| cursor.set_position(4))).unwrap();
        }
        let mut buffer = [0; 10];
        assert_eq!(in_time(cursor.read(&mut buffer)).unwrap(), 6, "lent: {lent}");
    }
}

#[test]
fn an_error_of_with_mut_means_that_the_closure_has_not_run() {
    let fails = Arc::new(AtomicUsize::new(0));
    let (failing, set) = (Arc::clone(&fails), Arc::clone(&fails));
    let value = Fake::new().flushes(move || match failing.swap(0, Ordering::SeqCst) {
        0 => Ok(()),
        _ => Err(ErrorKind::StorageFull.into()),
    });
    let mut file = Unblock::new(value);
    in_time(file.write_all(b"abc")).unwrap();
    let result = in_time(file.with_mut(move |_| {
        set.store(1, Ordering::SeqCst);
        42
    }));
    assert_eq!(result.unwrap(), 42);
    assert_eq!(in_time(file.flush()).unwrap_err().kind(), ErrorKind::StorageFull);
    in_time(file.flush()).unwrap();
}

#[test]
fn items_that_were_there_before_a_panic_come_before_it() {
    let pool = pool(1, 1);
    let mut next = 0;
    let items = std::iter::from_fn(move || {
        next += 1;
        if next == 4 { quiet_panic("the fourth") } else { Some(next) }
    });
    let mut stream = Unblock::new(items).on(&pool);
    assert!(poll(&mut stream.next(), Waker::noop()).is_pending());
    at_rest(&pool);
    let first: Vec<_> = in_time(stream.by_ref().take(3).collect());
    assert_eq!(first, [1, 2, 3]);
    let panic = std::panic::AssertUnwindSafe(|| in_time(stream.next()));
    let payload = std::panic::catch_unwind(panic).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"the fourth"));
    assert_eq!(in_time(stream.next()), None);
}

// Origin: pitfall 11
#[test]
fn the_payload_of_a_panic_nobody_saw_cannot_hurt_who_drops_the_stream() {
    let (pool, drops) = (pool(1, 1), Drops::new());
    let panics = drops.clone();
    let items = std::iter::from_fn(move || -> Option<i32> { quiet_panic(PanicOnDrop(panics.clone())) });
    let mut stream = Unblock::new(items).on(&pool);
    assert!(poll(&mut stream.next(), Waker::noop()).is_pending());
    at_rest(&pool);
    drop(stream);
    assert_eq!(drops.count(), 1);
    check_sound(&pool);
}

#[test]
fn what_a_write_interrupts_can_still_be_consumed() {
    let mut sent = false;
    let socket = Fake::new().reads(move |buffer| {
        if std::mem::replace(&mut sent, true) {
            return Ok(0);
        }
        buffer[..6].copy_from_slice(b"askask");
        Ok(6)
    });
    let mut socket = Unblock::new(socket);
    assert_eq!(in_time(socket.fill_buf()).unwrap(), b"askask");
    in_time(socket.write_all(b"answer")).unwrap();
    Pin::new(&mut socket).consume(3);
    let mut rest = Vec::new();
    in_time(socket.read_to_end(&mut rest)).unwrap();
    assert_eq!(rest, b"ask");
}
