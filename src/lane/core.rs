//! One lane: its queue, its slots, and what it counts. The rules are those of the module.
//!
//! ORDERING: the Release in `show_pending` pairs with the Acquire in `counts`. One thread writes at
//! a time, under the lane's lock, which hands on what a chain would.

use std::collections::VecDeque;
use std::fmt;
use std::ops::AddAssign;
use std::sync::{Arc, Weak};

use crossbeam_utils::CachePadded;

use super::registry::Lanes;
use super::reserve::LaneReserve;
use crate::counts::{Account, AccountCounters, Counter, RunCounters, TaskCounts};
use crate::error::Reason;
use crate::latency::LatencyRecorder;
use crate::semaphore::Semaphore;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{ParkerSet, ProcessMutex, thread};
use crate::task::{TaskRef, tasks_of};

/// A queue with no more tombstones than this is not swept.
const FEW_TOMBSTONES: u64 = 32;

/// A lane without its handles.
pub(crate) struct LaneCore {
    name: Arc<str>,
    /// Changes under the lock.
    limit: AtomicUsize,
    queue: ProcessMutex<LaneQueue>,
    /// How many entries may be taken, to be read without the lock. A hint.
    waiting: AtomicUsize,
    account: Arc<LaneAccount>,
    waiters: ParkerSet,
    latency: LatencyRecorder,
    /// The threads of its own, if it has any.
    reserve: Option<Arc<LaneReserve>>,
    lanes: Arc<Lanes>,
}

/// What changes under the lock. In a forked child it is out of reach: what waits is the parent's.
struct LaneQueue {
    waiting: VecDeque<TaskRef>,
    /// The tasks of the session, while one is open: then no others are taken (N8).
    session: Option<VecDeque<TaskRef>>,
    pending: usize,
    active: usize,
    /// How many items are in the pool's queues (N7).
    items: usize,
    /// How many cancelled tasks have been taken out of `waiting`.
    cleared: u64,
}

impl LaneQueue {
    /// The tasks that may be taken (N8).
    fn eligible(&self) -> &VecDeque<TaskRef> {
        self.session.as_ref().unwrap_or(&self.waiting)
    }

    /// Takes the next task that may be taken (N8).
    fn pop(&mut self) -> Option<TaskRef> {
        self.session.as_mut().unwrap_or(&mut self.waiting).pop_front()
    }

    /// Makes a slot pending if a task waits that needs one (N2) and a slot is free (N1).
    fn schedule(&mut self, limit: usize) -> bool {
        let more = self.pending < self.eligible().len() && self.pending + self.active < limit;
        self.pending += usize::from(more);
        more
    }

    /// Takes the tombstones of cancelled tasks out if most of what waits is tombstones: callers
    /// that give up during an outage must not pile up.
    fn sweep(&mut self, cancelled: u64) -> Vec<TaskRef> {
        let tombstones = cancelled.saturating_sub(self.cleared);
        let entries = self.waiting.len() + self.session.as_ref().map_or(0, VecDeque::len);
        if tombstones <= FEW_TOMBSTONES || tombstones <= entries as u64 / 2 {
            return Vec::new();
        }
        let swept = self.clear(&|task| !task.is_queued());
        self.cleared = cancelled;
        swept
    }

    /// Takes out the entries of which `goes` is true.
    fn clear(&mut self, goes: &dyn Fn(&TaskRef) -> bool) -> Vec<TaskRef> {
        let mut gone = Vec::new();
        for queue in [Some(&mut self.waiting), self.session.as_mut()].into_iter().flatten() {
            for task in std::mem::take(queue) {
                if goes(&task) {
                    gone.push(task);
                } else {
                    queue.push_back(task);
                }
            }
        }
        self.cleared += gone.len() as u64;
        gone
    }
}

impl LaneCore {
    /// A lane of the pool whose lanes are `lanes`.
    pub(crate) fn new(
        name: String,
        limit: usize,
        queue_limit: Option<usize>,
        reserve: usize,
        latency: LatencyRecorder,
        lanes: &Arc<Lanes>,
    ) -> Arc<Self> {
        let queue = LaneQueue {
            waiting: VecDeque::new(),
            session: None,
            pending: 0,
            active: 0,
            items: 0,
            cleared: 0,
        };
        let core = Arc::new_cyclic(|me| LaneCore {
            name: name.into(),
            limit: AtomicUsize::new(limit),
            queue: ProcessMutex::new(queue),
            waiting: AtomicUsize::new(0),
            account: LaneAccount::new(LaneCounters::default(), queue_limit.map(Semaphore::new)),
            waiters: ParkerSet::default(),
            latency,
            reserve: (reserve > 0).then(|| LaneReserve::new(Weak::clone(me), reserve)),
            lanes: Arc::clone(lanes),
        });
        lanes.register(&core, &core.name, &core.account);
        core
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Changes the limit: up at once, down as turns end. The result and `push` are those of
    /// [`enqueue`](LaneCore::enqueue), but for any number of slots.
    #[must_use]
    pub(crate) fn set_limit(&self, limit: usize, push: impl Fn()) -> bool {
        let Some(mut queue) = self.queue.lock() else { return false };
        self.limit.store(limit, Ordering::Relaxed);
        let mut scheduled = false;
        while self.schedule(&mut queue, &push) {
            scheduled = true;
        }
        scheduled
    }

    /// The permits of the lane's queue, if that is limited.
    pub(crate) fn permits(&self) -> Option<&Semaphore> {
        self.account.permits()
    }

    /// The threads that the lane has of its own, if it has any.
    pub(crate) fn reserve(&self) -> Option<&Arc<LaneReserve>> {
        self.reserve.as_ref()
    }

    /// Whether a slot is pending.
    pub(crate) fn has_pending(&self) -> bool {
        self.account.counters.counts().pending > 0
    }

    /// Enqueues a task that has its permit, for the session or for the lane. If that makes a slot
    /// pending, the result is true: a thread must look into the pool's queues, into which `push`
    /// has pushed an item if there was none to spare.
    #[must_use]
    pub(crate) fn enqueue(&self, task: TaskRef, in_session: bool, push: impl FnOnce()) -> bool {
        let cancelled = self.account.counters.cancelled.peek();
        let Some(mut queue) = self.queue.lock() else { return false };
        self.account.counters.submitted.increment();
        let tombstones = queue.sweep(cancelled);
        match &mut queue.session {
            Some(session) if in_session => session.push_back(task),
            _ => queue.waiting.push_back(task),
        }
        self.show_waiting(&queue);
        let scheduled = self.schedule(&mut queue, push);
        drop(queue);
        // The drop of the last reference to a tombstone may run user code.
        drop(tombstones);
        scheduled
    }

    /// Opens a session, by a task of the lane that runs. False if there is one.
    #[must_use]
    pub(crate) fn open_session(&self) -> bool {
        let Some(mut queue) = self.queue.lock() else { return false };
        if queue.session.is_some() {
            return false;
        }
        queue.session = Some(VecDeque::new());
        self.show_waiting(&queue);
        true
    }

    /// Ends the session, if one is open: what is left of it comes next. The result and `push` are
    /// those of [`set_limit`](LaneCore::set_limit).
    #[must_use]
    pub(crate) fn end_session(&self, push: impl Fn()) -> bool {
        let Some(mut queue) = self.queue.lock() else { return false };
        let Some(mut session) = queue.session.take() else { return false };
        session.append(&mut queue.waiting);
        queue.waiting = session;
        self.show_waiting(&queue);
        let mut scheduled = false;
        while self.schedule(&mut queue, &push) {
            scheduled = true;
        }
        drop(queue);
        if scheduled {
            self.waiters.wake();
        }
        scheduled
    }

    /// Takes a pending slot over, without an item. False if there is none.
    #[must_use]
    pub(crate) fn take_over(&self) -> bool {
        self.queue.lock().is_some_and(|mut queue| self.activate(&mut queue))
    }

    /// [`take_over`](LaneCore::take_over) and [`next`](LaneCore::next) in one. If there is a slot
    /// and nothing waits, the slot is free.
    #[must_use]
    pub(crate) fn take_over_with_next(&self) -> Option<TaskRef> {
        let mut queue = self.queue.lock()?;
        if self.activate(&mut queue) { self.take_next(&mut queue) } else { None }
    }

    /// [`take_over_with_next`](LaneCore::take_over_with_next) for a thread that has taken an item
    /// out of the pool's queues. `None` if the item came too late, too.
    #[must_use]
    pub(crate) fn begin_with_next(&self) -> Option<TaskRef> {
        let mut queue = self.queue.lock()?;
        queue.items -= 1;
        self.reserve.iter().for_each(|reserve| reserve.cool());
        if self.activate(&mut queue) { self.take_next(&mut queue) } else { None }
    }

    /// The next entry of the lane for the holder of a slot; or `None`, and the slot has been
    /// released.
    #[must_use]
    pub(crate) fn next(&self) -> Option<TaskRef> {
        self.take_next(&mut *self.queue.lock()?)
    }

    /// Makes a pending slot active, if there is one.
    fn activate(&self, queue: &mut LaneQueue) -> bool {
        let pending = queue.pending > 0;
        if pending {
            queue.pending -= 1;
            queue.active += 1;
            self.account.counters.show_pending(queue.pending);
        }
        pending
    }

    /// Takes the next entry; or releases the slot.
    fn take_next(&self, queue: &mut LaneQueue) -> Option<TaskRef> {
        // Above a limit that has been lowered the slot goes, although more waits.
        let is_over = queue.active + queue.pending > self.limit();
        let next = if is_over { None } else { queue.pop() };
        if next.is_none() {
            queue.active -= 1;
        } else {
            self.show_waiting(queue);
        }
        next
    }

    /// The entry just taken was the tombstone of a cancelled task.
    pub(crate) fn count_tombstone(&self) {
        if let Some(mut queue) = self.queue.lock() {
            queue.cleared += 1;
        }
    }

    /// Releases an active slot if nothing waits.
    #[must_use]
    pub(crate) fn release_if_idle(&self) -> bool {
        // What waited a moment ago will do. If another thread has taken it since, that thread has a
        // slot and comes back to the queue, and `next` releases the slot of this one.
        if self.waiting.load(Ordering::Relaxed) > 0 {
            return false;
        }
        let Some(mut queue) = self.queue.lock() else { return true };
        let idle = queue.eligible().is_empty();
        if idle {
            queue.active -= 1;
        }
        idle
    }

    /// Releases an active slot, for the thread that comes next. `push` and the result are those of
    /// `enqueue`.
    #[must_use]
    pub(crate) fn release(&self, push: impl FnOnce()) -> bool {
        let Some(mut queue) = self.queue.lock() else { return false };
        queue.active -= 1;
        let scheduled = self.schedule(&mut queue, push);
        drop(queue);
        if scheduled {
            self.waiters.wake();
        }
        scheduled
    }

    /// Makes a slot pending where one is due. The item is pushed under the lock: so a thread that
    /// finds all slots taken under that lock can rely on the items of the pending ones being in the
    /// pool's queues (N7).
    fn schedule(&self, queue: &mut LaneQueue, push: impl FnOnce()) -> bool {
        let scheduled = queue.schedule(self.limit());
        if scheduled {
            self.account.counters.show_pending(queue.pending);
            if queue.items < queue.pending {
                queue.items += 1;
                push();
            }
        }
        scheduled
    }

    /// Threads of the pool that wait for tasks of the lane: to be woken when a slot becomes pending
    /// that one of them could take over.
    pub(crate) fn waiters(&self) -> &ParkerSet {
        &self.waiters
    }

    /// Whether the calling thread alone holds all slots.
    pub(crate) fn is_held_here(&self) -> bool {
        tasks_of(self.owner()).len() == self.limit()
    }

    /// Takes out of the queue the entries of which `goes` is true.
    pub(crate) fn clear(&self, goes: &dyn Fn(&TaskRef) -> bool) -> Vec<TaskRef> {
        let Some(mut queue) = self.queue.lock() else { return Vec::new() };
        let gone = queue.clear(goes);
        self.show_waiting(&queue);
        gone
    }

    /// Shows how many entries may be taken; called under the lock.
    fn show_waiting(&self, queue: &LaneQueue) {
        self.waiting.store(queue.eligible().len(), Ordering::Relaxed);
    }

    /// A task taken from the queue has begun.
    pub(crate) fn count_started(&self) {
        self.account.counters.runs.started.increment_shared();
    }

    /// Its closure has ended, with a value or for `reason` without.
    pub(crate) fn count_ended(&self, reason: Option<&Reason>) {
        self.account.counters.runs.ended(reason).increment_shared();
    }

    /// A task has been taken from the queue: releases its permit, if the queue is limited.
    pub(crate) fn release_permit(&self) {
        self.permits().into_iter().for_each(Semaphore::release);
    }

    /// What the lane has counted, and what its tasks refer to.
    pub(crate) fn account(&self) -> &Arc<LaneAccount> {
        &self.account
    }

    /// The address by which the lane's tasks know the lane.
    pub(crate) fn owner(&self) -> *const () {
        Arc::as_ptr(&self.account).cast()
    }

    /// What records how long the lane's tasks wait and run.
    pub(crate) fn latency(&self) -> &LatencyRecorder {
        &self.latency
    }
}

impl Drop for LaneCore {
    fn drop(&mut self) {
        if self.queue.is_forked() {
            return;
        }
        // The last reference orders this after all else; the model checker sees that by the lock.
        drop(self.queue.lock());
        // No handle, no item, no slot: only tombstones wait, and a canceller may be about to count
        // (T4).
        while !self.account.counters.counts().tasks.balanced() {
            thread::yield_now();
        }
        self.lanes.unregister(&self.account);
        self.reserve.iter().for_each(|reserve| reserve.wake_all());
    }
}

impl fmt::Debug for LaneCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneCore")
            .field("name", &self.name)
            .field("limit", &self.limit())
            .finish_non_exhaustive()
    }
}

/// What one lane or all of them have counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LaneCounts {
    pub(crate) tasks: TaskCounts,
    /// Slots for which an item waits in the pool's queues.
    pub(crate) pending: u64,
}

impl AddAssign for LaneCounts {
    fn add_assign(&mut self, other: Self) {
        self.tasks += other.tasks;
        self.pending += other.pending;
    }
}

/// The counters in the account of a lane. Each step is counted before the next can happen.
#[derive(Debug, Default)]
pub(crate) struct LaneCounters {
    /// Counted under the lane's lock.
    submitted: Counter,
    cancelled: Counter,
    pending: AtomicUsize,
    /// Apart, since submitters and threads that run are on different CPUs. Any thread of the pool
    /// counts here.
    runs: CachePadded<RunCounters>,
}

/// What the tasks of a lane refer to.
pub(crate) type LaneAccount = Account<LaneCounters>;

impl LaneCounters {
    /// Shows how many slots are pending now; called under the lane's lock.
    fn show_pending(&self, pending: usize) {
        self.pending.store(pending, Ordering::Release);
    }

    /// What has been counted: ends first, then starts, then submissions, so that the differences
    /// are never negative.
    pub(crate) fn counts(&self) -> LaneCounts {
        let mut tasks = TaskCounts { cancelled: self.cancelled.get(), ..TaskCounts::default() };
        self.runs.add_to(&mut tasks);
        tasks.submitted = self.submitted.get();
        LaneCounts { tasks, pending: self.pending.load(Ordering::Acquire) as u64 }
    }
}

impl AccountCounters for LaneCounters {
    fn cancelled(&self) -> &Counter {
        &self.cancelled
    }
}
