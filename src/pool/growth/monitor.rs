//! The thread that watches a pool while work waits and nobody is idle, and grows it.
//!
//! It is made when it is first needed and belongs to the pool alone; it counts in no limit. It
//! sleeps without a deadline while disarmed.
//!
//! # Disarming loses nothing
//!
//! A submitter that finds nobody to wake has pushed, fenced, and then looks whether the monitor is
//! armed. The monitor disarms, fences, and then looks at the counts, in which a task is before it
//! is pushed. One of the two fences comes first: either the monitor sees the task and arms itself
//! again, or the submitter sees it disarmed and arms it.
//!
//! ORDERING: the fence in `disarm` pairs with the one in `Idle::notify`. `armed`, `manned` and
//! `stopped` are `SeqCst` and pair with themselves: what is swapped to true is found true by the
//! thread, which looks before each sleep and is unparked after each change.

use std::sync::Arc;

use super::policy::{Cause, Limits, Verdict, decide};
use super::sample::Sampler;
use super::stall::{Stall, report};
use super::state::State;
use crate::pool::inner::Shared;
use crate::pool::threads::CoolDown;
use crate::pool::threads::start_tree;
use crate::sync::atomic::{AtomicBool, Ordering, fence};
use crate::sync::{Parker, now, thread};
use crate::trace::event;

/// The switch of a pool's monitor.
#[derive(Debug)]
pub(in crate::pool) struct Monitor {
    armed: AtomicBool,
    stopped: AtomicBool,
    /// Whether there is a thread.
    manned: AtomicBool,
    /// After the system has refused the monitor's own thread. The pool's pauses are no reason not
    /// to have a monitor: it is what ends them.
    pause: CoolDown,
    parker: Arc<Parker>,
}

impl Monitor {
    pub(in crate::pool) fn new() -> Self {
        Monitor {
            armed: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            manned: AtomicBool::new(false),
            pause: CoolDown::new(),
            parker: Arc::new(Parker::new()),
        }
    }

    /// Has the monitor watch. The caller has fenced since it pushed.
    pub(in crate::pool) fn arm(&self, shared: &Shared) {
        if self.armed.load(Ordering::SeqCst) || self.armed.swap(true, Ordering::SeqCst) {
            return;
        }
        if self.manned.load(Ordering::SeqCst) || self.manned.swap(true, Ordering::SeqCst) {
            self.parker.unpark();
        } else if self.pause.is_on() {
            self.stand_down();
        } else if let Err(error) = man(shared) {
            self.pause.begin(error);
            self.stand_down();
            shared.growth_ended();
        }
    }

    /// Whether the system has just refused the monitor's thread.
    pub(in crate::pool) fn is_refused(&self) -> bool {
        self.pause.is_on()
    }

    /// There is no thread: whoever arms next, once the pause has passed, tries again.
    fn stand_down(&self) {
        self.manned.store(false, Ordering::SeqCst);
        self.armed.store(false, Ordering::SeqCst);
    }

    /// Ends the thread: the pool has none left that could be watched.
    pub(in crate::pool) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.parker.unpark();
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Sleeps until armed. False if the monitor is to end.
    pub(in crate::pool) fn await_arming(&self) -> bool {
        while !self.is_stopped() {
            if self.armed.load(Ordering::SeqCst) {
                return true;
            }
            self.parker.park(None);
        }
        false
    }

    /// Stands down, unless `waiting` finds something queued afterwards.
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

/// Starts the monitor's thread. Not under loom: it lives by the clock, and there time does not
/// pass. Models look at the switch.
fn man(shared: &Shared) -> std::io::Result<()> {
    if cfg!(sidestep_loom) {
        return Ok(());
    }
    let Some(shared) = shared.owned() else { return Ok(()) };
    let name = format!("{}-monitor", shared.config.name);
    thread::Builder::new().name(name).spawn(move || watch(&shared)).map(drop)
}

fn watch(shared: &Arc<Shared>) {
    let monitor = &shared.monitor;
    let mut sampler = Sampler::of(&shared.config);
    let mut stall = Stall::default();
    let cpus = num_cpus::get();
    while monitor.await_arming() {
        let mut state = State::new();
        let mut last = now();
        sampler.start(shared);
        loop {
            monitor.parker.park(Some(now() + state.tick));
            if monitor.is_stopped() {
                return;
            }
            let now = now();
            let sample = sampler.look(shared, now - last);
            last = now;
            let limits = Limits { core: shared.core(), max: shared.max(), cpus };
            if let Some(trouble) = stall.look(limits, &sample, shared.config.warn_after, now) {
                report(shared, &sample, trouble);
            }
            let verdict;
            (state, verdict) = decide(limits, state, &sample);
            match verdict {
                Verdict::Wait => {}
                Verdict::Wake => shared.wake_overriding(),
                Verdict::Grow(threads, cause) => {
                    if cause == Cause::Hard {
                        sampler.note_step();
                    }
                    grow(shared, threads, cause);
                }
                // Husks are no reason to stay: the counts leave them out.
                Verdict::Disarm if monitor.disarm(|| shared.has_work()) => break,
                Verdict::Disarm => {}
            }
        }
    }
}

/// Adds threads.
fn grow(shared: &Arc<Shared>, wanted: usize, cause: Cause) {
    let granted = shared.headcount.reserve_many(wanted, shared.max());
    if granted == 0 {
        return;
    }
    shared.engine.idle.add_starting(granted);
    shared.growth_steps.fetch_add(1, Ordering::Relaxed);
    event!(DEBUG, ?cause, threads = granted, total = shared.headcount.reserved(), "the pool grows");
    let _ = cause;
    shared.reserved_more();
    start_tree(shared, granted);
}
