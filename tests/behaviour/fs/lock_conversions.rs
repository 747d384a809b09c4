//! Locks that are asked for again, or that become of the other kind.

use std::sync::Arc;
use std::task::Waker;

use sidestep::fs::{File, TryLockError};

use crate::fs::files::ends;
use crate::fs::lock_queue::{is_free, lock_file, open, waiting, waiting_shared};
use crate::support::{nothing_happens, poll};

#[test]
fn clones_share_a_lock_as_others_wait() {
    let (_dir, path) = lock_file();
    let file = open(&path);
    let clone = Arc::new(ends(file.try_clone()).unwrap());
    let (holder, other) = (open(&path), open(&path));
    ends(holder.lock()).unwrap();
    // The other stands between the two that share a lock.
    let (mine, between, clones) = (waiting(&file), waiting(&other), waiting(&clone));
    ends(holder.unlock()).unwrap();
    ends(mine).unwrap();
    ends(clones).unwrap();
    ends(file.lock()).unwrap();
    ends(clone.unlock()).unwrap();
    ends(between).unwrap();
    assert!(matches!(ends(file.try_lock()), Err(TryLockError::WouldBlock)));
}

#[test]
fn a_lock_is_converted_before_calls_that_wait_for_it() {
    let (_dir, path) = lock_file();
    let [one, two, three] = [(); 3].map(|()| open(&path));
    let exclusive = if cfg!(windows) {
        // There a shared lock is given up, and the call waits behind the other.
        ends(one.lock()).unwrap();
        waiting(&two)
    } else {
        ends(one.lock_shared()).unwrap();
        let exclusive = waiting(&two);
        ends(one.lock()).unwrap();
        exclusive
    };
    assert!(std::fs::File::open(&path).unwrap().try_lock_shared().is_err());
    // Back again, which others may share.
    let shared = waiting_shared(&three);
    ends(one.lock_shared()).unwrap();
    drop(exclusive);
    ends(shared).unwrap();
    // Both want it for themselves: one gives its shared lock up.
    let mut first = waiting(&one);
    nothing_happens();
    assert!(poll(&mut first, Waker::noop()).is_pending());
    if cfg!(windows) {
        // Each gives its own up, and they come in order.
        let second = waiting(&three);
        ends(first).unwrap();
        ends(one.unlock()).unwrap();
        return ends(second).unwrap();
    }
    ends(three.lock()).unwrap();
    ends(three.unlock()).unwrap();
    ends(first).unwrap();
}

/// What an open file has it may ask for again, by any of its clones, and keeps it meanwhile; one
/// unlocking ends it, however often it was asked for.
#[test]
fn a_lock_that_is_asked_for_again_is_kept_and_is_one() {
    let (_dir, path) = lock_file();
    let (file, other) = (open(&path), open(&path));
    let clone = ends(file.try_clone()).unwrap();
    for _ in 0..20 {
        ends(file.lock()).unwrap();
        let call = waiting(&other);
        for _ in 0..3 {
            ends(clone.lock()).unwrap();
            ends(file.try_lock()).unwrap();
            assert!(!is_free(&path));
        }
        ends(clone.unlock()).unwrap();
        ends(call).unwrap();
        ends(other.unlock()).unwrap();
        for _ in 0..3 {
            ends(clone.lock_shared()).unwrap();
            ends(file.try_lock_shared()).unwrap();
        }
        ends(file.unlock()).unwrap();
        assert!(is_free(&path));
    }
}

/// An exclusive lock becomes a shared one, and one unlocking ends that.
#[test]
fn a_lock_that_becomes_shared_is_shared_and_ends_at_once() {
    let (_dir, path) = lock_file();
    let [one, two] = [(); 2].map(|()| open(&path));
    for tries in [false, true] {
        ends(one.lock()).unwrap();
        if tries {
            ends(one.try_lock_shared()).unwrap();
        } else {
            ends(one.lock_shared()).unwrap();
        }
        ends(two.try_lock_shared()).unwrap();
        assert!(!is_free(&path));
        ends(one.unlock()).unwrap();
        ends(two.unlock()).unwrap();
        assert!(is_free(&path));
    }
}

/// Windows gives such a lock up, since it does not say of which kind that is.
#[cfg(not(windows))]
#[test]
fn a_file_that_was_locked_elsewhere_may_lock_again() {
    let (_dir, path) = lock_file();
    let other = open(&path);
    for shared in [true, false] {
        let file = std::fs::File::open(&path).unwrap();
        if shared {
            file.lock_shared().unwrap()
        } else {
            file.lock().unwrap()
        }
        let call = waiting(&other);
        let file = File::from(file);
        ends(file.lock()).unwrap();
        assert!(!is_free(&path));
        ends(file.unlock()).unwrap();
        ends(call).unwrap();
        ends(other.unlock()).unwrap();
    }
}
