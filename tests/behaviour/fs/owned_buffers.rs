//! Reads and writes at an offset with buffers that go and come back, and with several buffers.
#![cfg(target_os = "linux")]

use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::os::unix::fs::FileExt;

use sidestep::fs::File;

use crate::fs::files::{both, byte, ends, numbered, read_write};
use crate::support::alone::alone_as;
use crate::support::quiet_panic;

#[test]
fn an_owned_buffer_is_filled_and_comes_back() {
    for dir in both() {
        let path = numbered(dir.path(), 5_000_000);
        let file = ends(File::open(&path)).unwrap();
        for (length, offset) in [(0, 0), (1, 7), (70_000, 123), (3_000_000, 1_000_001), (10, 4_999_995)] {
            let (count, buffer) = ends(file.read_at_owned(vec![0_u8; length], offset));
            let start = usize::try_from(offset).unwrap();
            let expected = length.min(5_000_000 - start);
            assert_eq!(count.unwrap(), expected);
            assert_eq!(buffer.len(), length);
            assert!(buffer[..expected].iter().copied().eq((start..start + expected).map(byte)));
        }
        let (count, boxed) = ends(file.read_at_owned(vec![9; 4].into_boxed_slice(), 6_000_000));
        assert_eq!((count.unwrap(), &*boxed), (0, &[9; 4][..]), "past the end");
    }
}

#[test]
fn owned_bytes_are_written_and_come_back() {
    for dir in both() {
        let path = numbered(dir.path(), 100);
        let file = ends(read_write(&path));
        let bytes: Vec<u8> = (0..3_000_000).map(|place| byte(place + 7)).collect();
        let (count, back) = ends(file.write_at_owned(bytes, 50));
        assert_eq!((count.unwrap(), back.len()), (3_000_000, 3_000_000), "in one call");
        let (count, text) = ends(file.write_at_owned("text", 0));
        assert_eq!((count.unwrap(), text), (4, "text"));
        let mut seen = vec![0; 3_000_050];
        std::fs::File::open(&path).unwrap().read_exact_at(&mut seen, 0).unwrap();
        assert!(seen.starts_with(b"text") && seen[50..] == back[..]);
    }
}

#[test]
fn several_buffers_are_one_read_and_one_write() {
    for dir in both() {
        let path = numbered(dir.path(), 100);
        let file = ends(read_write(&path));
        let (mut one, mut two, mut none, mut three) = ([0; 3], [0; 50], [0; 0], [0; 60]);
        let mut buffers = [&mut one[..], &mut two, &mut none, &mut three].map(IoSliceMut::new);
        assert_eq!(ends(file.read_vectored_at(&mut buffers, 10)).unwrap(), 90);
        let read = [&one[..], &two, &three[..37]].concat();
        assert!(read.into_iter().eq((10..100).map(byte)));
        assert_eq!(ends(file.read_vectored_at(&mut [], 0)).unwrap(), 0);
        assert_eq!(ends(file.read_vectored_at(&mut [IoSliceMut::new(&mut one)], 5)).unwrap(), 3);
        assert!(one.into_iter().eq((5..8).map(byte)));
        let slices = [&b"ab"[..], b"", b"cde"].map(IoSlice::new);
        assert_eq!(ends(file.write_vectored_at(&slices, 98)).unwrap(), 5);
        assert!(std::fs::read(&path).unwrap().ends_with(b"abcde"));
        assert_eq!(ends(file.write_vectored_at(&[], 0)).unwrap(), 0);
        // As much as one trip takes.
        let large = vec![1; 3 << 20];
        let count = ends(file.write_vectored_at(&[IoSlice::new(&large), IoSlice::new(&large)], 0)).unwrap();
        assert_eq!(count, 2 << 20);
    }
}

#[test]
fn a_buffer_comes_back_from_a_call_that_fails() {
    let dir = tempfile::tempdir().unwrap();
    let file = ends(File::create(dir.path().join("write only"))).unwrap();
    let (result, buffer) = ends(file.read_at_owned(vec![3; 100], 0));
    assert!(result.is_err());
    assert_eq!(buffer, [3; 100]);
    let (result, buffer) = ends(file.write_at_owned(vec![3; 100], u64::MAX));
    assert_eq!((result.unwrap_err().kind(), buffer.len()), (ErrorKind::InvalidInput, 100));
}

/// Bytes that are not to be had.
struct Broken;

impl AsRef<[u8]> for Broken {
    fn as_ref(&self) -> &[u8] {
        quiet_panic("no bytes")
    }
}

#[test]
fn a_buffer_that_panics_comes_back_too() {
    let dir = tempfile::tempdir().unwrap();
    let file = ends(File::create(dir.path().join("file"))).unwrap();
    let (result, Broken) = ends(file.write_at_owned(Broken, 0));
    assert!(result.unwrap_err().to_string().contains("no bytes"));
}

#[test]
fn a_buffer_comes_back_from_a_pool_that_has_ended() {
    alone_as("fs::owned_buffers::a_buffer_comes_back_from_a_pool_that_has_ended", &[], || {
        let dir = tempfile::tempdir().unwrap();
        let pool = sidestep::Pool::new().unwrap();
        let file = ends(sidestep::fs::on(&pool).create(dir.path().join("file"))).unwrap();
        pool.shutdown().wait();
        let (result, buffer) = ends(file.write_at_owned(vec![1, 2, 3], 0));
        assert!(result.is_err());
        assert_eq!(buffer, [1, 2, 3]);
    });
}

#[test]
fn several_buffers_need_no_alignment_past_the_page_cache() {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let path = numbered(dir.path(), 16_384);
    let opened = File::options().read(true).write(true).custom_flags(libc::O_DIRECT).open(&path);
    let Ok(file) = ends(opened) else { return println!("no O_DIRECT here") };
    let mut bytes = vec![0; 1 + 8_192];
    let (one, two) = bytes[1..].split_at_mut(1_000);
    let mut buffers = [one, two].map(IoSliceMut::new);
    assert_eq!(ends(file.read_vectored_at(&mut buffers, 4_096)).unwrap(), 8_192);
    assert!(bytes[1..].iter().copied().eq((4_096..12_288).map(byte)));
    let slices = [&bytes[1..1_000], &bytes[1_000..4_097]].map(IoSlice::new);
    assert_eq!(ends(file.write_vectored_at(&slices, 0)).unwrap(), 4_096);
    assert!(std::fs::read(&path).unwrap()[..4_096] == bytes[1..4_097]);
}
