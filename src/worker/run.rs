//! One task: claim it, run it, report.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use super::{Policy, Worker};
use crate::error::Reason;
use crate::lane::{GoneKeys, Job, LaneCore, QueueItem};
use crate::sync::now;
use crate::task::{Claimed, Runner, TaskRef, as_current};

/// A task that a worker runs.
struct Run<'a, P: Policy> {
    worker: &'a Worker<P>,
    /// The task's lane, of which the worker holds a slot until the closure has ended. The reference
    /// is dropped after the delivery: the drop takes time where another CPU has just counted one.
    lane: Cell<Option<Arc<LaneCore>>>,
    /// When the closure began, if the task is timed.
    began: Option<Instant>,
}

impl<P: Policy> Runner for Run<'_, P> {
    fn ended(&self, task: &TaskRef, reason: Option<&Reason>) {
        let worker = self.worker;
        let ran = self.began.map(|began| now() - began);
        let Some(lane) = self.lane.take() else {
            ran.into_iter().for_each(|ran| worker.pool.observe_run(task, None, ran));
            return worker.count_ended(reason, false);
        };
        if let Some(ran) = ran {
            let (goes_on, keys) = worker.release_after(task, &lane);
            // A subscriber is user code: it may wait for the lane.
            worker.lane.replace(goes_on.then(|| Arc::clone(&lane)));
            worker.pool.observe_run(task, Some(&lane), ran);
            lane.count_ended(reason);
            lane.pass_lock();
            worker.look_for_idle(&lane);
            self.lane.set(Some(lane));
            worker.count_ended(reason, goes_on && worker.serves());
            return drop(keys);
        }
        lane.count_ended(reason);
        let (goes_on, keys) = worker.release_after(task, &lane);
        if goes_on {
            worker.lane.set(Some(lane));
        } else {
            worker.look_for_idle(&lane);
            self.lane.set(Some(lane));
        }
        worker.count_ended(reason, goes_on && worker.serves());
        // Their destructors are user code: it runs as a waker does.
        drop(keys);
    }
}

impl<P: Policy> Runner for Worker<P> {
    fn ended(&self, _: &TaskRef, reason: Option<&Reason>) {
        self.count_ended(reason, false);
    }
}

impl<P: Policy> Worker<P> {
    /// The closure of `task` has ended, of whose lane this thread holds a slot: releases the slot,
    /// unless more waits. Where more waits, the slot is kept while the result is delivered (N3),
    /// and the first result is true. The keys that the lane has let go of are to be dropped where
    /// user code may run.
    fn release_after(&self, task: &TaskRef, lane: &LaneCore) -> (bool, GoneKeys) {
        if self.take_released_early(task) {
            lane.pass_lock();
            return (false, GoneKeys::default());
        }
        let (released, keys) = lane.release_if_idle(task.id());
        (!released, keys)
    }

    /// Runs an item, unless it is the tombstone of a task that another thread has claimed.
    #[inline(always)]
    pub(super) fn execute(&self, item: QueueItem) {
        match item.open() {
            Job::Task(task) => match task.claim() {
                Some(claimed) => self.run(claimed),
                None => self.pass_baton(),
            },
            Job::Lane(lane) => self.serve_lane(lane),
        }
    }

    /// Releases the searching token after a find, and wakes another thread if more is queued.
    pub(super) fn pass_baton(&self) {
        if self.searching.take() {
            self.engine().idle.release_searching();
            self.engine().notify_if_queued(&*self.pool);
        }
    }

    /// Turns the delivering token into a searching one, unless the thread has released it in order
    /// to block.
    pub(super) fn end_delivering(&self) {
        if self.delivering.take() {
            self.engine().idle.end_delivering();
            self.searching.set(true);
        }
    }

    /// Runs a claimed task of the pool's own queues.
    #[inline]
    pub(super) fn run(&self, claimed: Claimed) {
        if claimed.metadata().is_none() {
            self.run_plain(claimed);
        } else {
            self.run_special(claimed, None);
        }
    }

    /// Runs a claimed task, perhaps of `lane`, of which this thread holds a slot. The slot is kept
    /// in `self.lane` afterwards, unless it has been released.
    #[inline(never)]
    pub(super) fn run_special(&self, claimed: Claimed, lane: Option<Arc<LaneCore>>) {
        let mut began = None;
        if let Some(metadata) = claimed.metadata() {
            if metadata.is_overdue() {
                return self.let_expire(claimed, lane);
            }
            began = metadata.spawned.map(|spawned| (now(), spawned));
        }
        // Shown before it is counted: a reader that finds the task counted, and nothing counted
        // since, reads the right one.
        self.context.record.tasks.show(claimed.task(), began.map(|(now, _)| now));
        // Before the thread counts the task: the monitor must not take it for one of the pool's own
        // queues.
        lane.iter().for_each(|lane| lane.count_started());
        // Counted before the token is released: the monitor must not take the task for one that
        // waits while no thread comes for it.
        self.context.record.counters.runs.started.increment();
        self.pass_baton();
        // A waker and a subscriber are user code. They run as part of the task, so that one that
        // waits for its lane gets an error.
        let is_limited = lane.as_ref().is_none_or(|lane| lane.permits().is_some());
        if is_limited || began.is_some() {
            as_current(claimed.task(), || self.release_and_observe(&claimed, lane.as_deref(), began));
        }
        let outer = lane.as_deref().map(|lane| self.context.record.enter_lane(lane.owner()));
        claimed.run(&Run { worker: self, lane: Cell::new(lane), began: began.map(|(now, _)| now) });
        outer.into_iter().for_each(|outer| self.context.record.return_to_lane(outer));
        self.delivered();
    }

    /// Releases the permit of a task in its queue, and reports how long the task has waited.
    fn release_and_observe(
        &self,
        claimed: &Claimed,
        lane: Option<&LaneCore>,
        began: Option<(Instant, Instant)>,
    ) {
        lane.map_or_else(|| self.engine().release_permit(), LaneCore::release_permit);
        if let Some((now, spawned)) = began {
            let waited = now.saturating_duration_since(spawned);
            self.pool.observe_wait(claimed.task(), lane, waited);
        }
    }

    /// Runs a claimed task that carries no metadata, as most do, and is of no lane.
    #[inline]
    fn run_plain(&self, claimed: Claimed) {
        self.context.record.tasks.show_plain(claimed.task());
        self.context.record.counters.runs.started.increment();
        self.pass_baton();
        self.engine().release_permit();
        claimed.run(self);
        self.delivered();
    }

    /// The result of a task has been delivered.
    #[inline]
    fn delivered(&self) {
        // A task that runs inside a callback leaves the token of that delivery alone.
        if self.depth.get() == 0 {
            self.end_delivering();
        }
        self.context.record.counters.delivered.increment();
    }

    /// Discards a claimed task whose deadline has passed: no thread got to the task in time, and
    /// the timer has not got to it either.
    fn let_expire(&self, claimed: Claimed, lane: Option<Arc<LaneCore>>) {
        self.pass_baton();
        // It gives the place of its key back.
        lane.iter().for_each(|lane| lane.end_unrun(claimed.task().id()));
        // A destructor of the closure, or a waker, that blocks releases the slot.
        self.lane.replace(lane);
        claimed.count_unrun(&Reason::Expired);
        claimed.discard(Reason::Expired);
    }

    /// A closure has ended and its result is about to be delivered. If the thread `goes_on` with
    /// its lane, no submitter may count on it for what is queued meanwhile.
    #[inline]
    fn count_ended(&self, reason: Option<&Reason>, goes_on: bool) {
        self.context.record.counters.runs.ended(reason).increment();
        let will_search = self.depth.get() == 0 && !self.retiring.get() && !goes_on;
        if will_search && self.engine().queues.looks_empty(self.context.local.get()) {
            self.engine().idle.begin_delivering();
            self.delivering.set(true);
        }
    }
}
