//! How ids follow each other.

use std::thread;

use super::*;

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
