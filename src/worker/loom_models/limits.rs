//! Models of lanes whose limit changes, and of lanes with shares: nothing that is queued is left
//! lying, and no more closures begin than the limit allows.

use std::any::TypeId;
use std::panic::Location;
use std::sync::Arc;

use loom::thread;

use super::Yard;
use super::lanes::Exclusive;
use super::reserves::Reserves;
use crate::lane::{ErasedKey, KeySettings, LaneCore, LanePlace, LaneSettings, new_key_order};
use crate::sync::stand_in::model::check;
use crate::task::{Task, new_task};

impl Yard {
    fn set_limit(&self, lane: &Arc<LaneCore>, limit: usize) {
        assert!(self.engine.set_lane_limit(lane, limit, self));
    }

    fn shared_lane(&self, weight: usize, reserve: Option<usize>) -> Arc<LaneCore> {
        self.lane_made(LaneSettings { weight: Some(weight), reserve, ..LaneSettings::of(1) })
    }
}

impl Yard {
    fn keyed_lane(&self, limit: usize) -> Arc<LaneCore> {
        let keys = KeySettings {
            key: TypeId::of::<u32>(),
            key_name: "u32",
            per_key: 1,
            is_set: true,
            order: new_key_order,
        };
        self.lane_made(LaneSettings { keys: Some(keys), ..LaneSettings::of(limit) })
    }

    /// As `KeyedLane::spawn`, under the only key.
    fn spawn_keyed<T: Send + 'static>(
        self: &Arc<Self>,
        lane: &Arc<LaneCore>,
        closure: impl FnOnce() -> T + Send + 'static,
    ) -> Task<T> {
        let (entry, handle) = new_task(closure, Arc::as_ptr(lane.account()), Location::caller(), None);
        let mut fresh = || -> ErasedKey { Arc::new(()) };
        let (key, _) = lane.pin_key(0, 0, &mut fresh).expect("no fork");
        if self.engine.submit_to_lane(lane, entry, LanePlace::Key(key)) {
            self.engine.notify(&**self);
        }
        lane.unpin_key(key);
        Task::new(handle)
    }
}

/// Two threads and two slots, but one place of the key, which two submitters come with at once:
/// its closures do not overlap, and none is left lying.
#[test]
fn tasks_of_one_key_exclude_each_other() {
    check(Some(1), || {
        let (yard, threads) = Yard::new(1, 2, false);
        let lane = yard.keyed_lane(2);
        let exclusive = Exclusive::new();
        let submitter = {
            let (yard, lane, exclusive) = (Arc::clone(&yard), Arc::clone(&lane), Arc::clone(&exclusive));
            thread::spawn(move || yard.spawn_keyed(&lane, move || exclusive.touch()).wait().unwrap())
        };
        let mine = yard.spawn_keyed(&lane, move || exclusive.touch()).wait().unwrap();
        assert_eq!(mine + submitter.join().unwrap(), 3);
        assert_eq!(lane.keys(), 0);
        drop(lane);
        yard.end_in_one_order(threads);
    });
}

/// A submission to a lane that is paused, against its end of the pause.
#[test]
fn limit_raised_against_submit() {
    check(Some(2), || {
        let (yard, threads) = Yard::new(1, 1, false);
        let lane = yard.lane_of(1, None, 0);
        yard.set_limit(&lane, 0);
        let other = {
            let (yard, lane) = (Arc::clone(&yard), Arc::clone(&lane));
            thread::spawn(move || yard.set_limit(&lane, 1))
        };
        assert_eq!(yard.spawn_in(&lane, || 1).wait().unwrap(), 1);
        other.join().unwrap();
        drop(lane);
        yard.end(threads);
    });
}

/// A limit is lowered while a task is pending or runs: what is queued afterwards excludes itself.
#[test]
fn limit_lowered_against_run() {
    check(Some(2), || {
        let (yard, threads) = Yard::new(1, 2, false);
        let lane = yard.lane_of(2, None, 0);
        let before = yard.spawn_in(&lane, || ());
        yard.set_limit(&lane, 1);
        let exclusive = Exclusive::new();
        let touch = || {
            let exclusive = Arc::clone(&exclusive);
            yard.spawn_in(&lane, move || exclusive.touch())
        };
        let (first, second) = (touch(), touch());
        assert_eq!(first.wait().unwrap() + second.wait().unwrap(), 3);
        before.wait().unwrap();
        drop(lane);
        yard.end_in_one_order(threads);
    });
}

/// The last handle of a paused lane goes while a task is queued: the pause ends with it.
#[test]
fn the_last_handle_of_a_paused_lane_against_a_new_one() {
    check(Some(2), || {
        let (yard, threads) = Yard::new(1, 1, false);
        let lane = yard.lane_of(1, None, 0);
        yard.set_limit(&lane, 0);
        let task = yard.spawn_in(&lane, || 1);
        let other = {
            let (yard, lane) = (Arc::clone(&yard), Arc::clone(&lane));
            lane.add_handle();
            thread::spawn(move || {
                if lane.remove_handle() {
                    yard.engine.look_at_handles(&lane, &*yard);
                }
            })
        };
        if lane.remove_handle() {
            yard.engine.look_at_handles(&lane, &*yard);
        }
        drop(lane);
        other.join().unwrap();
        assert_eq!(task.wait().unwrap(), 1);
        yard.end(threads);
    });
}

/// The session of a paused lane ends while the last handle goes: what was queued in either place
/// runs.
#[test]
fn the_end_of_a_session_against_the_last_handle_of_its_paused_lane() {
    check(Some(2), || {
        let (yard, threads) = Yard::new(1, 1, false);
        let lane = yard.lane_of(1, None, 0);
        assert!(lane.open_session());
        yard.set_limit(&lane, 0);
        let task = yard.spawn_in(&lane, || 1);
        let other = {
            let (yard, lane) = (Arc::clone(&yard), Arc::clone(&lane));
            thread::spawn(move || yard.engine.end_session(&lane, &*yard))
        };
        if lane.remove_handle() {
            yard.engine.look_at_handles(&lane, &*yard);
        }
        drop(lane);
        other.join().unwrap();
        assert_eq!(task.wait().unwrap(), 1);
        yard.end(threads);
    });
}

/// Two lanes with shares, whose items are alike: the thread comes for both.
#[test]
fn share_of_two_lanes_against_submit() {
    check(Some(2), || {
        let (yard, threads) = Yard::new(1, 1, false);
        let (one, other) = (yard.shared_lane(1, None), yard.shared_lane(3, None));
        let submitter = {
            let yard = Arc::clone(&yard);
            thread::spawn(move || yard.spawn_in(&other, || 1).wait().unwrap())
        };
        assert_eq!(yard.spawn_in(&one, || 2).wait().unwrap(), 2);
        assert_eq!(submitter.join().unwrap(), 1);
        drop(one);
        yard.end(threads);
    });
}

/// A thread that waits takes a slot over, of which another one may have picked the lane: the slot
/// that becomes pending after that has a thread as well.
#[test]
fn share_picked_against_taken_over() {
    check(Some(1), || {
        let (yard, threads) = Yard::full(0, 2);
        let lane = yard.shared_lane(1, None);
        let waiter = {
            let (inner, lane) = (Arc::clone(&yard), Arc::clone(&lane));
            yard.spawn(move || inner.spawn_in(&lane, || 1).wait().unwrap())
        };
        assert_eq!(yard.spawn_in(&lane, || 2).wait().unwrap(), 2);
        assert_eq!(waiter.wait().unwrap(), 1);
        drop(lane);
        yard.end_in_one_order(threads);
    });
}

/// A lane with a share and a reserve, whose limit rises while the thread of the reserve is called.
#[test]
fn share_with_a_reserve_and_a_limit_that_rises() {
    check(Some(2), || {
        let (yard, threads) = Yard::new(0, 1, false);
        let lane = yard.shared_lane(1, Some(1));
        let reserves = Reserves::new(&yard, false);
        yard.set_limit(&lane, 0);
        let task = reserves.spawn(&lane, || 1);
        let other = {
            let (reserves, yard, lane) = (Arc::clone(&reserves), Arc::clone(&yard), Arc::clone(&lane));
            thread::spawn(move || {
                yard.set_limit(&lane, 1);
                reserves.call(&lane);
            })
        };
        assert_eq!(task.wait().unwrap(), 1);
        other.join().unwrap();
        reserves.end(lane, threads);
    });
}
