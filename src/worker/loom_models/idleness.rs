//! Models of waits until nothing is queued or runs: no such wait is missed. A wait that nobody ends
//! is a deadlock, which the checker reports.

use std::sync::{Arc, Weak};
use std::task::Poll;

use loom::thread;

use super::Yard;
use crate::counts::{IdleTicket, IdleWaiters};
use crate::sync::Parker;
use crate::sync::stand_in::model::check;

/// Waits, asleep, until nothing of what these are the waiters of is queued or runs.
fn wait(waiters: &IdleWaiters) {
    let parker = Arc::new(Parker::new());
    let waker = parker.waker();
    let mut ticket = IdleTicket::default();
    while waiters.poll(&mut ticket, &waker) == Poll::Pending {
        parker.park(None);
    }
}

impl Yard {
    /// What waits for the whole yard has it to look at.
    fn shows_idleness(self: &Arc<Self>) {
        self.engine.lanes.idle().set_source(Arc::downgrade(self) as Weak<_>);
    }
}

/// A task ends while a thread begins to wait for the pool to be idle.
#[test]
fn idle_pool_against_run() {
    check(Some(3), || {
        let (yard, threads) = Yard::new(0, 1, false);
        yard.shows_idleness();
        yard.spawn(|| ()).detach();
        wait(yard.engine.lanes.idle());
        let counts = yard.engine.counts();
        assert_eq!((counts.submitted, counts.completed), (1, 1));
        yard.end(threads);
    });
}

/// Two threads end a task each: the last of them looks.
#[test]
fn idle_pool_against_two_runs() {
    check(Some(2), || {
        let (yard, threads) = Yard::new(0, 2, false);
        yard.shows_idleness();
        yard.spawn(|| ()).detach();
        yard.spawn(|| ()).detach();
        wait(yard.engine.lanes.idle());
        assert_eq!(yard.engine.counts().completed, 2);
        yard.end_in_one_order(threads);
    });
}

/// The only task is cancelled, or run where that was faster, while a thread begins to wait.
#[test]
fn idle_pool_against_cancel() {
    check(Some(3), || {
        let (yard, threads) = Yard::new(0, 1, false);
        yard.shows_idleness();
        let task = yard.spawn(|| ());
        let canceller = thread::spawn(move || drop(task));
        wait(yard.engine.lanes.idle());
        assert!(yard.engine.counts().balanced());
        canceller.join().unwrap();
        yard.end(threads);
    });
}

/// A task of a lane ends while a thread begins to wait for the lane to be idle.
#[test]
fn idle_lane_against_run() {
    check(Some(3), || {
        let (yard, threads) = Yard::new(0, 1, false);
        let lane = yard.lane_of(1, None, 0);
        yard.spawn_in(&lane, || ()).detach();
        wait(lane.idle());
        let counts = lane.account().counters.counts().tasks;
        assert_eq!((counts.submitted, counts.completed), (1, 1));
        drop(lane);
        yard.end(threads);
    });
}

/// Two threads end a task of a lane each, one of which goes on to the other's: one of them looks.
#[test]
fn idle_lane_against_two_runs() {
    check(Some(2), || {
        let (yard, threads) = Yard::new(0, 2, false);
        let lane = yard.lane_of(2, None, 0);
        yard.spawn_in(&lane, || ()).detach();
        yard.spawn_in(&lane, || ()).detach();
        wait(lane.idle());
        assert_eq!(lane.account().counters.counts().tasks.completed, 2);
        drop(lane);
        yard.end_in_one_order(threads);
    });
}

/// The task of a paused lane is cancelled while a thread begins to wait: no thread of the pool ever
/// comes to the lane.
#[test]
fn idle_lane_against_cancel() {
    check(Some(3), || {
        let (yard, threads) = Yard::new(0, 1, false);
        let lane = yard.lane_of(1, None, 0);
        assert!(yard.engine.set_lane_limit(&lane, 0, &*yard));
        let task = yard.spawn_in(&lane, || ());
        let canceller = thread::spawn(move || drop(task));
        wait(lane.idle());
        assert_eq!(lane.account().counters.counts().tasks.cancelled, 1);
        canceller.join().unwrap();
        drop(lane);
        yard.end(threads);
    });
}

/// A wait is given up while the task ends, and the account goes with the lane: the canceller's and
/// the runner's looks touch nothing that is gone.
#[test]
fn idle_given_up_against_cancel_and_the_end_of_the_lane() {
    check(Some(2), || {
        let (yard, threads) = Yard::new(0, 1, false);
        let lane = yard.lane_of(1, None, 0);
        let task = yard.spawn_in(&lane, || ());
        let canceller = thread::spawn(move || drop(task));
        let mut ticket = IdleTicket::default();
        let parker = Arc::new(Parker::new());
        let _ = lane.idle().poll(&mut ticket, &parker.waker());
        lane.idle().leave(&mut ticket);
        drop(lane);
        canceller.join().unwrap();
        yard.end(threads);
    });
}
