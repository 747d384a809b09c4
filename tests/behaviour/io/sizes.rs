//! How much one call moves, and with how many calls of the value.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::sync::{Arc, Mutex};
use std::task::Waker;

use futures_util::io::{AsyncReadExt, AsyncWriteExt};
use sidestep::Unblock;

use crate::support::fake::{Bytes, Fake, at_rest, begin_write, in_time};
use crate::support::{Gate, poll, pool};

const MIB: usize = 1 << 20;

/// The lengths of the calls that a value has seen.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<usize>>>);

impl Calls {
    fn add(&self, length: usize) -> io::Result<usize> {
        self.0.lock().unwrap().push(length);
        Ok(length)
    }

    fn take(&self) -> Vec<usize> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    fn writer(&self, capacity: usize) -> Unblock<Fake> {
        let calls = self.clone();
        Unblock::with_capacity(capacity, Fake::new().writes(move |bytes| calls.add(bytes.len())))
    }

    /// Fills each buffer.
    fn reader(&self, capacity: usize) -> Unblock<Fake> {
        let calls = self.clone();
        Unblock::with_capacity(capacity, Fake::new().reads(move |buffer| calls.add(buffer.len())))
    }
}

#[test]
fn one_write_is_one_write_of_the_value() {
    let calls = Calls::default();
    let mut stream = calls.writer(MIB);
    let bytes = vec![1; 3 * MIB];
    for length in [1, 100, 4096, 4097, 100_001, MIB / 2 + 1, MIB - 1, MIB] {
        assert_eq!(in_time(stream.write(&bytes[..length])).unwrap(), length);
        in_time(stream.flush()).unwrap();
        assert_eq!(calls.take(), [length]);
    }
    in_time(stream.write_all(&bytes)).unwrap();
    in_time(stream.flush()).unwrap();
    assert_eq!(calls.take(), [MIB; 3], "a call beyond the capacity is cut");
}

#[test]
fn a_vectored_write_is_one_write_of_the_value() {
    let calls = Calls::default();
    let mut stream = calls.writer(MIB);
    let parts = [&vec![1; 300_000][..], &[], &[2; 7], &vec![3; 200_000]].map(|part| part.to_vec());
    let slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
    assert_eq!(in_time(stream.write_vectored(&slices)).unwrap(), 500_007);
    in_time(stream.flush()).unwrap();
    assert_eq!(calls.take(), [500_007]);
    assert_eq!(in_time(stream.write_vectored(&[IoSlice::new(&[])])).unwrap(), 0);
}

/// What is collected while the value is at work goes to it in whole calls of the caller.
#[test]
fn no_write_of_the_value_ends_within_a_call() {
    let lengths = [512, 1536, 70_000, 4096, 3, 130_000, 65_536, 65_536, 65_536, 9, 200_000, 1];
    for capacity in [256 << 10, 1 << 20, usize::MAX] {
        let (calls, gate) = (Calls::default(), Gate::new());
        let (seen, pass) = (calls.clone(), gate.clone());
        let value = Fake::new().writes(move |bytes| {
            pass.pass();
            seen.add(bytes.len())
        });
        let mut stream = Unblock::with_capacity(capacity, value);
        in_time(async {
            for (number, length) in lengths.into_iter().enumerate() {
                if number == 5 {
                    gate.open();
                }
                assert_eq!(stream.write(&vec![0; length]).await.unwrap(), length);
            }
            stream.flush().await.unwrap();
        });
        let ends: Vec<usize> = lengths
            .iter()
            .scan(0, |sum, length| {
                Some({
                    *sum += length;
                    *sum
                })
            })
            .collect();
        let mut place = 0;
        for length in calls.take() {
            place += length;
            assert!(ends.contains(&place), "capacity {capacity}: a write ends at {place}");
        }
        assert_eq!(place, lengths.iter().sum::<usize>());
    }
}

#[test]
fn one_read_is_one_read_of_the_value() {
    for (asks, ahead) in [(MIB, false), (MIB, true), (100_001, false), (300_000, true)] {
        let (pool, calls) = (pool(1, 1), Calls::default());
        let mut stream = calls.reader(MIB).read_ahead(ahead).on(&pool);
        let mut buffer = vec![0; asks];
        assert_eq!(in_time(stream.read(&mut buffer)).unwrap(), asks);
        let first = calls.take()[0];
        assert!((asks..asks + 4096).contains(&first), "{asks} bytes are asked for, and {first} are read");
        at_rest(&pool);
    }
}

#[test]
fn no_read_is_larger_than_the_capacity_and_a_large_capacity_allocates_nothing_ahead() {
    let calls = Calls::default();
    let mut stream = calls.reader(1000);
    assert_eq!(in_time(stream.read(&mut [0; 5000])).unwrap(), 1000);
    assert!(calls.take().iter().all(|length| *length <= 1000));
    let mut stream = calls.reader(usize::MAX).read_ahead(true);
    for _ in 0..10 {
        assert_eq!(in_time(stream.read(&mut [0; 10])).unwrap(), 10);
    }
    assert!(calls.take().iter().all(|length| *length <= 64 << 10));
    let calls = Calls::default();
    let mut stream = calls.writer(usize::MAX);
    in_time(stream.write_all(&[1; 10])).unwrap();
    in_time(stream.flush()).unwrap();
    assert_eq!(calls.take(), [10]);
}

#[test]
fn a_vectored_read_fills_part_after_part() {
    let mut next = 0_u8;
    let value = Fake::new().reads(move |buffer| {
        buffer.fill_with(|| {
            next = next.wrapping_add(1);
            next
        });
        Ok(buffer.len())
    });
    let mut stream = Unblock::with_capacity(100, value);
    let (mut one, mut none, mut two) = ([0; 30], [], [0; 200]);
    let mut parts = [&mut one[..], &mut none, &mut two].map(IoSliceMut::new);
    let count = in_time(stream.read_vectored(&mut parts)).unwrap();
    let all: Vec<u8> = one.into_iter().chain(two).collect();
    assert!(count <= 100 && count > 30, "{count}");
    assert!(all[..count].iter().enumerate().all(|(place, byte)| *byte == (place + 1) as u8));
    assert!(all[count..].iter().all(|byte| *byte == 0));
}

/// A large write waits until there is room for all of it; a small one meanwhile goes in.
#[test]
fn a_large_write_waits_for_room_and_is_woken() {
    let (calls, gate) = (Calls::default(), Gate::new());
    let (seen, pass) = (calls.clone(), gate.clone());
    let value = Fake::new().writes(move |bytes| {
        pass.pass();
        seen.add(bytes.len())
    });
    let mut stream = Unblock::with_capacity(1000, value);
    assert!(matches!(begin_write(&mut stream, &[0; 300]), std::task::Poll::Ready(Ok(300))));
    let mut large = Box::pin(async move {
        stream.write_all(&[1; 900]).await.unwrap();
        stream.flush().await.unwrap();
    });
    assert!(poll(&mut large, Waker::noop()).is_pending());
    gate.open();
    in_time(large);
    assert_eq!(calls.take(), [300, 900]);
}

/// What goes wrong in one stream is for that one alone.
#[test]
fn a_value_that_lies_or_fails_disturbs_no_other() {
    let pool = pool(1, 1);
    let bytes = Bytes::default();
    let seen = bytes.clone();
    let mut good = Unblock::new(Fake::new().writes(move |bytes| seen.add(bytes))).on(&pool);
    let mut stuck = Unblock::new(Fake::new().writes(|_| Ok(0))).on(&pool);
    let mut boasts = Unblock::new(Fake::new().writes(|bytes| Ok(bytes.len() + 1))).on(&pool);
    let mut claims = Unblock::new(Fake::new().reads(|buffer| Ok(buffer.len() + 1))).on(&pool);
    let fails = Fake::new().seeks(|_| Err(ErrorKind::StaleNetworkFileHandle.into()));
    let mut fails = Unblock::new(fails).seekable().on(&pool);
    for round in 0..3 {
        in_time(good.write_all(b"good")).unwrap();
        let _ = in_time(stuck.write(b"stuck"));
        let _ = in_time(boasts.write(b"boasts"));
        let error = in_time(stuck.flush()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WriteZero, "round {round}");
        let error = in_time(boasts.flush()).unwrap_err().to_string();
        assert!(error.contains("7 of 6 bytes"), "round {round}: {error}");
        let error = in_time(claims.read(&mut [0; 10])).unwrap_err().to_string();
        assert!(error.contains("4097 bytes into 4096"), "round {round}: {error}");
        assert_eq!(in_time(fails.read(&mut [0])).unwrap(), 0, "a failed probe fails no read");
        in_time(good.flush()).unwrap();
    }
    assert_eq!(bytes.get(), b"goodgoodgood");
    assert!(in_time(stuck.unwritten()).unwrap().starts_with(b"stuck"));
}
