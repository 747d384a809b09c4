//! What only Windows has: handles, reads and writes that move the cursor, shares, flags, attributes
//! and links of two kinds.

use std::io::{ErrorKind, SeekFrom};
use std::os::windows::fs::MetadataExt;
use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, IntoRawHandle, OwnedHandle};

use futures_util::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use sidestep::block_on;
use sidestep::fs::{self, File, OpenOptions};

const FILE_SHARE_NONE: u32 = 0;
const FILE_SHARE_READ: u32 = 1;
const FILE_ATTRIBUTE_HIDDEN: u32 = 2;
const FILE_FLAG_DELETE_ON_CLOSE: u32 = 0x0400_0000;
const FILE_FLAG_OVERLAPPED: u32 = 0x4000_0000;
const GENERIC_READ: u32 = 0x8000_0000;
const ERROR_SHARING_VIOLATION: i32 = 32;
const ERROR_PRIVILEGE_NOT_HELD: i32 = 1314;

#[test]
fn a_file_is_made_of_a_handle_and_lends_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "content").unwrap();
    let open = || std::fs::File::open(&path).unwrap();
    let read = |mut file: File| {
        let mut text = String::new();
        block_on(file.read_to_string(&mut text)).unwrap();
        text
    };
    assert_eq!(read(File::from(OwnedHandle::from(open()))), "content");
    // SAFETY: the handle is open, and given up by its owner.
    let file = unsafe { File::from_raw_handle(open().into_raw_handle()) };
    assert_eq!(file.as_handle().as_raw_handle(), file.as_raw_handle());
    // A copy of the handle is of the same open file, and shares its cursor.
    let copy = file.as_handle().try_clone_to_owned().unwrap();
    assert_eq!(read(File::from(copy)), "content");
    assert_eq!(read(file), "", "the cursor is at the end");
}

#[test]
fn reads_and_writes_at_a_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    block_on(async {
        let mut file = File::options().read(true).write(true).create_new(true).open(&path).await.unwrap();
        file.write_all(b"0123456789").await.unwrap();
        assert_eq!(file.seek_write(b"abc", 4).await.unwrap(), 3);
        let mut buffer = [0; 5];
        assert_eq!(file.seek_read(&mut buffer, 3).await.unwrap(), 5);
        assert_eq!(&buffer, b"3abc7");
        assert_eq!(file.seek_read(&mut buffer, 8).await.unwrap(), 2);
        assert_eq!(file.seek_read(&mut buffer, 10).await.unwrap(), 0, "the end");
        // What a read has in advance is not stale after a write at a place.
        file.seek(SeekFrom::Start(0)).await.unwrap();
        file.read_exact(&mut buffer).await.unwrap();
        file.seek_write(b"XY", 0).await.unwrap();
        file.seek(SeekFrom::Start(0)).await.unwrap();
        file.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"XY23a");
        file.close().await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"XY23abc789");
    });
}

#[test]
fn a_share_is_refused_and_granted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "content").unwrap();
    block_on(async {
        let alone = OpenOptions::new().read(true).share_mode(FILE_SHARE_NONE).open(&path).await.unwrap();
        let error = File::open(&path).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(ERROR_SHARING_VIOLATION));
        drop(alone.into_std().await.unwrap());
        let shared = OpenOptions::new().read(true).share_mode(FILE_SHARE_READ).open(&path).await.unwrap();
        drop(File::open(&path).await.unwrap().into_std().await.unwrap());
        let error = OpenOptions::new().write(true).open(&path).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(ERROR_SHARING_VIOLATION));
        drop(shared.into_std().await.unwrap());
    });
}

/// The system may answer later than at once there.
#[test]
fn a_file_for_overlapped_calls_is_locked_as_any() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "content").unwrap();
    block_on(async {
        let open = || OpenOptions::new().read(true).custom_flags(FILE_FLAG_OVERLAPPED).open(&path);
        let (one, other) = (open().await.unwrap(), open().await.unwrap());
        for _ in 0..100 {
            one.lock().await.unwrap();
            assert!(matches!(other.try_lock().await, Err(fs::TryLockError::WouldBlock)));
            assert!(matches!(other.try_lock_shared().await, Err(fs::TryLockError::WouldBlock)));
            one.unlock().await.unwrap();
            other.lock_shared().await.unwrap();
            assert!(matches!(one.try_lock().await, Err(fs::TryLockError::WouldBlock)));
            other.unlock().await.unwrap();
        }
    });
}

#[test]
fn access_flags_and_attributes_go_to_the_system() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    block_on(async {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).attributes(FILE_ATTRIBUTE_HIDDEN);
        drop(options.open(&path).await.unwrap().into_std().await.unwrap());
        let attributes = fs::metadata(&path).await.unwrap().file_attributes();
        assert_ne!(attributes & FILE_ATTRIBUTE_HIDDEN, 0);

        let mut reader = OpenOptions::new().access_mode(GENERIC_READ).open(&path).await.unwrap();
        assert_eq!(reader.read(&mut [0; 8]).await.unwrap(), 0);
        let written = match reader.write_all(b"no").await {
            Ok(()) => reader.flush().await,
            error => error,
        };
        assert_eq!(written.unwrap_err().kind(), ErrorKind::PermissionDenied);
        drop(reader);

        let passing = folder.path().join("passing");
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).custom_flags(FILE_FLAG_DELETE_ON_CLOSE);
        let file = options.open(&passing).await.unwrap();
        assert!(passing.exists());
        drop(file.into_std().await.unwrap());
        assert!(!passing.exists());
    });
}

#[test]
fn links_are_of_two_kinds() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("file"), "content").unwrap();
    std::fs::create_dir(path("dir")).unwrap();
    block_on(async {
        match fs::symlink_file(path("file"), path("to_file")).await {
            // The user has neither the privilege nor the developer mode.
            Err(error) if error.raw_os_error() == Some(ERROR_PRIVILEGE_NOT_HELD) => return,
            result => result.unwrap(),
        }
        fs::symlink_dir(path("dir"), path("to_dir")).await.unwrap();
        assert_eq!(fs::read_to_string(path("to_file")).await.unwrap(), "content");
        assert!(fs::metadata(path("to_dir")).await.unwrap().is_dir());
        for name in ["to_file", "to_dir"] {
            assert!(fs::symlink_metadata(path(name)).await.unwrap().is_symlink());
        }
        fs::remove_dir(path("to_dir")).await.unwrap();
        fs::remove_file(path("to_file")).await.unwrap();
        assert!(path("file").exists() && path("dir").exists());
    });
}
