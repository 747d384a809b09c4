//! The reserve of a lane: threads of its own, beyond those of the pool.
//!
//! A thread of the reserve runs tasks of the lane and nothing else. It takes a pending slot over,
//! as a thread that waits does, runs what waits in the lane, releases the slot, and parks. It is
//! there for the case that no general thread gets to the slot, because all of them hang.
//!
//! # States of a thread
//!
//! ```text
//!     called, none idle: reserved ----> looks <------ called, or has to look --- idle
//!                                       |   |                                     ^  | keep-alive
//!             slot taken over: runs <---+   +---- nothing pending: listed --------+  v
//!                 |                                                                leaves: hooks,
//!                 +---- slot released: looks                                       then released
//! ```
//!
//! - **N5** The threads of a reserve, those on their way in or out included, are no more than it
//!   has been given: a thread is counted under the lock before it is made, and until its last hook
//!   has run.
//! - **N6** A thread of a reserve parks only while it is listed as idle, and has looked whether a
//!   slot is pending since it was listed.
//!
//! # A call is not lost
//!
//! A *call* is made by who has found a slot pending that no general thread gets to. It wakes an
//! idle thread, or has another one made, or does neither because all of them are at work. It finds
//! the slot pending before it takes the lock. In the last case each thread of the reserve is inside
//! a closure or a waker, or comes to the lock later: as one that lists itself, and then looks (N6);
//! or as one that is released, after which its pool looks and calls for another. Either way the
//! look comes after the call had found the slot pending, and finds it pending still, unless a
//! thread has taken it. So while a slot is pending and calls are made, fewer threads of the reserve
//! than it has been given are idle or missing; and as long as one of them is not inside a closure
//! or waker that hangs, the slot is taken.
//!
//! Calls are made by the monitor with each look, as long as the slot is pending: `pool::reserves`.
//! So even a call that is lost, or a thread that the system refuses, costs time only.
//!
//! # While it is hot
//!
//! A reserve is *hot* from a call until a general thread gets to a slot of the lane. An idle thread
//! of a hot reserve also waits for the signal that no thread will look into the pool's queues
//! (`Engine::help_waiters`). So a lane that lives on its reserve does not wait for the monitor each
//! time; and one that does not, pays nothing.
//!
//! ORDERING: `hot` and `number` are hints. The lock orders the rest: who makes a slot pending and
//! then takes the lock, against who takes the lock and then looks at the slots.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::LaneCore;
use crate::sync::atomic::{HintBool, HintUsize, Ordering};
use crate::sync::{Mutex, Parker, ProcessMutex, now};

/// The threads that a lane has of its own.
pub(crate) struct LaneReserve {
    lane: Weak<LaneCore>,
    /// How many threads there may be.
    most: usize,
    threads: ProcessMutex<ReserveThreads>,
    hot: HintBool,
    number: HintUsize,
    /// What the monitor remembers from look to look.
    overdue: Mutex<Overdue>,
}

#[derive(Debug, Default)]
struct ReserveThreads {
    /// All of them (N5).
    count: usize,
    /// Those that are parked, or about to be.
    idle: Vec<Arc<Parker>>,
}

/// For how long slots of a lane have been pending without a task having begun.
#[derive(Debug, Default)]
struct Overdue {
    /// The tasks of the lane that had begun.
    started: u64,
    looks: u32,
    time: Duration,
}

/// What a call has done.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Called {
    /// An idle thread has been woken.
    Woken,
    /// The caller must make a thread, which is counted already.
    Reserved,
    /// All threads are at work.
    AtWork,
}

impl LaneReserve {
    /// A reserve of `most` threads, none of which has been made.
    pub(super) fn new(lane: Weak<LaneCore>, most: usize) -> Arc<Self> {
        Arc::new(LaneReserve {
            lane,
            most,
            threads: ProcessMutex::default(),
            hot: HintBool::new(false),
            number: HintUsize::new(0),
            overdue: Mutex::default(),
        })
    }

    /// The lane, as long as it is needed: it has handles, items or slots.
    pub(crate) fn lane(&self) -> Option<Arc<LaneCore>> {
        self.lane.upgrade()
    }

    /// How many threads there may be.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// How many threads there are, those on their way in or out included.
    pub(crate) fn count(&self) -> usize {
        self.threads.lock().map_or(0, |threads| threads.count)
    }

    /// Calls `f`, which runs no user code, with how many threads may still be made. The number
    /// stands still meanwhile.
    pub(crate) fn with_free<R>(&self, f: impl FnOnce(usize) -> R) -> R {
        let threads = self.threads.lock();
        f(threads.as_ref().map_or(0, |threads| self.most - threads.count))
    }

    /// A number for the next thread.
    pub(crate) fn next_number(&self) -> usize {
        self.number.fetch_add(1, Ordering::Relaxed)
    }

    /// A slot is pending that no general thread gets to.
    pub(crate) fn call(&self) -> Called {
        self.hot.store(true, Ordering::Relaxed);
        let Some(mut threads) = self.threads.lock() else { return Called::AtWork };
        if let Some(parker) = threads.idle.pop() {
            drop(threads);
            parker.unpark();
            return Called::Woken;
        }
        if threads.count >= self.most {
            return Called::AtWork;
        }
        threads.count += 1;
        Called::Reserved
    }

    /// A thread is gone, or will not come. The caller looks next whether a slot is pending.
    pub(crate) fn release(&self) {
        if let Some(mut threads) = self.threads.lock() {
            threads.count -= 1;
        }
    }

    /// A general thread has got to a slot.
    pub(super) fn cool(&self) {
        if self.hot.load(Ordering::Relaxed) {
            self.hot.store(false, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_hot(&self) -> bool {
        self.hot.load(Ordering::Relaxed)
    }

    /// Wakes every idle thread: the lane is gone, or its pool has been closed.
    pub(crate) fn wake_all(&self) {
        let Some(mut threads) = self.threads.lock() else { return };
        let woken = std::mem::take(&mut threads.idle);
        drop(threads);
        woken.iter().for_each(|parker| parker.unpark());
    }

    /// Parks a thread of the reserve until it has to look: it is called, or `must_look` says so,
    /// which is asked whenever it has been listed or woken, after a call of `watch`. False if
    /// `deadline` has come first, and the thread is to leave.
    pub(crate) fn park(
        &self,
        parker: &Arc<Parker>,
        deadline: Option<Instant>,
        watch: impl Fn(),
        must_look: impl Fn() -> bool,
    ) -> bool {
        let Some(mut threads) = self.threads.lock() else { return false };
        threads.idle.push(Arc::clone(parker));
        drop(threads);
        loop {
            watch();
            if must_look() {
                self.unlist(parker);
                return true;
            }
            parker.park(deadline);
            if !self.is_listed(parker) {
                return true;
            }
            if deadline.is_some_and(|deadline| now() >= deadline) {
                // Otherwise it has been called just now.
                return !self.unlist(parker);
            }
        }
    }

    fn is_listed(&self, parker: &Arc<Parker>) -> bool {
        self.threads.lock().is_some_and(|threads| threads.idle.iter().any(|other| Arc::ptr_eq(other, parker)))
    }

    /// Takes a thread off the list. False if another thread has done so.
    fn unlist(&self, parker: &Arc<Parker>) -> bool {
        let Some(mut threads) = self.threads.lock() else { return false };
        let place = threads.idle.iter().position(|other| Arc::ptr_eq(other, parker));
        place.map(|place| threads.idle.remove(place)).is_some()
    }

    /// Takes in one look of the monitor: `elapsed` after the last one, `pending` slots are pending,
    /// and so many tasks have begun. True if no general thread has got to a slot for two looks and
    /// for `patience`.
    pub(crate) fn is_overdue(
        &self,
        started: u64,
        pending: u64,
        elapsed: Duration,
        patience: Duration,
    ) -> bool {
        let mut overdue = self.overdue.lock();
        if pending == 0 || overdue.started != started {
            *overdue = Overdue { started, ..Overdue::default() };
            return false;
        }
        overdue.looks += 1;
        overdue.time += elapsed;
        let is_overdue = overdue.looks >= LOOKS && overdue.time >= patience;
        if is_overdue {
            // The thread that is called now gets as long.
            *overdue = Overdue { started, ..Overdue::default() };
        }
        is_overdue
    }
}

/// For so many looks in a row no task of the lane must have begun.
const LOOKS: u32 = 2;

impl fmt::Debug for LaneReserve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneReserve").field("most", &self.most).finish_non_exhaustive()
    }
}
