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
            let parent = |yard: &Arc<Yard>| {
                let place = Arc::clone(yard);
                yard.spawn(move || place.spawn(|| ()).wait().map_err(|error| assert!(error.is_deadlock())))
            };
            let (first, second) = (parent(&yard), parent(&yard));
            let refused = [first, second].map(|task| task.wait().unwrap().is_err());
            assert_ne!(refused, [true, true]);
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
