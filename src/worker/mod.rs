//! One thread of a pool: find a task, run it, report; and what it does for the closures that run on
//! it.
//!
//! | file | owns |
//! |---|---|
//! | `run` | one task: claim it, run it, report |
//! | `lane_turn` | one turn of a lane |
//! | `record` | what a thread has of its own and shows to others, and the way to it |
//! | `registry` | the threads of a pool |
//! | `host` | blocking and waiting on a pool's thread |
//! | `park` | what a thread does that finds nothing: looking on, sleeping, leaving |
//! | `spin` | for how long it pays to look on |
//!
//! What all pools have in common is the [`Engine`]; what a pool decides, and tells, is the trait
//! [`Policy`], which `pool` implements.
//!
//! # One round
//!
//! ```text
//!     take an entry - none --> linger --> go on the stack, look again, sleep ---- surplus or closed ---> leave
//!         |                      | found            |
//!         v                      v                  v woken, with a searching token
//!     release the token, notify if more is queued
//!         |
//!         v
//!     claim, run the closure, count
//!         |
//!         v
//!     nothing queued in sight? take a delivering token       (idle before deliver)
//!         |
//!         v
//!     deliver: send, wake, call back; a delivering token turns into a searching one
//! ```
//!
//! Idle before deliver: the consumer that the waker wakes often submits its next call at once. It
//! then finds a token out and wakes nobody, and the thread that has just finished takes the call.
//! So one awaited call after another stays on one thread.
//!
//! ORDERING: `closed` pairs as in `pool::admission`; `over_max` is a mark whose setter wakes all
//! afterwards, under a lock that each sleeper takes before it looks.

mod host;
mod lane_turn;
#[cfg(all(test, sidestep_loom))]
mod loom_models;
mod park;
mod record;
mod registry;
mod run;
mod spin;

use std::cell::{Cell, OnceCell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::counts::{PoolAccount, PoolCounters, TaskCounts, thread_number};
use crate::error::TaskId;
use crate::idle::{Idle, Notify, Sleeper};
use crate::lane::{LaneCore, Lanes, QueueItem};
use crate::queue::{Queues, StealCursor};
use crate::semaphore::Semaphore;
use crate::sync::atomic::{AtomicBool, Ordering, fence};
use crate::sync::{Parker, ParkerSet};
use crate::sys::fork::Generation;
use crate::task::{TaskRef, with_host};

use self::record::{CurrentGuard, WorkerContext, this_context};
use self::spin::Patience;

pub(crate) use self::record::{LastSample, Moment, RunningTask, ThreadRecord, this_record};
pub(crate) use self::registry::Registry;

/// What every pool has: the queues, the threads, who of them sleeps, the lanes, and whether it is
/// over. The pool owns one and adds to it, by [`Policy`], when threads come and go.
pub(crate) struct Engine {
    pub(crate) queues: Queues<QueueItem>,
    pub(crate) idle: Idle,
    pub(crate) workers: Registry,
    pub(crate) lanes: Arc<Lanes>,
    /// What the pool's tasks refer to.
    pub(crate) account: Arc<PoolAccount>,
    /// Threads to be woken when [`Policy::may_grow`] turns false.
    growth_waiters: ParkerSet,
    /// Threads to be woken when something is queued and no thread will look for it.
    pub(crate) help_waiters: ParkerSet,
    /// There may be more threads than the pool may have by now.
    over_max: AtomicBool,
    /// Admission is closed.
    closed: AtomicBool,
    generation: Generation,
}

impl Engine {
    /// An engine with `deques` worker deques, whose queue has these permits if it is limited.
    pub(crate) fn new(deques: usize, permits: Option<Semaphore>, lanes: Arc<Lanes>) -> Self {
        Engine {
            queues: Queues::new(deques),
            idle: Idle::new(),
            workers: Registry::default(),
            lanes,
            account: PoolAccount::new(PoolCounters::new(), permits),
            growth_waiters: ParkerSet::default(),
            help_waiters: ParkerSet::default(),
            over_max: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            generation: Generation::current(),
        }
    }

    /// What the pool's tasks and threads know it by.
    pub(crate) fn owner(&self) -> *const () {
        Arc::as_ptr(&self.account).cast()
    }

    /// The permits of the pool's queue, if it is limited.
    #[inline]
    pub(crate) fn permits(&self) -> Option<&Semaphore> {
        self.account.permits()
    }

    /// A queued task has been claimed: its permit in a limited queue is free.
    #[inline]
    fn release_permit(&self) {
        self.permits().into_iter().for_each(Semaphore::release);
    }

    /// Whether this process is a fork of the one the pool was built in.
    #[inline]
    pub(crate) fn is_forked(&self) -> bool {
        self.generation.is_past()
    }

    /// Whether admission is closed: threads leave once the queues are empty.
    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Closes admission, and fences. True for the caller that closes it first.
    pub(crate) fn close(&self) -> bool {
        let is_first = !self.closed.swap(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        is_first
    }

    /// Whether there may be more threads than the pool may have by now: a thread between two tasks
    /// looks, and leaves if that is so.
    #[inline]
    pub(crate) fn is_over_max(&self) -> bool {
        self.over_max.load(Ordering::Relaxed)
    }

    /// Sets what [`is_over_max`](Engine::is_over_max) returns.
    pub(crate) fn set_over_max(&self, over_max: bool) {
        self.over_max.store(over_max, Ordering::SeqCst);
    }

    /// Wakes `parker` when the pool can no longer be counted on to grow. The fence is for
    /// `help_waiters` too.
    fn watch_growth(&self, parker: &Arc<Parker>) {
        self.growth_waiters.add(parker);
        // Pairs with the fence in `growth_ended`, and for `help_waiters` with the one in
        // `Idle::notify`: after the waiter is added, before it looks.
        fence(Ordering::SeqCst);
    }

    /// The pool can no longer be counted on to grow: threads that wait look again whether to run
    /// their targets inline.
    pub(crate) fn growth_ended(&self) {
        // Pairs with the fence in `watch_growth`.
        fence(Ordering::SeqCst);
        self.growth_waiters.wake();
    }

    /// What has become of the tasks of the pool, those of its lanes included.
    pub(crate) fn counts(&self) -> TaskCounts {
        let mut counts = self.own_counts();
        // Read after the starts and ends, which are counted by the threads for all tasks alike.
        let lanes = self.lanes.counts().tasks;
        counts.submitted += lanes.submitted;
        counts.cancelled += lanes.cancelled;
        counts
    }

    /// The submissions and cancellations of the pool's own queues, with the starts and ends of all
    /// tasks: a thread counts those of lanes' tasks too.
    pub(crate) fn own_counts(&self) -> TaskCounts {
        self.workers.counts(&self.account.counters)
    }

    /// Counts a submission and enqueues it: in the deque of this thread, if that is the pool's.
    #[inline]
    pub(crate) fn submit(&self, task: TaskRef) {
        match this_context(self.owner()) {
            Some(context) => {
                context.record.counters.submitted.increment();
                self.queues.push(context.local.get(), QueueItem::task(task));
            }
            None => {
                self.account.counters.submitted().increment_shared();
                self.queues.push(None, QueueItem::task(task));
            }
        }
    }

    /// Enqueues a task of `lane`, and an entry for the lane where that is due: it is no task and is
    /// not counted. True if a thread must look into the pool's queues.
    #[must_use]
    pub(crate) fn submit_to_lane(&self, lane: &Arc<LaneCore>, task: TaskRef) -> bool {
        let local = this_context(self.owner()).and_then(|context| context.local.get());
        lane.enqueue(task, || self.queues.push(local, QueueItem::lane(Arc::clone(lane))))
    }

    /// Tasks have just been pushed: sees to it that a thread looks, where that is due. If the pool
    /// has been closed meanwhile there is only a fence: the submitter takes its tasks back, unless
    /// a thread has them.
    #[inline]
    pub(crate) fn announce(&self, look: bool, policy: &impl Policy) {
        if look && !self.is_closed() {
            self.notify(policy);
        } else {
            // ORDERING: SeqCst pairs with the fence of a thread that leaves: see `pool::submit`.
            fence(Ordering::SeqCst);
        }
    }

    /// Sees to it that a thread looks into the queues, in which the caller has put something: wakes
    /// one, or leaves it to `policy`. The fence is here.
    pub(crate) fn notify(&self, policy: &impl Policy) {
        while !self.is_forked() {
            match self.idle.notify(|| self.queues.is_empty()) {
                Notify::Handled => return,
                Notify::Delivering => return policy.watch_delivery(),
                Notify::NoWorker if policy.ensure_worker() => return,
                Notify::NoWorker => {}
            }
        }
    }

    /// [`notify`](Engine::notify), unless nothing is queued.
    pub(crate) fn notify_if_queued(&self, policy: &impl Policy) {
        if !self.queues.is_empty() {
            self.notify(policy);
        }
    }
}

/// What a pool decides for its engine: when threads come and go, and what is told of them.
pub(crate) trait Policy: Send + Sync + 'static {
    fn engine(&self) -> &Engine;
    /// Something is queued, and only threads inside wakers or callbacks will look: sees to it that
    /// another one does, should they not return.
    fn watch_delivery(&self);
    /// Something is queued, and no thread will look: gets one, or has the monitor decide. False if
    /// the state has changed meanwhile and the caller is to ask again.
    fn ensure_worker(&self) -> bool;
    /// Takes this thread out of the number of those that stay, if `when` says so. False if it
    /// stays.
    fn retire(&self, when: Retire) -> bool;
    /// A task that carries the time of its spawning is about to run, after this wait.
    fn observe_wait(&self, task: &TaskRef, lane: Option<&LaneCore>, wait: Duration);
    /// Such a task has ended, after this run.
    fn observe_run(&self, task: &TaskRef, lane: Option<&LaneCore>, run: Duration);
    /// One thread more, or less, has declared that it blocks.
    fn begin_blocking(&self);
    fn end_blocking(&self);
    /// Whether a thread that blocks can count on another being started.
    fn may_grow(&self) -> bool;
    /// Whether a thread that finds nothing may look on for a while: with one CPU, or where more
    /// threads are at work than core, it would only hold up others.
    fn may_spin(&self) -> bool;
    /// When a thread that goes to sleep now is to leave; `None` if it is to stay.
    fn sleep_deadline(&self) -> Option<Instant>;
    /// A thread is parked in a wait for the pool's end: looks whether that has come.
    fn look_for_end(&self);
    /// Calls the user's hook, on the thread that has started.
    fn on_start(&self);
    /// Calls the user's hook, on the thread that is about to leave.
    fn on_stop(&self);
    /// The thread is gone but for its last instructions: count it, and see to what is queued.
    fn on_exit(&self);
}

/// When a thread leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retire {
    /// In any case.
    Now,
    /// If there are more threads than the pool may have.
    IfOverMax,
    /// If there are more threads than the pool keeps.
    IfSurplus,
}

/// A running thread of a pool.
pub(crate) struct Worker<P: Policy> {
    pool: Arc<P>,
    context: WorkerContext,
    sleeper: Arc<Sleeper>,
    walk: RefCell<StealCursor>,
    patience: Patience,
    /// Whether this thread holds a searching token.
    searching: Cell<bool>,
    /// Whether this thread holds a delivering token.
    delivering: Cell<bool>,
    /// The lane of the task whose result is being delivered, while this thread holds a slot of it.
    lane: Cell<Option<Arc<LaneCore>>>,
    /// Tasks of lanes that this thread is inside although their slots have been given away: they
    /// wait for the shutdown.
    forfeited: RefCell<Vec<TaskId>>,
    /// How many tasks below the innermost wait for it in place.
    depth: Cell<u32>,
    /// How many nested declarations of blocking there are.
    blocking: Cell<u32>,
    /// The thread is to end after its task.
    retiring: Cell<bool>,
}

/// Works for `pool` until it is time to leave. The caller has a starting token for this thread.
pub(crate) fn work<P: Policy>(pool: Arc<P>) {
    let worker = Worker::new(pool);
    with_host(&worker, || worker.main());
    worker.leave();
}

impl<P: Policy> Worker<P> {
    fn new(pool: Arc<P>) -> Self {
        let record = Arc::new(ThreadRecord::for_this_thread());
        let engine = pool.engine();
        engine.workers.register(Arc::clone(&record));
        Worker {
            context: WorkerContext { owner: engine.owner(), local: OnceCell::new(), record },
            pool,
            sleeper: Sleeper::new(),
            walk: RefCell::new(StealCursor::new(thread_number() as u32)),
            patience: Patience::new(),
            searching: Cell::new(false),
            delivering: Cell::new(false),
            lane: Cell::new(None),
            forfeited: RefCell::new(Vec::new()),
            depth: Cell::new(0),
            blocking: Cell::new(0),
            retiring: Cell::new(false),
        }
    }

    #[inline]
    fn engine(&self) -> &Engine {
        self.pool.engine()
    }

    /// The thread's life between its first and its last hook.
    fn main(&self) {
        let _current = CurrentGuard::enter(&self.context);
        self.equip();
        // The hook is foreign code and may block, as a waker may.
        self.engine().idle.started_delivering();
        self.delivering.set(true);
        self.pool.on_start();
        self.end_delivering();
        self.serve();
        if !self.engine().is_forked() {
            self.pool.on_stop();
        }
    }

    /// Takes a deque, if this thread has none and one is free: at first, and whenever it wakes,
    /// since the threads that leave after a growth may be those that own one.
    fn equip(&self) {
        let WorkerContext { local, record, .. } = &self.context;
        if local.get().is_some() {
            return;
        }
        if let Some(lent) = self.engine().queues.acquire() {
            let _ = record.deque.set(lent.index());
            let _ = local.set(lent);
        }
    }

    /// Runs tasks until it is time to leave; then the thread has resigned.
    fn serve(&self) {
        while !self.engine().is_forked() {
            if self.is_dismissed() {
                return self.hand_over();
            }
            match self.take() {
                Some(entry) => self.execute(entry),
                None if self.rest() => {}
                None => break,
            }
        }
    }

    /// Whether the thread is to leave with work left; it has resigned then.
    fn is_dismissed(&self) -> bool {
        if self.retiring.get() {
            return self.pool.retire(Retire::Now);
        }
        self.engine().is_over_max() && self.pool.retire(Retire::IfOverMax)
    }

    /// The next queue entry. After a long task, and where others have waited for long, it is one
    /// that has waited for everybody: what this thread has put into its own deque came later.
    #[inline]
    fn take(&self) -> Option<QueueItem> {
        let queues = &self.engine().queues;
        let injected = if self.context.record.take_overstay() { queues.take_injected() } else { None };
        injected.or_else(|| queues.take(self.context.local.get(), &mut self.walk.borrow_mut()))
    }

    /// Has somebody look after what is queued, before the thread ends with work left.
    fn hand_over(&self) {
        if self.searching.take() {
            self.engine().idle.release_searching();
        }
        self.engine().notify_if_queued(&*self.pool);
    }

    /// The thread's last deeds. After a fork there are none: everything here belongs to the parent.
    fn leave(self) {
        if self.engine().is_forked() {
            std::mem::forget(self);
            return;
        }
        let Worker { pool, context, .. } = self;
        let engine = pool.engine();
        if let Some(local) = context.local.into_inner() {
            engine.queues.release(local);
        }
        engine.workers.unregister(&context.record);
        pool.on_exit();
    }
}
