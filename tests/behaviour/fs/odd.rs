//! Files with rules of their own: opened past the page cache, without a working seek, with buffers
//! of a given size.
#![cfg(target_os = "linux")]

use std::io::{ErrorKind, Read, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use futures_util::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use sidestep::fs::File;

use crate::fs::files::ends;
use crate::support::alone::alone_as;

const MIB: usize = 1 << 20;

/// A directory on a disk, where files may be opened past the page cache.
fn on_disk() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn direct() -> std::fs::OpenOptions {
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).custom_flags(libc::O_DIRECT);
    options
}

/// Whether the file system has such files, and holds their callers to the rules.
fn is_strict(dir: &Path) -> Option<bool> {
    let mut file = direct().open(dir.join("probe")).ok()?;
    Some(file.write(&[0; 100]).is_err())
}

fn pattern(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|place| (place * 7 + place / 4096 + seed) as u8).collect()
}

#[test]
fn a_caller_who_keeps_the_rules_of_direct_files_is_served() {
    let dir = on_disk();
    if is_strict(dir.path()).is_none() {
        return;
    }
    ends(async move {
        let path = dir.path().join("file");
        let mut file = File::from(direct().open(&path).unwrap());
        let mut expected = Vec::new();
        // From memory that is not aligned.
        for (seed, length) in [4096, 512 * 8, 65_536, 12_288, 200 << 10, MIB, 3 * MIB].into_iter().enumerate()
        {
            let bytes = pattern(length + 1, seed);
            file.write_all(&bytes[1..]).await.unwrap();
            expected.extend_from_slice(&bytes[1..]);
        }
        file.flush().await.unwrap();
        assert!(std::fs::read(&path).unwrap() == expected);

        file.seek(SeekFrom::Start(4096)).await.unwrap();
        let mut buffer = vec![0; expected.len()];
        file.read_exact(&mut buffer[1..8193]).await.unwrap();
        assert!(buffer[1..8193] == expected[4096..12_288]);
        // A write after a read ahead goes where the caller is.
        file.write_all(&[9; 4096]).await.unwrap();
        expected[12_288..16_384].fill(9);
        file.flush().await.unwrap();
        file.seek(SeekFrom::Start(0)).await.unwrap();
        let mut all = Vec::new();
        file.read_to_end(&mut all).await.unwrap();
        assert!(all == expected);

        let count = file.read_at(&mut buffer[3..4099], 8192).await.unwrap();
        assert!(count == 4096 && buffer[3..4099] == expected[8192..12_288]);
        assert_eq!(file.write_at(&pattern(8193, 3)[1..], 4096).await.unwrap(), 8192);
        expected[4096..12_288].copy_from_slice(&pattern(8193, 3)[1..]);
        assert!(std::fs::read(&path).unwrap() == expected);
        file.set_max_buf_size(4096);
        file.seek(SeekFrom::Start(0)).await.unwrap();
        let mut page = [0; 8192];
        assert_eq!(file.read(&mut page).await.unwrap(), 4096);
        assert!(page[..4096] == expected[..4096]);
    });
}

/// The end of a file need not be aligned, nor what the caller asks for.
#[test]
fn a_direct_file_of_any_length_is_read_to_its_end() {
    let dir = on_disk();
    if is_strict(dir.path()).is_none() {
        return;
    }
    for length in [0, 1, 4095, 4096, 5000, 300_001] {
        let (path, bytes) = (dir.path().join("file"), pattern(length, 5));
        std::fs::write(&path, &bytes).unwrap();
        for capacity in [4096, 20_000, 64 << 10, 2 * MIB] {
            let (path, bytes) = (path.clone(), bytes.clone());
            ends(async move {
                let mut file = File::with_capacity(capacity, direct().open(&path).unwrap());
                let mut all = Vec::new();
                file.read_to_end(&mut all).await.unwrap();
                assert!(all == bytes, "{} of {length} bytes, capacity {capacity}", all.len());
            });
        }
    }
}

/// A write of an odd length fails, as in `std`, and takes nothing with it that was written before.
#[test]
fn an_odd_write_to_a_direct_file_fails_alone() {
    let dir = on_disk();
    if is_strict(dir.path()) != Some(true) {
        return;
    }
    ends(async move {
        let path = dir.path().join("file");
        let mut file = File::from(direct().open(&path).unwrap());
        let pages = pattern(3 * 4096, 1);
        for page in pages.chunks(4096) {
            file.write_all(page).await.unwrap();
        }
        file.write_all(b"odd").await.unwrap();
        assert_eq!(file.flush().await.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(file.unwritten().await.unwrap(), b"odd");
        file.write_all(&[1; 4096]).await.unwrap();
        file.flush().await.unwrap();
        let all = std::fs::read(&path).unwrap();
        assert!(all[..3 * 4096] == pages && all[3 * 4096..] == [1; 4096]);
    });
}

/// How many calls of the system have read, or written, in this process.
fn calls(which: &str) -> u64 {
    let counts = std::fs::read_to_string("/proc/self/io").unwrap();
    let line = counts.lines().find_map(|line| line.strip_prefix(which)).unwrap();
    line.trim_start_matches(':').trim().parse().unwrap()
}

#[test]
fn one_call_is_one_call_of_the_system() {
    alone_as("fs::odd::one_call_is_one_call_of_the_system", &[], || {
        let dir = on_disk();
        ends(async move {
            let path = dir.path().join("file");
            let mut file = File::create(&path).await.unwrap();
            let bytes = vec![1; MIB];
            for calls_of in [1, 16] {
                let before = calls("syscw");
                for _ in 0..calls_of {
                    assert_eq!(file.write(&bytes).await.unwrap(), MIB);
                    file.flush().await.unwrap();
                }
                assert_eq!(calls("syscw") - before, calls_of);
            }
            let mut file = File::open(&path).await.unwrap();
            let mut buffer = vec![0; MIB];
            let own = {
                let before = calls("syscr");
                calls("syscr") - before
            };
            let before = calls("syscr");
            for _ in 0..16 {
                assert_eq!(file.read(&mut buffer).await.unwrap(), MIB);
            }
            let reads = calls("syscr") - before - own;
            // The first may have asked in vain whether the bytes are in memory.
            assert!((16..=18).contains(&reads), "{reads} calls");
        });
    });
}

#[test]
fn a_file_moves_no_more_at_a_time_than_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    ends(async move {
        let path = dir.path().join("file");
        std::fs::write(&path, pattern(100_000, 0)).unwrap();
        let mut file = File::options().read(true).write(true).open(&path).await.unwrap();
        assert_eq!(file.max_buf_size(), 2 * MIB);
        let mut buffer = [0; 10_000];
        for most in [1, 2, 1000, 4096, 5000] {
            file.set_max_buf_size(most);
            assert_eq!(file.max_buf_size(), most);
            assert_eq!(file.try_clone().await.unwrap().max_buf_size(), most);
            file.seek(SeekFrom::Start(7)).await.unwrap();
            let count = file.read(&mut buffer).await.unwrap();
            assert!(count <= most && count >= most.min(4096), "{count} of {most}");
            assert!(buffer[..count] == pattern(100_000, 0)[7..7 + count]);
            file.seek(SeekFrom::Start(0)).await.unwrap();
            assert_eq!(file.write(&pattern(10_000, 0)).await.unwrap(), most);
            file.flush().await.unwrap();
        }
        file.set_max_buf_size(usize::MAX);
        file.seek(SeekFrom::Start(0)).await.unwrap();
        let mut all = Vec::new();
        file.read_to_end(&mut all).await.unwrap();
        assert!(all == pattern(100_000, 0));
    });
}

#[test]
#[should_panic(expected = "max_buf_size 0 of a file")]
fn a_size_of_nothing_is_refused() {
    File::from(std::fs::File::open("Cargo.toml").unwrap()).set_max_buf_size(0);
}

#[test]
#[should_panic(expected = "capacity 0 of a file")]
fn a_capacity_of_nothing_is_refused() {
    drop(File::with_capacity(0, std::fs::File::open("Cargo.toml").unwrap()));
}

#[test]
fn a_file_that_shrinks_while_it_is_read_ends() {
    let dir = tempfile::tempdir().unwrap();
    ends(async move {
        let path = dir.path().join("file");
        std::fs::write(&path, pattern(MIB, 0)).unwrap();
        let mut file = File::open(&path).await.unwrap();
        let mut buffer = vec![0; 1000];
        file.read_exact(&mut buffer).await.unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_len(10).unwrap();
        let mut rest = Vec::new();
        file.read_to_end(&mut rest).await.unwrap();
        assert!(rest.len() < MIB, "what was read ahead may be there, and no more");
        assert_eq!(file.read_at(&mut buffer, 5).await.unwrap(), 5);
        assert_eq!(file.read_exact_at(&mut buffer, 5).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    });
}

#[test]
fn files_of_the_kernel_are_read_as_by_std() {
    let paths = ["/proc/version", "/proc/filesystems", "/proc/self/cmdline", "/proc/sys/kernel/ostype"];
    for path in paths {
        let Ok(expected) = std::fs::read(path) else { continue };
        for capacity in [1, 64 << 10] {
            let expected = expected.clone();
            ends(async move {
                let mut file = File::with_capacity(capacity, std::fs::File::open(path).unwrap());
                let mut all = Vec::new();
                file.read_to_end(&mut all).await.unwrap();
                assert_eq!(all, expected, "{path}");
            });
        }
    }
}

/// Its `lseek` fails with `EINVAL`.
#[test]
fn the_kernels_log_is_read() {
    let Ok(mut file) = std::fs::File::open("/dev/kmsg") else { return };
    if file.read(&mut [0; 8192]).is_err() {
        return;
    }
    ends(async {
        let mut file = File::open("/dev/kmsg").await.unwrap();
        let mut line = [0; 8192];
        assert!(file.read(&mut line).await.unwrap() > 0);
        assert!(file.read(&mut line).await.unwrap() > 0);
    });
}

/// A seek that fails for its target says nothing of the file.
#[test]
fn a_seek_before_the_start_leaves_a_file_seekable() {
    let dir = tempfile::tempdir().unwrap();
    ends(async move {
        let path = dir.path().join("file");
        std::fs::write(&path, pattern(10_000, 0)).unwrap();
        let mut file = File::options().read(true).write(true).open(&path).await.unwrap();
        assert_eq!(file.seek(SeekFrom::Current(-1)).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        let mut buffer = [0; 10];
        file.read_exact(&mut buffer).await.unwrap();
        assert_eq!(file.seek(SeekFrom::Current(-11)).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        file.write_all(b"here").await.unwrap();
        file.flush().await.unwrap();
        let mut expected = pattern(10_000, 0);
        expected[10..14].copy_from_slice(b"here");
        assert!(std::fs::read(&path).unwrap() == expected);
    });
}

/// A seek on a device may succeed and do nothing.
#[test]
fn a_device_is_read_and_written_in_order() {
    ends(async {
        let mut file = File::options().read(true).write(true).open("/dev/zero").await.unwrap();
        let mut buffer = [1; 100];
        file.read_exact(&mut buffer).await.unwrap();
        file.write_all(&[1; 100]).await.unwrap();
        file.flush().await.unwrap();
        file.read_exact(&mut buffer).await.unwrap();
        assert_eq!(buffer, [0; 100]);
        let mut file = File::options().write(true).open("/dev/full").await.unwrap();
        let _ = file.write_all(b"full").await;
        assert_eq!(file.flush().await.unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(file.unwritten().await.unwrap(), b"full");
    });
}
