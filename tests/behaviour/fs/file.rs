//! Open files: bytes and places are those of `std`, through streams and at places, and so are
//! errors.
#![cfg(target_os = "linux")]

use std::io::{ErrorKind, IoSlice, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::try_join_all;
use futures_util::{AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, AsyncWriteExt, FutureExt, TryStreamExt};
use sidestep::fs::{File, OpenOptions};

use crate::fs::files::{both, byte, ends, numbered, read_write};
use crate::support::eventually;

fn _a_file_can_be_shared(file: File) -> impl Send + Sync + Unpin + std::panic::UnwindSafe {
    std::panic::AssertUnwindSafe(file)
}

#[test]
fn a_file_is_written_and_read() {
    for dir in both() {
        ends(async {
            let path = dir.path().join("new");
            let mut file = File::create_new(&path).await.unwrap();
            assert_eq!(File::create_new(&path).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
            file.write_all(b"one\ntwo\n").await.unwrap();
            let slices = [IoSlice::new(b"thr"), IoSlice::new(b""), IoSlice::new(b"ee\n")];
            assert_eq!(file.write_vectored(&slices).await.unwrap(), 6);
            assert_eq!(file.metadata().await.unwrap().len(), 14, "it sees what was accepted");
            file.close().await.unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\nthree\n");
            let lines: Vec<_> = File::open(&path).await.unwrap().lines().try_collect().await.unwrap();
            assert_eq!(lines, ["one", "two", "three"]);
            assert_eq!(file.read(&mut []).await.unwrap(), 0);
            let mut file = File::open(&path).await.unwrap();
            let mut text = String::new();
            file.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "one\ntwo\nthree\n");
            assert_eq!(file.read_exact(&mut [0]).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
            assert_eq!(File::open(dir.path().join("none")).await.unwrap_err().kind(), ErrorKind::NotFound);
        });
    }
}

#[test]
fn a_file_that_grows_is_read_on() {
    for dir in both() {
        ends(async {
            let path = numbered(dir.path(), 3);
            let mut reader = File::open(&path).await.unwrap();
            let mut writer = OpenOptions::new().append(true).open(&path).await.unwrap();
            let mut bytes = Vec::new();
            for length in [3, 6, 10_000, 10_001] {
                let new: Vec<u8> = (writer.metadata().await.unwrap().len()..length).map(|_| 7).collect();
                writer.write_all(&new).await.unwrap();
                writer.flush().await.unwrap();
                reader.read_to_end(&mut bytes).await.unwrap();
                assert_eq!(bytes.len() as u64, length);
            }
        });
    }
}

/// A number that looks random.
fn random(seed: &mut u64) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*seed >> 33).unwrap()
}

#[test]
fn places_and_bytes_are_those_of_std() {
    for (dir, append) in both().iter().flat_map(|dir| [(dir, false), (dir, true)]) {
        let [one, two] = ["one", "two"].map(|name| {
            let path = dir.path().join(name);
            std::fs::copy(numbered(dir.path(), 200_000), &path).unwrap();
            path
        });
        let mut options = std::fs::OpenOptions::new();
        options.read(true).append(append).write(true);
        let mut plain = options.open(&one).unwrap();
        let mut file = File::from(options.open(&two).unwrap());
        let mut seed = 7;
        ends(async {
            for step in 0..1_500 {
                let size = random(&mut seed) % [1, 10, 5_000, 40_000][random(&mut seed) % 4] + 1;
                match random(&mut seed) % 6 {
                    0 | 1 => {
                        let (mut expected, mut bytes) = (vec![0; size], vec![0; size]);
                        let count = read_up_to(&mut plain, &mut expected);
                        let mut filled = 0;
                        while filled < count {
                            filled += file.read(&mut bytes[filled..count]).await.unwrap();
                        }
                        assert!(expected == bytes, "step {step}");
                    }
                    2 => {
                        let bytes = vec![u8::try_from(step % 256).unwrap(); size];
                        plain.write_all(&bytes).unwrap();
                        file.write_all(&bytes).await.unwrap();
                    }
                    3 => {
                        let to = SeekFrom::Current(i64::try_from(size).unwrap() - 20_000);
                        assert_eq!(file.seek(to).await.ok(), plain.seek(to).ok(), "step {step}");
                    }
                    4 => {
                        let to = SeekFrom::Start(u64::try_from(random(&mut seed) % 210_000).unwrap());
                        assert_eq!(file.seek(to).await.unwrap(), plain.seek(to).unwrap());
                    }
                    _ => {
                        let expected = plain.stream_position().unwrap();
                        assert_eq!(file.stream_position().await.unwrap(), expected, "step {step}");
                        assert_eq!(file.metadata().await.unwrap().len(), plain.metadata().unwrap().len());
                    }
                }
            }
            let mut back = file.into_std().await.unwrap();
            assert_eq!(back.stream_position().unwrap(), plain.stream_position().unwrap());
        });
        assert!(std::fs::read(one).unwrap() == std::fs::read(two).unwrap());
    }
}

fn read_up_to(file: &mut std::fs::File, buffer: &mut [u8]) -> usize {
    let mut filled = 0;
    loop {
        match file.read(&mut buffer[filled..]).unwrap() {
            0 => return filled,
            count => filled += count,
        }
    }
}

#[test]
fn a_clone_shares_the_place() {
    for dir in both() {
        ends(async {
            let mut one = read_write(&numbered(dir.path(), 1_000)).await;
            let mut bytes = [0; 10];
            one.read_exact(&mut bytes).await.unwrap();
            let mut two = one.try_clone().await.unwrap();
            two.read_exact(&mut bytes).await.unwrap();
            assert!(bytes.into_iter().eq((10..20).map(byte)), "what the first read ahead was undone");
            two.seek(SeekFrom::Start(100)).await.unwrap();
            one.write_all(b"here").await.unwrap();
            one.flush().await.unwrap();
            assert_eq!(two.stream_position().await.unwrap(), 104);
            two.seek(SeekFrom::Current(-4)).await.unwrap();
            two.read_exact(&mut bytes[..4]).await.unwrap();
            assert_eq!(&bytes[..4], b"here");
        });
    }
}

#[test]
fn files_come_from_descriptors_and_go_to_std() {
    for dir in both() {
        ends(async {
            let plain = std::fs::File::open(numbered(dir.path(), 1_000)).unwrap();
            let mut file = File::from(OwnedFd::from(plain));
            file.read_exact(&mut [0; 7]).await.unwrap();
            let duplicate = file.as_fd().try_clone_to_owned().unwrap();
            let mut plain = file.into_std().await.unwrap();
            let mut bytes = [0; 3];
            plain.read_exact(&mut bytes).unwrap();
            assert!(bytes.into_iter().eq((7..10).map(byte)));
            assert_eq!(std::fs::File::from(duplicate).stream_position().unwrap(), 10);
        });
    }
}

#[test]
fn what_is_asked_of_a_file_sees_what_was_accepted() {
    for dir in both() {
        ends(async {
            let path = dir.path().join("new");
            let mut file = read_write(&numbered(dir.path(), 0)).await;
            file.write_all(&[7; 100_000]).await.unwrap();
            let mut bytes = vec![0; 100_000];
            file.read_exact_at(&mut bytes, 0).await.unwrap();
            assert!(bytes == vec![7; 100_000]);
            file.write_all(&[8; 10]).await.unwrap();
            file.write_all_at(&[9; 5], 100_003).await.unwrap();
            file.read_exact_at(&mut bytes[..10], 100_000).await.unwrap();
            assert_eq!(bytes[..10], [8, 8, 8, 9, 9, 9, 9, 9, 8, 8]);
            assert_eq!(file.stream_position().await.unwrap(), 100_010);
            file.write_all(b"end").await.unwrap();
            file.set_len(100_012).await.unwrap();
            file.sync_data().await.unwrap();
            file.sync_all().await.unwrap();
            assert_eq!(file.metadata().await.unwrap().len(), 100_012);
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
            file.write_all(b"more").await.unwrap();
            file.set_modified(time).await.unwrap();
            let mut permissions = file.metadata().await.unwrap().permissions();
            permissions.set_readonly(true);
            file.set_permissions(permissions).await.unwrap();
            let metadata = file.metadata().await.unwrap();
            assert_eq!((metadata.modified().unwrap(), metadata.permissions().readonly()), (time, true));
            drop(path);
        });
    }
}

#[test]
fn many_read_and_write_at_places_at_once() {
    for dir in both() {
        let file = Arc::new(ends(read_write(&numbered(dir.path(), 1 << 20))));
        ends(try_join_all((0..64_u64).map(|part| {
            let file = Arc::clone(&file);
            async move {
                let place = part * 16_384;
                let mut bytes = vec![0; 16_384];
                file.read_exact_at(&mut bytes, place).await?;
                assert!(bytes.iter().copied().eq((part * 16_384..).take(16_384).map(|at| byte(at as usize))));
                file.write_all_at(&vec![u8::try_from(part).unwrap(); 16_384], place).await?;
                file.read_exact_at(&mut bytes, place).await?;
                assert!(bytes.iter().all(|byte| u64::from(*byte) == part));
                std::io::Result::Ok(())
            }
        })))
        .unwrap();
        let error = ends(file.read_exact_at(&mut [0; 10], (1 << 20) - 5)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }
}

#[test]
fn places_may_be_far_out() {
    for dir in both() {
        let far = (5 << 30) + 123;
        let path = dir.path().join("sparse");
        let plain = std::fs::File::create_new(&path).unwrap();
        ends(async {
            let mut file = read_write(&path).await;
            file.seek(SeekFrom::Start(far)).await.unwrap();
            file.write_all(b"far out").await.unwrap();
            assert_eq!(file.seek(SeekFrom::Current(-7)).await.unwrap(), far);
            let mut bytes = [0; 7];
            file.read_exact(&mut bytes[..3]).await.unwrap();
            assert_eq!(file.stream_position().await.unwrap(), far + 3);
            file.read_exact_at(&mut bytes, far).await.unwrap();
            assert_eq!(&bytes, b"far out");
            file.write_all_at(b"!", far + (1 << 32)).await.unwrap();
            assert_eq!(file.seek(SeekFrom::End(-1)).await.unwrap(), far + (1 << 32));
            assert_eq!(file.read(&mut bytes).await.unwrap(), 1);
            for place in [u64::MAX, 1 << 63, (1 << 63) - 1] {
                let (ours, expected) =
                    (file.read_at(&mut bytes, place).await, plain.read_at(&mut bytes, place));
                let expected =
                    expected.map_err(|_| std::fs::File::open(&path).unwrap().read_at(&mut [0; 7], place));
                assert_eq!(ours.is_ok(), expected.is_ok() || matches!(expected, Err(Ok(_))), "{place}");
                assert!(file.write_at(b"no", place).await.is_err());
                assert!(file.seek(SeekFrom::Start(place)).await.is_err() || place == (1 << 63) - 1);
            }
        });
    }
}

#[test]
fn a_full_disk_is_reported_again_and_again() {
    ends(async {
        let mut full = read_write(std::path::Path::new("/dev/full")).await;
        full.write_all(b"lost").await.unwrap();
        for _ in 0..5 {
            assert_eq!(full.flush().await.unwrap_err().kind(), ErrorKind::StorageFull);
        }
        assert_eq!(full.metadata().await.unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(full.read_at(&mut [0; 4], 0).await.unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(full.read(&mut [0; 4]).await.unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(full.unwritten().await.unwrap(), b"lost");
        full.flush().await.unwrap();
        assert_eq!(full.read(&mut [1; 4]).await.unwrap(), 4, "it can be read again");
        full.write_all(b"lost").await.unwrap();
        assert_eq!(full.into_std().await.unwrap_err().kind(), ErrorKind::StorageFull);
    });
}

#[test]
fn a_file_refuses_what_it_was_not_opened_for() {
    for dir in both() {
        ends(async {
            let path = numbered(dir.path(), 10);
            let expected = std::fs::File::open(&path).unwrap().write(b"no").unwrap_err();
            let mut file = File::open(&path).await.unwrap();
            file.write_all(b"no").await.unwrap();
            assert_eq!(file.flush().await.unwrap_err().raw_os_error(), expected.raw_os_error());
            assert_eq!(file.unwritten().await.unwrap(), b"no");
            assert_eq!(file.read(&mut [0; 20]).await.unwrap(), 10);
            let mut file = OpenOptions::new().write(true).open(&path).await.unwrap();
            assert_eq!(file.read(&mut [0]).await.unwrap_err().raw_os_error(), expected.raw_os_error());
            let mut folder = File::open(dir.path()).await.unwrap();
            for size in [1, 100_000] {
                let error = folder.read(&mut vec![0; size]).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::IsADirectory);
            }
            assert_eq!(folder.read_at(&mut [0], 0).await.unwrap_err().kind(), ErrorKind::IsADirectory);
            assert!(folder.metadata().await.unwrap().is_dir());
        });
    }
}

#[test]
fn files_of_the_system_are_read() {
    ends(async {
        for path in ["/proc/cpuinfo", "/proc/self/status", "/proc/filesystems", "/proc/self/cmdline"] {
            for size in [1, 10_000] {
                let mut file = File::open(path).await.unwrap();
                let mut bytes = vec![0; size];
                file.read_exact(&mut bytes[..1]).await.unwrap();
                assert_eq!(file.stream_position().await.unwrap(), 1);
                file.seek(SeekFrom::Start(0)).await.unwrap();
                let mut all = Vec::new();
                loop {
                    match file.read(&mut bytes).await.unwrap() {
                        0 => break,
                        count => all.extend_from_slice(&bytes[..count]),
                    }
                }
                let expected = std::fs::read(path).unwrap();
                assert_eq!(all.first(), expected.first());
                assert!(all.len().abs_diff(expected.len()) < 64, "{path}");
            }
        }
        let mut zero = File::open("/dev/zero").await.unwrap();
        let mut bytes = vec![1; 300_000];
        zero.read_exact(&mut bytes).await.unwrap();
        assert!(bytes.iter().all(|byte| *byte == 0));
    });
}

#[test]
fn what_was_accepted_is_written_after_the_file_has_been_dropped() {
    for dir in both() {
        let path = dir.path().join("new");
        ends(async {
            let mut file = OpenOptions::new().append(true).create(true).open(&path).await.unwrap();
            file.write_all(&[7; 200_000]).await.unwrap();
        });
        eventually("it is written", || path.metadata().unwrap().len() == 200_000);
    }
}

#[test]
fn no_descriptor_is_left() {
    crate::support::alone::alone_as("fs::file::no_descriptor_is_left", &[], || {
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        for dir in both() {
            let path = numbered(dir.path(), 10_000);
            ends(File::open(&path)).unwrap();
            let before = open();
            for turn in 0..10_000 {
                let mut opening = Box::pin(File::open(&path));
                if turn % 3 == 0 {
                    drop(opening.as_mut().now_or_never());
                    continue;
                }
                let mut file = ends(opening).unwrap();
                ends(file.read(&mut [0; 100])).unwrap();
                if turn % 3 == 1 {
                    drop(file.read_at(&mut [0; 100], 0).now_or_never());
                }
            }
            eventually("all are closed", || open() == before);
        }
    });
}

#[test]
fn flags_of_the_system_can_be_given() {
    let dir = tempfile::tempdir().unwrap();
    let path = numbered(dir.path(), 10);
    let error = ends(OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(&path)).unwrap_err();
    let mut options = std::fs::OpenOptions::new();
    let expected = options.read(true).custom_flags(libc::O_DIRECTORY).open(&path).unwrap_err();
    assert_eq!(error.raw_os_error(), expected.raw_os_error());
}
