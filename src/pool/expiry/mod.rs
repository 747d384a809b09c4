//! The thread that ends queued tasks whose time is up, and, where that is asked for, warns of tasks
//! that run for long and publishes the pool's numbers.
//!
//! It is apart from the monitor because it drops closures, and so runs foreign code that may take
//! its time. It is made when a deadline is first set, belongs to one pool and counts in no limit;
//! it sleeps until the next deadline, and without one until it is needed.
//!
//! A worker that comes to an overdue task first ends it likewise. So where the system refuses this
//! thread, tasks still expire; only later. Where numbers are to be published, tasks that run have
//! it tried again.
//!
//! # Patrols
//!
//! Where long runs are warned of, a task that begins sees to it that the threads are looked at when
//! its time is up. While looks are due no other task need do so. After the last due one the thread
//! says that none is due, fences, and looks once more; a task shows itself, fences, and then asks
//! whether one is due. One of the two fences comes first.
//!
//! The numbers are the pool's, so a thread that publishes them holds the shared state, as the
//! monitor does. That keeps no pool open: its handles do, and the threads that have work, and the
//! last of these to go stops this one.
//!
//! ORDERING: the fence in `patrol` pairs with the one in `expect`. Of `stopped` and `manned` each
//! side writes the one and then reads the other, `stop` against `man`, which needs `SeqCst` on all
//! four.

mod task_list;

pub(in crate::pool) use self::task_list::Roll;

use std::cmp::Ordering as Order;
use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use self::task_list::next_sweep;
use crate::error::Reason;
use crate::pool::inner::Shared;
use crate::pool::threads::CoolDown;
use crate::sync::atomic::{AtomicBool, Ordering, fence};
use crate::sync::{Mutex, Parker, now, thread};
use crate::task::TaskRef;
use crate::trace::event;

/// A pool's deadlines.
#[derive(Debug)]
pub(in crate::pool) struct Timer {
    alarms: Mutex<Alarms>,
    manned: AtomicBool,
    stopped: AtomicBool,
    /// After the system has refused the thread.
    pause: CoolDown,
    parker: Parker,
    /// How often the pool's numbers are published, if they are.
    every: Option<Duration>,
    /// The pool.
    shared: Weak<Shared>,
    /// Whether the threads will be looked at.
    patrolling: AtomicBool,
}

/// The publishing of a pool's numbers, under way: at once, then again and again, and once more at
/// the end.
struct Round {
    every: Duration,
    shared: Arc<Shared>,
    due: Option<Instant>,
}

#[derive(Debug)]
struct Alarms {
    heap: BinaryHeap<Alarm>,
    /// How long the heap may get before tasks that are not queued any more are swept out.
    sweep_at: usize,
}

#[derive(Debug)]
struct Alarm {
    at: Instant,
    task: TaskRef,
}

impl Round {
    /// Publishes if it is time, and says when it is next.
    fn turn(&mut self) -> Option<Instant> {
        if self.due.is_some_and(|due| due <= now()) {
            publish(&self.shared);
            self.due = now().checked_add(self.every);
        }
        self.due
    }
}

/// Publishes the numbers of a pool. Foreign code.
fn publish(shared: &Shared) {
    #[cfg(feature = "metrics")]
    crate::pool::stats::export::publish(shared);
    let _ = shared;
}

impl Ord for Alarm {
    /// The earliest is the greatest: it is what a heap gives first.
    fn cmp(&self, other: &Self) -> Order {
        other.at.cmp(&self.at)
    }
}

impl PartialOrd for Alarm {
    fn partial_cmp(&self, other: &Self) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Alarm {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Alarm {}

impl Timer {
    pub(in crate::pool) fn new(every: Option<Duration>, shared: Weak<Shared>) -> Arc<Self> {
        Arc::new(Timer {
            alarms: Mutex::new(Alarms { heap: BinaryHeap::new(), sweep_at: next_sweep(0) }),
            manned: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            pause: CoolDown::new(),
            parker: Parker::new(),
            every,
            shared,
            patrolling: AtomicBool::new(false),
        })
    }

    /// Ends `task`, of the pool called `pool`, at `at` if it is still queued then.
    pub(in crate::pool) fn watch(self: &Arc<Self>, pool: &str, at: Instant, task: TaskRef) {
        let mut alarms = self.alarms.lock();
        let next = alarms.heap.peek().map(|alarm| alarm.at);
        let swept = alarms.sweep();
        alarms.heap.push(Alarm { at, task });
        drop(alarms);
        // The last reference may run foreign code.
        drop(swept);
        let is_next = next.is_none_or(|next| at < next);
        if is_next && self.manned.load(Ordering::SeqCst) {
            self.parker.unpark();
        } else if !self.manned.load(Ordering::SeqCst) {
            self.man(pool);
        }
    }

    fn man(self: &Arc<Self>, pool: &str) {
        // Under loom time does not pass.
        if cfg!(sidestep_loom) || self.pause.is_on() || self.manned.swap(true, Ordering::SeqCst) {
            return;
        }
        let timer = Arc::clone(self);
        let round = self.begin_round();
        let builder = thread::Builder::new().name(format!("{pool}-timer"));
        if let Err(error) = builder.spawn(move || timer.run(round)) {
            event!(WARN, %error, "could not start the timer: tasks expire, and numbers are published, late");
            self.pause.begin(error);
            self.manned.store(false, Ordering::SeqCst);
            if self.stopped.load(Ordering::SeqCst) {
                self.publish();
            }
        }
    }

    /// A task has begun, of a pool called `pool` that warns of long runs: sees to it that it is
    /// looked at in time.
    pub(in crate::pool) fn expect(self: &Arc<Self>, pool: &str) {
        fence(Ordering::SeqCst);
        if self.patrolling.load(Ordering::SeqCst) || self.patrolling.swap(true, Ordering::SeqCst) {
            return;
        }
        if self.manned.load(Ordering::SeqCst) {
            self.parker.unpark();
        } else {
            self.man(pool);
            // If that was refused the next task tries again.
            let manned = self.manned.load(Ordering::SeqCst);
            self.patrolling.store(manned, Ordering::SeqCst);
        }
    }

    /// Looks at the threads if that is due, and says when it is next.
    fn patrol(&self) -> Option<Instant> {
        if !self.patrolling.load(Ordering::SeqCst) {
            return None;
        }
        let shared = self.shared.upgrade()?;
        let look = || shared.observer.patrol(&shared.engine.workers);
        look().or_else(|| {
            self.patrolling.store(false, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            let next = look()?;
            self.patrolling.store(true, Ordering::SeqCst);
            Some(next)
        })
    }

    /// Sees to it that numbers are published if that is wanted.
    #[inline]
    pub(in crate::pool) fn keep_rounds(self: &Arc<Self>, pool: &str) {
        if self.every.is_some() && !self.manned.load(Ordering::Relaxed) {
            self.man(pool);
        }
    }

    /// The first round, due now.
    fn begin_round(&self) -> Option<Round> {
        let (every, shared) = (self.every?, self.shared.upgrade()?);
        Some(Round { every, shared, due: Some(now()) })
    }

    /// Publishes the numbers now, on this thread, if they are published at all.
    pub(in crate::pool) fn publish(&self) {
        let shared = self.every.and_then(|_| self.shared.upgrade());
        shared.iter().for_each(|shared| publish(shared));
    }

    /// Ends the thread: nothing is queued any more.
    pub(in crate::pool) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        if self.manned.load(Ordering::SeqCst) {
            self.parker.unpark();
        } else {
            self.publish();
        }
    }

    fn run(&self, mut round: Option<Round>) {
        while !self.stopped.load(Ordering::SeqCst) {
            let (due, next) = self.alarms.lock().due(now());
            for task in due {
                task.revoke(Reason::Expired);
            }
            let round = round.as_mut().and_then(Round::turn);
            let patrol = self.patrol();
            self.parker.park(next.into_iter().chain(round).chain(patrol).min());
        }
        round.iter().for_each(|round| publish(&round.shared));
        let left = std::mem::take(&mut self.alarms.lock().heap);
        drop(left);
    }
}

impl Alarms {
    /// Takes the tasks out whose time is up, and says when the next one is.
    fn due(&mut self, now: Instant) -> (Vec<TaskRef>, Option<Instant>) {
        let mut due = Vec::new();
        while self.heap.peek().is_some_and(|alarm| alarm.at <= now) {
            due.extend(self.heap.pop().map(|alarm| alarm.task));
        }
        (due, self.heap.peek().map(|alarm| alarm.at))
    }

    /// Takes those out that are not queued any more, if the heap has doubled since the last time.
    fn sweep(&mut self) -> Vec<Alarm> {
        if self.heap.len() < self.sweep_at {
            return Vec::new();
        }
        let all = std::mem::take(&mut self.heap);
        let (swept, left): (Vec<_>, Vec<_>) = all.into_iter().partition(|alarm| !alarm.task.is_queued());
        self.sweep_at = next_sweep(left.len());
        self.heap = left.into();
        swept
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
