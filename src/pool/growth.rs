//! When a pool gets more threads: a pure function from what the monitor has seen to what it should do.
//!
//! The length of the queue cannot tell 100,000 tiny tasks from 8 blocked threads. Looking at each thread can: it is
//! *blocked* if it has been inside one and the same task for a whole tick and is asleep. Then keep `core` threads
//! that are not blocked, and where nearly all are blocked multiply instead of adding one by one.
//!
//! - **E1** Only while something is queued and nobody is idle or on the way. Everything else is the wake-ups' affair.
//! - **E2** *Hard*: at least three quarters of the active threads are blocked: four times as many threads.
//! - **E3** *Replace*: fewer than `core` active threads are not blocked: make up for the difference.
//! - **E4** *Soft*: for four ticks tasks complete, yet the threads sleep half of the time and use less CPU than
//!   three quarters of `core`: twice as many threads. This must pay, by a tenth more completions per second, or it is
//!   not tried again for a while: threads that queue for one lock look the same and do not pay.
//! - **E5** *Liveness*: nothing has completed for 100 ms: one thread more, per 100 ms up to twice what the pool is
//!   entitled to, then per 500 ms. This is for waits that burn CPU.
//! - **E6** A tick that took far longer than asked says that the machine is short of CPU, not that threads block.
//!
//! Antecedents: counting what can run (Linux' workqueues, libdispatch), declared blocking (Chromium, Java's
//! fork-join pool), the starvation rule and the measured pay-off (.NET's gate thread and hill climbing).

use std::time::Duration;

/// How long the monitor sleeps between two looks when nothing else says.
pub(super) const TICK: Duration = Duration::from_micros(500);
/// After a step of growth, until the effect shows.
const SHORT_TICK: Duration = Duration::from_micros(250);
/// While nothing calls for growth the ticks get longer, up to this.
const LONG_TICK: Duration = Duration::from_millis(4);
/// A tick may take this much longer than twice the time asked for (E6).
const OVERSLEPT: Duration = Duration::from_millis(1);
/// This many looks at an empty queue disarm the monitor.
const QUIET_LOOKS: u32 = 8;
/// The looks in a row that E4 wants to see, before and after its step.
const SOFT_LOOKS: u32 = 4;
const FIRST_FREEZE: Duration = Duration::from_millis(100);
const LAST_FREEZE: Duration = Duration::from_secs(10);
const LIVENESS: Duration = Duration::from_millis(100);
const SLOW_LIVENESS: Duration = Duration::from_millis(500);

/// The pool's limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) core: usize,
    pub(super) max: usize,
}

/// What the monitor has seen since its last look.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    pub(super) elapsed: Duration,
    /// Tasks that wait.
    pub(super) queued: u64,
    /// Tasks that have ended since the last look.
    pub(super) completed: u64,
    /// Threads, without those that are starting or leaving.
    pub(super) threads: usize,
    pub(super) starting: usize,
    pub(super) idle: usize,
    /// Threads that have declared that they block.
    pub(super) declared: usize,
    /// Threads, not declared ones, found blocked.
    pub(super) blocked: usize,
    /// Whether the evidence for `blocked` is more than the passing of time.
    pub(super) certain: bool,
    /// Wake-up tokens are out, and nothing has moved since the last look.
    pub(super) stuck: bool,
    /// The CPUs that the threads use and the share of them that is asleep, where the system tells.
    pub(super) usage: Option<Usage>,
    /// The system has just refused a thread.
    pub(super) cooling: bool,
}

/// How busy the active threads are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    pub(super) cpus: f64,
    pub(super) asleep: f64,
}

/// Why threads are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Hard,
    Replace,
    Soft,
    Liveness,
}

/// What the monitor is to do.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Look again after the state's tick.
    Wait,
    /// Wake an idle thread, whatever tokens are out.
    Wake,
    /// Add threads.
    Grow(usize, Cause),
    /// There is nothing to watch.
    Disarm,
}

/// What the policy remembers from look to look.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    /// How long to sleep before the next look.
    pub(super) tick: Duration,
    quiet: u32,
    /// Since the last completion or step of E5.
    barren: Duration,
    soft: Soft,
}

#[derive(Clone, Copy, Debug)]
struct Soft {
    looks: u32,
    time: Duration,
    completed: u64,
    /// Completions per second before the step that is being judged.
    trial: Option<f64>,
    frozen: Duration,
    freeze: Duration,
}

impl State {
    pub(super) fn new() -> Self {
        State {
            tick: SHORT_TICK,
            quiet: 0,
            barren: Duration::ZERO,
            soft: Soft {
                looks: 0,
                time: Duration::ZERO,
                completed: 0,
                trial: None,
                frozen: Duration::ZERO,
                freeze: FIRST_FREEZE,
            },
        }
    }

    fn wait(mut self, tick: Duration) -> (Self, Verdict) {
        self.tick = tick;
        (self, Verdict::Wait)
    }

    fn back_off(self) -> (Self, Verdict) {
        let longer = (self.tick.max(SHORT_TICK) * 2).min(LONG_TICK);
        self.wait(longer)
    }
}

/// The next state and what to do.
pub(super) fn decide(limits: Limits, mut state: State, sample: &Sample) -> (State, Verdict) {
    state.soft.frozen = state.soft.frozen.saturating_sub(sample.elapsed);
    state.barren = if sample.completed > 0 { Duration::ZERO } else { state.barren + sample.elapsed };
    if sample.queued == 0 {
        return quiet(state);
    }
    state.quiet = 0;
    if sample.elapsed > 2 * state.tick + OVERSLEPT {
        return state.wait(TICK); // E6
    }
    if sample.idle > 0 {
        let (state, wait) = state.wait(TICK);
        return (state, if sample.stuck { Verdict::Wake } else { wait });
    }
    if sample.cooling || sample.threads + sample.starting >= limits.max {
        return state.back_off();
    }
    if sample.starting > sample.threads / 4 {
        return state.wait(SHORT_TICK);
    }
    let active = sample.threads.saturating_sub(sample.declared);
    let blocked = sample.blocked.min(active);
    let Some((wanted, cause)) = wanted(limits, &mut state, sample, active, blocked) else {
        return if blocked > 0 || state.soft.looks > 0 { state.wait(TICK) } else { state.back_off() };
    };
    let room = limits.max - sample.threads - sample.starting;
    let step = wanted.min(room).min(usize::try_from(sample.queued).unwrap_or(usize::MAX));
    state.tick = SHORT_TICK;
    (state, Verdict::Grow(step, cause))
}

fn quiet(mut state: State) -> (State, Verdict) {
    state.quiet += 1;
    state.soft.looks = 0;
    if state.quiet < QUIET_LOOKS {
        return state.back_off();
    }
    (state, Verdict::Disarm)
}

/// How many threads the rules ask for, regardless of room and queue.
fn wanted(
    limits: Limits,
    state: &mut State,
    sample: &Sample,
    active: usize,
    blocked: usize,
) -> Option<(usize, Cause)> {
    let live = active - blocked;
    let soft = soft(limits, &mut state.soft, sample, active);
    // Time alone is weak evidence: it may double the core threads, no more.
    let trusted = sample.certain || sample.threads < 2 * limits.core;
    if trusted && active > 0 && 4 * blocked >= 3 * active {
        return Some((3 * sample.threads, Cause::Hard)); // E2
    }
    if trusted && live < limits.core {
        return Some((limits.core - live, Cause::Replace)); // E3
    }
    if soft {
        return Some((sample.threads, Cause::Soft)); // E4
    }
    let entitled = limits.core + sample.declared;
    let patience = if sample.threads < 2 * entitled { LIVENESS } else { SLOW_LIVENESS };
    if state.barren >= patience {
        state.barren = Duration::ZERO;
        return Some((1, Cause::Liveness)); // E5
    }
    None
}

/// Whether E4 asks for a step.
fn soft(limits: Limits, soft: &mut Soft, sample: &Sample, active: usize) -> bool {
    let drowsy = sample.usage.is_some_and(|usage| {
        usage.asleep >= 0.5 && usage.cpus < 0.75 * limits.core.min(active).max(1) as f64
    });
    if !drowsy || sample.completed == 0 && soft.trial.is_none() {
        soft.looks = 0;
        soft.trial = None;
        return false;
    }
    if soft.looks == 0 {
        soft.time = Duration::ZERO;
        soft.completed = 0;
    }
    soft.looks += 1;
    soft.time += sample.elapsed;
    soft.completed += sample.completed;
    if soft.looks < SOFT_LOOKS {
        return false;
    }
    let rate = soft.completed as f64 / soft.time.as_secs_f64().max(f64::MIN_POSITIVE);
    soft.looks = 0;
    match soft.trial.take() {
        Some(before) if rate < 1.1 * before => {
            soft.frozen = soft.freeze;
            soft.freeze = (soft.freeze * 2).min(LAST_FREEZE);
            return false;
        }
        Some(_) => soft.freeze = FIRST_FREEZE,
        None => {}
    }
    if soft.frozen > Duration::ZERO {
        return false;
    }
    soft.trial = Some(rate);
    true
}

