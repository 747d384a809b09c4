//! The engine of a pool, and one thread of it: find a task, run it, report; and what the thread
//! does for the closures that run on it.
//!
//! | file | owns |
//! |---|---|
//! | `run` | one task: claim it, run it, report |
//! | `batch` | how many tasks to take at once |
//! | `lane_turn` | one turn of a lane |
//! | `reserve` | a thread of a lane's reserve, which runs that lane alone |
//! | `clock` | about when the thread has begun its task |
//! | `clock_window` | whether a thread sleeps, by a CPU clock that lags |
//! | `record` | what a thread has of its own and shows to others, and the way to it |
//! | `registry` | the threads of a pool |
//! | `host` | blocking and waiting on a pool's thread |
//! | `deep` | waits of threads whose stacks have no room to run what they wait for |
//! | `wanted` | what threads of reserves wait for, and others run in their place |
//! | `park` | what a thread does that finds nothing: spin, sleep, leave |
//! | `spin` | for how long it pays to spin |
//!
//! What every pool has is the [`Engine`]. What a pool decides, and what it observes, is the trait
//! [`Policy`], which `pool` implements.
//!
//! # The loop of a thread
//!
//! ```text
//!     take an item -- none --> spin ----> go on the stack, look again, sleep ---- surplus or closed ---> leave
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
//! Idle before deliver: the consumer that the waker wakes often submits its next call at once. The
//! consumer then finds a token out and wakes no thread, and the thread that has just finished takes
//! the call. So one awaited call after another stays on one thread.
//!
//! ORDERING: `closed` pairs as in `pool::submit`; `over_max` is a mark whose setter wakes all
//! sleepers afterwards, under a lock that each sleeper takes before it looks. The fence in
//! `watch_growth` is between the registration of a waiter and its look, and pairs with the one in
//! `growth_ended`, and for `help_waiters` with the one in `Idle::notify`.

mod batch;
mod clock;
mod clock_window;
mod deep;
mod host;
mod lane_turn;
#[cfg(all(test, sidestep_loom))]
mod loom_models;
mod park;
mod record;
mod registry;
mod reserve;
mod run;
mod spin;
mod wanted;

use std::cell::{Cell, OnceCell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::counts::{PoolAccount, PoolCounters, TaskCounts, thread_number};
use crate::error::TaskId;
use crate::idle::{Idle, Notified, Sleeper};
use crate::lane::{LaneCore, LanePlace, LaneReserve, Lanes, QueueItem};
use crate::queue::{Queues, StealCursor};
use crate::semaphore::Semaphore;
use crate::sync::atomic::{AtomicBool, Ordering, fence};
use crate::sync::{Parker, ParkerSet};
use crate::sys::fork::Generation;
use crate::task::{TaskRef, expect_soon, with_host};

use self::batch::BatchPolicy;
use self::deep::DeepWaits;
use self::record::{CurrentGuard, WorkerContext, this_context};
use self::spin::SpinPolicy;
use self::wanted::WantedTasks;

pub(crate) use self::record::{LastSample, Moment, RunningTask, ThreadRecord, this_record};
pub(crate) use self::registry::Registry;
pub(crate) use self::reserve::work_in_reserve;

/// What every pool has: the queues, the threads, which of them sleep, the lanes, and whether
/// admission is closed. The pool owns an engine, and decides by [`Policy`] when threads come and
/// go.
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
    deep_waits: DeepWaits,
    /// Queued tasks that threads of reserves wait for.
    wanted: WantedTasks,
    /// There may be more threads than the pool may have by now.
    over_max: AtomicBool,
    /// Admission is closed.
    closed: AtomicBool,
    generation: Generation,
}

impl Engine {
    /// An engine with `deques` worker deques, whose queue has `permits` if it is limited.
    pub(crate) fn new(deques: usize, permits: Option<Semaphore>, lanes: Arc<Lanes>) -> Self {
        Engine {
            queues: Queues::new(deques),
            idle: Idle::new(),
            workers: Registry::default(),
            account: PoolAccount::new(PoolCounters::new(), permits, Arc::clone(lanes.idle())),
            lanes,
            growth_waiters: ParkerSet::default(),
            help_waiters: ParkerSet::default(),
            deep_waits: DeepWaits::default(),
            wanted: WantedTasks::default(),
            over_max: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            generation: Generation::current(),
        }
    }

    /// The address by which the pool's tasks and threads know the pool.
    #[inline]
    pub(crate) fn owner(&self) -> *const () {
        Arc::as_ptr(&self.account).cast()
    }

    /// The permits of the pool's queue, if it is limited.
    #[inline]
    pub(crate) fn permits(&self) -> Option<&Semaphore> {
        self.account.permits()
    }

    /// A thread has claimed a queued task: releases the task's permit, if the queue is limited.
    #[inline]
    fn release_permit(&self) {
        self.permits().into_iter().for_each(Semaphore::release);
    }

    /// Whether this process is a forked child of the one that the pool was built in.
    #[inline]
    pub(crate) fn is_forked(&self) -> bool {
        self.generation.is_past()
    }

    /// Whether admission is closed: threads leave once the queues are empty.
    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Closes admission, and fences. True for the first caller.
    pub(crate) fn close(&self) -> bool {
        let is_first = !self.closed.swap(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        is_first
    }

    /// Whether there may be more threads than the pool may have by now: then a thread leaves
    /// between two tasks.
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
        fence(Ordering::SeqCst);
    }

    /// The pool can no longer be counted on to grow: threads that wait look again whether to run
    /// their targets inline.
    pub(crate) fn growth_ended(&self) {
        fence(Ordering::SeqCst);
        self.growth_waiters.wake();
    }

    /// What has become of the tasks of the pool, those of its lanes included.
    pub(crate) fn counts(&self) -> TaskCounts {
        let mut counts = self.own_counts();
        // Read after the starts and ends, which the threads count for all tasks.
        let lanes = self.lanes.counts().tasks;
        counts.submitted += lanes.submitted;
        counts.cancelled += lanes.cancelled;
        counts
    }

    /// [`counts`](Engine::counts), with what was refused and whose time was up.
    pub(crate) fn all_counts(&self) -> TaskCounts {
        // Read before the cancelled tasks, of which the expired ones are a part.
        let lanes = self.lanes.counts().tasks;
        let (rejected, expired) = self.account.counters.rejected_and_expired();
        TaskCounts { rejected: rejected + lanes.rejected, expired: expired + lanes.expired, ..self.counts() }
    }

    /// The submissions and cancellations of the pool's own queues, with the starts and ends of all
    /// tasks: a thread counts those of lanes' tasks too.
    pub(crate) fn own_counts(&self) -> TaskCounts {
        self.workers.counts(&self.account.counters)
    }

    /// Counts a submission and enqueues the task: in the deque of this thread, if the thread is the
    /// pool's and has one.
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

    /// Enqueues a task of `lane`, and an item for the lane where that is due: the item is no task
    /// and is not counted. True if a thread must look into the pool's queues.
    #[must_use]
    #[inline]
    pub(crate) fn submit_to_lane(&self, lane: &Arc<LaneCore>, task: TaskRef, place: LanePlace) -> bool {
        let local = this_context(self.owner()).and_then(|context| context.local.get());
        lane.enqueue(task, place, || self.queues.push(local, QueueItem::lane(Arc::clone(lane))))
    }

    fn push_item(&self, lane: &Arc<LaneCore>) {
        self.queues.push(None, QueueItem::lane(Arc::clone(lane)));
    }

    /// Ends the session of `lane`, if one is open, and makes a thread look for what waits.
    pub(crate) fn end_session(&self, lane: &Arc<LaneCore>, policy: &impl Policy) {
        if lane.end_session(|| self.push_item(lane)) {
            self.notify(policy);
        }
    }

    /// Sets how many slots `lane` has, and makes a thread look for those that this makes pending.
    /// False if the lane may not have so many.
    pub(crate) fn set_lane_limit(&self, lane: &Arc<LaneCore>, limit: usize, policy: &impl Policy) -> bool {
        let Some(mut scheduled) = lane.set_limit(limit, || self.push_item(lane)) else { return false };
        // The shutdown knows nothing of a lane that was made after its look (N10).
        scheduled |= self.is_closed() && lane.close(|| self.push_item(lane));
        if scheduled {
            self.notify(policy);
        }
        true
    }

    /// A handle of `lane` has come, or the last one has gone: N10.
    pub(crate) fn look_at_handles(&self, lane: &Arc<LaneCore>, policy: &impl Policy) {
        if lane.look_at_handles(|| self.push_item(lane)) {
            self.notify(policy);
        }
    }

    /// The pool is being shut down: no lane is paused any longer (N10). Until the end of this call
    /// the pool must not end.
    pub(crate) fn end_pauses(&self, policy: &impl Policy) {
        let mut scheduled = false;
        for lane in self.lanes.all() {
            scheduled |= lane.close(|| self.push_item(&lane));
        }
        if scheduled {
            self.notify(policy);
        }
    }

    /// Whether every task that had been submitted at some instant during the call has ended. The
    /// ends are read first, and the submissions last.
    pub(crate) fn is_idle(&self) -> bool {
        let cancelled = self.lanes.counts().tasks.cancelled;
        let own = self.own_counts();
        let submitted = self.lanes.counts().tasks.submitted;
        own.ended() + own.cancelled + cancelled == own.submitted + submitted
    }

    /// This thread has counted the ends of tasks: fences, and looks whether the pool is idle, if
    /// that is waited for (I1 of `counts::idle_waiters`). The thread holds no searching token.
    pub(crate) fn look_for_idle(&self) {
        if self.lanes.idle().is_wanted() {
            fence(Ordering::SeqCst);
            self.lanes.idle().look().wake();
        }
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

    /// Makes a thread look into the queues, in which the caller has put something: wakes a sleeper,
    /// or leaves it to `policy`. The fence is in here.
    #[inline]
    pub(crate) fn notify(&self, policy: &impl Policy) {
        while !self.is_forked() {
            let notified = self.idle.notify(|| self.queues.is_empty());
            expect_soon(matches!(notified, Notified::Searching | Notified::Delivering));
            match notified {
                Notified::Handled | Notified::Searching => return,
                Notified::Delivering => return policy.watch_delivery(),
                Notified::NoWorker if policy.ensure_worker() => return,
                Notified::NoWorker => {}
            }
        }
    }

    /// [`notify`](Engine::notify), unless nothing is queued.
    #[inline]
    pub(crate) fn notify_if_queued(&self, policy: &impl Policy) {
        if !self.queues.is_empty() {
            self.notify(policy);
        }
    }
}

/// What a pool decides for its engine, when threads come and go, and what it observes.
pub(crate) trait Policy: Send + Sync + 'static {
    fn engine(&self) -> &Engine;
    /// Something is queued, and only threads inside wakers or callbacks will look: makes another
    /// thread look, should they not return.
    fn watch_delivery(&self);
    /// Something is queued, and no thread will look: starts a thread, or leaves the decision to the
    /// monitor. False if the state has changed meanwhile and the caller must ask again.
    fn ensure_worker(&self) -> bool;
    /// Takes this thread out of the number of those that stay, if `when` says so. False if the
    /// thread stays.
    fn retire(&self, when: Retire) -> bool;
    /// A task that carries the time of its spawning is about to run, after `wait`.
    fn observe_wait(&self, task: &TaskRef, lane: Option<&LaneCore>, wait: Duration);
    /// A task that carries the time of its spawning has ended, after `run`.
    fn observe_run(&self, task: &TaskRef, lane: Option<&LaneCore>, run: Duration);
    /// One thread more has declared that it blocks.
    fn begin_blocking(&self);
    /// One thread less has declared that it blocks.
    fn end_blocking(&self);
    /// Whether a thread that blocks can count on the start of another.
    fn may_grow(&self) -> bool;
    /// How many threads the pool has, those included that start or leave.
    fn threads(&self) -> usize;
    /// Whether a thread that finds nothing may spin: with one CPU, or where more threads than core
    /// are at work, it would only hold up others.
    fn may_spin(&self) -> bool;
    /// When a thread that goes to sleep now is to leave; `None` if it is to stay.
    fn sleep_deadline(&self) -> Option<Instant>;
    /// When an idle thread of a lane's reserve is to leave.
    fn reserve_deadline(&self) -> Option<Instant>;
    /// A thread of `reserve` is gone but for its last instructions.
    fn leave_reserve(&self, reserve: &LaneReserve);
    /// A thread is parked in a wait for the pool's end: looks whether the end has come.
    fn look_for_end(&self);
    /// Calls the user's hook, on the thread that has started.
    fn on_start(&self);
    /// Calls the user's hook, on the thread that is about to leave.
    fn on_stop(&self);
    /// The thread is gone but for its last instructions: counts it, and makes another look at what
    /// is queued.
    fn on_exit(&self);
}

/// When a thread leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retire {
    /// Whatever the number of threads.
    Now,
    /// If there are more threads than the pool may have.
    IfOverMax,
    /// If there are more threads than the pool keeps.
    IfSurplus,
}

/// A running thread of a pool.
///
/// # Its state
///
/// ```text
/// token, one at most:
///     none ------- spins; is woken; comes back from the stack --------> searching
///     searching -- finds something, or goes on the stack -------------> none
///     none ------- a closure has ended, nothing queued is in sight ---> delivering
///     delivering - the result is delivered ---------------------------> searching
///     delivering - the waker or callback declares that it blocks -----> none
///
/// `lane`, the slot that is kept through a delivery:
///     none ------- a closure of the lane has ended, more waits there -> kept
///     kept ------- the result is delivered: runs the lane's next task > none
///     kept ------- the waker or callback blocks or runs tasks inline -> none, the slot is released
///
/// `released_early`: a task enters as it waits for the shutdown, and leaves as its closure ends
/// `blocking`:       one more for each declaration, one less for its end; 0 during a reentrant run
/// `helps`:          set while the thread is registered to run what is wanted, and has room for that
/// `depth`:          one more for each reentrant run, one less for its end; above 0 the thread takes
///                   no delivering token, and leaves alone the one that it holds
/// `retiring`:       set once, and never cleared
/// ```
pub(crate) struct Worker<P: Policy> {
    pool: Arc<P>,
    /// The reserve of the lane that this thread runs alone; `None` for a general thread, which runs
    /// whatever is queued.
    reserve: Option<Arc<LaneReserve>>,
    context: WorkerContext,
    sleeper: Arc<Sleeper>,
    cursor: RefCell<StealCursor>,
    spin_policy: SpinPolicy,
    batch_policy: BatchPolicy,
    /// Whether this thread holds a searching token.
    searching: Cell<bool>,
    /// Whether this thread holds a delivering token.
    delivering: Cell<bool>,
    /// The lane of the task whose result is being delivered, as long as this thread holds a slot of
    /// the lane.
    lane: Cell<Option<Arc<LaneCore>>>,
    /// Tasks of lanes that this thread is inside although it has released their slots: they wait
    /// for the shutdown.
    released_early: RefCell<Vec<TaskId>>,
    /// How many reentrant runs this thread is inside.
    depth: Cell<u32>,
    /// How many declarations of blocking this thread is inside.
    blocking: Cell<u32>,
    /// Whether this thread, which waits, runs what is wanted.
    helps: Cell<bool>,
    /// What the thread has registered for, until it is listed as waiting for that.
    watched: Cell<Option<WatchedTarget>>,
    /// Whether the thread is to end after its task.
    retiring: Cell<bool>,
}

/// What a thread is registered to wait for.
#[derive(Debug)]
struct WatchedTarget {
    parker: Arc<Parker>,
    /// The lane of the target, if it is one of the thread's pool.
    lane: Option<Arc<LaneCore>>,
}

/// Works for `pool` until the thread is to leave. The caller has a starting token for this thread.
pub(crate) fn work<P: Policy>(pool: Arc<P>) {
    let worker = Worker::new(pool, None);
    with_host(&worker, || worker.main());
    worker.exit();
}

impl<P: Policy> Worker<P> {
    fn new(pool: Arc<P>, reserve: Option<Arc<LaneReserve>>) -> Self {
        let record = Arc::new(ThreadRecord::for_this_thread(reserve.is_none()));
        let engine = pool.engine();
        engine.workers.register(Arc::clone(&record));
        Worker {
            context: WorkerContext { owner: engine.owner(), local: OnceCell::new(), record },
            pool,
            reserve,
            sleeper: Sleeper::new(),
            cursor: RefCell::new(StealCursor::new(thread_number() as u32)),
            spin_policy: SpinPolicy::new(),
            batch_policy: BatchPolicy::new(),
            searching: Cell::new(false),
            delivering: Cell::new(false),
            lane: Cell::new(None),
            released_early: RefCell::new(Vec::new()),
            depth: Cell::new(0),
            blocking: Cell::new(0),
            helps: Cell::new(false),
            watched: Cell::new(None),
            retiring: Cell::new(false),
        }
    }

    #[inline]
    fn engine(&self) -> &Engine {
        self.pool.engine()
    }

    /// Whether the thread runs whatever is queued; otherwise it belongs to a lane's reserve.
    #[inline]
    fn is_general(&self) -> bool {
        self.reserve.is_none()
    }

    /// Calls the hooks, and runs tasks between the two.
    fn main(&self) {
        let _current = CurrentGuard::enter(&self.context);
        self.acquire_deque();
        // The hook is user code and may block, as a waker may.
        self.engine().idle.started_delivering();
        self.delivering.set(true);
        self.pool.on_start();
        self.end_delivering();
        self.serve();
        if !self.engine().is_forked() {
            self.pool.on_stop();
        }
    }

    /// Takes a deque, if this thread has none and one is free: at first, and whenever the thread
    /// wakes, since the threads that leave after a growth may be those that own one.
    fn acquire_deque(&self) {
        let WorkerContext { local, record, .. } = &self.context;
        if local.get().is_some() {
            return;
        }
        if let Some(deque) = self.engine().queues.acquire() {
            let _ = record.deque.set(deque.index());
            let _ = local.set(deque);
        }
    }

    /// Runs tasks until the thread is to leave; then it has retired.
    fn serve(&self) {
        while !self.engine().is_forked() {
            if self.is_retired() {
                return self.hand_off();
            }
            match self.take() {
                Some(item) => self.execute(item),
                None if self.park() => {}
                None => break,
            }
        }
    }

    /// Whether the thread is to leave with work left; then it has retired.
    fn is_retired(&self) -> bool {
        if self.retiring.get() {
            return self.pool.retire(Retire::Now);
        }
        self.engine().is_over_max() && self.pool.retire(Retire::IfOverMax)
    }

    /// The next item. After a long task, and where items have waited for long, it is one of the
    /// injector: what this thread has put into its own deque came later.
    #[inline]
    fn take(&self) -> Option<QueueItem> {
        let cursor = &mut *self.cursor.borrow_mut();
        if self.context.record.take_overstay() {
            self.batch_policy.stalled();
            cursor.look_into_injector();
        }
        let batch = self.batch_policy.size(|| self.context.record.mark_clock());
        let taken = self.engine().queues.take(self.context.local.get(), cursor, batch)?;
        if taken.moved && !self.searching.get() {
            // A thread that has a searching token does this as it passes the baton.
            self.engine().notify_if_queued(&*self.pool);
        }
        Some(taken.item)
    }

    /// Makes another thread look after what is queued, before this one ends with work left.
    fn hand_off(&self) {
        if self.searching.take() {
            self.engine().idle.release_searching();
        }
        self.engine().notify_if_queued(&*self.pool);
    }

    /// Gives back what the thread has of the pool. In a forked child it does nothing: everything
    /// here belongs to the parent.
    fn exit(self) {
        if self.engine().is_forked() {
            std::mem::forget(self);
            return;
        }
        let Worker { pool, reserve, context, .. } = self;
        let engine = pool.engine();
        // ORDERING: I1 of `counts::idle_waiters`: what the thread has counted, then whether a look
        // is wanted.
        fence(Ordering::SeqCst);
        engine.look_for_idle();
        if let Some(local) = context.local.into_inner() {
            engine.queues.release(local);
        }
        engine.workers.unregister(&context.record);
        match reserve {
            None => pool.on_exit(),
            Some(reserve) => pool.leave_reserve(&reserve),
        }
        engine.deep_waits.look_again();
    }
}
