//! Values that cannot seek, whatever they say: they are read and written in order, and lose
//! nothing.

use std::io::{self, Error, ErrorKind, SeekFrom};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use futures_util::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use sidestep::Unblock;

use crate::support::fake::{Bytes, Fake, begin_read, begin_write, in_time};
use crate::support::{Gate, occupy, poll, pool};

type Fails = Arc<dyn Fn() -> Error + Send + Sync>;

/// The errors with which devices, and types of users, refuse to seek.
fn errors() -> Vec<Fails> {
    let codes = [1, 5, 6, 9, 19, 22, 25, 29, 38, 75, 95, 524];
    let codes = codes.into_iter().map(|code| Arc::new(move || Error::from_raw_os_error(code)) as Fails);
    let kinds = [
        ErrorKind::NotSeekable,
        ErrorKind::Unsupported,
        ErrorKind::Other,
        ErrorKind::UnexpectedEof,
        ErrorKind::InvalidInput,
    ];
    let kinds = kinds.into_iter().map(|kind| Arc::new(move || Error::from(kind)) as Fails);
    let text = Arc::new(|| Error::other("this is a tape")) as Fails;
    codes.chain(kinds).chain([text]).collect()
}

/// Reads 0, 1, 2, ... and logs what is written.
fn tape(bytes: &Bytes) -> Fake {
    let (seen, mut next) = (bytes.clone(), 0_u8);
    let reads = move |buffer: &mut [u8]| {
        buffer.fill_with(|| {
            next = next.wrapping_add(1);
            next.wrapping_sub(1)
        });
        Ok(buffer.len())
    };
    Fake::new().reads(reads).writes(move |bytes| seen.add(bytes))
}

fn expect(stream: &mut Unblock<Fake>, from: usize, count: usize) {
    let mut buffer = vec![0; count];
    in_time(stream.read_exact(&mut buffer)).unwrap();
    let expected: Vec<u8> = (from..from + count).map(|place| place as u8).collect();
    assert_eq!(buffer, expected);
}

#[test]
fn a_failed_probe_fails_no_read_whatever_the_error() {
    for fails in errors() {
        let (bytes, name) = (Bytes::default(), fails().to_string());
        let value = tape(&bytes).seeks(move |_| Err(fails()));
        let mut stream = Unblock::new(value).seekable();
        expect(&mut stream, 0, 10);
        in_time(stream.write_all(b"one")).unwrap_or_else(|error| panic!("{name}: {error}"));
        in_time(stream.flush()).unwrap_or_else(|error| panic!("{name}: {error}"));
        expect(&mut stream, 10, 5000);
        in_time(stream.write_all(b"two")).unwrap();
        in_time(stream.flush()).unwrap();
        expect(&mut stream, 5010, 3);
        assert_eq!(bytes.get(), b"onetwo", "{name}");
    }
}

/// A seek that fails is the caller's to know of, and nothing else becomes of it.
#[test]
fn a_seek_that_fails_makes_no_value_seekable() {
    for fails in errors() {
        let (bytes, kind) = (Bytes::default(), fails().kind());
        let value = tape(&bytes).seeks(move |_| Err(fails()));
        let mut stream = Unblock::new(value);
        let mut place = 0;
        for round in 0..3 {
            expect(&mut stream, place, 10);
            place += 10;
            let error = in_time(stream.seek(SeekFrom::Start(3))).unwrap_err();
            assert_eq!(error.kind(), kind);
            in_time(stream.write_all(b"x")).unwrap();
            in_time(stream.flush()).unwrap_or_else(|error| panic!("{round}, {kind}: {error}"));
        }
        expect(&mut stream, place, 10_000);
        assert_eq!(bytes.get(), b"xxx");
    }
}

/// It says where it is, but cannot go back: the write fails, and once the caller has given it up
/// the bytes that were read are all there.
#[test]
fn a_value_that_cannot_go_back_loses_nothing() {
    for fails in errors() {
        let kind = fails().kind();
        // Elsewhere than on Unix every error of the system may mean that.
        let may_mean_that = cfg!(not(unix)) && fails().raw_os_error().is_some();
        if may_mean_that || matches!(kind, ErrorKind::NotSeekable | ErrorKind::Unsupported) {
            continue;
        }
        let bytes = Bytes::default();
        let value = tape(&bytes).seeks(move |to| match to {
            SeekFrom::Current(0) => Ok(0),
            _ => Err(fails()),
        });
        let mut stream = Unblock::new(value).seekable();
        expect(&mut stream, 0, 10);
        let _ = in_time(stream.write_all(b"lost?"));
        assert_eq!(in_time(stream.flush()).unwrap_err().kind(), kind);
        assert_eq!(in_time(stream.unwritten()).unwrap(), b"lost?");
        expect(&mut stream, 10, 20_000);
        assert_eq!(bytes.get(), b"");
    }
}

#[test]
fn a_value_that_learns_at_the_last_moment_that_it_cannot_seek_goes_on_in_order() {
    let bytes = Bytes::default();
    let value = tape(&bytes).seeks(|to| match to {
        SeekFrom::Current(0) => Ok(0),
        _ => Err(ErrorKind::NotSeekable.into()),
    });
    let mut stream = Unblock::new(value).seekable();
    expect(&mut stream, 0, 10);
    in_time(stream.write_all(b"here")).unwrap();
    in_time(stream.flush()).unwrap();
    expect(&mut stream, 10, 20_000);
    assert_eq!(bytes.get(), b"here");
}

/// The write moves the value back, and the seek waits for the write.
#[test]
fn a_seek_is_answered_that_waits_while_the_value_learns_that_it_cannot_go_back() {
    let (bytes, pool, gate) = (Bytes::default(), pool(1, 1), Gate::new());
    let value = tape(&bytes).seeks(|to| match to {
        SeekFrom::Current(0) => Ok(0),
        _ => Err(ErrorKind::NotSeekable.into()),
    });
    let mut stream = Unblock::new(value).seekable().on(&pool);
    expect(&mut stream, 0, 10);
    let occupied = occupy(&pool, &gate);
    assert!(matches!(begin_write(&mut stream, b"here"), Poll::Ready(Ok(4))));
    let mut seek = stream.seek(SeekFrom::Start(3));
    assert!(poll(&mut seek, Waker::noop()).is_pending());
    gate.open();
    assert_eq!(in_time(seek).unwrap_err().kind(), ErrorKind::NotSeekable);
    in_time(stream.flush()).unwrap();
    expect(&mut stream, 10, 20_000);
    assert_eq!(bytes.get(), b"here");
    occupied.wait().unwrap();
}

/// The read asks where the value is, and the seek waits for the answer.
#[test]
fn a_seek_is_answered_that_waits_while_the_value_learns_that_it_has_no_place() {
    let (bytes, started, gate) = (Bytes::default(), Gate::new(), Gate::new());
    let (announce, wait) = (started.clone(), gate.clone());
    let value = tape(&bytes).seeks(move |_| {
        announce.open();
        wait.pass();
        Err(ErrorKind::NotSeekable.into())
    });
    let mut stream = Unblock::new(value).seekable();
    assert!(begin_read(&mut stream, &mut [0; 10]).is_pending());
    started.pass();
    let mut seek = stream.seek(SeekFrom::Start(3));
    assert!(poll(&mut seek, Waker::noop()).is_pending());
    gate.open();
    assert_eq!(in_time(seek).unwrap_err().kind(), ErrorKind::NotSeekable);
    expect(&mut stream, 0, 20_000);
    in_time(stream.write_all(b"here")).unwrap();
    in_time(stream.flush()).unwrap();
    assert_eq!(bytes.get(), b"here");
}

/// A value whose seeks fail for a while is one that can seek: a write waits until it has been moved
/// back, and goes where the caller is.
#[test]
fn an_error_that_may_pass_does_not_make_a_write_go_astray() {
    for kind in [ErrorKind::TimedOut, ErrorKind::StorageFull, ErrorKind::WouldBlock, ErrorKind::NetworkDown] {
        let (bytes, mut tries, mut moves) = (Bytes::default(), 0, Vec::new());
        let (log, seen) = (Arc::new(Mutex::new(Vec::new())), bytes.clone());
        let moved = Arc::clone(&log);
        let value = tape(&seen).seeks(move |to| {
            tries += 1;
            moves.push(to);
            *moved.lock().unwrap() = moves.clone();
            if tries <= 3 { Err(kind.into()) } else { Ok(0) }
        });
        let mut stream = Unblock::new(value).seekable();
        expect(&mut stream, 0, 10);
        for _ in 0..2 {
            // The second attempt may have failed already.
            let told = in_time(stream.write(b"x")).is_err();
            assert!(told || in_time(stream.flush()).is_err(), "{kind}");
        }
        in_time(stream.flush()).unwrap();
        assert!(bytes.get().iter().all(|byte| *byte == b'x') && !bytes.get().is_empty());
        let log = log.lock().unwrap();
        assert_eq!(log[0], SeekFrom::Current(0));
        assert!(log[1..].iter().all(|to| *to == SeekFrom::Current(-4086)), "{log:?}");
    }
}

/// Each value is asked once.
#[test]
fn the_probe_is_made_once() {
    for works in [true, false] {
        let (probes, log) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (count, seen) = (Arc::clone(&probes), Arc::clone(&log));
        let value = tape(&Bytes::default()).seeks(move |to| {
            count.fetch_add(1, Ordering::SeqCst);
            seen.lock().unwrap().push(to);
            if works { Ok(0) } else { Err(io::Error::other("no")) }
        });
        let mut stream = Unblock::new(value).seekable();
        for round in 0..5 {
            expect(&mut stream, round * 5000, 5000);
        }
        assert_eq!(probes.load(Ordering::SeqCst), 1, "{:?}", log.lock().unwrap());
    }
}
