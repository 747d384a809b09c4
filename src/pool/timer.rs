//! The thread that ends queued tasks whose time is up.
//!
//! It is apart from the monitor because it drops closures, and so runs foreign code that may take its time. It is made when
//! a deadline is first set, belongs to one pool and counts in no limit; it sleeps until the next deadline, and without
//! one until it is needed.
//!
//! A worker that comes to an overdue task first ends it likewise. So where the system refuses this thread, tasks still
//! expire; only later.

use std::cmp::Ordering as Order;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Instant;

use super::cool_down::CoolDown;
use super::roll::next_sweep;
use crate::report::event;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, Parker};
use crate::task::{Outcome, TaskRef};

/// A pool's deadlines.
#[derive(Debug)]
pub(super) struct Timer {
    alarms: Mutex<Alarms>,
    manned: AtomicBool,
    stopped: AtomicBool,
    /// After the system has refused the thread.
    pause: CoolDown,
    parker: Parker,
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
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Timer {
            alarms: Mutex::new(Alarms { heap: BinaryHeap::new(), sweep_at: next_sweep(0) }),
            manned: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            pause: CoolDown::new(),
            parker: Parker::new(),
        })
    }

    /// Ends `task`, of the pool called `pool`, at `at` if it is still queued then.
    pub(super) fn watch(self: &Arc<Self>, pool: &str, at: Instant, task: TaskRef) {
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
        let builder = std::thread::Builder::new().name(format!("{pool}-timer"));
        if let Err(error) = builder.spawn(move || timer.run()) {
            event!(WARN, %error, "could not start the timer: tasks expire when a thread gets to them");
            self.pause.begin(error);
            self.manned.store(false, Ordering::SeqCst);
        }
    }

    /// Ends the thread: nothing is queued any more.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.parker.unpark();
    }

    fn run(&self) {
        while !self.stopped.load(Ordering::SeqCst) {
            let (due, next) = self.alarms.lock().due(Instant::now());
            for task in due {
                task.revoke(Outcome::Expired);
            }
            self.parker.park(next);
        }
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
