//! One task: claim it, run it, report. And one turn of a lane, which is a number of them.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Policy, Worker};
use crate::error::Reason;
use crate::lane::{Core, Entry, Job};
use crate::sync::now;
use crate::task::{Claimed, Runner, TaskRef, as_current};

/// So many tasks of a lane are run in one turn, if others want the thread.
const TURN_TASKS: u32 = 32;
/// And for so long.
const TURN_TIME: Duration = Duration::from_millis(1);

/// One task that is being run by a worker.
struct Run<'a, P: Policy> {
    worker: &'a Worker<P>,
    /// Its lane, of which the worker holds a slot until the closure has ended. It is let go of
    /// after the delivery: that takes time where another CPU has just referred to it.
    lane: Cell<Option<Arc<Core>>>,
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
        // N3. Where more waits, the slot is kept while the result is delivered. In a forked child
        // the lock may be held for ever.
        let held = !worker.engine().is_forked() && !worker.has_forfeited(task);
        let goes_on = held && !lane.release_if_idle();
        if let Some(ran) = ran {
            // A subscriber is foreign code: it may wait for the lane.
            worker.lane.replace(goes_on.then(|| Arc::clone(&lane)));
            worker.pool.observe_run(task, Some(&lane), ran);
            lane.count_ended(reason);
            self.lane.set(Some(lane));
        } else {
            lane.count_ended(reason);
            let place = if goes_on { &worker.lane } else { &self.lane };
            place.set(Some(lane));
        }
        worker.count_ended(reason, goes_on && worker.serves());
    }
}

impl<P: Policy> Runner for Worker<P> {
    fn ended(&self, _: &TaskRef, reason: Option<&Reason>) {
        self.count_ended(reason, false);
    }
}

impl<P: Policy> Worker<P> {
    /// Runs a queue entry, unless it is the husk of a task that somebody else has claimed.
    #[inline(always)]
    pub(super) fn execute(&self, entry: Entry) {
        match entry.open() {
            Job::Task(task) => match task.claim() {
                Some(claimed) => self.run(claimed),
                None => self.pass_baton(),
            },
            Job::Lane(lane) => self.serve_lane(lane),
        }
    }

    #[inline(never)]
    fn serve_lane(&self, lane: Arc<Core>) {
        let ran = lane.begin_with_next().is_some_and(|first| self.take_turn(lane, first));
        if !ran {
            self.pass_baton();
        }
    }

    /// Runs tasks of a lane, of which this thread has just taken a slot and the `first` entry,
    /// until none waits or the turn is over. False if there was none to run.
    fn take_turn(&self, mut lane: Arc<Core>, first: TaskRef) -> bool {
        let mut tasks = 0;
        let is_alone = || self.engine().queues.looks_empty(self.context.local.get());
        // A turn that nobody waits for needs no clock, and is over once somebody does.
        let begun = if is_alone() { None } else { Some(now()) };
        let mut next = claim_or_next(&lane, first);
        while let Some(claimed) = next {
            tasks += 1;
            let Some(kept) = self.run_in_lane(claimed, lane) else {
                // Nothing waited, or the slot was given away while the result was delivered.
                return true;
            };
            lane = kept;
            let fair = is_alone() || tasks < TURN_TASKS && begun.is_some_and(is_within_turn);
            // A waker or callback may have forked: what waits is the parent's.
            if !fair || self.retiring.get() || self.engine().is_over_max() || self.engine().is_forked() {
                self.release_slot(&lane);
                return true;
            }
            next = claim_next(&lane);
        }
        tasks > 0
    }

    /// Runs a task of a lane of which this thread holds a slot. Gives the lane back if it still
    /// does.
    fn run_in_lane(&self, claimed: Claimed, lane: Arc<Core>) -> Option<Arc<Core>> {
        self.run_special(claimed, Some(lane));
        self.lane.take()
    }

    /// Whether it keeps the slot of a lane while it delivers.
    fn serves(&self) -> bool {
        let lane = self.lane.take();
        let serves = lane.is_some();
        self.lane.set(lane);
        serves
    }

    /// Releases a slot of `lane` to whoever comes next.
    pub(super) fn release_slot(&self, lane: &Arc<Core>) {
        if self.engine().is_forked() {
            return;
        }
        // Behind what waits already, and not in this thread's own deque: that is what makes turns
        // fair.
        if lane.release(|| self.engine().queues.push(None, Entry::lane(Arc::clone(lane)))) {
            self.engine().notify(&*self.pool);
        }
    }

    /// Runs what waits in `lane`, of which this thread has taken a slot over, in order through
    /// `target`, in place.
    pub(super) fn run_through(&self, mut lane: Arc<Core>, target: &TaskRef) {
        while target.is_queued() && !self.engine().is_forked() {
            let Some(claimed) = claim_next(&lane) else { return };
            match self.nest(|| self.run_in_lane(claimed, lane)) {
                Some(kept) => lane = kept,
                None => return,
            }
        }
        self.release_slot(&lane);
    }

    /// Whether the slot of `task`, which has ended, has been given away.
    fn has_forfeited(&self, task: &TaskRef) -> bool {
        let mut forfeited = self.forfeited.borrow_mut();
        let place = forfeited.iter().position(|id| *id == task.id());
        place.map(|place| forfeited.swap_remove(place)).is_some()
    }

    /// Releases the searching token after a find, and has somebody look if more is queued.
    pub(super) fn pass_baton(&self) {
        if self.searching.take() {
            self.engine().idle.release_searching();
            self.engine().notify_if_queued(&*self.pool);
        }
    }

    /// Turns the delivering token, unless it was given up in order to block, into a searching one.
    pub(super) fn end_delivering(&self) {
        if self.delivering.take() {
            self.engine().idle.end_delivering();
            self.searching.set(true);
        }
    }

    /// Runs a claimed task of the pool's own queues.
    #[inline]
    pub(super) fn run(&self, claimed: Claimed) {
        if claimed.extras().is_none() {
            self.run_plain(claimed);
        } else {
            self.run_special(claimed, None);
        }
    }

    /// Runs a claimed task, perhaps of `lane`, of which this thread holds a slot. That is kept in
    /// `self.lane` afterwards, unless it has been released.
    #[inline(never)]
    fn run_special(&self, claimed: Claimed, lane: Option<Arc<Core>>) {
        let mut began = None;
        if let Some(extras) = claimed.extras() {
            if extras.is_overdue() {
                return self.let_expire(claimed, lane);
            }
            began = extras.spawned.map(|spawned| (now(), spawned));
        }
        // Shown before it is counted: whoever finds it counted and nothing counted since reads the
        // right one.
        self.context.record.tasks.show(claimed.task(), began.map(|(now, _)| now));
        // Before the thread counts it: the monitor must not take it for a task of the pool's own
        // queues.
        lane.iter().for_each(|lane| lane.count_started());
        // Counted before the token is released: the monitor must not take the task for one that
        // waits, with nobody coming for it.
        self.context.record.counters.runs.started.increment();
        self.pass_baton();
        // A waker and a subscriber are foreign code. They run as part of the task, so that one that
        // waits for its lane is told.
        let is_limited = lane.as_ref().is_none_or(|lane| lane.places().is_some());
        if is_limited || began.is_some() {
            as_current(claimed.task(), || self.free_and_observe(&claimed, lane.as_deref(), began));
        }
        let outer = lane.as_deref().map(|lane| self.context.record.enter_lane(lane.owner()));
        claimed.run(&Run { worker: self, lane: Cell::new(lane), began: began.map(|(now, _)| now) });
        outer.into_iter().for_each(|outer| self.context.record.return_to_lane(outer));
        self.delivered();
    }

    /// Gives the place of a task in its queue to another, and tells how long the task has waited.
    fn free_and_observe(&self, claimed: &Claimed, lane: Option<&Core>, began: Option<(Instant, Instant)>) {
        lane.map_or_else(|| self.engine().release_permit(), Core::free_place);
        if let Some((now, spawned)) = began {
            let waited = now.saturating_duration_since(spawned);
            self.pool.observe_wait(claimed.task(), lane, waited);
        }
    }

    /// The same for a task of no lane that carries nothing, as most do.
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
        // A task run inside a callback leaves the token of that delivery alone.
        if self.depth.get() == 0 {
            self.end_delivering();
        }
        self.context.record.counters.delivered.increment();
    }

    /// Its time was up before a thread got to it, and the timer has not got to it either.
    fn let_expire(&self, claimed: Claimed, lane: Option<Arc<Core>>) {
        self.pass_baton();
        // Whatever blocks in the closure's destructor or in a waker gives the slot away.
        self.lane.replace(lane);
        claimed.count_cancelled();
        claimed.discard(Reason::Expired);
    }

    /// A closure has ended and its result is about to be delivered. If the thread `goes_on` with
    /// its lane, nobody is to count on it for what is queued meanwhile.
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

/// Whether a turn that was begun then may go on.
fn is_within_turn(begun: Instant) -> bool {
    now().saturating_duration_since(begun) < TURN_TIME
}

/// Claims the next task of a lane of which this thread holds a slot. If there is none, the slot is
/// released.
fn claim_next(lane: &Core) -> Option<Claimed> {
    let first = lane.next()?;
    claim_or_next(lane, first)
}

/// The same with an entry that has been taken already.
fn claim_or_next(lane: &Core, mut entry: TaskRef) -> Option<Claimed> {
    loop {
        let claimed = entry.claim();
        if claimed.is_some() {
            return claimed;
        }
        lane.count_husk();
        entry = lane.next()?;
    }
}
