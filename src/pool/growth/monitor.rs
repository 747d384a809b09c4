//! The thread that watches a pool while work waits and no thread is idle, and grows the pool.
//!
//! The pool starts the monitor when it first needs it; the monitor belongs to that pool alone and
//! counts in no limit. It sleeps without a deadline while disarmed.
//!
//! # Disarming loses nothing
//!
//! A submitter that finds no thread to wake has pushed, fenced, and then looks whether the monitor
//! is armed. The monitor disarms, fences, and then looks at the counts, in which a task is before
//! it is pushed. One of the two fences comes first: either the monitor sees the task and arms
//! itself again, or the submitter sees it disarmed and arms it.
//!
//! ORDERING: the fence in `disarm` pairs with the one in `Idle::notify`. `armed`, `has_thread`,
//! `leavers` and `stopped` are `SeqCst` and pair with themselves: the monitor's thread looks at
//! them before each sleep, and each change is followed by an unpark of that thread.

use std::sync::Arc;
use std::time::Duration;

use super::policy::{Cause, Limits, Verdict, decide};
use super::sample::{Sampler, View};
use super::stall::{Stall, report};
use super::state::State;
use crate::pool::inner::Inner;
use crate::pool::threads::{Backoff, start_many};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use crate::sync::{Parker, now};
use crate::trace::event;

/// The pauses between two looks whether a thread that has left is gone. Each is twice as long as
/// the one before; a thread that takes longer is left to the next that leaves.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// A pool's monitor, and what it has done.
#[derive(Debug)]
pub(in crate::pool) struct Growth {
    monitor: Monitor,
    steps: AtomicU64,
}

impl Growth {
    pub(in crate::pool) fn new() -> Self {
        Growth { monitor: Monitor::new(), steps: AtomicU64::new(0) }
    }

    pub(in crate::pool) fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// How often the monitor has added threads.
    pub(in crate::pool) fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    fn count_step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }
}

/// The switch of a pool's monitor.
#[derive(Debug)]
pub(in crate::pool) struct Monitor {
    armed: AtomicBool,
    stopped: AtomicBool,
    /// Whether there is a thread.
    has_thread: AtomicBool,
    /// Whether threads have left since the last look after them.
    leavers: AtomicBool,
    /// The pause after the system has refused the monitor's own thread. The pool's own backoff does
    /// not stop the monitor from starting: the monitor is what ends it.
    backoff: Backoff,
    parker: Arc<Parker>,
}

impl Monitor {
    pub(in crate::pool) fn new() -> Self {
        Monitor {
            armed: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            has_thread: AtomicBool::new(false),
            leavers: AtomicBool::new(false),
            backoff: Backoff::new(),
            parker: Arc::new(Parker::new()),
        }
    }

    /// Makes the monitor watch. The caller has fenced since it pushed.
    pub(in crate::pool) fn arm(&self, pool: &Inner) {
        if self.armed.load(Ordering::SeqCst) || self.armed.swap(true, Ordering::SeqCst) {
            return;
        }
        if self.has_thread.load(Ordering::SeqCst) || self.has_thread.swap(true, Ordering::SeqCst) {
            self.parker.unpark();
        } else if self.backoff.is_on() {
            self.stand_down();
            pool.call_reserves();
        } else if let Err(error) = start(pool) {
            self.backoff.begin(error);
            self.stand_down();
            pool.engine.growth_ended();
            pool.call_reserves();
        }
    }

    /// Whether the system has just refused the monitor's thread.
    pub(in crate::pool) fn is_refused(&self) -> bool {
        self.backoff.is_on()
    }

    /// There is no monitor thread: the next call of `arm` after the pause tries again.
    fn stand_down(&self) {
        self.has_thread.store(false, Ordering::SeqCst);
        self.armed.store(false, Ordering::SeqCst);
    }

    /// Ends the monitor's thread: the pool has no thread left to watch.
    pub(in crate::pool) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.parker.unpark();
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Sleeps until armed. False if the monitor is to end. Calls `look` when a thread is leaving,
    /// and while that returns true again, after pauses that grow.
    pub(in crate::pool) fn await_arming(&self, look: impl Fn() -> bool) -> bool {
        let mut pause = FIRST_PAUSE;
        while !self.is_stopped() {
            if self.armed.load(Ordering::SeqCst) {
                return true;
            }
            if self.leavers.swap(false, Ordering::SeqCst) {
                pause = FIRST_PAUSE;
            }
            let again = pause <= LAST_PAUSE && look();
            self.parker.park(again.then(|| now() + pause));
            if again {
                pause *= 2;
            }
        }
        false
    }

    /// A thread is leaving: the monitor, if there is one, is to join it.
    pub(in crate::pool) fn look_after_leavers(&self) {
        if self.has_thread.load(Ordering::SeqCst) && !self.leavers.swap(true, Ordering::SeqCst) {
            self.parker.unpark();
        }
    }

    /// Sleeps for a tick, unless woken.
    #[cfg(not(windows))]
    fn pause(&self, tick: Duration) {
        self.parker.park(Some(now() + tick));
    }

    /// Sleeps for a tick. The waits of Windows end with a tick of its clock, of up to 16 ms, but
    /// for those of a timer that is made for it, as this one is. So the end of a pool may wait for
    /// a tick, a few milliseconds at most.
    #[cfg(windows)]
    #[expect(clippy::disallowed_methods, reason = "this is no wait for anything")]
    fn pause(&self, tick: Duration) {
        std::thread::sleep(tick);
    }

    /// Disarms, unless `waiting` finds something queued afterwards.
    pub(in crate::pool) fn disarm(&self, waiting: impl FnOnce() -> bool) -> bool {
        self.armed.store(false, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if waiting() {
            self.armed.store(true, Ordering::SeqCst);
            return false;
        }
        true
    }
}

/// Starts the monitor's thread. Not under loom: the monitor depends on the clock, and under loom
/// time does not pass. Models look at the switch.
fn start(pool: &Inner) -> std::io::Result<()> {
    if cfg!(sidestep_loom) {
        return Ok(());
    }
    let Some(pool) = pool.owned() else { return Ok(()) };
    let name = format!("{}-monitor", pool.config.name);
    let joins = Arc::clone(pool.threads.joins());
    joins.start_helper(name, move || watch(&pool))
}

fn watch(pool: &Arc<Inner>) {
    let monitor = &pool.growth.monitor;
    let mut sampler = Sampler::of(pool.config.thread_states);
    sampler.reserve(pool.threads.max());
    let mut stall = Stall::default();
    let cpus = crate::sys::cpus::count();
    while monitor.await_arming(|| pool.threads.joins().look_after_leavers()) {
        let mut state = State::new();
        let mut last = now();
        sampler.start(view(pool));
        notify_if_drained(pool, &mut sampler);
        loop {
            monitor.pause(state.tick);
            if monitor.is_stopped() {
                return;
            }
            let now = now();
            let sample = sampler.look(view(pool), now - last);
            notify_if_drained(pool, &mut sampler);
            pool.look_at_reserves(now - last);
            last = now;
            let limits = Limits { core: pool.threads.core(), max: pool.threads.max(), cpus };
            let warn_after = pool.config.warn_after;
            if let Some(trouble) = stall.look(limits, &sample, warn_after, now) {
                report(&pool.engine.workers, warn_after.is_some(), &sample, trouble);
            }
            let verdict;
            (state, verdict) = decide(limits, state, &sample);
            match verdict {
                Verdict::Wait => {}
                Verdict::Wake => pool.force_wake(),
                Verdict::Grow(threads, cause) => {
                    if cause == Cause::Hard {
                        sampler.note_step();
                    }
                    grow(pool, threads, cause);
                }
                // Tombstones are no reason to stay: the counts leave them out.
                Verdict::Disarm if monitor.disarm(|| pool.has_work()) => break,
                Verdict::Disarm => {}
            }
        }
    }
}

/// A look may have moved tasks into the injector: a thread must look there before any user code (a
/// subscriber, a spawn handler) takes its time.
fn notify_if_drained(pool: &Inner, sampler: &mut Sampler) {
    if sampler.take_drained() {
        pool.notify();
    }
}

/// What the sampler sees of a pool.
pub(super) fn view(pool: &Inner) -> View<'_> {
    View { engine: &pool.engine, threads: &pool.threads }
}

/// Adds threads.
fn grow(pool: &Arc<Inner>, wanted: usize, cause: Cause) {
    let counts = pool.threads.counts();
    let granted = counts.reserve_many(wanted, pool.threads.max());
    if granted == 0 {
        return;
    }
    pool.engine.idle.add_starting(granted);
    pool.growth.count_step();
    event!(DEBUG, ?cause, threads = granted, total = counts.reserved(), "the pool grows");
    let _ = cause;
    pool.on_reserved();
    start_many(pool, granted);
}
