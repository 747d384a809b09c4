//! Open files in the hands of odd users: stale buffers, calls dropped halfway, waiting without end,
//! turns of others.
#![cfg(target_os = "linux")]

use std::future::Future;
use std::io::{ErrorKind, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::thread;
use std::time::Instant;

use futures_util::{AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, AsyncWriteExt, FutureExt, StreamExt};
use sidestep::fs::File;
use tempfile::TempDir;

use crate::fs::files::{both, byte, counted, ends, numbered, read_write};
use crate::support::{Wakes, eventually};

/// A pipe with a name.
fn fifo(dir: &TempDir) -> PathBuf {
    let path = dir.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

/// How many bytes there are to be read from a pipe.
fn unread(pipe: &impl AsRawFd) -> i32 {
    let mut count = 0;
    // SAFETY: the descriptor is open, and FIONREAD writes one int.
    assert_eq!(unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &raw mut count) }, 0);
    count
}

#[test]
fn a_read_follows_a_change_through_a_shared_reference() {
    for dir in both() {
        ends(async {
            for before in [0, 1, 100, 20_000] {
                let mut file = read_write(&numbered(dir.path(), 100_000)).await;
                let mut bytes = vec![0; before];
                file.read_exact(&mut bytes).await.unwrap();
                file.set_len(50_000).await.unwrap();
                let mut rest = Vec::new();
                file.read_to_end(&mut rest).await.unwrap();
                assert!(rest.iter().copied().eq((before..50_000).map(byte)), "after {before}");
                file.set_len(50_010).await.unwrap();
                let mut more = Vec::new();
                file.read_to_end(&mut more).await.unwrap();
                assert_eq!(more, [0; 10]);
            }
        });
    }
}

#[test]
fn a_small_read_sees_what_was_written_elsewhere_through_this_file() {
    for dir in both() {
        ends(async {
            let mut file = read_write(&numbered(dir.path(), 100_000)).await;
            let mut bytes = [0; 10];
            for turn in 0..50_u8 {
                file.read_exact(&mut bytes).await.unwrap();
                let place = file.stream_position().await.unwrap();
                file.read_exact(&mut bytes).await.unwrap();
                file.write_all_at(&[turn; 10], place + 10).await.unwrap();
                file.read_exact(&mut bytes).await.unwrap();
                assert_eq!(bytes, [turn; 10], "at {place}");
            }
        });
    }
}

#[test]
fn a_write_whose_future_is_dropped_leaves_no_stale_bytes() {
    for dir in both() {
        ends(async {
            let mut file = read_write(&numbered(dir.path(), 100_000)).await;
            let other = std::fs::File::open(dir.path().join("numbered 100000")).unwrap();
            let mut bytes = [0; 10];
            for turn in 100..150_u8 {
                let place = file.stream_position().await.unwrap();
                file.read_exact(&mut bytes).await.unwrap();
                let _ = file.write_at(&[turn; 10], place + 10).now_or_never();
                let mut seen = [0; 10];
                // It may have been taken back: then nothing is written.
                let start = Instant::now();
                while seen != [turn; 10] && start.elapsed().as_millis() < 20 {
                    other.read_exact_at(&mut seen, place + 10).unwrap();
                }
                file.read_exact(&mut bytes).await.unwrap();
                assert_eq!(bytes, seen, "at {place}");
            }
        });
    }
}

/// A pipe accepts only what it takes: so there is nothing to wait for, however full it is.
#[test]
fn what_is_asked_of_a_full_pipe_does_not_wait_for_room() {
    let dir = tempfile::tempdir().unwrap();
    let path = fifo(&dir);
    ends(async {
        let mut pipe = read_write(&path).await;
        let other = std::fs::File::open(&path).unwrap();
        let mut write = Box::pin(pipe.write_all(&[7; 120_000]));
        let wakes = Wakes::new();
        let waker = Waker::from(Arc::clone(&wakes));
        assert!(write.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(write);
        assert_eq!(unread(&other), 65_536, "as much as fits");
        assert!(pipe.metadata().await.is_ok());
        pipe.flush().await.unwrap();
        let drain = thread::spawn(move || std::io::Read::read_exact(&mut &other, &mut [0; 65_536]));
        drain.join().unwrap().unwrap();
        eventually("the writer that was dropped is woken, or another would be", || wakes.count() > 0);
        pipe.write_all(b"more").await.unwrap();
    });
}

/// How often others on its thread have a turn while `busy` runs.
fn turns_beside(busy: impl Future) -> usize {
    counted(busy).1 - 1
}

#[test]
fn loops_of_reads_from_memory_let_others_have_their_turn() {
    let dir = tempfile::tempdir().unwrap();
    let path = numbered(dir.path(), 20 << 20);
    let mut file = ends(File::open(&path)).unwrap();
    let large = turns_beside(async {
        let mut bytes = vec![0; 16 << 10];
        while file.read(&mut bytes).await.unwrap() > 0 {}
    });
    let mut file = ends(File::open(&path)).unwrap();
    let small = turns_beside(async {
        let mut bytes = [0; 100];
        while file.read(&mut bytes).await.unwrap() > 0 {}
    });
    let mut file = ends(File::open(&path)).unwrap();
    let borrowed = turns_beside(async {
        loop {
            match file.fill_buf().await.unwrap().len() {
                0 => break,
                count => file.consume_unpin(count),
            }
        }
    });
    let file = ends(File::open(&path)).unwrap();
    let placed = turns_beside(async {
        for place in 0..1024 {
            file.read_exact_at(&mut [0; 4096], place * 4096).await.unwrap();
        }
    });
    for turns in [large, small, borrowed, placed] {
        assert!(turns >= 1, "{turns} turns in {large} {small} {borrowed} {placed}");
    }
}

#[test]
fn lines_of_a_large_file_let_others_have_their_turn() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lines");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    (0..100_000).for_each(|line| writeln!(file, "line {line:>200}").unwrap());
    drop(file);
    let file = ends(File::open(&path)).unwrap();
    let mut count = 0;
    let turns = turns_beside(async {
        let mut lines = file.lines();
        while let Some(line) = lines.next().await {
            assert_eq!(line.unwrap(), format!("line {count:>200}"));
            count += 1;
        }
    });
    assert_eq!(count, 100_000);
    assert!(turns >= 1, "{turns}");
}

#[test]
fn a_writer_of_exact_chunks_is_answered() {
    for size in [1, 4 << 10, 16 << 10, 64 << 10, 100_000] {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [there, back] = [fifo(&dirs[0]), fifo(&dirs[1])];
        let (to, from) = (there.clone(), back.clone());
        let peer = thread::spawn(move || {
            let mut to = std::fs::File::create(to).unwrap();
            let mut from = std::fs::File::open(from).unwrap();
            for turn in 0..5_u8 {
                to.write_all(&vec![turn; size]).unwrap();
                std::io::Read::read_exact(&mut from, &mut [0; 1]).unwrap();
            }
        });
        ends(async {
            let mut from = File::open(there).await.unwrap();
            let mut to = File::create(back).await.unwrap();
            for turn in 0..5_u8 {
                let mut bytes = vec![0; size];
                from.read_exact(&mut bytes).await.unwrap();
                assert_eq!(bytes, vec![turn; size]);
                to.write_all(b"!").await.unwrap();
            }
            assert_eq!(from.read(&mut [0; 100]).await.unwrap(), 0, "the peer has gone");
        });
        peer.join().unwrap();
    }
}

#[test]
fn a_pipe_can_be_read_and_written_in_turn() {
    let dir = tempfile::tempdir().unwrap();
    let path = fifo(&dir);
    ends(async {
        let mut pipe = read_write(&path).await;
        for size in [1_usize, 4096, 9_000, 16_384, 30_000] {
            pipe.write_all(&vec![7; size]).await.unwrap();
            let mut bytes = vec![0; size / 2];
            pipe.read_exact(&mut bytes).await.unwrap();
            pipe.write_all(b"end").await.unwrap();
            let mut rest = vec![0; size - size / 2 + 3];
            pipe.read_exact(&mut rest).await.unwrap();
            assert!(rest.ends_with(b"\x07end"));
        }
        assert_eq!(pipe.seek(SeekFrom::Start(0)).await.unwrap_err().kind(), ErrorKind::NotSeekable);
        pipe.write_all(b"still there").await.unwrap();
        let mut bytes = [0; 11];
        pipe.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"still there");
    });
}
