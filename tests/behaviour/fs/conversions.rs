//! Files to and from those of `std` and descriptors, and clones of files that are shared.
#![cfg(target_os = "linux")]

use std::future::Future;
use std::io::{Read, Seek, Write};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::task::{Poll, Waker};

use futures_util::{AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, AsyncWriteExt, FutureExt};
use sidestep::fs::File;

use crate::fs::files::{both, byte, ends, numbered, read_write};
use crate::support::{eventually, poll};

/// Tries until nothing is in progress any more.
fn to_std(file: File) -> std::fs::File {
    let mut file = Some(file);
    let mut plain = None;
    while plain.is_none() {
        match file.take().unwrap().try_into_std() {
            Ok(found) => plain = Some(found),
            Err(busy) => file = Some(busy),
        }
    }
    plain.unwrap()
}

#[test]
fn a_file_at_rest_goes_to_std_at_once() {
    for dir in both() {
        let path = numbered(dir.path(), 100_000);
        for read in [0, 1, 10, 5_000, 20_000] {
            let mut file = ends(File::open(&path)).unwrap();
            ends(file.read_exact(&mut vec![0; read])).unwrap();
            let mut plain = to_std(file);
            let mut bytes = [0; 3];
            plain.read_exact(&mut bytes).unwrap();
            assert!(bytes.into_iter().eq((read..read + 3).map(byte)), "after {read}");
        }
        // Nothing waits for anything: no poll has been made since the flush.
        let mut file = ends(read_write(&path));
        ends(async {
            file.write_all(b"some").await.unwrap();
            file.flush().await.unwrap();
        });
        let mut plain = file.try_into_std().unwrap();
        assert_eq!(plain.stream_position().unwrap(), 4);
    }
}

/// A pipe accepts more than goes over only where it cannot be waited for: without a descriptor.
#[cfg(target_os = "linux")]
#[test]
fn a_file_with_something_to_write_comes_back() {
    use crate::support::{alone::alone_as, take_all_descriptors};

    alone_as("fs::conversions::a_file_with_something_to_write_comes_back", &[], || {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        ends(async {
            let mut reader = std::fs::File::options().read(true).write(true).open(&path).unwrap();
            let mut file = File::options().read(true).write(true).open(&path).await.unwrap();
            let taken = take_all_descriptors();
            file.write_all(&[7; 70_000]).await.unwrap();
            let file = file.try_into_std().unwrap_err();
            drop(taken);
            let drain = std::thread::spawn(move || reader.read_exact(&mut vec![0; 70_000]).map(|()| reader));
            file.metadata().await.unwrap();
            drop(drain.join().unwrap().unwrap());
            drop(to_std(file));
        });
    });
}

#[test]
fn an_error_that_is_to_be_reported_keeps_the_file() {
    let mut file = File::from(std::fs::File::options().write(true).open("/dev/full").unwrap());
    ends(file.write_all(b"lost?")).unwrap();
    eventually("the write fails", || file.metadata().now_or_never().is_some_and(|end| end.is_err()));
    let mut file = file.try_into_std().unwrap_err();
    assert_eq!(ends(file.unwritten()).unwrap(), b"lost?");
    drop(to_std(file));
}

#[test]
fn a_shared_file_can_be_cloned() {
    for dir in both() {
        let path = numbered(dir.path(), 100_000);
        for read in [0, 1, 100, 9_000] {
            ends(async {
                let mut file = File::open(&path).await.unwrap();
                file.read_exact(&mut vec![0; read]).await.unwrap();
                let mut file = Arc::new(file);
                let clones: Vec<_> = futures_util::future::join_all((0..3).map(|_| file.try_clone())).await;
                let mut place = read;
                let mut bytes = [0; 10];
                let mut clones: Vec<_> = clones.into_iter().map(Result::unwrap).collect();
                clones.push(Arc::get_mut(&mut file).unwrap().try_clone().await.unwrap());
                for clone in &mut clones {
                    clone.read_exact(&mut bytes).await.unwrap();
                    assert!(bytes.into_iter().eq((place..place + 10).map(byte)), "after {read}");
                    place += 10;
                    // It has read ahead of the next.
                    assert_eq!(clone.stream_position().await.unwrap(), place as u64);
                }
                let file = Arc::get_mut(&mut file).unwrap();
                file.read_exact(&mut bytes).await.unwrap();
                assert!(bytes.into_iter().eq((place..place + 10).map(byte)), "the first, after {read}");
            });
        }
    }
}

#[test]
fn what_was_lent_to_a_reader_is_read_again_after_a_clone() {
    for dir in both() {
        ends(async {
            let mut file = File::open(numbered(dir.path(), 100_000)).await.unwrap();
            assert!(file.fill_buf().await.unwrap().len() > 5);
            file.consume_unpin(5);
            let mut clone = file.try_clone().await.unwrap();
            let mut bytes = [0; 10];
            clone.read_exact(&mut bytes).await.unwrap();
            assert!(bytes.into_iter().eq((5..15).map(byte)));
            clone.seek(std::io::SeekFrom::Start(7)).await.unwrap();
            file.read_exact(&mut bytes).await.unwrap();
            assert!(bytes.into_iter().eq((7..17).map(byte)), "nothing stale is left in the first");
        });
    }
}

#[test]
fn a_clone_sees_what_was_accepted_and_a_dropped_clone_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = numbered(dir.path(), 10);
    ends(async {
        let mut file = read_write(&path).await;
        for round in 0..50_u8 {
            file.write_all(&[round; 100]).await.unwrap();
            let mut cloning = Box::pin(file.try_clone());
            let polled = poll(&mut cloning, Waker::noop());
            drop(cloning);
            if let Poll::Ready(clone) = polled {
                assert_eq!(clone.unwrap().metadata().await.unwrap().len(), 100 * (u64::from(round) + 1));
            }
        }
        let mut clone = file.try_clone().await.unwrap();
        assert_eq!(clone.stream_position().await.unwrap(), 5_000);
        clone.write_all(b"end").await.unwrap();
        clone.flush().await.unwrap();
        assert_eq!(file.stream_position().await.unwrap(), 5_003);
    });
}

fn is_send<T: Send>(future: impl Future<Output = T> + Send) -> impl Future<Output = T> + Send {
    future
}

#[test]
fn a_file_comes_from_a_raw_descriptor() {
    let dir = tempfile::tempdir().unwrap();
    let path = numbered(dir.path(), 10);
    let raw = std::fs::File::open(&path).unwrap().into_raw_fd();
    // SAFETY: the descriptor is open, and its owner has given it up.
    let mut file = unsafe { File::from_raw_fd(raw) };
    let mut bytes = Vec::new();
    ends(is_send(file.read_to_end(&mut bytes))).unwrap();
    assert_eq!(bytes.len(), 10);
    let clone = File::from_std(ends(is_send(file.try_clone())).unwrap().try_into_std().unwrap());
    let mut owned = std::fs::File::from(OwnedFd::from(to_std(clone)));
    owned.rewind().unwrap();
    assert!(owned.write_all(b"read only").is_err());
    assert_eq!(ends(file.stream_position()).unwrap(), 0, "they share the place");
}
