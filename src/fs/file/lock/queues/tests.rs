//! Tests of the queues: intervals, the timer's hours, and what is forgotten.
#![expect(clippy::unwrap_used, reason = "in a test, helpers included, an unwrap is an assertion")]

use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::{FIRST_RETRY, LAST_RETRY, LockKind, LockOutcome, LockQueues, OpenKey, REFUSED};

/// Queues with an open file that has the lock, and one that waits.
fn contended(now: Instant) -> (LockQueues, OpenKey, OpenKey, u64) {
    let mut queues = LockQueues::new();
    let (holder, waiter) = (queues.open(None, false, now), queues.open(None, false, now));
    // Without an id each is a file of its own: here they are one.
    queues.files.remove(&waiter.file);
    let file = queues.files.get_mut(&holder.file).unwrap();
    file.opens.insert(waiter.number, super::OpenState::default());
    let waiter = OpenKey { file: holder.file, ..waiter };
    let call = queues.join(holder, LockKind::Exclusive, false).unwrap();
    assert!(begins(&mut queues, holder, call, now));
    let _ = queues.end(holder, call, LockOutcome::Acquired(LockKind::Exclusive), now);
    queues.confirm(holder);
    let call = queues.join(waiter, LockKind::Exclusive, false).unwrap();
    (queues, holder, waiter, call)
}

fn begins(queues: &mut LockQueues, key: OpenKey, call: u64, now: Instant) -> bool {
    queues.poll_turn(key, call, Waker::noop().clone(), now).0.is_ready()
}

#[test]
fn intervals_grow_with_the_wait_and_begin_anew_with_a_change() {
    let start = Instant::now();
    let (mut queues, holder, waiter, call) = contended(start);
    let mut now = start;
    let mut last = Duration::ZERO;
    while last < LAST_RETRY {
        assert!(begins(&mut queues, waiter, call, now));
        let _ = queues.end(waiter, call, LockOutcome::Unchanged, now);
        assert!(!begins(&mut queues, waiter, call, now), "nothing has changed");
        let next = queues.retries.first().unwrap().0;
        let interval = next - now;
        assert!(interval >= last.max(FIRST_RETRY) && interval <= LAST_RETRY, "{interval:?} after {last:?}");
        assert!(interval <= FIRST_RETRY.max((now - start) / 8), "not much longer than the wait before");
        assert!(queues.retry(next - Duration::from_nanos(1)).wakes.is_empty());
        assert_eq!(queues.retry(next).wakes.len(), 1);
        (now, last) = (next, interval);
    }
    assert!(now - start < Duration::from_secs(1));
    // Without a poll it is not woken again.
    assert!(queues.retry(now + LAST_RETRY).wakes.is_empty());
    assert!(begins(&mut queues, waiter, call, now));
    let _ = queues.end(waiter, call, LockOutcome::Unchanged, now);
    assert!(!begins(&mut queues, waiter, call, now));
    queues.unlocking(holder);
    assert_eq!(queues.unlocked(holder, true, now).wakes.len(), 1);
    assert_eq!(queues.retries.first().unwrap().0, now + FIRST_RETRY);
}

#[test]
fn a_change_during_an_attempt_makes_it_try_again() {
    let now = Instant::now();
    let (mut queues, holder, waiter, call) = contended(now);
    assert!(begins(&mut queues, waiter, call, now));
    queues.unlocking(holder);
    assert!(queues.unlocked(holder, true, now).wakes.is_empty(), "it is not asleep");
    let _ = queues.end(waiter, call, LockOutcome::Unchanged, now);
    assert!(begins(&mut queues, waiter, call, now));
}

#[test]
fn a_timer_is_there_while_a_call_waits() {
    let now = Instant::now();
    let (mut queues, _holder, waiter, call) = contended(now);
    assert!(!queues.starts_timer(now), "no call sleeps");
    assert!(begins(&mut queues, waiter, call, now));
    let _ = queues.end(waiter, call, LockOutcome::Unchanged, now);
    assert!(!begins(&mut queues, waiter, call, now));
    assert!(queues.starts_timer(now));
    assert!(!queues.starts_timer(now), "one is enough");
    let idle = now + Duration::from_secs(9);
    let until = queues.timer_sleeps(idle, now).unwrap();
    assert!(until <= now + LAST_RETRY);
    let _ = queues.leave(waiter, call);
    assert_eq!(queues.timer_sleeps(idle, now), Some(idle));
    assert_eq!(queues.timer_sleeps(idle, idle), None, "it ends");
    let call = queues.join(waiter, LockKind::Shared, false).unwrap();
    assert!(begins(&mut queues, waiter, call, idle));
    let _ = queues.end(waiter, call, LockOutcome::Unchanged, idle);
    assert!(!begins(&mut queues, waiter, call, idle));
    assert!(queues.starts_timer(idle));
}

#[test]
fn a_timer_that_sleeps_too_long_is_woken() {
    let now = Instant::now();
    let (mut queues, _holder, waiter, call) = contended(now);
    assert!(begins(&mut queues, waiter, call, now));
    let _ = queues.end(waiter, call, LockOutcome::Unchanged, now);
    assert!(queues.timer_sleeps(now + LAST_RETRY, now).is_some());
    assert!(!queues.is_timer_late());
    assert!(!begins(&mut queues, waiter, call, now));
    assert!(queues.is_timer_late(), "a call waits since");
}

#[test]
fn without_a_timer_the_first_call_pauses() {
    let now = Instant::now();
    let (mut queues, holder, waiter, call) = contended(now);
    assert!(begins(&mut queues, waiter, call, now));
    let _ = queues.end(waiter, call, LockOutcome::Unchanged, now);
    assert!(!begins(&mut queues, waiter, call, now));
    assert!(queues.starts_timer(now));
    assert_eq!(queues.timer_refused(now).wakes.len(), 1);
    for expected in [Duration::ZERO, FIRST_RETRY, FIRST_RETRY] {
        let (turn, _) = queues.poll_turn(waiter, call, Waker::noop().clone(), now);
        let Poll::Ready(turn) = turn else { panic!("it tries by itself") };
        assert_eq!(turn.pause, expected);
        let _ = queues.end(waiter, call, LockOutcome::Unchanged, now);
    }
    // The others wait without a thread.
    let second = queues.join(holder, LockKind::Shared, false).unwrap();
    queues.unlocking(holder);
    let _ = queues.unlocked(holder, true, now);
    assert!(!begins(&mut queues, holder, second, now));
    assert!(!queues.starts_timer(now + REFUSED - Duration::from_millis(1)));
    assert!(queues.starts_timer(now + REFUSED), "then it is tried again");
}

#[test]
fn a_closed_file_is_forgotten() {
    let now = Instant::now();
    let (mut queues, holder, waiter, call) = contended(now);
    assert!(begins(&mut queues, waiter, call, now));
    let _ = queues.end(waiter, call, LockOutcome::Unchanged, now);
    assert!(!begins(&mut queues, waiter, call, now));
    assert_eq!(queues.close(holder, now).wakes.len(), 1, "it may be free now");
    let _ = queues.leave(waiter, call);
    let _ = queues.close(waiter, now);
    assert!(queues.is_empty());
}
