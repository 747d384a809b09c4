//! One pool's shared state, and what it does for its workers and its tasks.
//!
//! # Who keeps it alive
//!
//! Every thread of the pool and every `Pool` handle holds an `Arc` of it; a task only has its address. That is
//! enough, because a task follows the address only to count its own cancellation (rule T4 of `task`), and [`Shared`]
//! is not freed before every accepted task is counted as ended: its drop waits for the sums to agree. A canceller is
//! between its claim and its count for a few instructions only, so that wait is next to none.

use std::sync::{Arc, Weak};
use std::time::Instant;

use super::builder::Config;
use super::cool_down::CoolDown;
use super::headcount::Headcount;
use super::monitor::Monitor;
use super::shutdown::Ending;
use super::threads::start;
use crate::idle::{Idle, Notify};
use crate::queue::Queues;
use crate::report::{event, shield};
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use crate::sync::{Mutex, Parker, fork, thread};
use crate::task::{Outcome, Owner, TaskRef};
use crate::worker::{Roster, Workplace};

/// Everything that all handles and threads of one pool share.
pub(super) struct Shared {
    pub(super) queues: Queues<TaskRef>,
    pub(super) idle: Idle,
    pub(super) roster: Roster,
    pub(super) config: Config,
    pub(super) headcount: Headcount,
    pub(super) cool_down: CoolDown,
    pub(super) monitor: Monitor,
    pub(super) ending: Ending,
    /// Admission is closed.
    pub(super) closed: AtomicBool,
    /// `Pool` handles.
    pub(super) handles: AtomicUsize,
    /// Places taken in a limited queue.
    places: AtomicUsize,
    /// Threads that have declared that they block.
    blocking: AtomicUsize,
    /// Waiters that hope for growth.
    hopeful: Mutex<Vec<Arc<Parker>>>,
    pub(super) growth_steps: AtomicU64,
    pub(super) next_thread: AtomicUsize,
    generation: u16,
    me: Weak<Shared>,
}

impl Shared {
    pub(super) fn new(config: Config) -> Arc<Self> {
        fork::watch();
        Arc::new_cyclic(|me| Shared {
            queues: Queues::new(config.core),
            idle: Idle::new(),
            roster: Roster::new(),
            headcount: Headcount::new(),
            cool_down: CoolDown::new(),
            monitor: Monitor::new(),
            ending: Ending::new(),
            closed: AtomicBool::new(false),
            handles: AtomicUsize::new(1),
            places: AtomicUsize::new(0),
            blocking: AtomicUsize::new(0),
            hopeful: Mutex::new(Vec::new()),
            growth_steps: AtomicU64::new(0),
            next_thread: AtomicUsize::new(0),
            generation: fork::generation(),
            me: Weak::clone(me),
            config,
        })
    }

    pub(super) fn address(&self) -> *const () {
        (&raw const *self).cast()
    }

    /// An owned reference, unless this is the drop.
    pub(super) fn owned(&self) -> Option<Arc<Self>> {
        self.me.upgrade()
    }

    pub(super) fn blocking(&self) -> usize {
        self.blocking.load(Ordering::SeqCst)
    }

    /// Takes a place in the queue. False if the queue is limited and full.
    pub(super) fn take_place(&self) -> bool {
        let Some(limit) = self.config.queue_limit else { return true };
        let one_more = |taken| (taken < limit).then_some(taken + 1);
        self.places.fetch_update(Ordering::AcqRel, Ordering::Relaxed, one_more).is_ok()
    }

    /// The threads that may exist without evidence that they are needed: `core`, and one for each that blocks.
    fn entitled(&self) -> usize {
        self.config.core.saturating_add(self.blocking()).min(self.config.max)
    }

    /// Starts the first thread.
    pub(super) fn start_first(self: &Arc<Self>) -> std::io::Result<()> {
        if self.idle.begin_starting() && self.headcount.reserve(1, 1) { start(self, 0) } else { Ok(()) }
    }

    /// Nobody will look into the queues: starts a thread if the pool is entitled to one, else leaves it to the
    /// monitor. False if the state has changed meanwhile and the question should be asked again.
    fn get_help(&self) -> bool {
        let may_start = self.headcount.staying() < self.entitled()
            && self.headcount.reserved() < self.config.max
            && !self.cool_down.is_on();
        if may_start {
            return self.start_entitled();
        }
        if self.headcount.reserved() > 0 {
            self.monitor.arm(self);
            return true;
        }
        // The last thread may have left since the first look: then one may be started after all.
        let hopeless = self.cool_down.is_on();
        if hopeless {
            self.abandon_queue();
        }
        hopeless
    }

    fn start_entitled(&self) -> bool {
        let Some(shared) = self.owned() else { return true };
        if !self.idle.begin_starting() {
            return false;
        }
        if !self.headcount.reserve(self.entitled(), self.config.max) {
            self.idle.not_started(1);
            return false;
        }
        self.reserved_more();
        // A failure has been dealt with.
        let _ = start(&shared, 0);
        true
    }

    /// Threads have been reserved: waiters may have to stop hoping for more, sleepers to leave in time.
    pub(super) fn reserved_more(&self) {
        if self.headcount.reserved() == self.config.max {
            self.growth_ended();
        }
        if self.headcount.staying() > self.config.core {
            self.idle.refresh_deadlines();
        }
    }

    /// Wakes somebody although tokens are out: they have not moved.
    pub(super) fn wake_overriding(&self) {
        if self.idle.notify_overriding() != Notify::Covered {
            self.monitor.arm(self);
        }
    }

    /// The pool can no longer be counted on to grow: waiters look again whether to run their targets in place.
    pub(super) fn growth_ended(&self) {
        fence(Ordering::SeqCst);
        let hopeful = std::mem::take(&mut *self.hopeful.lock());
        for parker in hopeful {
            parker.unpark();
        }
    }

    /// Threads that were reserved will not come: their reservations and tokens are back.
    pub(super) fn fewer_than_promised(&self) {
        self.growth_ended();
        if !self.queues.is_empty() {
            self.notify();
        }
        self.one_less();
    }

    /// A thread has left, or will not come: the pool may have ended.
    fn one_less(&self) {
        if self.is_closed() {
            if self.headcount.reserved() == 0 {
                self.monitor.stop();
            }
            self.ending.announce();
        }
    }

    /// There is no thread and none can be had: what is queued resolves with the reason, as long as that is so.
    fn abandon_queue(&self) {
        let error = self.cool_down.error();
        let mut abandoned = 0_u64;
        while let Some(task) = self.queues.take_any() {
            if self.headcount.reserved() > 0 {
                self.queues.push(None, task);
                self.notify();
                break;
            }
            abandoned += u64::from(self.discard(task, Outcome::NoThread, Some(Arc::clone(&error))));
        }
        if abandoned > 0 {
            event!(ERROR, abandoned, %error, "gave queued tasks up: the pool has no thread");
        }
    }

    /// Discards everything queued because of a shutdown. Returns how many tasks that were.
    pub(super) fn discard_all(&self) -> u64 {
        let mut discarded = 0;
        while let Some(task) = self.queues.take_any() {
            discarded += u64::from(self.discard(task, Outcome::Shutdown, None));
        }
        discarded
    }

    /// Ends a queue entry unrun. False if it was the husk of a task that somebody else had claimed.
    fn discard(&self, task: TaskRef, outcome: Outcome, refusal: Option<Arc<std::io::Error>>) -> bool {
        let Some(claimed) = task.claim() else { return false };
        self.cancelled();
        claimed.discard(outcome, refusal);
        true
    }

    /// Closes admission. Threads leave when the queues are empty.
    pub(super) fn close(&self) {
        self.ending.begin(|| self.roster.totals());
        if self.closed.swap(true, Ordering::SeqCst) {
            return;
        }
        self.growth_ended();
        self.idle.wake_all();
        if self.headcount.reserved() == 0 {
            self.monitor.stop();
        }
    }
}

impl Workplace for Shared {
    fn queues(&self) -> &Queues<TaskRef> {
        &self.queues
    }

    fn idle(&self) -> &Idle {
        &self.idle
    }

    fn roster(&self) -> &Roster {
        &self.roster
    }

    fn notify(&self) {
        while !self.is_forked() {
            match self.idle.notify(|| self.queues.is_empty()) {
                Notify::Covered => return,
                Notify::Delivering => return self.monitor.arm(self),
                Notify::Nobody if self.get_help() => return,
                Notify::Nobody => {}
            }
        }
    }

    fn free_place(&self) {
        if self.config.queue_limit.is_some() {
            self.places.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    fn is_forked(&self) -> bool {
        self.generation != fork::generation()
    }

    fn begin_blocking(&self) {
        if self.is_forked() {
            return;
        }
        self.blocking.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if !self.queues.is_empty() {
            self.notify();
        }
    }

    fn end_blocking(&self) {
        if !self.is_forked() {
            self.blocking.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn may_grow(&self) -> bool {
        // In a forked child nothing may be taken from the queues.
        let refused = || self.cool_down.is_on() || self.monitor.is_refused();
        self.is_forked() || self.headcount.reserved() < self.config.max && !self.is_closed() && !refused()
    }

    fn watch_growth(&self, parker: &Arc<Parker>) {
        if self.is_forked() {
            return;
        }
        let mut hopeful = self.hopeful.lock();
        if !hopeful.iter().any(|other| Arc::ptr_eq(other, parker)) {
            hopeful.push(Arc::clone(parker));
        }
        drop(hopeful);
        fence(Ordering::SeqCst);
    }

    fn may_linger(&self) -> bool {
        self.config.lingers
    }

    fn sleep_deadline(&self) -> Option<Instant> {
        if self.headcount.staying() <= self.config.core {
            return None;
        }
        Instant::now().checked_add(self.config.keep_alive)
    }

    fn resign_if_surplus(&self) -> bool {
        let resigned = self.headcount.resign_above(self.config.core);
        if resigned {
            event!(DEBUG, threads = self.headcount.staying(), "a surplus thread leaves");
        }
        resigned
    }

    fn resign(&self) {
        self.headcount.resign();
    }

    fn on_start(&self) {
        if let Some(hook) = &self.config.on_thread_start {
            shield("on_thread_start", || hook());
        }
    }

    fn on_stop(&self) {
        if let Some(hook) = &self.config.on_thread_stop {
            shield("on_thread_stop", || hook());
        }
    }

    fn left(&self) {
        let successor = self.owned().filter(|_| self.is_closed() && !self.queues.is_empty());
        if let Some(shared) = successor {
            // What waits for the end must not see a pool without threads that still has work.
            self.idle.add_starting(1);
            self.headcount.hand_over();
            // A failure has been dealt with.
            let _ = start(&shared, 0);
        } else {
            self.headcount.leave();
            fence(Ordering::SeqCst);
            if !self.queues.is_empty() {
                self.notify();
            }
        }
        self.one_less();
    }

    fn unwatch_growth(&self, parker: &Arc<Parker>) {
        if !self.is_forked() {
            self.hopeful.lock().retain(|other| !Arc::ptr_eq(other, parker));
        }
    }
}

impl Owner for Shared {
    fn cancelled(&self) {
        self.free_place();
        self.roster.count_cancelled();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.is_forked() {
            return;
        }
        // Without threads only husks are queued, unless a thread was lost in a way nobody foresaw.
        self.discard_all();
        while !self.roster.totals().balanced() {
            thread::yield_now();
        }
    }
}
