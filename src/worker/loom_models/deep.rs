//! Models of waits on threads whose stacks have no room to run what they wait for.

use super::*;
use crate::sync::nesting::without_room;

/// Two threads, each in a task that waits for a queued one: the second is run by the thread that
/// comes free, so at most one of the waits is refused, and none lasts for ever.
#[test]
fn deep_waits_of_two_threads() {
    without_room(|| {
        check(Some(2), || {
            let (yard, threads) = Yard::full(0, 2);
            let (both, opener) = gate();
            let counts = Arc::new([StaticU64::new(0), StaticU64::new(0)]);
            for _ in 0..2 {
                let (place, opener, counts) = (Arc::clone(&yard), Arc::clone(&opener), Arc::clone(&counts));
                let parent = move || {
                    let [ended, refused] = &*counts;
                    if let Err(error) = place.spawn(|| ()).wait() {
                        assert!(error.is_deadlock());
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                    if ended.fetch_add(1, Ordering::Relaxed) == 1 {
                        opener.unpark();
                    }
                };
                yard.spawn(parent).detach();
            }
            both.park(None);
            assert!(counts[1].load(Ordering::Relaxed) < 2);
            yard.end_in_one_order(threads);
        });
    });
}

/// A thread waits deep for a queued task; the other begins to wait for the task that the first is
/// inside.
#[test]
fn a_deep_wait_against_the_wait_of_the_last_thread() {
    without_room(|| {
        check(Some(2), || {
            let (yard, threads) = Yard::full(0, 2);
            let place = Arc::clone(&yard);
            let deep = yard.spawn(move || place.spawn(|| ()).wait().is_err());
            let last = yard.spawn(move || deep.wait().is_err());
            last.wait().unwrap();
            yard.end_in_one_order(threads);
        });
    });
}

/// A thread waits deep for a queued task, and the other leaves: the wait is refused, unless the
/// other has run the task before.
#[test]
fn a_deep_wait_against_the_exit_of_the_last_thread() {
    without_room(|| {
        check(Some(2), || {
            let (yard, threads) = Yard::full(0, 2);
            let place = Arc::clone(&yard);
            let deep = yard.spawn(move || _ = place.spawn(|| ()).wait());
            let leaving = yard.spawn(retire_thread);
            deep.wait().unwrap();
            leaving.wait().unwrap();
            yard.end_in_one_order(threads);
        });
    });
}
