//! What the handle and the pump of an `Unblock` share, and how a pump gets a thread.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::core::Core;
use super::inbound::Inbound;
use super::outbound::Outbound;
use super::pump;
use super::step::{Able, Place, Seeking};
use super::wakers::{Side, Wakers};
use crate::error::TaskError;
use crate::panic::{catch_panic, report_panic};
use crate::pool::Pool;
use crate::sync::atomic::{AtomicBool, Ordering, StaticU64};
use crate::sync::{Mutex, MutexGuard, now, thread};
use crate::sys::fork;
use crate::task::{OnShutdown, Task};
use crate::trace::event;

/// How an `Unblock` was set up.
pub(crate) struct Setup {
    /// The pool to use, if not the global one.
    pub(crate) pool: Option<Pool>,
    /// Closing the value takes no time worth a trip to the pool.
    pub(crate) drops_in_place: bool,
    /// Whatever is written is flushed, without being asked to.
    pub(crate) flushes: bool,
    /// How many items are taken from an iterator before the first of them is given out.
    pub(crate) batch: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Setup { pool: None, drops_in_place: false, flushes: false, batch: 1 }
    }
}

/// For how long a caller that has to wait for a pump at work comes again at once, instead of
/// waiting to be woken: in full flow the pump is done before the caller could fall asleep and be
/// woken. Where that is not so it soon comes for less long, and now and then tries again.
pub(super) struct Eagerness {
    most: Duration,
    /// When it began to come again and again.
    since: Option<Instant>,
    /// How often it was in vain.
    vain: u8,
    /// What the pump had told when the caller last looked.
    news: u64,
}

impl Eagerness {
    /// About as long as it takes to be woken on a machine that is slow in that.
    const MOST: Duration = Duration::from_micros(if cfg!(sidestep_loom) { 0 } else { 50 });
    const LEAST: Duration = Duration::from_micros(if cfg!(sidestep_loom) { 0 } else { 1 });
    /// After so many times in vain it tries again.
    const TRIES: u8 = 32;

    pub(super) const fn new() -> Self {
        Eagerness { most: Self::MOST, since: None, vain: 0, news: 0 }
    }

    /// Of a caller who waits to be woken.
    pub(super) const fn none() -> Self {
        Eagerness { most: Duration::ZERO, since: None, vain: 0, news: 0 }
    }

    /// Whether the caller is coming again and again, and nothing has happened since.
    fn is_waiting_for(&self, news: u64) -> bool {
        self.since.is_some() && self.news == news
    }

    /// Whether the caller may come again at once.
    fn spend(&mut self) -> bool {
        if self.most.is_zero() {
            return false;
        }
        let now = now();
        let since = *self.since.get_or_insert(now);
        now.saturating_duration_since(since) < self.most
    }

    /// The caller waits to be woken.
    fn give_up(&mut self) {
        if self.since.take().is_some() {
            self.vain = (self.vain + 1) % Self::TRIES;
            self.most = if self.vain == 0 { Self::MOST } else { (self.most / 2).max(Self::LEAST) };
        }
    }

    fn succeeded(&mut self) {
        if self.since.take().is_some() {
            self.most = (self.most * 2).min(Self::MOST);
        }
    }
}

/// The state behind its lock.
pub(super) struct Shared<T> {
    core: Mutex<Core<T>>,
    /// Counts what the handle asks while the pump is out, so that a pump that lingers sees it: a
    /// hint, on which nothing rests.
    bell: StaticU64,
    /// Counts what the pump has done, so that a handle that is eager sees it: a hint too.
    news: StaticU64,
    /// What was read ahead is not what the value has any more.
    pub(super) stale: AtomicBool,
    pub(super) setup: Setup,
    generation: fork::Generation,
}

impl<T: Send + 'static> Shared<T> {
    pub(super) fn new(
        value: T,
        able: Able<T>,
        reads_ahead: bool,
        capacity: usize,
        setup: Setup,
    ) -> Arc<Self> {
        fork::watch();
        Arc::new(Shared {
            core: Mutex::new(Core {
                place: Place::Home(value),
                able,
                reads_ahead,
                probed: false,
                inbound: Inbound::new(capacity),
                outbound: Outbound::new(capacity),
                items: None,
                seeking: Seeking::No,
                rewind: false,
                rewinding: false,
                call: None,
                settle: false,
                held: None,
                untold: None,
                refusal: None,
                rested: None,
                abandoned: false,
                wakers: Wakers::default(),
            }),
            bell: StaticU64::new(0),
            news: StaticU64::new(0),
            stale: AtomicBool::new(false),
            setup,
            generation: fork::Generation::current(),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Core<T>> {
        self.core.lock()
    }

    /// This is the child of a fork: the lock may be held for ever, and what was in progress stayed
    /// with the parent.
    pub(super) fn is_forked(&self) -> bool {
        self.generation.is_past()
    }

    /// The pump has done something.
    pub(super) fn announce(&self) {
        self.news.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn bell(&self) -> u64 {
        self.bell.load(Ordering::Relaxed)
    }

    /// Runs `attempt` under the lock until it gives an answer or the caller's waker waits; then a
    /// pump is on its way if there is anything for it to do.
    pub(super) fn poll<R>(
        self: &Arc<Self>,
        side: Side,
        eagerness: &mut Eagerness,
        context: &mut Context<'_>,
        mut attempt: impl FnMut(&mut Core<T>) -> Option<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if self.is_forked() {
            return Poll::Ready(Err(io::Error::other(
                "this is the child of a fork: the value stayed with the parent",
            )));
        }
        let news = self.news.load(Ordering::Relaxed);
        if eagerness.is_waiting_for(news) && eagerness.spend() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut core = self.lock();
        let mut answer = attempt(&mut core);
        if answer.is_some() {
            eagerness.succeeded();
            self.release(core);
        } else if matches!(core.place, Place::Out | Place::Watched(_)) && eagerness.spend() {
            eagerness.news = news;
            self.release(core);
            context.waker().wake_by_ref();
        } else if !core.wakers.has(side, context.waker()) {
            drop(core);
            // A waker is foreign code.
            let waker = context.waker().clone();
            core = self.lock();
            answer = attempt(&mut core);
            eagerness.give_up();
            let unused = if answer.is_none() { core.wakers.add(side, waker) } else { Some(waker) };
            self.release(core);
            drop(unused);
        } else {
            self.release(core);
        }
        answer.map_or(Poll::Pending, Poll::Ready)
    }

    /// Releases the lock, and sees to it that what is to be done will be.
    pub(super) fn release(self: &Arc<Self>, mut core: MutexGuard<'_, Core<T>>) {
        if core.wants_pump() {
            core.place = match std::mem::replace(&mut core.place, Place::Out) {
                Place::Home(value) => Place::Queued(value),
                other => other,
            };
            let laden = core.is_laden();
            drop(core);
            self.start(laden);
        } else if matches!(core.place, Place::Out | Place::Watched(_)) {
            drop(core);
            self.bell.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn pool(&self) -> &Pool {
        self.setup.pool.as_ref().unwrap_or_else(|| Pool::global())
    }

    /// The models of this module are about what goes on between handle and pump: any thread will do
    /// for the pump.
    #[cfg(sidestep_loom)]
    pub(super) fn start(self: &Arc<Self>, _: bool) {
        let pumped = Arc::clone(self);
        thread::spawn(move || pump::run(&pumped, false));
    }

    /// Asks the pool for a thread. A pump that writes is not dropped by a shutdown that discards
    /// what is queued.
    #[cfg(not(sidestep_loom))]
    pub(super) fn start(self: &Arc<Self>, laden: bool) {
        let pumped = Arc::clone(self);
        let pump = move || pump::run(&pumped, true);
        self.watch(match laden {
            true => self.pool().options().on_shutdown(OnShutdown::AlwaysRun).spawn(pump),
            false => self.pool().spawn(pump),
        });
    }

    /// Lets what is queued on the pool go first. False if the pool takes nothing: then the pump
    /// goes on, so that a shutdown waits for its writes.
    pub(super) fn start_again(self: &Arc<Self>, laden: bool) -> bool {
        let pumped = Arc::clone(self);
        let pump = move || pump::run(&pumped, true);
        let task = match laden {
            true => self.pool().options().on_shutdown(OnShutdown::AlwaysRun).try_spawn(pump),
            false => self.pool().try_spawn(pump),
        };
        task.map(|task| self.watch(task)).is_ok()
    }

    /// Learns of it if the pool never runs the pump.
    fn watch(self: &Arc<Self>, task: Task<()>) {
        let refused = Arc::clone(self);
        task.on_complete(move |end| {
            if let Err(error) = end {
                refused.refused(error);
            }
        });
    }

    /// The pool has not run the pump.
    fn refused(self: &Arc<Self>, error: TaskError) {
        if self.is_forked() {
            return;
        }
        let mut core = self.lock();
        if matches!(core.place, Place::Out) && error.is_panic() {
            // The pump itself has panicked, and the value went with it.
            let left = core.poison(error.to_string(), Box::new(()));
            drop(core);
            left.wakes.wake();
            return catch_panic("a destructor", || drop(left.call)).unwrap_or_default();
        }
        if !matches!(core.place, Place::Queued(_)) {
            return;
        }
        if core.is_laden() {
            drop(core);
            return self.start_apart();
        }
        let abandoned = core.abandoned;
        let value = match std::mem::replace(&mut core.place, Place::Lent) {
            Place::Queued(value) if abandoned => Some(value),
            Place::Queued(value) => {
                core.place = Place::Home(value);
                None
            }
            other => {
                core.place = other;
                None
            }
        };
        core.refusal = Some(error.into());
        core.inbound.forget_demand();
        let wakes = core.wakers.take(Side::all());
        drop(core);
        wakes.wake();
        catch_panic("a destructor", || drop(value));
    }

    /// The pool has ended, and there are bytes to write: on a thread of their own.
    fn start_apart(self: &Arc<Self>) {
        let pumped = Arc::clone(self);
        let builder = thread::Builder::new().name("sidestep-flush".to_owned());
        if let Err(error) = builder.spawn(move || pump::run(&pumped, false)) {
            event!(WARN, %error, "there is no thread to write on: writes in place");
            let _ = error;
            pump::run(self, false);
        }
    }

    /// The handle is gone: what was accepted is written, then the value is dropped, all on the
    /// pool.
    pub(super) fn abandon(self: &Arc<Self>) {
        let mut core = self.lock();
        core.abandoned = true;
        let call = core.call.take();
        let items = core.items.take();
        // By what was read ahead the value is moved back before it is written to.
        let read_error = if core.rewind { None } else { core.inbound.forget() };
        let read_error = read_error.or(core.untold.take());
        // One more attempt, since nobody can make one any more.
        let held = core.held.take();
        let payload = match &mut core.place {
            Place::Poisoned(poison) => poison.payload.take(),
            _ => None,
        };
        let wakes = core.wakers.take(Side::all());
        // A pump that was asked for and has not begun will find nothing to do.
        let at_rest = matches!(core.place, Place::Home(_) | Place::Queued(_) | Place::Watched(_));
        if at_rest && !core.is_laden() {
            let place = std::mem::replace(&mut core.place, Place::Lent);
            drop(core);
            self.drop_value(place);
        } else {
            self.release(core);
        }
        if let Some(error) = held.as_ref().or(read_error.as_ref()) {
            event!(WARN, %error, "an Unblock was dropped before its error was seen");
            let _ = error;
        }
        if let Some(payload) = payload {
            report_panic("a value in an Unblock", payload);
        }
        catch_panic("a destructor", || drop((held, read_error)));
        drop((call, items, wakes));
    }

    /// Drops the value where that may take its time.
    fn drop_value(&self, place: Place<T>) {
        let (Place::Home(value) | Place::Queued(value) | Place::Watched(value)) = place else { return };
        // The models have no pool.
        if self.setup.drops_in_place || !std::mem::needs_drop::<T>() || cfg!(sidestep_loom) {
            catch_panic("a destructor", || drop(value));
        } else {
            self.pool().spawn(move || drop(value)).detach();
        }
    }
}
