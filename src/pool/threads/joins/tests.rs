//! Threads that end while their pool goes on.

use super::Joins;

/// Waits until all threads of the list have ended, and returns how many there are.
fn when_gone(joins: &Joins) -> usize {
    loop {
        let list = joins.list.lock().expect("no fork");
        if list.threads.iter().all(|thread| thread.has_left() && thread.is_gone()) {
            return list.threads.len();
        }
        drop(list);
        std::thread::yield_now();
    }
}

#[test]
fn helpers_that_have_ended_are_joined_when_the_next_one_is_made() {
    let joins = Joins::new();
    for number in 0..5 {
        joins.start_helper(format!("helper {number}"), || ()).unwrap();
        let count = when_gone(&joins);
        assert!(count <= 1, "{count} that have ended and are kept");
    }
}
