//! What needs no pool: ids, and what is said of a cancellation.

use super::*;
use std::thread;

#[test]
fn the_ids_of_a_thread_follow_each_other_and_begin_with_one() {
    let ids = || (0..3).map(|_| next_id().as_u64()).collect::<Vec<_>>();
    let [one, other] =
        [thread::spawn(ids), thread::spawn(ids)].map(|thread| thread.join().expect("it counts"));
    for ids in [&one, &other] {
        assert_eq!(ids[0] % 1024, 1, "the first of a block, and none is zero");
        assert_eq!([ids[1] - ids[0], ids[2] - ids[1]], [1, 1]);
    }
    assert_ne!(one[0], other[0]);
}

#[test]
fn a_cancellation_says_so_as_an_io_error_too() {
    assert_eq!(Cancelled.to_string(), "the task has been cancelled");
    assert_eq!(std::io::Error::from(Cancelled).to_string(), Cancelled.to_string());
}
