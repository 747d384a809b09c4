//! Models of threads in reserve: a call is not lost, whatever the thread that it is for does; and
//! they run their lane alone, within its limit.
//!
//! There is no monitor, which depends on the clock: each submitter calls once itself, as it does
//! where the monitor has been refused. So what a model shows does not rest on a second call.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use loom::thread;

use super::lanes::Exclusive;
use super::{Yard, gate};
use crate::lane::{Called, LaneCore, LaneReserve};
use crate::sync::atomic::{Ordering, StaticU64};
use crate::sync::stand_in::model::{check, in_one_order};
use crate::sync::{Mutex, Parker, now};
use crate::task::current::retire_thread;
use crate::task::{Task, TaskRef};
use crate::worker::{Engine, Policy, Retire, work_in_reserve};

/// The threads of the reserves of a yard's lanes, which are made by calls.
pub(super) struct Reserves {
    me: Weak<Reserves>,
    yard: Arc<Yard>,
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
    /// How many there are now; below 0 is above.
    now: StaticU64,
    /// Whether an idle thread finds its time to have come whenever it looks.
    short_lived: bool,
}

impl Reserves {
    pub(super) fn new(yard: &Arc<Yard>, short_lived: bool) -> Arc<Self> {
        let (threads, now) = (Mutex::new(Vec::new()), StaticU64::new(0));
        Arc::new_cyclic(|me| Reserves { me: me.clone(), yard: Arc::clone(yard), threads, now, short_lived })
    }

    /// As `Inner::call_reserve`, for one slot.
    pub(super) fn call(&self, lane: &LaneCore) {
        let reserve = lane.reserve().expect("it has one");
        if !lane.has_pending() || reserve.call() != Called::Reserved {
            return;
        }
        let most = reserve.most() as u64;
        assert!(self.now.fetch_add(1, Ordering::Relaxed) < most, "N5");
        let (pool, reserve) = (self.me.upgrade().expect("it is in use"), Arc::clone(reserve));
        self.threads.lock().push(thread::spawn(move || work_in_reserve(pool, reserve)));
    }

    /// A task for the lane, and a call.
    pub(super) fn spawn<T: Send + 'static>(
        self: &Arc<Self>,
        lane: &Arc<LaneCore>,
        closure: impl FnOnce() -> T + Send + 'static,
    ) -> Task<T> {
        let task = self.yard.spawn_in(lane, closure);
        self.call(lane);
        task
    }

    /// Closes the yard, as `Inner::close` closes a pool, and joins: the threads of reserves too.
    pub(super) fn end(self: &Arc<Self>, lane: Arc<LaneCore>, threads: Vec<thread::JoinHandle<()>>) {
        let reserve = Arc::clone(lane.reserve().expect("it has one"));
        self.yard.close();
        reserve.wake_all();
        drop(lane);
        self.join();
        self.yard.end(threads);
        assert_eq!((self.now.load(Ordering::Relaxed), reserve.count()), (0, 0));
    }

    fn join(&self) {
        loop {
            // One may make another on its way out.
            let Some(thread) = self.threads.lock().pop() else { return };
            thread.join().expect("a worker does not panic");
        }
    }
}

impl Policy for Reserves {
    fn engine(&self) -> &Engine {
        &self.yard.engine
    }
    fn watch_delivery(&self) {}
    fn ensure_worker(&self) -> bool {
        true
    }
    fn retire(&self, _: Retire) -> bool {
        unreachable!("the reserve decides")
    }
    fn observe_wait(&self, _: &TaskRef, _: Option<&LaneCore>, _: Duration) {}
    fn observe_run(&self, _: &TaskRef, _: Option<&LaneCore>, _: Duration) {}
    fn begin_blocking(&self) {}
    fn end_blocking(&self) {}
    fn may_grow(&self) -> bool {
        true
    }
    fn threads(&self) -> usize {
        self.yard.threads() + self.now.load(Ordering::Relaxed) as usize
    }
    fn may_spin(&self) -> bool {
        false
    }
    fn sleep_deadline(&self) -> Option<Instant> {
        None
    }
    fn reserve_deadline(&self) -> Option<Instant> {
        self.short_lived.then(now)
    }
    /// As `Inner::release_reserved`.
    fn leave_reserve(&self, reserve: &LaneReserve) {
        self.now.fetch_sub(1, Ordering::Relaxed);
        reserve.release();
        if let Some(lane) = reserve.lane().filter(|lane| lane.has_pending()) {
            self.call(&lane);
        }
    }
    fn look_for_end(&self) {}
    fn on_start(&self) {}
    fn on_stop(&self) {}
    fn on_exit(&self) {}
}

/// Holds the yard's only thread until the gate is opened.
fn hang(yard: &Arc<Yard>) -> (Task<()>, Arc<Parker>) {
    let (stay, leave) = gate();
    let (begun, begin) = gate();
    let task = yard.spawn(move || {
        begin.unpark();
        stay.park(None);
    });
    begun.park(None);
    (task, leave)
}

/// Two submitters to a lane with one thread in reserve, while the pool's only thread hangs: both
/// tasks run, one at a time, and the pool's task does not run there.
#[test]
fn reserve_goes_on_while_all_hang() {
    check(Some(2), || {
        let (yard, threads) = Yard::full(0, 1);
        let (hung, leave) = hang(&yard);
        let general = {
            let ended = hung.is_finished();
            yard.spawn(move || ended)
        };
        let (reserves, lane) = (Reserves::new(&yard, false), yard.lane_of(2, None, 1));
        let exclusive = Exclusive::new();
        let submitter = {
            let (reserves, lane, exclusive) =
                (Arc::clone(&reserves), Arc::clone(&lane), Arc::clone(&exclusive));
            thread::spawn(move || reserves.spawn(&lane, move || exclusive.touch()).wait().unwrap())
        };
        let own = reserves.spawn(&lane, move || exclusive.touch()).wait().unwrap();
        assert_eq!(own + submitter.join().unwrap(), 3);
        assert!(!general.is_finished());
        in_one_order();
        leave.unpark();
        hung.wait().unwrap();
        general.wait().unwrap();
        reserves.end(lane, threads);
    });
}

/// An idle thread whose time has come whenever it looks, against a submitter: it stays, or another
/// one is made.
#[test]
fn reserve_leaves_against_a_call() {
    check(Some(2), || {
        let (yard, threads) = Yard::full(0, 0);
        let (reserves, lane) = (Reserves::new(&yard, true), yard.lane_of(1, None, 1));
        assert_eq!(reserves.spawn(&lane, || 1).wait().unwrap(), 1);
        // The only clock there is: after a call an idle thread also waits for this.
        let place = Arc::clone(&yard);
        let clock = thread::spawn(move || place.engine.help_waiters.wake());
        assert_eq!(reserves.spawn(&lane, || 2).wait().unwrap(), 2);
        clock.join().unwrap();
        in_one_order();
        reserves.end(lane, threads);
    });
}

/// A closure ends its thread while another task comes to wait.
#[test]
fn reserve_retires_against_a_call() {
    check(Some(2), || {
        let (yard, threads) = Yard::full(0, 0);
        let (reserves, lane) = (Reserves::new(&yard, false), yard.lane_of(1, None, 1));
        let first = reserves.spawn(&lane, retire_thread);
        assert_eq!(reserves.spawn(&lane, || 2).wait().unwrap(), 2);
        first.wait().unwrap();
        in_one_order();
        reserves.end(lane, threads);
    });
}

/// The pool's thread and one in reserve come for the only slot of a lane: closures do not overlap,
/// and nothing is left lying.
#[test]
fn reserve_against_a_thread_of_the_pool() {
    check(Some(2), || {
        let (yard, threads) = Yard::new(0, 1, false);
        let (reserves, lane) = (Reserves::new(&yard, false), yard.lane_of(1, None, 1));
        let exclusive = Exclusive::new();
        let touch = || {
            let exclusive = Arc::clone(&exclusive);
            reserves.spawn(&lane, move || exclusive.touch())
        };
        let (first, second) = (touch(), touch());
        assert_eq!(first.wait().unwrap() + second.wait().unwrap(), 3);
        in_one_order();
        reserves.end(lane, threads);
    });
}

/// A thread in reserve, idle or about to be, and the close of its pool: it leaves.
#[test]
fn reserve_against_close() {
    check(Some(3), || {
        let (yard, threads) = Yard::full(0, 0);
        let (reserves, lane) = (Reserves::new(&yard, false), yard.lane_of(1, None, 1));
        assert_eq!(reserves.spawn(&lane, || 1).wait().unwrap(), 1);
        reserves.end(lane, threads);
    });
}

/// The last handle of the lane goes, with a task queued or not: that runs, and the thread leaves.
#[test]
fn reserve_of_a_lane_without_handles() {
    check(Some(2), || {
        let (yard, threads) = Yard::full(0, 0);
        let (reserves, lane) = (Reserves::new(&yard, false), yard.lane_of(1, None, 1));
        let first = reserves.spawn(&lane, || 1);
        let second = reserves.spawn(&lane, || 2);
        let reserve = Arc::clone(lane.reserve().expect("it has one"));
        drop(lane);
        assert_eq!((first.wait().unwrap(), second.wait().unwrap()), (1, 2));
        // The item that was left over keeps the lane until a thread of the pool comes for it.
        drop(yard.engine.queues.take_any());
        reserves.join();
        assert_eq!(reserve.count(), 0);
        yard.end(threads);
    });
}

/// The pool's only thread waits for a task of the lane, and that waits for one of the pool: the
/// thread runs it, since none in reserve does.
#[test]
fn reserve_waits_for_a_thread_that_waits() {
    check(Some(2), || {
        let (yard, threads) = Yard::full(0, 1);
        let (reserves, lane) = (Reserves::new(&yard, false), yard.lane_of(1, None, 1));
        let outer = {
            let (inner, reserves, lane) = (Arc::clone(&yard), Arc::clone(&reserves), Arc::clone(&lane));
            yard.spawn(move || {
                let middle = reserves.spawn(&lane, move || inner.spawn(|| 7).wait().unwrap());
                middle.wait().unwrap()
            })
        };
        assert_eq!(outer.wait().unwrap(), 7);
        in_one_order();
        reserves.end(lane, threads);
    });
}
