//! Input that no file can be made of, or that ends as few files do: as with `std`.
#![cfg(target_os = "linux")]

use std::fmt::Debug;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use futures_util::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use sidestep::fs::{self, DirBuilder, File};

use crate::fs::files::{both, byte, ends, numbered, read_write};
use crate::support::alone::alone_as;

/// The error is the one that `std` has.
fn same<T: Debug, U: Debug>(ours: io::Result<T>, theirs: io::Result<U>, what: &str) {
    let (ours, theirs) = (ours.unwrap_err(), theirs.unwrap_err());
    assert_eq!((ours.kind(), ours.raw_os_error()), (theirs.kind(), theirs.raw_os_error()), "{what}: {ours}");
    assert!(!ours.to_string().is_empty());
}

#[test]
fn a_name_with_a_nul_is_an_error_everywhere() {
    let (bad, good) = (Path::new("a\0b"), Path::new("Cargo.toml"));
    let permissions = std::fs::metadata(good).unwrap().permissions();
    same(ends(File::open(bad)), std::fs::File::open(bad), "open");
    same(ends(File::create(bad)), std::fs::File::create(bad), "create");
    same(ends(File::create_new(bad)), std::fs::File::create_new(bad), "create_new");
    same(ends(fs::read(bad)), std::fs::read(bad), "read");
    same(ends(fs::read_to_string(bad)), std::fs::read_to_string(bad), "read_to_string");
    same(ends(fs::write(bad, "")), std::fs::write(bad, ""), "write");
    same(ends(fs::copy(good, bad)), std::fs::copy(good, bad), "copy to");
    same(ends(fs::copy(bad, good)), std::fs::copy(bad, good), "copy from");
    same(ends(fs::rename(bad, "a")), std::fs::rename(bad, "a"), "rename from");
    same(ends(fs::rename("no such file", bad)), std::fs::rename("no such file", bad), "rename to");
    same(ends(fs::hard_link(good, bad)), std::fs::hard_link(good, bad), "hard_link");
    same(ends(fs::symlink(good, bad)), std::os::unix::fs::symlink(good, bad), "symlink");
    same(ends(fs::metadata(bad)), std::fs::metadata(bad), "metadata");
    same(ends(fs::symlink_metadata(bad)), std::fs::symlink_metadata(bad), "symlink_metadata");
    same(ends(fs::exists(bad)), std::fs::exists(bad), "exists");
    same(ends(fs::try_exists(bad)), std::fs::exists(bad), "try_exists");
    same(ends(fs::canonicalize(bad)), std::fs::canonicalize(bad), "canonicalize");
    same(ends(fs::read_link(bad)), std::fs::read_link(bad), "read_link");
    same(ends(fs::read_dir(bad)), std::fs::read_dir(bad), "read_dir");
    same(ends(fs::create_dir(bad)), std::fs::create_dir(bad), "create_dir");
    same(ends(fs::create_dir_all(bad)), std::fs::create_dir_all(bad), "create_dir_all");
    same(ends(fs::remove_dir(bad)), std::fs::remove_dir(bad), "remove_dir");
    same(ends(fs::remove_dir_all(bad)), std::fs::remove_dir_all(bad), "remove_dir_all");
    same(ends(fs::remove_file(bad)), std::fs::remove_file(bad), "remove_file");
    let set = std::fs::set_permissions(bad, permissions.clone());
    same(ends(fs::set_permissions(bad, permissions)), set, "set_permissions");
    same(ends(fs::chown(bad, None, None)), std::os::unix::fs::chown(bad, None, None), "chown");
    same(ends(DirBuilder::new().create(bad)), std::fs::DirBuilder::new().create(bad), "DirBuilder");
    assert_eq!(ends(fs::read(bad)).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_directory_is_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    same(ends(fs::read(path)), std::fs::read(path), "read");
    same(ends(fs::write(path, "")), std::fs::write(path, ""), "write");
    same(ends(File::create(path)), std::fs::File::create(path), "create");
    let mut plain = std::fs::File::open(path).unwrap();
    let mut file = ends(File::open(path)).unwrap();
    let mut bytes = [0; 10];
    for _ in 0..2 {
        same(ends(file.read(&mut bytes)), plain.read(&mut bytes), "read of an open one");
        same(ends(file.read_at(&mut bytes, 0)), plain.read_at(&mut bytes, 0), "read_at");
    }
    same(ends(file.set_len(3)), plain.set_len(3), "set_len");
    assert!(ends(file.metadata()).unwrap().is_dir());
    ends(file.lock()).unwrap();
    ends(file.sync_all()).unwrap();
}

/// Both are the same count, or the same error.
fn alike<T: Debug + PartialEq>(ours: io::Result<T>, theirs: io::Result<T>, what: &str) {
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs, "{what}"),
        (ours, theirs) => same(ours, theirs, what),
    }
}

#[test]
fn offsets_at_the_ends_of_what_can_be_said() {
    for dir in both() {
        let mut bytes = [0; 10];
        let most = i64::MAX as u64;
        for offset in [0, most - 10, most, most + 1, u64::MAX - 3, u64::MAX] {
            // Some file systems have files of that size.
            let plain = numbered(dir.path(), 101);
            let plain = std::fs::File::options().read(true).write(true).open(plain).unwrap();
            let file = ends(read_write(&numbered(dir.path(), 100)));
            plain.set_len(100).unwrap();
            let what = format!("at {offset}");
            alike(ends(file.read_at(&mut bytes, offset)), plain.read_at(&mut bytes, offset), &what);
            let exact = plain.read_exact_at(&mut bytes, offset);
            alike(ends(file.read_exact_at(&mut bytes, offset)), exact, &what);
            alike(ends(file.write_at(&bytes, offset)), plain.write_at(&bytes, offset), &what);
            alike(ends(file.write_all_at(&bytes, offset)), plain.write_all_at(&bytes, offset), &what);
            alike(ends(file.set_len(offset)), plain.set_len(offset), &what);
            assert_eq!(ends(file.metadata()).unwrap().len(), plain.metadata().unwrap().len(), "{what}");
        }
        let path = numbered(dir.path(), 100);
        let mut plain = std::fs::File::options().read(true).write(true).open(&path).unwrap();
        let mut file = ends(read_write(&path));
        for to in [
            SeekFrom::Start(u64::MAX),
            SeekFrom::Start(most + 1),
            SeekFrom::End(-101),
            SeekFrom::Current(i64::MIN),
            SeekFrom::End(i64::MIN),
        ] {
            same(ends(file.seek(to)), plain.seek(to), &format!("{to:?}"));
            assert_eq!(ends(file.stream_position()).unwrap(), 0, "it stays where it is");
        }
        // The file stands still, and works on.
        ends(file.read_exact(&mut bytes)).unwrap();
        assert!(bytes.into_iter().eq((0..10).map(byte)));
        assert_eq!(ends(file.metadata()).unwrap().len(), 100);
    }
}

#[test]
fn a_file_that_shrinks_ends_there() {
    for dir in both() {
        let path = numbered(dir.path(), 1_000_000);
        let other = std::fs::File::options().write(true).open(&path).unwrap();
        let mut file = ends(File::open(&path)).unwrap();
        let mut bytes = vec![0; 300_000];
        ends(file.read_exact(&mut bytes)).unwrap();
        other.set_len(300_000).unwrap();
        let mut rest = Vec::new();
        ends(file.read_to_end(&mut rest)).unwrap();
        // What was read ahead before may still come: true bytes of then, in their places.
        assert!(rest.len() <= 700_000 && rest.iter().copied().eq((300_000..300_000 + rest.len()).map(byte)));
        assert_eq!(ends(file.read_at(&mut bytes, 300_000)).unwrap(), 0);
        let error = ends(file.read_exact_at(&mut bytes, 10)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        other.set_len(0).unwrap();
        assert_eq!(ends(fs::read(&path)).unwrap(), b"");
        assert_eq!(ends(file.read(&mut bytes)).unwrap(), 0);
    }
}

#[test]
fn a_full_device_keeps_what_it_did_not_take() {
    let full = || ends(File::options().write(true).open("/dev/full")).unwrap();
    let mut file = full();
    ends(file.write_all(b"bytes")).unwrap();
    for _ in 0..2 {
        assert_eq!(ends(file.flush()).unwrap_err().kind(), ErrorKind::StorageFull);
    }
    assert_eq!(ends(file.unwritten()).unwrap(), b"bytes");
    ends(file.flush()).unwrap();
    let file = full();
    assert_eq!(ends(file.write_at(b"bytes", 0)).unwrap_err().kind(), ErrorKind::StorageFull);
    let (result, bytes) = ends(file.write_at_owned("bytes", 0));
    assert_eq!((result.unwrap_err().kind(), bytes), (ErrorKind::StorageFull, "bytes"));
    assert_eq!(ends(fs::write("/dev/full", "bytes")).unwrap_err().kind(), ErrorKind::StorageFull);
    let mut zeros = [1; 100];
    ends(ends(File::open("/dev/full")).unwrap().read_exact(&mut zeros)).unwrap();
    assert_eq!(zeros, [0; 100]);
}

static SECRET: [u8; 16] = *b"where it is said";

#[test]
fn the_memory_of_the_process_is_a_file() {
    let place = SECRET.as_ptr().addr() as u64;
    let mut file = ends(File::open("/proc/self/mem")).unwrap();
    let mut bytes = [0; 16];
    ends(file.read_exact_at(&mut bytes, place)).unwrap();
    assert_eq!(bytes, SECRET);
    bytes = [0; 16];
    assert_eq!(ends(file.seek(SeekFrom::Start(place))).unwrap(), place);
    ends(file.read_exact(&mut bytes)).unwrap();
    assert_eq!(bytes, SECRET);
    // Nothing is there.
    let mut plain = std::fs::File::open("/proc/self/mem").unwrap();
    same(ends(file.read_at(&mut bytes, 0)), plain.read_at(&mut bytes, 0), "read_at 0");
    ends(file.seek(SeekFrom::Start(0))).unwrap();
    same(ends(file.read(&mut bytes)), plain.read(&mut bytes), "read at 0");
}

#[test]
fn a_descriptor_that_is_closed_is_an_error() {
    alone_as("fs::bad_input::a_descriptor_that_is_closed_is_an_error", &[], || {
        let dir = tempfile::tempdir().unwrap();
        let path = numbered(dir.path(), 10);
        let raw = std::fs::File::options().read(true).write(true).open(&path).unwrap().into_raw_fd();
        // SAFETY: the descriptor is open, and its owner has given it up.
        let mut file = unsafe { File::from_raw_fd(raw) };
        assert_eq!(file.as_raw_fd(), raw);
        // SAFETY: the process has no other thread that opens files: the number stays unused.
        assert_eq!(unsafe { libc::close(raw) }, 0);
        let errors = [
            ends(file.read(&mut [0; 3])).unwrap_err(),
            ends(file.metadata()).unwrap_err(),
            ends(file.read_at(&mut [0; 3], 0)).unwrap_err(),
            ends(file.set_len(0)).unwrap_err(),
            ends(file.lock()).unwrap_err(),
            ends(file.try_clone()).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{error}");
        }
        // The number is open again when the file closes it.
        // SAFETY: it is not open, as above, and belongs to the file alone.
        assert_eq!(unsafe { libc::dup2(libc::STDERR_FILENO, raw) }, raw);
        drop(file);
    });
}

#[test]
fn a_write_to_a_file_without_room_is_the_error_of_the_system() {
    let dir = tempfile::tempdir().unwrap();
    let path = numbered(dir.path(), 10);
    let mut plain = std::fs::File::open(&path).unwrap();
    let mut file = ends(File::open(&path)).unwrap();
    let theirs = plain.write(b"x");
    ends(file.write_all(b"x")).unwrap();
    same(ends(file.flush()), theirs, "a file that is only read");
}
