//! One lane: its queue and its slots. The rules are those of the module.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::account::{LaneAccount, LaneCounters};
use super::lanes::Lanes;
use crate::error::Reason;
use crate::latency::Meter;
use crate::semaphore::Semaphore;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, Parker, thread};
use crate::sys::fork::Generation;
use crate::task::{TaskRef, tasks_of};

/// Fewer husks than this are left to lie.
const FEW_HUSKS: u64 = 32;

/// A lane without its handles.
pub(crate) struct Core {
    name: Arc<str>,
    limit: usize,
    line: Mutex<Line>,
    /// How many entries wait, to be asked without the lock. A hint.
    waiting: AtomicUsize,
    account: Arc<LaneAccount>,
    meter: Meter,
    lanes: Arc<Lanes>,
}

/// What changes under the lock.
struct Line {
    waiting: VecDeque<TaskRef>,
    pending: usize,
    active: usize,
    /// How many cancelled tasks have been taken out of `waiting`.
    cleared: u64,
    watchers: Vec<Watcher>,
}

/// A thread of the pool that waits for a task of the lane.
struct Watcher {
    target: TaskRef,
    parker: Arc<Parker>,
}

impl Line {
    /// Makes a slot pending if a task waits that needs one (N2) and a slot is free (N1).
    fn schedule(&mut self, limit: usize) -> bool {
        let more = self.pending < self.waiting.len() && self.pending + self.active < limit;
        self.pending += usize::from(more);
        more
    }

    /// Takes the husks out if most of what waits is husks: callers that give up during an outage
    /// must not pile up.
    fn sweep(&mut self, cancelled: u64) -> Vec<TaskRef> {
        let husks = cancelled.saturating_sub(self.cleared);
        if husks <= FEW_HUSKS || husks <= self.waiting.len() as u64 / 2 {
            return Vec::new();
        }
        let swept = self.clear(|task| !task.is_queued());
        self.cleared = cancelled;
        swept
    }

    /// Takes out what `goes` says.
    fn clear(&mut self, goes: impl Fn(&TaskRef) -> bool) -> Vec<TaskRef> {
        let all = std::mem::take(&mut self.waiting);
        let (gone, stay): (VecDeque<_>, VecDeque<_>) = all.into_iter().partition(goes);
        self.waiting = stay;
        self.cleared += gone.len() as u64;
        gone.into()
    }
}

impl Core {
    /// A lane of the pool whose lanes are `lanes`, and which was made in fork generation
    /// `generation`.
    pub(crate) fn new(
        name: String,
        limit: usize,
        queue_limit: Option<usize>,
        meter: Meter,
        lanes: &Arc<Lanes>,
        generation: Generation,
    ) -> Arc<Self> {
        let line = Line { waiting: VecDeque::new(), pending: 0, active: 0, cleared: 0, watchers: Vec::new() };
        let core = Arc::new(Core {
            name: name.into(),
            limit,
            line: Mutex::new(line),
            waiting: AtomicUsize::new(0),
            account: LaneAccount::new(LaneCounters::default(), queue_limit.map(Semaphore::new), generation),
            meter,
            lanes: Arc::clone(lanes),
        });
        // A lane of a forked child is never used.
        if !core.account.is_forked() {
            lanes.enlist(&core, &core.name, &core.account);
        }
        core
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// The places of its queue, if that is limited.
    pub(crate) fn places(&self) -> Option<&Semaphore> {
        self.account.permits()
    }

    /// Enqueues a task that has its place. If that makes a slot pending, `push` is to push an
    /// entry, and the result is true: somebody must look into the pool's queues.
    #[must_use]
    pub(crate) fn enqueue(&self, task: TaskRef, push: impl FnOnce()) -> bool {
        let cancelled = self.account.counters.cancelled.peek();
        let mut line = self.line.lock();
        self.account.counters.submitted.increment();
        let husks = line.sweep(cancelled);
        line.waiting.push_back(task);
        self.show_waiting(&line);
        let scheduled = self.schedule(&mut line, push);
        drop(line);
        // The last reference to a husk may run foreign code.
        drop(husks);
        scheduled
    }

    /// Takes a pending slot. False if there is none: the entry came too late.
    #[must_use]
    pub(crate) fn begin(&self) -> bool {
        self.activate(&mut self.line.lock())
    }

    /// [`begin`](Core::begin) and [`next`](Core::next) in one. If there is a slot and nothing
    /// waits, the slot is free.
    #[must_use]
    pub(crate) fn begin_with_next(&self) -> Option<TaskRef> {
        let mut line = self.line.lock();
        if self.activate(&mut line) { self.take_next(&mut line) } else { None }
    }

    /// The next entry of the lane for the holder of a slot; or `None`, and the slot has been
    /// released.
    #[must_use]
    pub(crate) fn next(&self) -> Option<TaskRef> {
        self.take_next(&mut self.line.lock())
    }

    /// Makes a pending slot active, if there is one.
    fn activate(&self, line: &mut Line) -> bool {
        let pending = line.pending > 0;
        if pending {
            line.pending -= 1;
            line.active += 1;
            self.account.counters.show_pending(line.pending);
        }
        pending
    }

    /// Takes the next entry; or releases the slot.
    fn take_next(&self, line: &mut Line) -> Option<TaskRef> {
        let next = line.waiting.pop_front();
        if next.is_none() {
            line.active -= 1;
        } else {
            self.show_waiting(line);
        }
        next
    }

    /// The entry just taken was the husk of a cancelled task.
    pub(crate) fn count_husk(&self) {
        self.line.lock().cleared += 1;
    }

    /// Releases an active slot if nothing waits.
    #[must_use]
    pub(crate) fn release_if_idle(&self) -> bool {
        // What was there a moment ago will do. If another thread has taken it since, that one has a
        // slot and comes back to the queue, and this one's is released by `next`.
        if self.waiting.load(Ordering::Relaxed) > 0 {
            return false;
        }
        let mut line = self.line.lock();
        let idle = line.waiting.is_empty();
        if idle {
            line.active -= 1;
        }
        idle
    }

    /// Releases an active slot: it is for whoever comes next. `push` and the result are those of
    /// `enqueue`.
    #[must_use]
    pub(crate) fn release(&self, push: impl FnOnce()) -> bool {
        let mut line = self.line.lock();
        line.active -= 1;
        let scheduled = self.schedule(&mut line, push);
        let woken = line.watchers.iter().filter(|_| scheduled);
        let woken: Vec<_> = woken.map(|watcher| Arc::clone(&watcher.parker)).collect();
        drop(line);
        for parker in woken {
            parker.unpark();
        }
        scheduled
    }

    /// The entry is pushed under the lock. So whoever finds all slots taken under that lock can
    /// rely on the entries of the pending ones being in the pool's queues.
    fn schedule(&self, line: &mut Line, push: impl FnOnce()) -> bool {
        let scheduled = line.schedule(self.limit);
        if scheduled {
            self.account.counters.show_pending(line.pending);
            push();
        }
        scheduled
    }

    /// Has `parker` woken when a slot that could be taken over for `target` becomes pending; until
    /// `unwatch`.
    pub(crate) fn watch(&self, target: &TaskRef, parker: &Arc<Parker>) {
        let mut line = self.line.lock();
        if !line.watchers.iter().any(|other| other.is(target, parker)) {
            line.watchers.push(Watcher { target: target.clone(), parker: Arc::clone(parker) });
        }
    }

    pub(crate) fn unwatch(&self, target: &TaskRef, parker: &Arc<Parker>) {
        let mut line = self.line.lock();
        let place = line.watchers.iter().position(|other| other.is(target, parker));
        let watcher = place.map(|place| line.watchers.swap_remove(place));
        drop(line);
        drop(watcher);
    }

    /// Whether the calling thread alone holds all slots.
    pub(crate) fn is_held_here(&self) -> bool {
        tasks_of(self.owner()).len() == self.limit
    }

    /// Takes out of the queue what `goes` says.
    pub(crate) fn clear(&self, goes: impl Fn(&TaskRef) -> bool) -> Vec<TaskRef> {
        let mut line = self.line.lock();
        let gone = line.clear(goes);
        self.show_waiting(&line);
        gone
    }

    /// Says how many entries wait; told under the lock.
    fn show_waiting(&self, line: &Line) {
        self.waiting.store(line.waiting.len(), Ordering::Relaxed);
    }

    /// A task taken from the queue has begun.
    pub(crate) fn count_started(&self) {
        self.account.counters.runs.started.increment_shared();
    }

    /// Its closure has ended, with a value or for `reason` without.
    pub(crate) fn count_ended(&self, reason: Option<&Reason>) {
        self.account.counters.runs.ended(reason).increment_shared();
    }

    /// A place in the queue is free.
    pub(crate) fn free_place(&self) {
        self.places().into_iter().for_each(Semaphore::free);
    }

    /// What it has counted, and what its tasks refer to.
    pub(crate) fn account(&self) -> &Arc<LaneAccount> {
        &self.account
    }

    /// What its tasks know it by.
    pub(crate) fn owner(&self) -> *const () {
        Arc::as_ptr(&self.account).cast()
    }

    /// What records how long its tasks wait and run.
    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }
}

impl Watcher {
    fn is(&self, target: &TaskRef, parker: &Arc<Parker>) -> bool {
        self.target.is_same(target) && Arc::ptr_eq(&self.parker, parker)
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if self.account.is_forked() {
            return;
        }
        // No handle, no entry, no slot: only husks wait, and a canceller may be about to count
        // (T4).
        while !self.account.counters.counts().tasks.balanced() {
            thread::yield_now();
        }
        self.lanes.dismiss(&self.account);
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("name", &self.name).field("limit", &self.limit).finish_non_exhaustive()
    }
}
