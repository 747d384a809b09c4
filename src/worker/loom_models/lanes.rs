//! Models of lanes on the threads of a pool.

use std::panic::Location;
use std::sync::Arc;
use std::task::{Wake, Waker};

use loom::cell::UnsafeCell;
use loom::thread;

use super::Yard;
use crate::error::Reason;
use crate::lane::{LaneCore, LanePlace, LaneSettings, Naming};
use crate::latency::LatencyRecorder;
use crate::semaphore::Acquire;
use crate::sync::Mutex;
use crate::sync::atomic::{Ordering, StaticU64};
use crate::sync::stand_in::model::check;
use crate::task::{Task, new_task};

impl Yard {
    fn lane(&self, limit: usize) -> Arc<LaneCore> {
        self.lane_with(limit, None)
    }

    fn lane_with(&self, limit: usize, queue_limit: Option<usize>) -> Arc<LaneCore> {
        self.lane_of(limit, queue_limit, 0)
    }

    pub(super) fn lane_of(&self, limit: usize, queue_limit: Option<usize>, reserve: usize) -> Arc<LaneCore> {
        let reserve = (reserve > 0).then_some(reserve);
        self.lane_made(LaneSettings { queue_limit, reserve, ..LaneSettings::of(limit) })
    }

    pub(super) fn lane_made(&self, settings: LaneSettings) -> Arc<LaneCore> {
        let latency = |_: &str| LatencyRecorder::default();
        self.engine.lanes.get_or_make("lane".to_owned(), Naming::Label, settings, latency)
    }

    /// As `Lane::spawn`, taking back included.
    pub(super) fn spawn_in<T: Send + 'static>(
        self: &Arc<Self>,
        lane: &Arc<LaneCore>,
        closure: impl FnOnce() -> T + Send + 'static,
    ) -> Task<T> {
        let (entry, handle) = new_task(closure, Arc::as_ptr(lane.account()), Location::caller(), None);
        if self.engine.submit_to_lane(lane, entry, LanePlace::InOrder) {
            self.engine.notify(&**self);
        } else {
            loom::sync::atomic::fence(Ordering::SeqCst);
        }
        if self.engine.is_closed() {
            if let Some(claimed) = handle.task().clone().claim() {
                claimed.count_cancelled();
                claimed.discard(Reason::Shutdown);
            }
        }
        Task::new(handle)
    }
}

/// What only one closure at a time may touch.
pub(super) struct Exclusive(UnsafeCell<u32>);

// SAFETY: no thread touches it beside another: that is what the models check.
unsafe impl Sync for Exclusive {}
// SAFETY: as above.
unsafe impl Send for Exclusive {}

impl Exclusive {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Exclusive(UnsafeCell::new(0)))
    }

    pub(super) fn touch(&self) -> u32 {
        self.0.with_mut(|count| {
            // SAFETY: the pointer is valid, and the checker sees any other use.
            let count = unsafe { &mut *count };
            *count += 1;
            *count
        })
    }
}

/// Two submitters, one thread: nothing that is queued in the lane is left lying.
#[test]
fn lane_submit_against_release() {
    check(Some(2), || {
        let (yard, threads) = Yard::new(1, 1, false);
        let lane = yard.lane(1);
        let submitter = {
            let (yard, lane) = (Arc::clone(&yard), Arc::clone(&lane));
            thread::spawn(move || yard.spawn_in(&lane, || 1).wait().unwrap())
        };
        assert_eq!(yard.spawn_in(&lane, || 2).wait().unwrap(), 2);
        assert_eq!(submitter.join().unwrap(), 1);
        drop(lane);
        yard.end(threads);
    });
}

/// Two threads, one slot: closures do not overlap.
#[test]
fn lane_of_one_excludes() {
    check(Some(2), || {
        let (yard, threads) = Yard::new(1, 2, false);
        let lane = yard.lane(1);
        let exclusive = Exclusive::new();
        let touch = || {
            let exclusive = Arc::clone(&exclusive);
            yard.spawn_in(&lane, move || exclusive.touch())
        };
        let (first, second) = (touch(), touch());
        assert_eq!(first.wait().unwrap() + second.wait().unwrap(), 3);
        drop(lane);
        yard.end_in_one_order(threads);
    });
}

/// The last handle goes at once: what is queued still runs.
#[test]
fn lane_without_handles_runs_its_queue() {
    check(Some(2), || {
        let (yard, threads) = Yard::new(1, 1, false);
        let lane = yard.lane(1);
        let first = yard.spawn_in(&lane, || 1);
        let second = yard.spawn_in(&lane, || 2);
        drop(lane);
        assert_eq!((first.wait().unwrap(), second.wait().unwrap()), (1, 2));
        yard.end(threads);
    });
}

/// A submission to a lane against closing: the task runs or is refused, and the threads leave.
#[test]
fn lane_submit_against_close() {
    check(Some(2), || {
        let (yard, threads) = Yard::new(1, 1, false);
        let lane = yard.lane(1);
        let ran = Arc::new(StaticU64::new(0));
        let submitter = {
            let (yard, lane, ran) = (Arc::clone(&yard), Arc::clone(&lane), Arc::clone(&ran));
            thread::spawn(move || {
                let task = yard.spawn_in(&lane, move || _ = ran.fetch_add(1, Ordering::Relaxed));
                u64::from(task.wait().is_ok())
            })
        };
        yard.close();
        let done = submitter.join().unwrap();
        drop(lane);
        yard.end(threads);
        assert_eq!(ran.load(Ordering::Relaxed), done);
    });
}

/// A cancel against the thread that takes the task, and the lane goes with it: the canceller's
/// count is its last use.
#[test]
fn lane_cancel_against_the_end_of_the_lane() {
    check(Some(2), || {
        let (yard, threads) = Yard::new(1, 1, false);
        let lane = yard.lane(1);
        let task = yard.spawn_in(&lane, || ());
        let dropper = thread::spawn(move || drop(lane));
        drop(task);
        dropper.join().unwrap();
        yard.end(threads);
    });
}

/// Lets go of a lane when it is woken.
struct LetGo(Mutex<Option<Arc<LaneCore>>>);

impl Wake for LetGo {
    fn wake(self: Arc<Self>) {
        let lane = self.0.lock().take();
        drop(lane);
    }
}

/// The place of a task that is cancelled goes to one whose waker lets go of the lane's last handle:
/// inside of the cancellation, or of the run where that was faster.
#[test]
fn lane_cancel_whose_waker_lets_go_of_the_lane() {
    check(Some(2), || {
        let (yard, threads) = Yard::new(1, 1, false);
        let lane = yard.lane_with(1, Some(1));
        let places = lane.permits().expect("it is limited");
        assert!(places.try_acquire());
        let task = yard.spawn_in(&lane, || ());
        let last = Arc::new(LetGo(Mutex::new(None)));
        let _ = places.poll_acquire(&mut Acquire::new(), &Waker::from(Arc::clone(&last)));
        *last.0.lock() = Some(lane);
        let canceller = thread::spawn(move || drop(task));
        drop(last);
        canceller.join().unwrap();
        yard.end(threads);
    });
}

/// The only thread waits for a task of a lane whose slot is pending: it takes the slot over, and
/// comes through what is before its target.
#[test]
fn lane_in_place() {
    check(Some(2), || {
        let (yard, threads) = Yard::full(1, 1);
        let lane = yard.lane(1);
        let waiter = {
            let (inner, lane) = (Arc::clone(&yard), Arc::clone(&lane));
            yard.spawn(move || {
                let first = inner.spawn_in(&lane, || 1);
                let second = inner.spawn_in(&lane, || 2);
                (second.wait().unwrap(), first.wait().unwrap())
            })
        };
        assert_eq!(waiter.wait().unwrap(), (2, 1));
        drop(lane);
        yard.end(threads);
    });
}

/// Every slot waits for the lane: the wait that closes the circle gets an error, and the rest goes
/// on.
#[test]
fn lane_deadlock_is_told() {
    check(Some(2), || {
        let (yard, threads) = Yard::full(1, 1);
        let lane = yard.lane(1);
        let outer = {
            let (inner, own) = (Arc::clone(&yard), Arc::clone(&lane));
            yard.spawn_in(&lane, move || {
                inner.spawn_in(&own, || ()).wait().is_err_and(|error| error.is_deadlock())
            })
        };
        assert!(outer.wait().unwrap());
        drop(lane);
        yard.end(threads);
    });
}
