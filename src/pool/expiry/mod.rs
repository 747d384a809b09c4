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
//! # Scans for long runs
//!
//! Where long runs are warned of, a task that begins sees to it that the threads are looked at when
//! its time is up. While looks are due no other task need do so. After the last due one the thread
//! says that none is due, fences, and looks once more; a task shows itself, fences, and then asks
//! whether one is due. One of the two fences comes first.
//!
//! The numbers are the pool's, so a thread that publishes them holds the inner state, as the
//! monitor does. That keeps no pool open: its handles do, and the threads that have work, and the
//! last of these to go stops this one.
//!
//! ORDERING: the fence in `scan` pairs with the one in `schedule_scan`. Of `stopped` and
//! `has_thread` each side writes the one and then reads the other, `stop` against `start_thread`,
//! which needs `SeqCst` on all four.

mod task_list;

pub(in crate::pool) use self::task_list::TaskList;

use std::cmp::Ordering as Order;
use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use self::task_list::next_sweep;
use crate::error::Reason;
use crate::pool::threads::Backoff;
use crate::sync::atomic::{AtomicBool, Ordering, fence};
use crate::sync::{Mutex, Parker, now, thread};
use crate::task::TaskRef;
use crate::trace::event;

/// What the thread does for its pool besides. Both run user code.
pub(in crate::pool) trait Periodic: Send + Sync {
    /// Publishes the pool's numbers.
    fn publish(&self);
    /// Reports the tasks that have been running for long, and returns when the next one will have
    /// been.
    fn scan(&self) -> Option<Instant>;
}

/// A pool's deadlines.
#[derive(Debug)]
pub(in crate::pool) struct Expiry {
    deadlines: Mutex<Deadlines>,
    has_thread: AtomicBool,
    stopped: AtomicBool,
    /// After the system has refused the thread.
    backoff: Backoff,
    parker: Parker,
    /// How often the pool's numbers are published, if they are.
    every: Option<Duration>,
    /// The pool.
    pool: Weak<dyn Periodic>,
    /// Whether the threads will be looked at.
    scan_due: AtomicBool,
}

/// The publishing of a pool's numbers, under way: at once, then again and again, and once more at
/// the end.
struct PublishTick {
    every: Duration,
    pool: Arc<dyn Periodic>,
    due: Option<Instant>,
}

#[derive(Debug)]
struct Deadlines {
    heap: BinaryHeap<Deadline>,
    /// How long the heap may get before tasks that are not queued any more are swept out.
    sweep_at: usize,
}

#[derive(Debug)]
struct Deadline {
    at: Instant,
    task: TaskRef,
}

impl PublishTick {
    /// Publishes if it is time, and returns when it is next.
    fn tick(&mut self) -> Option<Instant> {
        if self.due.is_some_and(|due| due <= now()) {
            self.pool.publish();
            self.due = now().checked_add(self.every);
        }
        self.due
    }
}

impl Ord for Deadline {
    /// The earliest is the greatest: it is what a heap gives first.
    fn cmp(&self, other: &Self) -> Order {
        other.at.cmp(&self.at)
    }
}

impl PartialOrd for Deadline {
    fn partial_cmp(&self, other: &Self) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Deadline {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Deadline {}

impl Expiry {
    pub(in crate::pool) fn new(every: Option<Duration>, pool: Weak<dyn Periodic>) -> Arc<Self> {
        Arc::new(Expiry {
            deadlines: Mutex::new(Deadlines { heap: BinaryHeap::new(), sweep_at: next_sweep(0) }),
            has_thread: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            backoff: Backoff::new(),
            parker: Parker::new(),
            every,
            pool,
            scan_due: AtomicBool::new(false),
        })
    }

    /// Ends `task`, of the pool called `pool`, at `at` if it is still queued then.
    pub(in crate::pool) fn watch(self: &Arc<Self>, pool: &str, at: Instant, task: TaskRef) {
        let mut deadlines = self.deadlines.lock();
        let next = deadlines.heap.peek().map(|deadline| deadline.at);
        let swept = deadlines.sweep();
        deadlines.heap.push(Deadline { at, task });
        drop(deadlines);
        // The last reference may run foreign code.
        drop(swept);
        let is_next = next.is_none_or(|next| at < next);
        if is_next && self.has_thread.load(Ordering::SeqCst) {
            self.parker.unpark();
        } else if !self.has_thread.load(Ordering::SeqCst) {
            self.start_thread(pool);
        }
    }

    fn start_thread(self: &Arc<Self>, pool: &str) {
        // Under loom time does not pass.
        if cfg!(sidestep_loom) || self.backoff.is_on() || self.has_thread.swap(true, Ordering::SeqCst) {
            return;
        }
        let expiry = Arc::clone(self);
        let tick = self.first_tick();
        let builder = thread::Builder::new().name(format!("{pool}-timer"));
        if let Err(error) = builder.spawn(move || expiry.run(tick)) {
            event!(WARN, %error, "could not start the timer: tasks expire, and numbers are published, late");
            self.backoff.begin(error);
            self.has_thread.store(false, Ordering::SeqCst);
            if self.stopped.load(Ordering::SeqCst) {
                self.publish();
            }
        }
    }

    /// A task has begun, of a pool called `pool` that warns of long runs: sees to it that it is
    /// looked at in time.
    pub(in crate::pool) fn schedule_scan(self: &Arc<Self>, pool: &str) {
        fence(Ordering::SeqCst);
        if self.scan_due.load(Ordering::SeqCst) || self.scan_due.swap(true, Ordering::SeqCst) {
            return;
        }
        if self.has_thread.load(Ordering::SeqCst) {
            self.parker.unpark();
        } else {
            self.start_thread(pool);
            // If that was refused the next task tries again.
            let has_thread = self.has_thread.load(Ordering::SeqCst);
            self.scan_due.store(has_thread, Ordering::SeqCst);
        }
    }

    /// Looks at the threads if that is due, and says when it is next.
    fn scan(&self) -> Option<Instant> {
        if !self.scan_due.load(Ordering::SeqCst) {
            return None;
        }
        let pool = self.pool.upgrade()?;
        let look = || pool.scan();
        look().or_else(|| {
            self.scan_due.store(false, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            let next = look()?;
            self.scan_due.store(true, Ordering::SeqCst);
            Some(next)
        })
    }

    /// Sees to it that numbers are published if that is wanted.
    #[inline]
    pub(in crate::pool) fn keep_publishing(self: &Arc<Self>, pool: &str) {
        if self.every.is_some() && !self.has_thread.load(Ordering::Relaxed) {
            self.start_thread(pool);
        }
    }

    /// The first publication, due now.
    fn first_tick(&self) -> Option<PublishTick> {
        let (every, pool) = (self.every?, self.pool.upgrade()?);
        Some(PublishTick { every, pool, due: Some(now()) })
    }

    /// Publishes the numbers now, on this thread, if they are published at all.
    pub(in crate::pool) fn publish(&self) {
        let pool = self.every.and_then(|_| self.pool.upgrade());
        pool.iter().for_each(|pool| pool.publish());
    }

    /// Ends the thread: nothing is queued any more.
    pub(in crate::pool) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        if self.has_thread.load(Ordering::SeqCst) {
            self.parker.unpark();
        } else {
            self.publish();
        }
    }

    fn run(&self, mut tick: Option<PublishTick>) {
        while !self.stopped.load(Ordering::SeqCst) {
            let (due, next) = self.deadlines.lock().due(now());
            for task in due {
                task.revoke(Reason::Expired);
            }
            let publishing = tick.as_mut().and_then(PublishTick::tick);
            let scan = self.scan();
            self.parker.park(next.into_iter().chain(publishing).chain(scan).min());
        }
        tick.iter().for_each(|tick| tick.pool.publish());
        let left = std::mem::take(&mut self.deadlines.lock().heap);
        drop(left);
    }
}

impl Deadlines {
    /// Takes the tasks out whose time is up, and says when the next one is.
    fn due(&mut self, now: Instant) -> (Vec<TaskRef>, Option<Instant>) {
        let mut due = Vec::new();
        while self.heap.peek().is_some_and(|deadline| deadline.at <= now) {
            due.extend(self.heap.pop().map(|deadline| deadline.task));
        }
        (due, self.heap.peek().map(|deadline| deadline.at))
    }

    /// Takes those out that are not queued any more, if the heap has doubled since the last time.
    fn sweep(&mut self) -> Vec<Deadline> {
        if self.heap.len() < self.sweep_at {
            return Vec::new();
        }
        let all = std::mem::take(&mut self.heap);
        let (swept, left): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|deadline| !deadline.task.is_queued());
        self.sweep_at = next_sweep(left.len());
        self.heap = left.into();
        swept
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
