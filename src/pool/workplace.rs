//! What a pool does for its workers and its tasks.
//!
//! ORDERING: the fences of `begin_blocking` and `left` are F2 of `idle`: a change of the counts, a
//! fence, a look into the queues. That of `watch_growth` pairs with `Shared::growth_ended` for
//! `hopeful`, and with `Idle::notify` for `helpers`; that of `resign_if_over_max` with the one in
//! `Shared::set_max`. `closed` pairs as in `admission`; `over_max` is a mark whose setter wakes all
//! afterwards, under a lock that each sleeper takes before it looks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::shared::Shared;
use super::threads::start;
use crate::idle::{Idle, Notify};
use crate::lane::{Core, Entry, Waits};
use crate::panic::catch_panic;
use crate::queue::Queues;
use crate::semaphore::Semaphore;
use crate::sync::atomic::{Ordering, fence};
use crate::sync::{Parker, now};
use crate::task::TaskRef;
use crate::trace::event;
use crate::worker::{Roster, Workplace};

impl Workplace for Shared {
    fn queues(&self) -> &Queues<Entry> {
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
                Notify::Delivering => {
                    self.helpers.wake();
                    return self.monitor.arm(self);
                }
                Notify::Nobody if self.get_help() => return,
                Notify::Nobody => {}
            }
        }
    }

    #[inline]
    fn free_place(&self) {
        self.places().into_iter().for_each(Semaphore::free);
    }

    fn lane_of(&self, task: &TaskRef) -> Option<Arc<Core>> {
        self.lanes.find(task.owner())
    }

    fn waits(&self) -> &Waits {
        self.lanes.waits()
    }

    #[inline]
    fn is_over_max(&self) -> bool {
        self.over_max.load(Ordering::Relaxed)
    }

    fn resign_if_over_max(&self) -> bool {
        if !self.headcount.resign_above(self.max()) {
            // Either the fence in `set_max` comes first, and the second look sees the new limit, or
            // this one does, and the mark is set again.
            self.over_max.store(false, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            if !self.headcount.resign_above(self.max()) {
                return false;
            }
            self.over_max.store(true, Ordering::SeqCst);
        }
        event!(DEBUG, threads = self.headcount.staying(), "a thread above the lowered limit leaves");
        true
    }

    fn observe_wait(&self, task: &TaskRef, lane: Option<&Core>, wait: Duration) {
        if self.is_forked() {
            return;
        }
        self.observer.waited(task, lane, wait);
        if self.observer.warns() {
            self.timer.expect(&self.config.name);
        }
        // Nothing else would notice that the system had refused it.
        self.timer.keep_rounds(&self.config.name);
    }

    fn observe_run(&self, task: &TaskRef, lane: Option<&Core>, run: Duration) {
        // A task that has forked ends in the child too, where the locks of the times may be held
        // for ever.
        if !self.is_forked() {
            self.observer.ran(task, lane, run);
        }
    }

    #[inline]
    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    #[inline]
    fn is_forked(&self) -> bool {
        self.generation().is_past()
    }

    fn begin_blocking(&self) {
        if self.is_forked() {
            return;
        }
        self.add_blocking();
        fence(Ordering::SeqCst);
        if !self.queues.is_empty() {
            self.notify();
        }
    }

    fn end_blocking(&self) {
        if !self.is_forked() {
            self.remove_blocking();
        }
    }

    fn may_grow(&self) -> bool {
        // In a forked child nothing may be taken from the queues.
        let refused = || self.cool_down.is_on() || self.monitor.is_refused();
        self.is_forked() || self.headcount.reserved() < self.max() && !self.is_closed() && !refused()
    }

    fn watch_growth(&self, parker: &Arc<Parker>) {
        if self.is_forked() {
            return;
        }
        self.hopeful.add(parker);
        fence(Ordering::SeqCst);
    }

    fn add_helper(&self, parker: &Arc<Parker>) {
        if !self.is_forked() {
            self.helpers.add(parker);
        }
    }

    fn remove_helper(&self, parker: &Arc<Parker>) {
        if !self.is_forked() {
            self.helpers.remove(parker);
        }
    }

    fn may_linger(&self) -> bool {
        // Where more threads are at work, some of them may want the CPU.
        let resting = || self.idle.counts().idle + self.blocking();
        let at_work = || self.headcount.staying().saturating_sub(resting());
        self.config.lingers && at_work() <= self.core()
    }

    fn sleep_deadline(&self) -> Option<Instant> {
        if self.headcount.staying() <= self.core() {
            return None;
        }
        now().checked_add(self.config.keep_alive)
    }

    fn resign_if_surplus(&self) -> bool {
        let resigned = self.headcount.resign_above(self.core());
        if resigned {
            event!(DEBUG, threads = self.headcount.staying(), "a surplus thread leaves");
        }
        resigned
    }

    fn look_for_end(&self) {
        self.ending.look(|| self.threads_left());
    }

    fn resign(&self) {
        self.headcount.resign();
    }

    fn on_start(&self) {
        if let Some(hook) = &self.config.on_thread_start {
            catch_panic("on_thread_start", || hook());
        }
    }

    fn on_stop(&self) {
        if let Some(hook) = &self.config.on_thread_stop {
            catch_panic("on_thread_stop", || hook());
        }
    }

    fn left(&self) {
        // Not where others do that already: above a lowered limit the successor would leave at
        // once.
        let due = self.is_closed() && self.headcount.staying() < self.max() && !self.queues.is_empty();
        let successor = self.owned().filter(|_| due);
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
            self.hopeful.remove(parker);
        }
    }
}
