//! One lane: what may be done with its queue and its slots. The rules are those of the module.

use std::collections::VecDeque;
use std::fmt;
use std::ops::DerefMut;
use std::sync::{Arc, Weak};

use super::account::{LaneAccount, LaneCounters};
use super::registry::Lanes;
use super::reserve::LaneReserve;
use super::settings::LaneSettings;
use super::shares::Share;
use super::slots::LaneQueue;
use super::waiting::{GoneKeys, LanePlace, WaitingTasks};
use crate::counts::{IdleSource, IdleWaiters};
use crate::error::{Reason, TaskId};
use crate::latency::LatencyRecorder;
use crate::semaphore::Semaphore;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{ParkerSet, ProcessMutex, thread};
use crate::task::{TaskRef, tasks_of};

/// A lane without its handles.
pub(crate) struct LaneCore {
    name: Arc<str>,
    pub(super) settings: LaneSettings,
    /// The limit in force. Changes under the lock.
    pub(super) limit: Arc<AtomicUsize>,
    /// How many handles there are. From zero the number rises under the lock of the registry alone.
    handles: AtomicUsize,
    pub(super) queue: ProcessMutex<LaneQueue>,
    /// How many entries may begin, to be read without the lock. A hint.
    waiting: AtomicUsize,
    pub(super) account: Arc<LaneAccount>,
    waiters: ParkerSet,
    latency: LatencyRecorder,
    /// The threads of its own, if it has any.
    reserve: Option<Arc<LaneReserve>>,
    share: Option<Share>,
    lanes: Arc<Lanes>,
    me: Weak<LaneCore>,
}

impl LaneCore {
    /// A lane of the pool whose lanes are `lanes`, which does not list it yet.
    pub(super) fn new(
        name: Arc<str>,
        settings: LaneSettings,
        latency: LatencyRecorder,
        lanes: &Arc<Lanes>,
    ) -> Arc<Self> {
        let waiting = match &settings.keys {
            None => WaitingTasks::InOrder(VecDeque::new()),
            Some(keys) => WaitingTasks::ByKey((keys.order)(keys.per_key)),
        };
        let permits = settings.queue_limit.map(Semaphore::new);
        let reserve = settings.reserve.filter(|threads| *threads > 0);
        let core = Arc::new_cyclic(|me: &Weak<LaneCore>| LaneCore {
            name,
            limit: Arc::new(AtomicUsize::new(settings.limit)),
            handles: AtomicUsize::new(0),
            queue: ProcessMutex::new(LaneQueue::new(waiting, settings.limit)),
            waiting: AtomicUsize::new(0),
            account: LaneAccount::new(LaneCounters::default(), permits, Arc::clone(lanes.idle())),
            waiters: ParkerSet::default(),
            latency,
            reserve: reserve.map(|threads| LaneReserve::new(Weak::clone(me), threads)),
            share: settings.weight.map(|weight| lanes.shares().register(weight)),
            lanes: Arc::clone(lanes),
            me: Weak::clone(me),
            settings,
        });
        core.idle().set_source(Weak::<LaneCore>::clone(&core.me));
        core
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn shared_name(&self) -> &Arc<str> {
        &self.name
    }

    /// What the lane was made with.
    pub(crate) fn settings(&self) -> &LaneSettings {
        &self.settings
    }

    /// The limit in force: 0 for a pause.
    pub(crate) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Sets the limit: up at once, down as closures end. `None` above what
    /// [`cap_limit`](LaneCore::cap_limit) has set. The result and `push` are otherwise those of
    /// [`enqueue`](LaneCore::enqueue), but for any number of slots.
    pub(crate) fn set_limit(&self, limit: usize, push: impl Fn()) -> Option<bool> {
        let Some(mut queue) = self.queue.lock() else { return Some(false) };
        if limit > queue.limits.most {
            return None;
        }
        queue.limits.set = limit;
        let scheduled = self.apply_limit(&mut queue, push);
        drop(queue);
        self.limit_changed(scheduled);
        Some(scheduled)
    }

    /// From now on no more than `most` closures run at a time. False if the limit is above that.
    pub(crate) fn cap_limit(&self, most: usize) -> bool {
        let Some(mut queue) = self.queue.lock() else { return self.limit() <= most };
        let is_within = queue.limits.set <= most;
        if is_within {
            queue.limits.most = queue.limits.most.min(most);
        }
        is_within
    }

    /// The highest limit that may be set.
    pub(crate) fn most(&self) -> usize {
        self.queue.lock().map_or(usize::MAX, |queue| queue.limits.most)
    }

    /// The pool is being shut down: a pause is over. The result and `push` are those of
    /// [`set_limit`](LaneCore::set_limit).
    #[must_use]
    pub(crate) fn close(&self, push: impl Fn()) -> bool {
        let Some(mut queue) = self.queue.lock() else { return false };
        queue.limits.is_closing = true;
        self.end_pause(queue, push)
    }

    /// A handle has come or gone: without one a pause is over, with one it goes on.
    #[must_use]
    pub(crate) fn look_at_handles(&self, push: impl Fn()) -> bool {
        let Some(mut queue) = self.queue.lock() else { return false };
        // The count is read under the lock: the last look sees the last change of it.
        queue.limits.is_abandoned = self.handles.load(Ordering::Relaxed) == 0;
        self.end_pause(queue, push)
    }

    fn end_pause(&self, mut queue: impl DerefMut<Target = LaneQueue>, push: impl Fn()) -> bool {
        if queue.limits.in_force() == self.limit() {
            return false;
        }
        let scheduled = self.apply_limit(&mut queue, push);
        drop(queue);
        self.limit_changed(scheduled);
        scheduled
    }

    /// Puts the limit in force. Slots above it are free at once where they are pending; their items
    /// are left over (N7).
    fn apply_limit(&self, queue: &mut LaneQueue, push: impl Fn()) -> bool {
        let limit = queue.limits.in_force();
        self.limit.store(limit, Ordering::Relaxed);
        while queue.pending > 0 && queue.is_over(limit) {
            self.remove_pending(queue);
        }
        let mut scheduled = false;
        while self.schedule(queue, &push) {
            scheduled = true;
        }
        scheduled
    }

    /// Threads that wait inside tasks look again: one of them may take a slot over, and what they
    /// wait for, a permit of the queue too, may never come now.
    fn limit_changed(&self, scheduled: bool) {
        if scheduled {
            self.waiters.wake();
        }
        self.lanes.deadlocks().limit_changed(self.owner());
        self.permits().into_iter().for_each(Semaphore::look_again);
    }

    /// A handle more, from another one.
    pub(crate) fn add_handle(&self) {
        // The caller's handle counts, or the caller holds the lock of the registry.
        self.handles.fetch_add(1, Ordering::Relaxed);
    }

    /// A handle less. True if that was the last one, and the lane is paused.
    #[must_use]
    pub(crate) fn remove_handle(&self) -> bool {
        // ORDERING: Release pairs with the Acquire here and in `is_living`: what was submitted
        // through the handle has been counted, and a limit that was set through it can be seen.
        self.handles.fetch_sub(1, Ordering::AcqRel) == 1 && self.limit() == 0
    }

    /// Whether the lane has a handle, a task that has not ended, or an open session, which may have
    /// others. The caller holds the lock of the registry: without that no lane comes to life.
    pub(super) fn is_living(&self) -> bool {
        // Meanwhile no task is submitted, and no session opened or ended.
        let queue = self.queue.lock();
        // ORDERING: Acquire pairs with the Release in `remove_handle`.
        self.handles.load(Ordering::Acquire) > 0
            || queue.is_some_and(|queue| queue.session.is_some())
            || !self.account.counters.counts().tasks.balanced()
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

    /// How many slots are active.
    pub(crate) fn active(&self) -> usize {
        self.queue.lock().map_or(0, |queue| queue.active)
    }

    /// Enqueues a task that has its permit, and on a key a pin. If that makes a slot pending, the
    /// result is true: a thread must look into the pool's queues, into which `push` has pushed an
    /// item if there was none to spare.
    #[must_use]
    pub(crate) fn enqueue(&self, task: TaskRef, place: LanePlace, push: impl FnOnce()) -> bool {
        let cancelled = self.account.counters.unrun.cancelled().peek();
        let Some(mut queue) = self.queue.lock() else { return false };
        self.account.counters.submitted.increment();
        let swept = queue.sweep(cancelled);
        queue.push(task, place);
        self.show_waiting(&queue);
        let scheduled = self.schedule(&mut queue, push);
        drop(queue);
        // The drop of the last reference to a tombstone, and of a key, may run user code.
        drop(swept);
        scheduled
    }

    /// The lane whose slot a thread is to take that has taken an item of this one out of the pool's
    /// queues: this one, or if it has a share the one whose turn it is.
    pub(crate) fn in_turn(self: Arc<Self>) -> Option<Arc<Self>> {
        if self.share.is_none() { Some(self) } else { self.lanes.shares().pick() }
    }

    /// Opens a session, by a task of the lane that runs. False if there is one, and in a keyed
    /// lane, where it would hold up other keys.
    #[must_use]
    pub(crate) fn open_session(&self) -> bool {
        let Some(mut queue) = self.queue.lock() else { return false };
        if queue.session.is_some() || self.settings.keys.is_some() {
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
        let Some(session) = queue.session.take() else { return false };
        queue.waiting.prepend(session);
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
        self.queue.lock().is_some_and(|mut queue| self.take_pending_over(&mut queue))
    }

    /// [`take_over`](LaneCore::take_over) and [`next`](LaneCore::next) in one. If there is a slot
    /// and nothing waits, the slot is free.
    #[must_use]
    pub(crate) fn take_over_with_next(&self) -> Option<TaskRef> {
        let mut queue = self.queue.lock()?;
        if self.take_pending_over(&mut queue) { self.take_next(&mut queue) } else { None }
    }

    /// [`take_over_with_next`](LaneCore::take_over_with_next) for a thread that has taken an item
    /// out of the pool's queues, whose turn is that of this lane. `None` if the item came too late,
    /// too.
    #[must_use]
    pub(crate) fn begin_with_next(&self) -> Option<TaskRef> {
        let mut queue = self.queue.lock()?;
        if self.share.is_none() {
            queue.items -= 1;
        }
        self.reserve.iter().for_each(|reserve| reserve.cool());
        if self.activate(&mut queue) { self.take_next(&mut queue) } else { None }
    }

    /// The next entry of the lane for the holder of a slot; or `None`, and the slot has been
    /// released.
    #[must_use]
    pub(crate) fn next(&self) -> Option<TaskRef> {
        self.take_next(&mut *self.queue.lock()?)
    }

    fn take_pending_over(&self, queue: &mut LaneQueue) -> bool {
        let pending = self.activate(queue);
        if let Some(share) = self.share.as_ref().filter(|_| pending) {
            self.lanes.shares().take_off(share);
        }
        pending
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

    /// Makes a pending slot free.
    fn remove_pending(&self, queue: &mut LaneQueue) {
        queue.pending -= 1;
        self.account.counters.show_pending(queue.pending);
        if let Some(share) = &self.share {
            self.lanes.shares().take_off(share);
        }
    }

    /// Takes the next entry; or releases the slot.
    fn take_next(&self, queue: &mut LaneQueue) -> Option<TaskRef> {
        // Above a limit that has been lowered the slot goes, although more waits.
        let next = if queue.is_over(self.limit()) { None } else { queue.pop() };
        if next.is_none() {
            queue.active -= 1;
        } else {
            self.show_waiting(queue);
        }
        next
    }

    /// The entry just taken, of this task, was a tombstone. Returns the keys that the lane has let
    /// go of.
    #[must_use]
    pub(crate) fn count_tombstone(&self, tombstone: TaskId) -> GoneKeys {
        let Some(mut queue) = self.queue.lock() else { return GoneKeys::default() };
        let gone = queue.count_tombstone(tombstone);
        self.show_waiting(&queue);
        gone
    }

    /// The entry just taken, of this task, does not run: it gives the place of its key back.
    pub(crate) fn end_unrun(&self, task: TaskId) {
        if self.settings.keys.is_some() {
            let gone = self.queue.lock().map(|mut queue| queue.end(task));
            drop(gone);
        }
    }

    /// The closure of a task of which this thread holds the slot has ended: releases the slot if
    /// nothing waits that may begin. Returns whether it has, and the keys that the lane has let go
    /// of.
    #[must_use]
    pub(crate) fn release_if_idle(&self, ended: TaskId) -> (bool, GoneKeys) {
        // What waited a moment ago will do. If another thread has taken it since, that thread has a
        // slot and comes back to the queue, and `next` releases the slot of this one.
        if self.settings.keys.is_none() && self.waiting.load(Ordering::Relaxed) > 0 {
            return (false, GoneKeys::default());
        }
        let Some(mut queue) = self.queue.lock() else { return (true, GoneKeys::default()) };
        let gone = queue.end(ended);
        let idle = queue.ready() == 0;
        if idle {
            queue.active -= 1;
        }
        self.show_waiting(&queue);
        (idle, gone)
    }

    /// Releases an active slot, for the thread that comes next; of a task that goes on where one is
    /// given. `push` and the result are those of `enqueue`.
    #[must_use]
    pub(crate) fn release(&self, early: Option<TaskId>, push: impl FnOnce()) -> bool {
        let Some(mut queue) = self.queue.lock() else { return false };
        let gone = early.map(|task| queue.end(task));
        queue.active -= 1;
        let scheduled = self.schedule(&mut queue, push);
        self.show_waiting(&queue);
        drop(queue);
        drop(gone);
        if scheduled {
            self.waiters.wake();
        }
        scheduled
    }

    /// Makes a slot pending where one is due. The item is pushed under the lock: so a thread that
    /// finds all slots taken under that lock can rely on the items of the pending ones being in the
    /// pool's queues (N7, N9).
    fn schedule(&self, queue: &mut LaneQueue, push: impl FnOnce()) -> bool {
        let scheduled = queue.is_slot_due(self.limit());
        if scheduled {
            queue.pending += 1;
            self.account.counters.show_pending(queue.pending);
            match self.share.as_ref().zip(self.me.upgrade()) {
                Some((share, lane)) => self.lanes.shares().list(share, lane, push),
                None if queue.items < queue.pending => {
                    queue.items += 1;
                    push();
                }
                None => {}
            }
        }
        scheduled
    }

    /// Threads of the pool that wait for tasks of the lane: to be woken when a slot becomes pending
    /// that one of them could take over.
    pub(crate) fn waiters(&self) -> &ParkerSet {
        &self.waiters
    }

    /// Whether the calling thread alone holds all slots of a lane that is not paused.
    pub(crate) fn is_held_here(&self) -> bool {
        let limit = self.limit();
        limit > 0 && tasks_of(self.owner()).len() >= limit
    }

    /// Takes out of the queue the entries of which `goes` is true.
    pub(crate) fn clear(&self, goes: &dyn Fn(&TaskRef) -> bool) -> Vec<TaskRef> {
        let Some(mut queue) = self.queue.lock() else { return Vec::new() };
        let gone = queue.clear(goes);
        let keys = queue.waiting.take_gone();
        self.show_waiting(&queue);
        drop(queue);
        drop(keys);
        gone
    }

    /// Shows how many entries may begin; called under the lock.
    pub(super) fn show_waiting(&self, queue: &LaneQueue) {
        self.waiting.store(queue.ready(), Ordering::Relaxed);
    }

    /// A task taken from the queue has begun.
    pub(crate) fn count_started(&self) {
        self.account.counters.runs.started.increment_shared();
    }

    /// Its closure has ended, with a value or for `reason` without. The thread comes to the lane's
    /// lock next, and then looks whether the lane is idle.
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

    /// Those that wait until nothing of the lane is queued or runs.
    pub(crate) fn idle(&self) -> &IdleWaiters {
        self.account.idle()
    }

    /// Takes the lane's lock: what comes next is ordered with all who have had it or will.
    pub(crate) fn pass_lock(&self) {
        drop(self.queue.lock());
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

impl IdleSource for LaneCore {
    fn is_idle(&self) -> bool {
        self.account.counters.counts().tasks.balanced()
    }

    fn pass(&self) {
        self.pass_lock();
    }
}

impl Drop for LaneCore {
    fn drop(&mut self) {
        if self.queue.is_forked() {
            return;
        }
        // The last reference orders this after all else; the model checker sees that by the lock.
        // Only tombstones wait, perhaps under keys, whose destructors may panic.
        drop(self.clear(&|_| true));
        // No handle, no item, no slot; but a canceller may be about to count (T4).
        while !self.account.counters.is_settled() {
            thread::yield_now();
        }
        self.lanes.unregister(&self.account);
        self.share.iter().for_each(|share| self.lanes.shares().unregister(share));
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
