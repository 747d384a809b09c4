//! One pool's state, part by part: how it gets help for what is queued, how it gives that up, and
//! how it closes.
//!
//! # Who keeps it alive
//!
//! Every thread of the pool and every `Pool` handle holds an `Arc` of it; a task only has the
//! address of its account. That is enough, because a task follows the address only to count its own
//! cancellation (rule T4 of `task`), and the account is not freed before every accepted task is
//! counted as ended: the drop of [`Inner`] waits for the sums to agree. A canceller is between its
//! claim and its count for a few instructions only, so that wait is next to none. A lane is treated
//! by its tasks as the pool is by its own.
//!
//! ORDERING: the fence in `set_max` pairs with the one in `retire_if_over_max`. `close` fences, and
//! pairs with the fences of `submit`. The fences of `begin_blocking` and `on_exit` are F2 of
//! `idle`: a change of the counts, a fence, a look into the queues. What is being sorted and how
//! many threads there are changes and is read by `SeqCst` operations: of a thread that counts
//! itself out and one that ends the sorting, one finds both at zero, and stops the helpers.

use std::io;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::config::Config;
use super::expiry::{Expiry, Periodic};
use super::growth::Growth;
#[cfg(feature = "fs")]
use super::services::Services;
use super::shutdown::{Ending, give_up};
#[cfg(feature = "metrics")]
use super::stats::export;
use super::stats::{Metrics, Stats};
use super::submit::Carried;
use super::threads::{Threads, start};
use crate::error::Reason;
use crate::idle::Notified;
use crate::lane::{LaneCore, LaneReserve, Lanes};
use crate::panic::catch_panic;
use crate::semaphore::Semaphore;
use crate::sync::atomic::{Ordering, fence};
use crate::sync::{now, thread};
use crate::sys::fork;
use crate::task::TaskRef;
use crate::trace::event;
use crate::worker::{Engine, Policy, Retire};

/// Everything that all handles and threads of one pool share.
pub(super) struct Inner {
    /// The queues, the threads at work, who of them sleeps, the lanes.
    pub(super) engine: Engine,
    pub(super) config: Config,
    pub(super) threads: Threads,
    pub(super) growth: Growth,
    pub(super) expiry: Arc<Expiry>,
    pub(super) ending: Ending,
    pub(super) stats: Stats,
    /// What tasks carry from their spawners.
    pub(super) carried: Carried,
    /// The lanes of the services, if this is the global pool.
    #[cfg(feature = "fs")]
    pub(super) services: Services,
    me: Weak<Inner>,
}

impl Inner {
    pub(super) fn new(config: Config) -> Arc<Self> {
        fork::watch();
        let stats = Stats::new(&config);
        let threads = Threads::new(config.core, config.max);
        let inner = Arc::new_cyclic(|me: &Weak<Inner>| Inner {
            engine: Engine::new(
                config.core,
                config.queue_limit.map(Semaphore::new),
                Lanes::new(config.export_every.is_some()),
            ),
            growth: Growth::new(),
            expiry: Expiry::new(config.export_every, Weak::clone(me) as _, Arc::clone(threads.joins())),
            threads,
            ending: Ending::new(),
            carried: Carried::new(config.captures.clone(), stats.observer().is_on()),
            stats,
            #[cfg(feature = "fs")]
            services: Services::default(),
            me: Weak::clone(me),
            config,
        });
        inner.reserve_room();
        inner.engine.lanes.idle().set_source(Weak::<Inner>::clone(&inner.me));
        inner
    }

    /// Makes room in the lists of threads.
    fn reserve_room(&self) {
        let threads = self.threads.max();
        self.engine.idle.reserve(threads);
        self.engine.workers.reserve(threads);
        self.threads.joins().reserve(threads);
    }

    /// An owned reference, unless this is the drop.
    pub(super) fn owned(&self) -> Option<Arc<Self>> {
        self.me.upgrade()
    }

    /// Sees to it that a thread looks into the queues.
    pub(super) fn notify(&self) {
        self.engine.notify(self);
    }

    /// The pool's numbers.
    pub(super) fn metrics(&self) -> Metrics {
        // In this order each end that is counted has its time.
        let counts = self.counts();
        Metrics { times: self.stats.observer().read(), ..counts }
    }

    /// All of the numbers but the times.
    fn counts(&self) -> Metrics {
        let threads = self.threads.counts();
        let alive = threads.alive();
        Metrics {
            threads: alive,
            reserve_threads: threads.in_reserves(),
            threads_idle: self.engine.idle.counts().idle,
            threads_blocked: self.threads.blocking(),
            // A thread is counted an instant before the peak is.
            threads_peak: threads.peak().max(alive),
            core_threads: self.threads.core(),
            max_threads: self.threads.max(),
            queue_limit: self.config.queue_limit,
            tasks: self.engine.all_counts(),
            growth_steps: self.growth.steps(),
            spawn_failures: self.threads.backoff().failures(),
            ..Metrics::default()
        }
    }

    /// Begins to publish the numbers, if that is wanted.
    #[cfg(feature = "metrics")]
    pub(super) fn begin_export(&self) {
        if self.config.export_every.is_some() {
            export::describe();
            self.expiry.keep_publishing(&self.config.name);
        }
    }

    /// Sets `max_threads`: threads are added as needed, or leave as their tasks end.
    pub(super) fn set_max(&self, max: usize) {
        self.threads.set_max(max);
        self.reserve_room();
        fence(Ordering::SeqCst);
        if self.threads.counts().active() > max {
            self.engine.set_over_max(true);
            self.engine.idle.wake_all();
        }
        if self.threads.counts().reserved() >= max {
            self.engine.growth_ended();
        } else {
            self.engine.notify_if_queued(self);
        }
        #[cfg(feature = "fs")]
        self.services.resize(max, &self.engine, self);
    }

    /// Whether a thread would find something to run: a task in the pool's queues, or a lane with a
    /// pending slot.
    pub(super) fn has_work(&self) -> bool {
        // In this order a task that starts meanwhile counts as waiting, never the other way round.
        let counts = self.engine.own_counts();
        let lanes = self.engine.lanes.counts();
        let own = (counts.submitted + lanes.tasks.started).saturating_sub(counts.started + counts.cancelled);
        own > 0 || lanes.pending > 0
    }

    /// Starts the first thread.
    pub(super) fn start_first(self: &Arc<Self>) -> io::Result<()> {
        if !self.engine.idle.begin_starting() {
            return Ok(());
        }
        if self.threads.counts().reserve(1, 1) {
            return start(self);
        }
        // A task of another thread has started it.
        self.engine.idle.not_started(1);
        self.engine.notify_if_queued(&**self);
        Ok(())
    }

    /// No thread will look into the queues: starts a thread if the pool is entitled to one, else
    /// leaves it to the monitor. False if the state has changed meanwhile and the question should
    /// be asked again.
    #[inline]
    pub(super) fn find_worker(&self) -> bool {
        if self.threads.may_start() {
            return self.start_entitled();
        }
        if self.threads.counts().reserved() > 0 {
            self.ask_for_help();
            return true;
        }
        // The last thread may have left since the first look: then one may be started after all.
        let hopeless = self.threads.backoff().is_on();
        if hopeless {
            self.abandon_queue();
        }
        hopeless
    }

    /// Threads that wait run something, or the monitor decides whether to add a thread.
    #[inline]
    pub(super) fn ask_for_help(&self) {
        self.engine.help_waiters.wake();
        self.growth.monitor().arm(self);
    }

    #[cold]
    fn start_entitled(&self) -> bool {
        let Some(pool) = self.owned() else { return true };
        if !self.engine.idle.begin_starting() {
            return false;
        }
        if !self.threads.counts().reserve(self.threads.entitled(), self.threads.max()) {
            self.engine.idle.not_started(1);
            return false;
        }
        self.on_reserved();
        // A failure has been dealt with.
        let _ = start(&pool);
        true
    }

    /// Threads have been reserved: perhaps the pool cannot grow any more, and sleepers must leave
    /// in time.
    pub(super) fn on_reserved(&self) {
        // The limit may have been lowered since it was read; `set_max` looks in the other order.
        if self.threads.counts().active() > self.threads.max() {
            self.engine.set_over_max(true);
        }
        if self.threads.counts().reserved() >= self.threads.max() {
            self.engine.growth_ended();
        }
        if self.threads.counts().active() > self.threads.core() {
            self.engine.idle.refresh_deadlines();
        }
    }

    /// Wakes a thread although tokens are out: they have not moved.
    pub(super) fn force_wake(&self) {
        if self.engine.idle.notify_forced() != Notified::Handled {
            self.ask_for_help();
        }
    }

    /// Threads that were reserved will not come: their reservations and tokens are back.
    pub(super) fn on_start_failed(&self) {
        self.engine.growth_ended();
        self.engine.notify_if_queued(self);
        self.on_thread_gone();
    }

    /// A thread has left, or will not come: the pool may have ended.
    pub(super) fn on_thread_gone(&self) {
        if self.engine.is_closed() {
            self.stop_helpers();
            self.ending.announce(&|| self.threads_left());
        }
    }

    /// How many threads have not left; `None` while entries are on their way from the queues and
    /// back.
    pub(super) fn threads_left(&self) -> Option<usize> {
        (!self.ending.is_sorting()).then(|| self.threads.counts().all())
    }

    /// There is no thread and none can be had: what is queued resolves with the reason, as long as
    /// that is so.
    fn abandon_queue(&self) {
        let error = self.threads.backoff().error();
        let mut abandoned = 0_u64;
        while let Some(entry) = self.engine.queues.take_any() {
            if self.threads.counts().reserved() > 0 {
                self.engine.queues.push(None, entry);
                self.notify();
                break;
            }
            abandoned += give_up(entry, &|| Reason::NoThread(Arc::clone(&error)));
        }
        if abandoned > 0 {
            event!(ERROR, abandoned, %error, "gave queued tasks up: the pool has no thread");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.engine.is_forked() {
            return;
        }
        self.expiry.stop();
        // Without threads only tombstones are queued, unless a thread was lost in a way that is not
        // foreseen.
        while let Some(entry) = self.engine.queues.take_any() {
            give_up(entry, &|| Reason::Shutdown);
        }
        // In this order: what is counted has been counted by a thread that settles it.
        while !self.engine.counts().balanced() || !self.engine.account.counters.is_settled() {
            thread::yield_now();
        }
    }
}

impl Periodic for Inner {
    fn publish(&self) {
        #[cfg(feature = "metrics")]
        export::publish(&self.config.name, &self.counts(), &self.engine.lanes);
    }

    fn scan(&self) -> Option<Instant> {
        self.stats.observer().scan(&self.engine.workers)
    }
}

impl Policy for Inner {
    #[inline]
    fn engine(&self) -> &Engine {
        &self.engine
    }

    #[inline]
    fn watch_delivery(&self) {
        self.ask_for_help();
    }

    #[inline]
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

    fn threads(&self) -> usize {
        self.threads.counts().all()
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

    fn reserve_deadline(&self) -> Option<Instant> {
        now().checked_add(self.config.keep_alive)
    }

    fn leave_reserve(&self, reserve: &LaneReserve) {
        // Before the thread counts itself out: see `joins`.
        self.threads.joins().leave();
        self.growth.monitor().look_after_leavers();
        self.release_reserved(reserve, true);
    }

    fn look_for_end(&self) {
        self.ending.look(&|| self.threads_left());
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
        // Before the thread counts itself out: see `joins`.
        self.threads.joins().leave();
        self.growth.monitor().look_after_leavers();
        if let Some(pool) = successor {
            // What waits for the end must not see a pool without threads that still has work.
            self.engine.idle.add_starting(1);
            self.threads.counts().hand_off();
            // A failure has been dealt with.
            let _ = start(&pool);
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
