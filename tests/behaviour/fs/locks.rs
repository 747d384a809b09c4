//! Locks of files: between handles, of calls that are dropped while they wait, and what a dropped
//! file lets go of.

use std::task::Waker;

use futures_util::{AsyncReadExt, AsyncWriteExt, FutureExt};
use sidestep::fs::{File, TryLockError};
use tempfile::TempDir;

use crate::fs::files::{both, ends, numbered, read_write};
use crate::fs::lock_queue::{is_free, open};
use crate::support::alone::alone_as;
use crate::support::{Gate, eventually, nothing_happens, occupy, poll};

/// Whether another could lock it together with others.
fn is_shareable(path: &std::path::Path) -> bool {
    std::fs::File::open(path).unwrap().try_lock_shared().is_ok()
}

#[test]
fn locks_are_those_of_std() {
    for dir in both() {
        let path = numbered(dir.path(), 10);
        ends(async {
            let (one, two) = (File::open(&path).await.unwrap(), File::open(&path).await.unwrap());
            one.lock().await.unwrap();
            assert!(!is_free(&path) && !is_shareable(&path));
            assert!(matches!(two.try_lock().await, Err(TryLockError::WouldBlock)));
            assert!(matches!(two.try_lock_shared().await, Err(TryLockError::WouldBlock)));
            one.unlock().await.unwrap();
            two.lock_shared().await.unwrap();
            one.lock_shared().await.unwrap();
            assert!(!is_free(&path) && is_shareable(&path));
            assert!(matches!(one.try_lock().await, Err(TryLockError::WouldBlock)));
            drop((one, two));
            eventually("it is free", || is_free(&path));
        });
    }
}

#[test]
fn one_waits_until_the_other_lets_go() {
    let dir = tempfile::tempdir().unwrap();
    let path = numbered(dir.path(), 10);
    let (one, two) = (open(&path), open(&path));
    ends(one.lock()).unwrap();
    let mut waits = Box::pin(two.lock());
    assert!(poll(&mut waits, Waker::noop()).is_pending());
    nothing_happens();
    assert!(poll(&mut waits, Waker::noop()).is_pending());
    ends(one.unlock()).unwrap();
    ends(waits).unwrap();
    assert!(!is_free(&path));
    drop(two);
    eventually("it is free", || is_free(&path));
}

#[test]
fn a_lock_that_nobody_waits_for_is_let_go_of() {
    let dir = tempfile::tempdir().unwrap();
    let path = numbered(dir.path(), 10);
    let (one, two) = (open(&path), open(&path));
    ends(one.lock()).unwrap();
    let mut waits = Box::pin(two.lock());
    assert!(poll(&mut waits, Waker::noop()).is_pending());
    nothing_happens();
    drop(waits);
    drop(one);
    eventually("it is free again", || is_free(&path));
    ends(two.lock()).unwrap();
    assert!(!is_free(&path));
}

#[test]
fn a_second_attempt_after_one_that_was_dropped_keeps_its_lock() {
    for _ in 0..4 {
        let dir = tempfile::tempdir().unwrap();
        let path = numbered(dir.path(), 10);
        let (one, two) = (open(&path), open(&path));
        ends(one.lock()).unwrap();
        for _ in 0..3 {
            let mut first = Box::pin(two.lock());
            assert!(poll(&mut first, Waker::noop()).is_pending());
            nothing_happens();
        }
        let mut second = Box::pin(two.lock());
        assert!(poll(&mut second, Waker::noop()).is_pending());
        ends(one.unlock()).unwrap();
        ends(second).unwrap();
        for _ in 0..1_000 {
            assert!(!is_free(&path), "the caller was told that it has the lock");
        }
        ends(two.unlock()).unwrap();
        assert!(is_free(&path));
    }
}

#[test]
fn an_attempt_that_fails_leaves_nothing_of_one_that_was_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let path = numbered(dir.path(), 10);
    let (one, two) = (open(&path), open(&path));
    ends(one.lock()).unwrap();
    let mut first = Box::pin(two.lock());
    assert!(poll(&mut first, Waker::noop()).is_pending());
    nothing_happens();
    drop(first);
    assert!(matches!(ends(two.try_lock()), Err(TryLockError::WouldBlock)));
    ends(one.unlock()).unwrap();
    eventually("it is free again", || is_free(&path));
}

#[test]
fn a_dropped_file_lets_go_at_once() {
    // In a process of its own: a child that another test starts has the open files of all for a
    // moment.
    alone_as("fs::locks::a_dropped_file_lets_go_at_once", &[], || both().iter().for_each(drop_locked_files));
}

fn drop_locked_files(dir: &TempDir) {
    let path = numbered(dir.path(), 300_000);
    for round in 0..50 {
        // One that was read to its end, one that was read in part and is at rest, one that was
        // written to.
        let mut file = ends(read_write(&path));
        ends(file.lock()).unwrap();
        ends(async {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).await.unwrap();
            file.write_all(b"more").await.unwrap();
            match round % 3 {
                0 => file.flush().await.unwrap(),
                1 => file.sync_all().await.unwrap(),
                _ => drop(file.metadata().await.unwrap()),
            }
        });
        drop(file);
        assert!(is_free(&path), "round {round}");
    }
    for round in 0..50 {
        let mut file = ends(File::open(&path)).unwrap();
        ends(file.lock()).unwrap();
        ends(async { while file.read(&mut [0; 1000]).await.unwrap() > 0 {} });
        drop(file);
        assert!(is_free(&path), "round {round} of reading to the end");
    }
}

#[test]
fn a_read_that_never_began_does_not_hold_the_file() {
    let path = "fs::locks::a_read_that_never_began_does_not_hold_the_file";
    alone_as(path, &[("SIDESTEP_CORE_THREADS", "1"), ("SIDESTEP_MAX_THREADS", "1")], || {
        let dir = both().pop().unwrap();
        let path = numbered(dir.path(), 10);
        let gate = Gate::new();
        let mut file = File::from(std::fs::File::open(&path).unwrap());
        ends(file.lock()).unwrap();
        let busy = occupy(sidestep::Pool::global(), &gate);
        assert!(file.read(&mut [0; 10]).now_or_never().is_none());
        drop(file);
        assert!(is_free(&path));
        gate.open();
        busy.wait().unwrap();
    });
}

#[test]
fn unlocking_needs_no_thread_that_others_wait_on() {
    let path = "fs::locks::unlocking_needs_no_thread_that_others_wait_on";
    alone_as(path, &[("SIDESTEP_CORE_THREADS", "1"), ("SIDESTEP_MAX_THREADS", "1")], || {
        let dir = tempfile::tempdir().unwrap();
        let path = numbered(dir.path(), 10);
        let (one, two) = (open(&path), open(&path));
        ends(one.lock()).unwrap();
        let mut waits = Box::pin(two.lock());
        assert!(poll(&mut waits, Waker::noop()).is_pending());
        nothing_happens();
        ends(one.unlock()).unwrap();
        ends(waits).unwrap();
    });
}
