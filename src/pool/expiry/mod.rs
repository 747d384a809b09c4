//! The timer thread: it ends queued tasks whose time is up, cancels running ones, and, where the
//! pool's settings ask for it, warns of tasks that run for long and publishes the pool's metrics.
//!
//! The timer thread is apart from the monitor because it drops closures and runs the hooks of
//! tasks, which is user code that may take its time. A pool makes it when a deadline is first set;
//! it belongs to one pool and counts in no limit; it sleeps until the next deadline, and without
//! one until it is needed.
//!
//! A worker that comes to an overdue task first ends that task itself. So where the system refuses
//! this thread, tasks still expire; only later. A task that runs meanwhile is cancelled once a
//! later deadline has got the thread started. Where metrics are to be published, each task that
//! runs tries to start the thread again.
//!
//! # Scans for long runs
//!
//! Where the pool warns of long runs, a task that begins schedules a scan of the threads for when
//! its time is up. While a scan is due no other task need schedule one. After the last due scan the
//! timer thread clears `scan_due`, fences, and scans once more; a task shows itself in its thread's
//! record, fences, and then reads `scan_due`. One of the two fences comes first.
//!
//! The metrics are the pool's, so a thread that publishes them holds the inner state, as the
//! monitor does. That does not keep the pool open: its handles keep it open, and the threads that
//! have work, and the last of these to exit stops the timer thread.
//!
//! ORDERING: the fence in `scan` pairs with the one in `schedule_scan`. Of `stopped` and
//! `has_thread` each side, `stop` and `start_thread`, writes one flag and then reads the other,
//! which needs `SeqCst` on all four accesses.

mod task_list;

pub(in crate::pool) use self::task_list::{TaskList, next_sweep};

use std::cmp::Ordering as Order;
use std::collections::BinaryHeap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::error::Reason;
use crate::pool::threads::{Backoff, Joins};
use crate::sync::atomic::{AtomicBool, Ordering, fence};
use crate::sync::{Mutex, Parker, now};
use crate::task::TaskRef;
use crate::trace::event;

/// What the timer thread does for its pool besides ending tasks. Both methods run user code.
pub(in crate::pool) trait Periodic: Send + Sync {
    /// Publishes the pool's metrics.
    fn publish(&self);
    /// Reports the tasks that have been running for long, and returns when the next task will have
    /// been running for so long.
    fn scan(&self) -> Option<Instant>;
}

/// A pool's deadlines.
#[derive(Debug)]
pub(in crate::pool) struct Expiry {
    deadlines: Mutex<Deadlines>,
    has_thread: AtomicBool,
    stopped: AtomicBool,
    /// The pause after the system has refused the timer thread.
    backoff: Backoff,
    parker: Parker,
    /// How often the pool's metrics are published; `None` if they are not.
    every: Option<Duration>,
    /// The pool.
    pool: Weak<dyn Periodic>,
    /// Whether a scan of the threads is scheduled.
    scan_due: AtomicBool,
    /// What the thread is joined by.
    joins: Arc<Joins>,
}

/// The publishing of a pool's metrics: at once, then at intervals, and once more at the end.
struct PublishTick {
    every: Duration,
    pool: Arc<dyn Periodic>,
    due: Option<Instant>,
}

#[derive(Debug)]
struct Deadlines {
    heap: BinaryHeap<Deadline>,
    /// How long the heap may get before the next sweep removes tasks that are not queued any more.
    sweep_at: usize,
}

#[derive(Debug)]
struct Deadline {
    at: Instant,
    due: Due,
}

/// What is to be done at a deadline.
enum Due {
    /// End the task, if it is still queued; or cancel it, if it has had all of its time.
    Expire(TaskRef),
    Ring(Weak<dyn TimedCall>),
}

/// What is called at a time of its choice, on the timer thread, or never where the system refuses
/// that thread.
pub(crate) trait TimedCall: Send + Sync {
    fn ring(self: Arc<Self>);
}

impl Due {
    /// Whether there may be something to do. There is nothing for a task that has ended, or that
    /// runs to its end whatever the time.
    fn is_left(&self) -> bool {
        match self {
            Due::Expire(task) => {
                let cancels = || task.metadata().is_some_and(|metadata| metadata.cancel_at.is_some());
                task.is_queued() || (!task.is_ended() && cancels())
            }
            Due::Ring(alarm) => alarm.strong_count() > 0,
        }
    }
}

impl fmt::Debug for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Due::Expire(task) => f.debug_tuple("Expire").field(task).finish(),
            Due::Ring(_) => f.write_str("Ring"),
        }
    }
}

impl PublishTick {
    /// Publishes if it is time, and returns when the next time is.
    fn tick(&mut self) -> Option<Instant> {
        if self.due.is_some_and(|due| due <= now()) {
            self.pool.publish();
            self.due = now().checked_add(self.every);
        }
        self.due
    }
}

impl Ord for Deadline {
    /// The earliest deadline is the greatest: a heap yields its greatest element first.
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
    pub(in crate::pool) fn new(
        every: Option<Duration>,
        pool: Weak<dyn Periodic>,
        joins: Arc<Joins>,
    ) -> Arc<Self> {
        Arc::new(Expiry {
            deadlines: Mutex::new(Deadlines { heap: BinaryHeap::new(), sweep_at: next_sweep(0) }),
            has_thread: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            backoff: Backoff::new(),
            parker: Parker::new(),
            every,
            pool,
            scan_due: AtomicBool::new(false),
            joins,
        })
    }

    /// Ends `task` at the time `at` if it is still queued then; if it runs then, cancels it when it
    /// is to be. The pool is called `pool`.
    pub(in crate::pool) fn watch(self: &Arc<Self>, pool: &str, at: Instant, task: TaskRef) {
        self.add(pool, at, Due::Expire(task));
    }

    /// Rings `alarm` at the time `at`, if it is still there.
    pub(in crate::pool) fn ring_at(self: &Arc<Self>, pool: &str, at: Instant, alarm: Weak<dyn TimedCall>) {
        self.add(pool, at, Due::Ring(alarm));
    }

    fn add(self: &Arc<Self>, pool: &str, at: Instant, due: Due) {
        let mut deadlines = self.deadlines.lock();
        let next = deadlines.heap.peek().map(|deadline| deadline.at);
        let swept = deadlines.sweep();
        deadlines.heap.push(Deadline { at, due });
        drop(deadlines);
        // The drop of a task's last reference may run user code.
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
        if let Err(error) = self.joins.start_helper(format!("{pool}-timer"), move || expiry.run(tick)) {
            event!(WARN, %error, "could not start the timer thread: tasks expire, and metrics are published, late");
            self.backoff.begin(error);
            self.has_thread.store(false, Ordering::SeqCst);
            if self.stopped.load(Ordering::SeqCst) {
                self.publish();
            }
        }
    }

    /// Schedules a scan for a task that has begun, in a pool called `pool` that warns of long runs.
    pub(in crate::pool) fn schedule_scan(self: &Arc<Self>, pool: &str) {
        fence(Ordering::SeqCst);
        if self.scan_due.load(Ordering::SeqCst) || self.scan_due.swap(true, Ordering::SeqCst) {
            return;
        }
        if self.has_thread.load(Ordering::SeqCst) {
            self.parker.unpark();
        } else {
            self.start_thread(pool);
            // If the system refused the thread, the next task tries again.
            let has_thread = self.has_thread.load(Ordering::SeqCst);
            self.scan_due.store(has_thread, Ordering::SeqCst);
        }
    }

    /// Scans the threads if a scan is due, and returns when the next one is.
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

    /// Starts the timer thread, unless it runs, if metrics are to be published.
    #[inline]
    pub(in crate::pool) fn keep_publishing(self: &Arc<Self>, pool: &str) {
        if self.every.is_some() && !self.has_thread.load(Ordering::Relaxed) {
            self.start_thread(pool);
        }
    }

    /// The first tick of publishing, due now.
    fn first_tick(&self) -> Option<PublishTick> {
        let (every, pool) = (self.every?, self.pool.upgrade()?);
        Some(PublishTick { every, pool, due: Some(now()) })
    }

    /// Publishes the metrics now, on this thread, if they are published at all.
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

    /// Does what is due. User code.
    fn act(&self, due: Due) {
        match due {
            Due::Expire(task) => self.end(task),
            Due::Ring(alarm) => alarm.upgrade().into_iter().for_each(TimedCall::ring),
        }
    }

    /// The time of a task is up, in the queue or altogether.
    fn end(&self, task: TaskRef) {
        if task.revoke(Reason::Expired) {
            return;
        }
        match task.metadata().and_then(|metadata| metadata.cancel_at) {
            Some(at) if at > now() => {
                self.deadlines.lock().heap.push(Deadline { at, due: Due::Expire(task) })
            }
            Some(_) => task.cancel(),
            None => {}
        }
    }

    fn run(&self, mut tick: Option<PublishTick>) {
        while !self.stopped.load(Ordering::SeqCst) {
            let due = self.deadlines.lock().due(now());
            due.into_iter().for_each(|due| self.act(due));
            let next = self.deadlines.lock().next();
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
    /// Removes what is due, and returns it.
    fn due(&mut self, now: Instant) -> Vec<Due> {
        let mut due = Vec::new();
        while self.heap.peek().is_some_and(|deadline| deadline.at <= now) {
            due.extend(self.heap.pop().map(|deadline| deadline.due));
        }
        due
    }

    /// The next deadline.
    fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|deadline| deadline.at)
    }

    /// Removes what has nothing left to do, if the heap has doubled since the last
    /// sweep, and returns them.
    fn sweep(&mut self) -> Vec<Deadline> {
        if self.heap.len() < self.sweep_at {
            return Vec::new();
        }
        let all = std::mem::take(&mut self.heap);
        let (swept, left): (Vec<_>, Vec<_>) = all.into_iter().partition(|deadline| !deadline.due.is_left());
        self.sweep_at = next_sweep(left.len());
        self.heap = left.into();
        swept
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
