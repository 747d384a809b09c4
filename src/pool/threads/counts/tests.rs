//! Tests of `counts`.

use super::*;

#[test]
fn reservations_stop_at_the_limits() {
    let count = ThreadCounts::new();
    assert!(count.reserve(2, 3));
    assert!(count.reserve(2, 3));
    assert!(!count.reserve(2, 3), "two are entitled");
    assert_eq!(count.reserve_many(9, 3), 1);
    assert_eq!(count.reserve_many(9, 3), 0);
    count.retire();
    assert_eq!((count.reserved(), count.active()), (3, 2));
    assert!(!count.reserve(3, 3), "one active thread fewer, but it is not gone (P1)");
    assert!(!count.retire_above(2));
    count.arrive();
    count.exit();
    assert!(count.reserve(3, 3));
}

#[test]
fn a_pool_without_a_thread_does_not_grow() {
    let count = ThreadCounts::new();
    assert_eq!(count.reserve_many(9, 3), 0);
    assert!(count.reserve(1, 3));
    assert_eq!(count.reserve_many(9, 3), 2);
}

#[test]
fn threads_of_reserves_count_apart() {
    let count = ThreadCounts::new();
    assert!(count.reserve(1, 1));
    (0..3).for_each(|_| count.enter_reserve());
    assert_eq!((count.reserved(), count.active(), count.in_reserves(), count.all()), (1, 1, 3, 4));
    assert!(!count.reserve(2, 1), "they make no room");
    assert!(!count.retire_above(1), "and are none that could retire");
    count.retire();
    assert_eq!((count.reserved(), count.active(), count.in_reserves(), count.all()), (1, 0, 3, 4));
    count.arrive();
    count.exit();
    assert!(count.reserve(1, 1), "nor do they take any");
    (0..3).for_each(|_| count.leave_reserve());
    assert_eq!((count.reserved(), count.in_reserves(), count.all()), (1, 0, 1));
}
