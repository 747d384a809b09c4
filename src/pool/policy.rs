//! What a pool does for its workers and its tasks.
//!
//! ORDERING: the fences of `begin_blocking` and `on_exit` are F2 of `idle`: a change of the counts,
//! a fence, a look into the queues. That of `retire_if_over_max` pairs with the one in
//! `Inner::set_max`.

use std::time::{Duration, Instant};

use crate::lane::LaneCore;
use crate::panic::catch_panic;
use crate::pool::inner::Inner;
use crate::pool::threads::start;
use crate::sync::atomic::{Ordering, fence};
use crate::sync::now;
use crate::task::TaskRef;
use crate::trace::event;
use crate::worker::{Engine, Policy, Retire};

impl Policy for Inner {
    #[inline]
    fn engine(&self) -> &Engine {
        &self.engine
    }

    fn watch_delivery(&self) {
        self.ask_for_help();
    }

    fn ensure_worker(&self) -> bool {
        self.find_worker()
    }

    fn retire(&self, when: Retire) -> bool {
        match when {
            Retire::Now => {
                self.threads.counts().retire();
                true
            }
            Retire::IfOverMax => self.retire_if_over_max(),
            Retire::IfSurplus => self.retire_if_surplus(),
        }
    }

    fn observe_wait(&self, task: &TaskRef, lane: Option<&LaneCore>, wait: Duration) {
        if self.engine.is_forked() {
            return;
        }
        self.stats.observer().waited(task, lane, wait);
        if self.stats.observer().warns() {
            self.expiry.schedule_scan(&self.config.name);
        }
        // Nothing else would notice that the system had refused it.
        self.expiry.keep_publishing(&self.config.name);
    }

    fn observe_run(&self, task: &TaskRef, lane: Option<&LaneCore>, run: Duration) {
        // A task that has forked ends in the child too, where the locks of the times may be held
        // for ever.
        if !self.engine.is_forked() {
            self.stats.observer().ran(task, lane, run);
        }
    }

    fn begin_blocking(&self) {
        if self.engine.is_forked() {
            return;
        }
        self.threads.add_blocking();
        fence(Ordering::SeqCst);
        self.engine.notify_if_queued(self);
    }

    fn end_blocking(&self) {
        if !self.engine.is_forked() {
            self.threads.remove_blocking();
        }
    }

    fn may_grow(&self) -> bool {
        // In a forked child nothing may be taken from the queues.
        let refused = || self.threads.backoff().is_on() || self.growth.monitor().is_refused();
        self.engine.is_forked()
            || self.threads.counts().reserved() < self.threads.max() && !self.engine.is_closed() && !refused()
    }

    fn may_spin(&self) -> bool {
        // Where more threads are at work, some of them may want the CPU.
        let resting = || self.engine.idle.counts().idle + self.threads.blocking();
        let at_work = || self.threads.counts().active().saturating_sub(resting());
        self.config.spins && at_work() <= self.threads.core()
    }

    fn sleep_deadline(&self) -> Option<Instant> {
        if self.threads.counts().active() <= self.threads.core() {
            return None;
        }
        now().checked_add(self.config.keep_alive)
    }

    fn look_for_end(&self) {
        self.ending.look(|| self.threads_left());
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

    fn on_exit(&self) {
        // Not where others do that already: above a lowered limit the successor would leave at
        // once.
        let due = self.engine.is_closed()
            && self.threads.counts().active() < self.threads.max()
            && !self.engine.queues.is_empty();
        let successor = self.owned().filter(|_| due);
        if let Some(pool) = successor {
            // What waits for the end must not see a pool without threads that still has work.
            self.engine.idle.add_starting(1);
            self.threads.counts().hand_off();
            // A failure has been dealt with.
            let _ = start(&pool, 0);
        } else {
            self.threads.counts().exit();
            fence(Ordering::SeqCst);
            self.engine.notify_if_queued(self);
        }
        self.on_thread_gone();
    }
}

impl Inner {
    fn retire_if_over_max(&self) -> bool {
        if !self.threads.counts().retire_above(self.threads.max()) {
            // Either the fence in `set_max` comes first, and the second look sees the new limit, or
            // this one does, and the mark is set again.
            self.engine.set_over_max(false);
            fence(Ordering::SeqCst);
            if !self.threads.counts().retire_above(self.threads.max()) {
                return false;
            }
            self.engine.set_over_max(true);
        }
        event!(DEBUG, threads = self.threads.counts().active(), "a thread above the lowered limit leaves");
        true
    }

    fn retire_if_surplus(&self) -> bool {
        let retired = self.threads.counts().retire_above(self.threads.core());
        if retired {
            event!(DEBUG, threads = self.threads.counts().active(), "a surplus thread leaves");
        }
        retired
    }
}
