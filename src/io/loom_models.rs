//! Models for the model checker: a producer's items in a bounded channel, and the bytes of a shared
//! reader.
//!
//! A thread that parks for ever is a deadlock, which the checker reports: so each model ends only
//! if no thread is forgotten.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use loom::thread;

use super::bounded::{BoundedChannel, TrySendError};
use super::shared_reader::{ReaderHandle, SharedReader};
use crate::sync::Parker;
use crate::sync::stand_in::model::check;

/// Takes items as the stream does until there have been `count`.
fn take_items(channel: &BoundedChannel<u32>, count: usize) -> Vec<u32> {
    let parker = Arc::new(Parker::new());
    let waker = parker.waker();
    let (mut taken, mut given, mut got) = (VecDeque::new(), 0, Vec::new());
    while got.len() < count {
        if let Some(item) = taken.pop_front() {
            got.push(item);
            given += 1;
            if channel.should_acknowledge(given) {
                channel.acknowledge(std::mem::take(&mut given));
            }
            continue;
        }
        match channel.take(&mut taken, std::mem::take(&mut given), Some(&waker)) {
            Some(item) => got.push(item),
            None => assert!(parker.park(None), "there is no deadline"),
        }
    }
    got
}

fn send(channel: &BoundedChannel<u32>, item: u32) -> Result<(), u32> {
    match channel.try_send(item) {
        Err(TrySendError::Full(item)) => channel.send_blocking(item),
        Err(TrySendError::Closed(item)) => Err(item),
        Ok(()) => Ok(()),
    }
}

fn sender(
    channel: &Arc<BoundedChannel<u32>>,
    items: std::ops::Range<u32>,
) -> thread::JoinHandle<Result<(), u32>> {
    let channel = Arc::clone(channel);
    thread::spawn(move || items.into_iter().try_for_each(|item| send(&channel, item)))
}

/// Neither the sender, which waits for room, nor the stream, which waits for items, sleeps for
/// ever.
#[test]
fn loom_items_pass_in_order() {
    for capacity in [1, 2, 3] {
        check(Some(3), move || {
            let channel = Arc::new(BoundedChannel::new(capacity));
            let sender = sender(&channel, 0..4);
            assert_eq!(take_items(&channel, 4), [0, 1, 2, 3]);
            assert_eq!(sender.join().unwrap(), Ok(()));
        });
    }
}

#[test]
fn loom_two_senders_share_the_room() {
    check(Some(2), || {
        let channel = Arc::new(BoundedChannel::new(1));
        let senders = [0..1, 1..3].map(|items| sender(&channel, items));
        let mut got = take_items(&channel, 3);
        got.sort_unstable();
        assert_eq!(got, [0, 1, 2]);
        senders.into_iter().for_each(|sender| sender.join().unwrap().unwrap());
    });
}

/// Whatever the sender does when the stream goes away, each item is given out, left, refused or
/// never sent.
#[test]
fn loom_the_stream_goes_away() {
    check(None, || {
        let channel = Arc::new(BoundedChannel::new(1));
        let sender = sender(&channel, 0..3);
        assert_eq!(take_items(&channel, 1), [0]);
        let left = channel.close();
        match sender.join().unwrap() {
            Err(refused) => assert_eq!(refused as usize, 1 + left.len()),
            Ok(()) => panic!("there is no room for the third"),
        }
    });
}

/// Reads one byte, or the end, as a future does.
fn read(handle: &mut ReaderHandle) -> Option<u8> {
    let parker = Arc::new(Parker::new());
    let waker = parker.waker();
    loop {
        let mut byte = None;
        let read = handle.poll_read(&mut Context::from_waker(&waker), |bytes| {
            byte = Some(bytes[0]);
            1
        });
        match read {
            Poll::Ready(read) => return byte.filter(|_| read.unwrap() == 1),
            Poll::Pending => assert!(parker.park(None), "there is no deadline"),
        }
    }
}

/// A shared reader whose thread reads from `sources` in turn, once each.
fn shared(sources: &'static [&'static [u8]]) -> Arc<SharedReader> {
    SharedReader::new(move |shared| {
        let shared = Arc::clone(shared);
        thread::spawn(move || assert!(sources.iter().all(|source| shared.round(&mut &source[..]).is_some())));
        Ok(())
    })
}

/// Two handles ask at once for what comes in one read or in two: each gets a byte.
#[test]
fn loom_two_handles_are_fed() {
    const READS: [&[&[u8]]; 2] = [&[b"ab"], &[b"a", b"b"]];
    for sources in READS {
        check(Some(3), move || {
            let shared = shared(sources);
            let mut other = shared.handle();
            let reader = thread::spawn(move || read(&mut other));
            let mut got = [read(&mut shared.handle()), reader.join().unwrap()];
            got.sort_unstable();
            assert_eq!(got, [Some(b'a'), Some(b'b')]);
        });
    }
}

/// A handle asks and goes away, at any moment of the read: its byte is there for the next, and then
/// the end.
#[test]
fn loom_a_handle_goes_away() {
    check(Some(3), || {
        let shared = shared(&[b"a", b""]);
        let mut first = shared.handle();
        let asked = first.poll_read(&mut Context::from_waker(std::task::Waker::noop()), |_| 0);
        assert!(asked.is_pending());
        let mut second = shared.handle();
        let reader = thread::spawn(move || [read(&mut second), read(&mut second)]);
        drop(first);
        assert_eq!(reader.join().unwrap(), [Some(b'a'), None]);
    });
}
