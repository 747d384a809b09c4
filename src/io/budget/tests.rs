//! Tests of `budget`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use super::*;

/// How many calls of `count` bytes a turn has, by number alone.
fn calls(count: usize) -> usize {
    let turn = ReadyTurn::new();
    // It never looks at the clock.
    turn.look.set(usize::MAX);
    (1..)
        .find(|_| {
            turn.spend(count);
            turn.left.get() == 0
        })
        .unwrap_or_default()
}

#[test]
fn a_turn_has_an_end_in_bytes_and_in_calls() {
    assert_eq!(calls(64 << 10), 64);
    assert_eq!(calls(1), 4096);
    assert_eq!(calls(0), 4096);
    assert_eq!(calls(usize::MAX), 1);
}

#[test]
fn the_clock_is_read_now_and_then_and_ends_a_turn() {
    let turn = ReadyTurn::new();
    (0..31).for_each(|_| turn.spend(1));
    assert_eq!(turn.since.get(), None, "a small turn needs no clock");
    turn.spend(1);
    let since = turn.since.get().expect("32 small calls are a look");
    assert!(!turn.has_lasted(since + TURN - Duration::from_nanos(1)));
    assert!(turn.has_lasted(since + TURN));
    turn.begin();
    turn.spend(LOOK);
    assert!(turn.since.get().is_some(), "and so is a large one");
    // The clock stands still for no test: an old turn has lasted.
    turn.since.set(now().checked_sub(TURN));
    turn.spend(LOOK);
    assert_eq!(turn.left.get(), 0);
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_turn_that_is_over_yields_once_and_wakes_once() {
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let context = &mut Context::from_waker(&waker);
    CURRENT.with(ReadyTurn::begin);
    assert!(poll_turn(context).is_ready());
    spend(MOST);
    assert!(!goes_on());
    assert!(poll_turn(context).is_pending());
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    assert!(goes_on() && poll_turn(context).is_ready());
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
}
