//! The entries of a directory: those that `std` finds, in few trips, and none is lost.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::task::{Poll, Waker};

use futures_util::{FutureExt, StreamExt, TryStreamExt};
use sidestep::block_on;
use sidestep::{Pool, TaskError, fs};
use tempfile::{TempDir, tempdir};

use crate::fs::calls::folder;
use crate::support::alone::alone_as;
use crate::support::{eventually, poll, pool};

fn with_entries(count: usize) -> TempDir {
    let dir = tempdir().unwrap();
    for number in 0..count {
        std::fs::File::create(dir.path().join(format!("entry {number}"))).unwrap();
    }
    dir
}

/// Names and kinds, as `std` tells them.
fn listed(dir: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries.map(|entry| (format!("{:?}", entry.file_name()), format!("{:?}", entry.file_type()))).collect()
}

#[test]
fn entries_are_those_of_std_however_many() {
    for count in [0, 1, 63, 64, 65, 127, 128, 129, 1_023, 1_024, 1_025, 1_089, 5_000] {
        let dir = with_entries(count);
        let found = block_on(async {
            let mut found = BTreeMap::new();
            let mut entries = fs::read_dir(dir.path()).await.unwrap();
            while let Some(entry) = entries.next_entry().await.unwrap() {
                let kind = format!("{:?}", entry.file_type().await);
                assert!(found.insert(format!("{:?}", entry.file_name()), kind).is_none(), "{entry:?} twice");
            }
            assert!(entries.next_entry().await.unwrap().is_none());
            assert!(entries.next().await.is_none());
            found
        });
        assert_eq!(found.len(), count);
        assert_eq!(found, listed(dir.path()));
    }
}

#[test]
fn an_entry_knows_what_that_of_std_knows() {
    let dir = folder();
    block_on(async {
        let entries: Vec<_> = fs::read_dir(dir.path()).await.unwrap().try_collect().await.unwrap();
        for entry in entries {
            let mut others = std::fs::read_dir(dir.path()).unwrap().map(Result::unwrap);
            let other = others.find(|other| other.file_name() == entry.file_name()).unwrap();
            assert_eq!(entry.path(), other.path());
            assert_eq!(entry.file_type().await.unwrap(), other.file_type().unwrap());
            let (metadata, expected) = (entry.metadata().await.unwrap(), other.metadata().unwrap());
            assert_eq!(format!("{metadata:?}"), format!("{expected:?}"));
            #[cfg(unix)]
            assert_eq!(entry.ino(), std::os::unix::fs::DirEntryExt::ino(&other));
        }
    });
}

#[test]
fn errors_are_those_of_std() {
    let dir = folder();
    for name in ["missing", "file", "broken", "loop", "a\0b"] {
        let expected = std::fs::read_dir(dir.path().join(name)).unwrap_err();
        let error = block_on(fs::read_dir(dir.path().join(name))).unwrap_err();
        assert_eq!(
            (error.kind(), error.raw_os_error()),
            (expected.kind(), expected.raw_os_error()),
            "{name}"
        );
    }
    let entries = block_on(fs::read_dir(dir.path())).unwrap();
    let entries: Vec<_> = block_on(entries.try_collect()).unwrap();
    // On Windows an entry has its metadata from the listing.
    for entry in entries.into_iter().filter(|_| !cfg!(windows)) {
        std::fs::remove_dir_all(dir.path()).ok();
        assert_eq!(block_on(entry.metadata()).unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[test]
fn no_entry_is_lost_with_a_next_that_is_dropped() {
    let dir = with_entries(5_000);
    block_on(async {
        let mut entries = fs::read_dir(dir.path()).await.unwrap();
        let mut count = 0;
        loop {
            // One that has to wait is dropped, once.
            let first = poll(&mut Box::pin(entries.next()), Waker::noop());
            let entry = match first {
                Poll::Ready(entry) => entry,
                Poll::Pending => entries.next().await,
            };
            if entry.transpose().unwrap().is_none() {
                break;
            }
            count += 1;
        }
        assert_eq!(count, 5_000);
    });
}

#[test]
fn a_small_directory_is_one_trip_and_a_large_one_few() {
    alone_as("fs::read_dir::a_small_directory_is_one_trip_and_a_large_one_few", &[], || {
        let trips = |count: usize| {
            let dir = with_entries(count);
            let before = Pool::global().metrics().tasks_submitted();
            let entries = block_on(fs::read_dir(dir.path())).unwrap();
            assert_eq!(block_on(entries.map(Result::unwrap).count()), count);
            Pool::global().metrics().tasks_submitted() - before
        };
        for count in [0, 1, 63] {
            assert_eq!(trips(count), 1, "{count} entries");
        }
        for count in [64, 65, 1_000] {
            assert!(trips(count) <= 6, "{count} entries");
        }
        let many = trips(20_000);
        assert!(many <= 20_000 / 100, "{many} trips");
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_directory_is_closed_with_its_stream() {
    alone_as("fs::read_dir::a_directory_is_closed_with_its_stream", &[], || {
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let dir = with_entries(2_000);
        let before = open();
        for taken in [0, 1, 64, 65, 500, 2_000] {
            block_on(async {
                let mut entries = fs::read_dir(dir.path()).await.unwrap();
                for _ in 0..taken {
                    entries.next_entry().await.unwrap().unwrap();
                }
            });
            eventually("it is closed", || open() == before);
            drop(Box::pin(fs::read_dir(dir.path())).now_or_never());
            eventually("it is closed", || open() == before);
        }
    });
}

#[test]
fn a_pool_that_ends_meanwhile_is_an_error_and_then_the_end() {
    let (dir, pool) = (with_entries(5_000), pool(1, 1));
    let mut entries = block_on(fs::on(&pool).read_dir(dir.path())).unwrap();
    pool.shutdown().wait();
    let found: Vec<_> = block_on(entries.by_ref().collect());
    let (last, others) = found.split_last().unwrap();
    assert_eq!(others.len(), 64, "what came with the first trip");
    assert!(others.iter().all(Result::is_ok));
    let error = last.as_ref().unwrap_err();
    assert!(error.get_ref().unwrap().downcast_ref::<TaskError>().unwrap().is_shutdown(), "{error}");
    assert!(block_on(entries.next()).is_none());
}

#[test]
fn a_shutdown_of_the_global_pool_meanwhile_loses_no_entry() {
    alone_as("fs::read_dir::a_shutdown_of_the_global_pool_meanwhile_loses_no_entry", &[], || {
        let dir = with_entries(5_000);
        let mut entries = block_on(fs::read_dir(dir.path())).unwrap();
        let mut found = 0;
        while let Some(entry) = block_on(entries.next()) {
            entry.unwrap();
            found += 1;
            if found % 500 == 0 {
                Pool::global().shutdown().wait();
            }
        }
        assert_eq!(found, 5_000);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn kept_entries_hold_no_descriptor() {
    let path = "fs::read_dir::kept_entries_hold_no_descriptor";
    crate::support::alone::alone_as(path, &[], || {
        let dir = tempfile::tempdir().unwrap();
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let before = open();
        let mut kept = Vec::new();
        for number in 0..100 {
            let folder = dir.path().join(number.to_string());
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join("file"), number.to_string()).unwrap();
            let mut entries = block_on(fs::read_dir(&folder)).unwrap();
            kept.push(block_on(entries.next_entry()).unwrap().unwrap());
            // One that is not read to its end, and one that is.
            if number % 2 == 0 {
                assert!(block_on(entries.next_entry()).unwrap().is_none());
            }
        }
        eventually("the directories are closed", || open() <= before);
        for (number, entry) in kept.iter().enumerate() {
            assert_eq!(entry.path(), dir.path().join(number.to_string()).join("file"));
            assert_eq!(block_on(entry.metadata()).unwrap().len(), number.to_string().len() as u64);
            assert!(block_on(entry.file_type()).unwrap().is_file());
        }
    });
}

#[cfg(unix)]
#[test]
fn an_entry_is_what_its_path_leads_to() {
    use std::os::unix::fs::{DirEntryExt, MetadataExt};

    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    std::fs::create_dir(&first).unwrap();
    std::fs::write(first.join("file"), "some text").unwrap();
    std::os::unix::fs::symlink("nowhere", first.join("link")).unwrap();
    let mut entries = block_on(fs::read_dir(&first)).unwrap();
    let mut all = Vec::new();
    while let Some(entry) =
        block_on(std::future::poll_fn(|context| entries.poll_next_entry(context))).unwrap()
    {
        all.push(entry);
    }
    all.sort_by_key(fs::DirEntry::file_name);
    let mut plain: Vec<_> = std::fs::read_dir(&first).unwrap().map(Result::unwrap).collect();
    plain.sort_by_key(std::fs::DirEntry::file_name);
    assert_eq!(all.len(), 2);
    for (entry, plain) in all.iter().zip(&plain) {
        assert_eq!((entry.ino(), entry.path()), (plain.ino(), plain.path()));
        assert_eq!(block_on(entry.metadata()).unwrap().ino(), plain.metadata().unwrap().ino());
        assert_eq!(block_on(entry.file_type()).unwrap(), plain.file_type().unwrap());
    }
    assert!(block_on(all[1].metadata()).unwrap().is_symlink(), "a link is not followed");
    // The directory is moved: the entries stay with the path.
    std::fs::rename(&first, &second).unwrap();
    for entry in &all {
        assert_eq!(block_on(entry.metadata()).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    }
    std::fs::create_dir(&first).unwrap();
    std::fs::write(first.join("file"), "another").unwrap();
    assert_eq!(block_on(all[0].metadata()).unwrap().len(), 7);
}
