//! One pool's shared state: how it gets help for what is queued, how it gives that up, and how it
//! closes.
//!
//! # Who keeps it alive
//!
//! Every thread of the pool and every `Pool` handle holds an `Arc` of it; a task only has the
//! address of its account. That is enough, because a task follows the address only to count its own
//! cancellation (rule T4 of `task`), and the account is not freed before every accepted task is
//! counted as ended: the drop of [`Shared`] waits for the sums to agree. A canceller is between its
//! claim and its count for a few instructions only, so that wait is next to none. A lane is treated
//! by its tasks as the pool is by its own.
//!
//! ORDERING: `max` and the headcount are `SeqCst`: `set_max` writes the one and reads the other,
//! `reserved_more` comes the other way. The fence in `growth_ended` pairs with the one in
//! `watch_growth`, that in `set_max` with `resign_if_over_max`, that in `close` with those of
//! `admission`. `blocking` pairs with itself, `sorting` with the look in `threads_left`, between
//! which is the lock of `Ending`.

use std::io;
use std::sync::{Arc, Weak};

use crate::error::Reason;
use crate::idle::Notify;
use crate::lane::Lanes;
use crate::pool::config::Config;
use crate::pool::expiry::Roll;
use crate::pool::expiry::Timer;
use crate::pool::growth::Monitor;
use crate::pool::shutdown::Ending;
use crate::pool::shutdown::give_up;
use crate::pool::stats::Observer;
use crate::pool::stats::Sightings;
use crate::pool::threads::CoolDown;
use crate::pool::threads::Headcount;
use crate::pool::threads::start;
use crate::pool::waiters::Waiters;
use crate::semaphore::Semaphore;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use crate::sync::thread;
use crate::sys::fork;
use crate::trace::event;
use crate::worker::Engine;

/// Everything that all handles and threads of one pool share.
pub(super) struct Shared {
    pub(super) engine: Engine,
    pub(super) config: Config,
    pub(super) headcount: Headcount,
    pub(super) cool_down: CoolDown,
    pub(super) monitor: Monitor,
    pub(super) timer: Arc<Timer>,
    pub(super) observer: Observer,
    pub(super) sightings: Sightings,
    pub(super) ending: Ending,
    /// `Pool` handles.
    pub(super) handles: AtomicUsize,
    /// Queued tasks that any shutdown drops.
    pub(super) discardable: Roll,
    /// `max_threads` as of now.
    max: AtomicUsize,
    /// How many are moving entries that stay from the queues and back, while they discard others.
    pub(super) sorting: AtomicUsize,
    /// Threads that have declared that they block.
    blocking: AtomicUsize,
    /// Waiters that hope for growth.
    pub(super) hopeful: Waiters,
    /// Waiters that would run anything.
    pub(super) helpers: Waiters,
    pub(super) growth_steps: AtomicU64,
    pub(super) next_thread: AtomicUsize,
    me: Weak<Shared>,
}

impl Shared {
    pub(super) fn new(config: Config) -> Arc<Self> {
        fork::watch();
        Arc::new_cyclic(|me| Shared {
            engine: Engine::new(
                config.core,
                config.queue_limit.map(Semaphore::new),
                Lanes::new(config.export_every.is_some()),
            ),
            headcount: Headcount::new(),
            cool_down: CoolDown::new(),
            monitor: Monitor::new(),
            timer: Timer::new(config.export_every, Weak::clone(me)),
            observer: Observer::new(&config),
            sightings: Sightings::default(),
            ending: Ending::new(),
            handles: AtomicUsize::new(1),
            discardable: Roll::new(),
            max: AtomicUsize::new(config.max),
            sorting: AtomicUsize::new(0),
            blocking: AtomicUsize::new(0),
            hopeful: Waiters::default(),
            helpers: Waiters::default(),
            growth_steps: AtomicU64::new(0),
            next_thread: AtomicUsize::new(0),
            me: Weak::clone(me),
            config,
        })
    }

    /// An owned reference, unless this is the drop.
    pub(super) fn owned(&self) -> Option<Arc<Self>> {
        self.me.upgrade()
    }

    /// Sees to it that a thread looks into the queues.
    pub(super) fn notify(&self) {
        self.engine.notify(self);
    }

    pub(super) fn blocking(&self) -> usize {
        self.blocking.load(Ordering::SeqCst)
    }

    pub(super) fn add_blocking(&self) {
        self.blocking.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn remove_blocking(&self) {
        self.blocking.fetch_sub(1, Ordering::SeqCst);
    }

    /// `max_threads` as of now.
    pub(super) fn max(&self) -> usize {
        self.max.load(Ordering::SeqCst)
    }

    /// How many threads are kept.
    pub(super) fn core(&self) -> usize {
        self.config.core.min(self.max())
    }

    /// Sets `max_threads`: threads are added as needed, or leave as their tasks end.
    pub(super) fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if self.headcount.staying() > max {
            self.engine.set_over_max(true);
            self.engine.idle.wake_all();
        }
        if self.headcount.reserved() >= max {
            self.growth_ended();
        } else {
            self.engine.notify_if_queued(self);
        }
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

    /// The threads that may exist without evidence that they are needed: `core`, and one for each
    /// that blocks.
    fn entitled(&self) -> usize {
        self.config.core.saturating_add(self.blocking()).min(self.max())
    }

    /// Starts the first thread.
    pub(super) fn start_first(self: &Arc<Self>) -> io::Result<()> {
        if self.engine.idle.begin_starting() && self.headcount.reserve(1, 1) {
            start(self, 0)
        } else {
            Ok(())
        }
    }

    /// Nobody will look into the queues: starts a thread if the pool is entitled to one, else
    /// leaves it to the monitor. False if the state has changed meanwhile and the question should
    /// be asked again.
    pub(super) fn get_help(&self) -> bool {
        let may_start = self.headcount.staying() < self.entitled()
            && self.headcount.reserved() < self.max()
            && !self.cool_down.is_on();
        if may_start {
            return self.start_entitled();
        }
        if self.headcount.reserved() > 0 {
            self.helpers.wake();
            self.monitor.arm(self);
            return true;
        }
        // The last thread may have left since the first look: then one may be started after all.
        let hopeless = self.cool_down.is_on();
        if hopeless {
            self.abandon_queue();
        }
        hopeless
    }

    fn start_entitled(&self) -> bool {
        let Some(shared) = self.owned() else { return true };
        if !self.engine.idle.begin_starting() {
            return false;
        }
        if !self.headcount.reserve(self.entitled(), self.max()) {
            self.engine.idle.not_started(1);
            return false;
        }
        self.reserved_more();
        // A failure has been dealt with.
        let _ = start(&shared, 0);
        true
    }

    /// Threads have been reserved: waiters may have to stop hoping for more, sleepers to leave in
    /// time.
    pub(super) fn reserved_more(&self) {
        // The limit may have been lowered since it was read; `set_max` looks in the other order.
        if self.headcount.staying() > self.max() {
            self.engine.set_over_max(true);
        }
        if self.headcount.reserved() >= self.max() {
            self.growth_ended();
        }
        if self.headcount.staying() > self.core() {
            self.engine.idle.refresh_deadlines();
        }
    }

    /// Wakes somebody although tokens are out: they have not moved.
    pub(super) fn wake_overriding(&self) {
        if self.engine.idle.notify_overriding() != Notify::Covered {
            self.helpers.wake();
            self.monitor.arm(self);
        }
    }

    /// The pool can no longer be counted on to grow: waiters look again whether to run their
    /// targets in place.
    pub(super) fn growth_ended(&self) {
        fence(Ordering::SeqCst);
        self.hopeful.wake();
    }

    /// Threads that were reserved will not come: their reservations and tokens are back.
    pub(super) fn fewer_than_promised(&self) {
        self.growth_ended();
        self.engine.notify_if_queued(self);
        self.one_less();
    }

    /// A thread has left, or will not come: the pool may have ended.
    pub(super) fn one_less(&self) {
        if self.engine.is_closed() {
            self.stop_helpers();
            self.ending.announce(|| self.threads_left());
        }
    }

    /// How many threads have not left; `None` while entries are on their way from the queues and
    /// back.
    pub(super) fn threads_left(&self) -> Option<usize> {
        (self.sorting.load(Ordering::SeqCst) == 0).then(|| self.headcount.reserved())
    }

    /// There is no thread and none can be had: what is queued resolves with the reason, as long as
    /// that is so.
    fn abandon_queue(&self) {
        let error = self.cool_down.error();
        let mut abandoned = 0_u64;
        while let Some(entry) = self.engine.queues.take_any() {
            if self.headcount.reserved() > 0 {
                self.engine.queues.push(None, entry);
                self.notify();
                break;
            }
            abandoned += give_up(entry, || Reason::NoThread(Arc::clone(&error)));
        }
        if abandoned > 0 {
            event!(ERROR, abandoned, %error, "gave queued tasks up: the pool has no thread");
        }
    }

    /// Closes admission. Threads leave when the queues are empty.
    pub(super) fn close(&self) {
        self.ending.begin(&self.engine.own_counts());
        if !self.engine.close() {
            return;
        }
        self.growth_ended();
        self.engine.permits().into_iter().for_each(Semaphore::close);
        for lane in self.engine.lanes.all() {
            lane.places().into_iter().for_each(Semaphore::close);
        }
        self.engine.idle.wake_all();
        self.stop_helpers();
    }

    /// The pool is closed: without threads of its own it needs no others either.
    fn stop_helpers(&self) {
        if self.headcount.reserved() == 0 {
            self.monitor.stop();
            self.timer.stop();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.engine.is_forked() {
            return;
        }
        self.timer.stop();
        // Without threads only husks are queued, unless a thread was lost in a way nobody foresaw.
        while let Some(entry) = self.engine.queues.take_any() {
            give_up(entry, || Reason::Shutdown);
        }
        while !self.engine.counts().balanced() {
            thread::yield_now();
        }
    }
}
