//! Blocking and waiting on a pool's thread.
//!
//! A thread that has declared that it blocks counts apart: the pool is entitled to one thread more
//! meanwhile, so a wait below `max_threads` is no loss. Where the pool cannot grow, the thread that
//! waits runs its target itself, if the target is still queued.
//!
//! # Why a wait does not deadlock
//!
//! Let every thread of the pool be inside a wait for tasks of this pool. If the pool may grow and
//! something is queued, the last of them to declare itself blocked has notified, and a thread is
//! being started. If it may not grow: a waiter registers (`Engine::growth_waiters`) *before* it
//! looks whether the pool may grow, and a thread that makes the pool unable to grow wakes all that
//! are registered *after* that shows. So each waiter has looked since the pool last became unable
//! to grow, and a target that was queued then has been claimed: by the waiter or by another thread,
//! which runs it above all waits on its stack. The innermost of these targets is run by a thread
//! that does not wait: a contradiction. A task that waits for itself is refused (`is_deadlock`).
//!
//! A thread whose stack has no room for another run leaves its target to others, and is refused
//! where there are none: see `deep`.
//!
//! A thread of a lane's reserve runs no target but those of its lane. It makes any other one
//! *wanted* instead, or room in a queue, and then wakes the same waiters. A thread of the pool that
//! waits looks at what is wanted after it has registered, and runs it in place of the other. So
//! with reserves, too, a target that is queued while every thread waits has been claimed. Where a
//! thread waits by `block_on` or through a channel, or computes, nothing of this is said: then the
//! thread of the reserve waits for it.

use std::sync::Arc;

use super::{Policy, WatchedTarget, Worker};
use crate::lane::{HeldSlot, LaneCore, NewWait};
use crate::sync::atomic::Ordering;
use crate::sync::{Parker, nesting, trampoline};
use crate::task::{Host, Inline, TaskRef, claim_inline, tasks};

impl<P: Policy> Worker<P> {
    /// Runs other tasks in the middle of one, by `f`: a reentrant run. This thread is not blocked
    /// meanwhile, whatever it has declared.
    pub(super) fn reenter<R>(&self, f: impl FnOnce() -> R) -> R {
        let declared = self.blocking.replace(0);
        if declared > 0 {
            self.stop_blocking();
        }
        // A waker or callback that runs other tasks loses the slot of its lane.
        self.release_kept_slot();
        self.context.record.tasks.interrupt(self.context.record.running());
        self.depth.set(self.depth.get() + 1);
        let result = trampoline::afresh(f);
        self.depth.set(self.depth.get() - 1);
        self.context.record.tasks.resume();
        self.context.record.clock.lose();
        if self.blocking.replace(declared) == 0 && declared > 0 {
            self.start_blocking();
        }
        result
    }

    /// Releases the slot that is kept while a result is delivered.
    fn release_kept_slot(&self) {
        if let Some(lane) = self.lane.take() {
            self.release_slot(&lane);
        }
    }

    /// Runs `target`, which is queued in the pool or in one of its lanes. False if it is not.
    fn claim_and_run(&self, target: &TaskRef) -> bool {
        if target.is_owned_by(self.owner()) {
            return self.run_inline_now(target);
        }
        match self.lane_of(target) {
            Some(lane) if target.is_queued() && lane.take_over() => {
                self.run_through(lane, target);
                true
            }
            _ => false,
        }
    }

    /// This thread is about to park until `target` has ended, unless the wait would never end.
    fn wait_for(&self, target: &TaskRef) -> Inline {
        if !self.engine().lanes.deadlocks().is_active() {
            return Inline::Waits;
        }
        let watched = self.watched.take();
        let wait = NewWait {
            thread: self.number(),
            target,
            key: watched.as_ref().and_then(|watched| watched.lane.as_ref()?.key_of(target)),
            parker: watched.as_ref().map(|watched| Arc::clone(&watched.parker)),
        };
        let listed = self.engine().lanes.deadlocks().add(wait, &|task| self.slot_of(task));
        if listed { Inline::Waits } else { Inline::Deadlock }
    }

    /// A number that tells this thread from others.
    fn number(&self) -> usize {
        Arc::as_ptr(&self.context.record).addr()
    }

    /// The lane of this pool that `target`, which has not ended, belongs to.
    pub(super) fn lane_of(&self, target: &TaskRef) -> Option<Arc<LaneCore>> {
        (!target.is_ended()).then(|| self.engine().lanes.find(target.owner())).flatten()
    }

    /// The slot of one of the pool's lanes that `task`, which this thread is inside, holds.
    fn slot_of(&self, task: &TaskRef) -> Option<HeldSlot> {
        if task.is_owned_by(self.owner()) || self.released_early.borrow().contains(&task.id()) {
            return None;
        }
        let lane = self.engine().lanes.find(task.owner())?;
        Some(lane.slot_of(task))
    }

    /// A thread of a reserve entitles the pool to no other thread.
    fn start_blocking(&self) {
        self.context.record.blocking.store(true, Ordering::Relaxed);
        if self.is_general() {
            self.pool.begin_blocking();
        }
    }

    fn stop_blocking(&self) {
        self.context.record.blocking.store(false, Ordering::Relaxed);
        if self.is_general() {
            self.pool.end_blocking();
        }
    }

    /// Whether a thread that waits for `target` is to run it inline, if it is queued.
    fn runs_inline(&self, target: &TaskRef) -> bool {
        match &self.reserve {
            None => !self.pool.may_grow(),
            Some(reserve) => reserve.lane().is_some_and(|lane| target.is_owned_by(lane.owner())),
        }
    }
}

impl<P: Policy> Host for Worker<P> {
    fn begin_blocking(&self) {
        self.blocking.set(self.blocking.get() + 1);
        if self.blocking.get() == 1 {
            if self.delivering.take() {
                self.engine().idle.release_delivering();
            }
            // A waker or callback blocks while its lane has more to do.
            self.release_kept_slot();
            self.start_blocking();
        }
    }

    fn end_blocking(&self) {
        self.blocking.set(self.blocking.get() - 1);
        if self.blocking.get() == 0 {
            self.stop_blocking();
        }
    }

    fn run_inline(&self, target: &TaskRef) -> Inline {
        if !self.runs_inline(target) {
            return self.wait_for(target);
        }
        if let Err(deep) = nesting::room() {
            let is_here =
                target.is_queued() && (target.is_owned_by(self.owner()) || self.lane_of(target).is_some());
            // A circle through lanes is one at any depth.
            return match self.wait_for(target) {
                Inline::Waits if is_here => Inline::NoRoom(deep, target.clone()),
                Inline::Waits => {
                    self.first_wanted().map_or(Inline::Waits, |wanted| Inline::NoRoom(deep, wanted))
                }
                other => other,
            };
        }
        if self.claim_and_run(target) || self.run_wanted() { Inline::Ran } else { self.wait_for(target) }
    }

    fn begin_waiting(&self) {
        self.show_waiting();
    }

    fn end_waiting(&self) {
        Worker::end_waiting(self);
    }

    fn begin_deep_wait(&self, parker: &Arc<Parker>, target: Option<&TaskRef>) -> bool {
        Worker::begin_deep_wait(self, parker, target)
    }

    fn end_deep_wait(&self, parker: &Arc<Parker>) {
        Worker::end_deep_wait(self, parker);
    }

    fn run_wanted(&self) -> bool {
        self.is_general()
            && (std::iter::from_fn(|| self.engine().wanted.take()).any(|wanted| self.claim_and_run(&wanted))
                || self.engine().wanted.wants_room() && self.run_any_inline())
    }

    fn want_room(&self) {
        if !self.is_general() {
            self.engine().wanted.add_room();
            self.engine().growth_ended();
        }
    }

    fn end_wanting_room(&self) {
        if !self.is_general() {
            self.engine().wanted.remove_room();
        }
    }

    fn first_wanted(&self) -> Option<TaskRef> {
        if self.is_general() { self.engine().wanted.first_queued() } else { None }
    }

    fn watch(&self, target: Option<&TaskRef>, parker: &Arc<Parker>) {
        self.helps.set(self.is_general() && self.engine().lanes.has_reserves() && nesting::room().is_ok());
        let Some(target) = target else {
            self.engine().help_waiters.add(parker);
            return self.engine().watch_growth(parker);
        };
        let lane = self.lane_of(target);
        let is_here = target.is_queued() && (target.is_owned_by(self.owner()) || lane.is_some());
        // Before the target is wanted: a thread that finds no slot for it leaves it alone, and this
        // one must be woken when there is one.
        lane.iter().for_each(|lane| lane.waiters().add(parker));
        if self.engine().lanes.deadlocks().is_active() {
            self.watched.set(Some(WatchedTarget { parker: Arc::clone(parker), lane }));
        }
        if is_here && !self.is_general() && !self.runs_inline(target) {
            self.engine().wanted.add(target);
            self.engine().growth_ended();
        } else if is_here || self.engine().lanes.has_reserves() {
            self.engine().watch_growth(parker);
        }
    }

    fn open_scope(&self, scope: *const ()) {
        if self.engine().lanes.deadlocks().is_active() {
            self.engine().lanes.deadlocks().open_scope(scope, &|task| self.slot_of(task));
        }
    }

    fn close_scope(&self, scope: *const ()) {
        if self.engine().lanes.deadlocks().is_active() {
            self.engine().lanes.deadlocks().close_scope(scope);
        }
    }

    fn unwatch(&self, target: Option<&TaskRef>, parker: &Arc<Parker>) {
        self.helps.set(false);
        drop(self.watched.take());
        self.engine().growth_waiters.remove(parker);
        let Some(target) = target else { return self.engine().help_waiters.remove(parker) };
        if !self.is_general() {
            self.engine().wanted.remove(target);
        }
        self.engine().lanes.find(target.owner()).iter().for_each(|lane| lane.waiters().remove(parker));
        if self.engine().lanes.deadlocks().is_active() {
            self.engine().lanes.deadlocks().remove(self.number(), target);
        }
    }

    fn has_queued(&self) -> bool {
        self.is_general() && !self.engine().is_forked() && !self.engine().queues.is_empty()
    }

    fn run_any_inline(&self) -> bool {
        if !self.is_general() {
            return false;
        }
        let Some(entry) = self.engine().queues.take_any() else { return false };
        self.reenter(|| self.execute(entry));
        true
    }

    fn run_inline_now(&self, target: &TaskRef) -> bool {
        let claimed = if self.engine().is_forked() { None } else { claim_inline(target) };
        claimed.map(|claimed| self.reenter(|| self.run(claimed))).is_some()
    }

    fn release_slots_early(&self) {
        self.release_kept_slot();
        for task in tasks() {
            if let Some(lane) =
                self.lane_of(task).filter(|_| !self.released_early.borrow().contains(&task.id()))
            {
                self.released_early.borrow_mut().push(task.id());
                self.release_slot_of(&lane, Some(task.id()));
            }
        }
    }

    /// In a reserve, a wait is never a reason to run what is queued.
    fn may_grow(&self) -> bool {
        !self.is_general() || self.pool.may_grow()
    }

    fn begin_parking(&self) -> bool {
        self.pool.look_for_end();
        !self.engine().is_forked()
    }

    fn end_parking(&self) {
        self.context.record.count_park();
    }

    fn retire(&self) {
        self.retiring.set(true);
    }

    fn owner(&self) -> *const () {
        self.context.owner
    }
}
