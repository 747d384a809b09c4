//! When a pool gets more threads: a pure function from what the monitor has seen to what it should do.
//!
//! The length of the queue cannot tell 100,000 tiny tasks from 8 blocked threads. Looking at each thread can: it is
//! *blocked* if it has been inside one and the same task for a whole tick and is asleep. Then keep `core` threads
//! that are not blocked, and where nearly all are blocked multiply instead of adding one by one.
//!
//! - **E1** Only while something is queued and nobody is idle or on the way. Everything else is the wake-ups' affair.
//! - **E2** *Hard*: all active threads are blocked, or at least three quarters of them are and nothing has completed for
//!   10 ms: four times as many threads.
//! - **E3** *Replace*: fewer than `core` active threads are not blocked: make up for the difference.
//! - **E4** *Soft*: for four looks tasks complete, yet the threads sleep half of the time and use less CPU than
//!   three quarters of `core`: twice as many threads.
//! - **E5** *Liveness*: nothing has completed for 100 ms: one thread more, per 100 ms up to twice what the pool is
//!   entitled to, then per 500 ms. This is for waits that burn CPU.
//! - **E6** A tick that took far longer than asked says that the machine is short of CPU, not that threads block; no
//!   more of it counts than a good tick takes. Where 16 in a row did, the clock is coarse, or nothing better is to be had:
//!   then the shortest of them is what a good tick takes. Short of CPU is also a machine where a thread is ready to run and
//!   gets none: then only E5 adds threads, and four times as slowly.
//! - **E7** Steps of E2 to E4 must pay: at least half of what they would bring if all threads waited for something else than
//!   each other, over twice the time that a task stays with a thread (twice the threads: half again as many completions
//!   per second). While tasks complete there is one such step at a time, which doubles the threads at most; if it does not
//!   pay there is no other for a while, the next ones are small until they pay, and a lull in the completions must last
//!   for longer until it counts. Threads that queue
//!   for one lock look like threads that wait for a disk; only the pay-off tells them apart.
//! - **E8** *Outside*: threads that sleep for a timer, a peer or a child, and not for what may be another thread, are in
//!   nobody's way. Where most of the blocked ones do, E2 needs neither all of them nor a lull, and E6 and E7 are waived: the
//!   step ends what was on trial.
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
/// After so many in a row that took longer, that is what ticks take here.
const LATE_LOOKS: u32 = 16;
/// This many looks at an empty queue disarm the monitor.
const QUIET_LOOKS: u32 = 8;
/// The looks in a row that E4 and E7 want to see.
const STEADY_LOOKS: u32 = 4;
/// Completions have ceased when there has been none for so long,
const LULL: Duration = Duration::from_millis(1);
/// or for so long where more threads have been found not to pay.
const LONG_LULL: Duration = Duration::from_millis(10);
/// The part of the ideal gain that a step must bring under E7.
const PAY_OFF: f64 = 0.5;
const LEAST_BOLDNESS: f64 = 1.0 / 16.0;
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
    /// Most of the blocked ones wait for a timer, a peer or a child.
    pub(super) outside: bool,
    /// A thread is ready to run and has had next to no CPU: one that has been in one task for as long, or one that searches
    /// while nothing moves.
    pub(super) starved: bool,
    /// Whether the evidence for `blocked` is more than the passing of time.
    pub(super) certain: bool,
    /// Threads that hold a searching token: they will look into the queues as soon as they have a CPU.
    pub(super) searching: usize,
    /// Threads that hold a token inside a waker or a hook: they will look when that returns.
    pub(super) delivering: usize,
    /// Something has been queued for two looks, and nothing has moved.
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
    /// Ticks in a row that took too long, and the shortest of them (E6).
    late: (u32, Duration),
    quiet: u32,
    /// Since the last completion or step of E5.
    barren: Duration,
    /// What has completed since the last step or lull.
    flow: Flow,
    /// Completions per second before the lull.
    before_lull: Option<f64>,
    /// Looks in a row to which the threads seemed drowsy (E4).
    drowsy: u32,
    /// The step that is being judged (E7).
    trial: Option<Trial>,
    frozen: Duration,
    freeze: Duration,
    /// How large a step may be while tasks complete, in parts of the threads there are: less after each step that did not
    /// pay, more after each that did.
    boldness: f64,
}

/// Completions over time.
#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    looks: u32,
    time: Duration,
    completed: u64,
}

impl Flow {
    /// Begins with the first completion.
    fn add(&mut self, sample: &Sample) {
        if sample.completed > 0 || self.completed > 0 {
            self.looks += 1;
            self.time += sample.elapsed;
            self.completed += sample.completed;
        }
    }

    fn per_second(&self) -> f64 {
        self.completed as f64 / self.time.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// A step whose pay-off is not known yet.
#[derive(Clone, Copy, Debug)]
struct Trial {
    /// The completions per second that would pay.
    target: f64,
    after: Flow,
    /// How long to watch.
    length: Duration,
}

impl State {
    pub(super) fn new() -> Self {
        State {
            tick: SHORT_TICK,
            late: (0, Duration::MAX),
            quiet: 0,
            barren: Duration::ZERO,
            flow: Flow::default(),
            before_lull: None,
            drowsy: 0,
            trial: None,
            frozen: Duration::ZERO,
            freeze: FIRST_FREEZE,
            boldness: 1.0,
        }
    }

    /// Takes in what happened since the last look, whatever is decided about it.
    fn observe(&mut self, limits: Limits, sample: &Sample) {
        self.frozen = self.frozen.saturating_sub(sample.elapsed);
        self.count_late(sample.elapsed);
        let counted = sample.elapsed.min(self.longest_good_tick()); // E6
        let counted = if sample.starved { counted / 4 } else { counted };
        self.flow.add(sample);
        self.barren = if sample.completed > 0 { Duration::ZERO } else { self.barren + counted };
        if self.flow.completed > 0 && !self.is_flowing() {
            self.before_lull = Some(self.flow.per_second());
            self.flow = Flow::default();
        }
        self.drowsy = if sample.is_drowsy(limits) { self.drowsy + 1 } else { 0 };
        if let Some(trial) = self.trial.as_mut().filter(|_| sample.starting == 0) {
            trial.after.add(sample);
            self.judge();
        }
    }

    fn count_late(&mut self, elapsed: Duration) {
        let good = elapsed <= 2 * self.tick + OVERSLEPT;
        let (late, shortest) = self.late;
        self.late = if good { (0, Duration::MAX) } else { (late.saturating_add(1), shortest.min(elapsed)) };
    }

    /// How long a tick may take (E6).
    fn longest_good_tick(&self) -> Duration {
        let (late, shortest) = self.late;
        let usual = if late >= LATE_LOOKS { shortest } else { self.tick };
        usual.saturating_mul(2).saturating_add(OVERSLEPT)
    }

    /// Whether tasks have been completing until now.
    fn is_flowing(&self) -> bool {
        let lull = if self.boldness < 1.0 { LONG_LULL } else { LULL };
        self.flow.completed > 0 && self.barren < lull
    }

    /// Ends a trial that has been watched for long enough (E7).
    fn judge(&mut self) {
        let over = |trial: &mut Trial| trial.after.looks >= STEADY_LOOKS && trial.after.time >= trial.length;
        let Some(trial) = self.trial.take_if(over) else { return };
        self.flow = trial.after;
        if trial.after.per_second() < trial.target {
            self.frozen = self.freeze;
            self.freeze = (self.freeze * 2).min(LAST_FREEZE);
            self.boldness = (self.boldness / 4.0).max(LEAST_BOLDNESS);
        } else {
            self.freeze = (self.freeze / 2).max(FIRST_FREEZE);
            self.boldness = (self.boldness * 2.0).min(1.0);
        }
    }

    /// How large a step that E7 governs may be now; none while another is judged or has just failed.
    fn begin_trial(&mut self, wanted: usize, sample: &Sample) -> Option<usize> {
        if !self.is_flowing() {
            // Nothing completes: there is no time to lose. What it brings shows when something does again.
            let before = self.before_lull.filter(|_| self.trial.is_none());
            self.trial = before.map(|before| Trial::new(before, wanted, sample)).or(self.trial);
            return Some(wanted);
        }
        if self.trial.is_some() || self.frozen > Duration::ZERO || self.flow.looks < STEADY_LOOKS {
            return None;
        }
        let wanted = wanted.min((self.boldness * sample.threads as f64).ceil() as usize);
        self.trial = Some(Trial::new(self.flow.per_second(), wanted, sample));
        Some(wanted)
    }

    /// What completed until now says nothing about what will (E8).
    fn forget_flow(&mut self) {
        self.trial = None;
        self.flow = Flow::default();
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

impl Trial {
    /// A step of `more` threads from the sample's, which have brought `before` completions per second.
    fn new(before: f64, more: usize, sample: &Sample) -> Self {
        let threads = sample.threads.max(1) as f64;
        let target = before * (1.0 + PAY_OFF * more as f64 / threads);
        let stay = Duration::try_from_secs_f64(threads / before).unwrap_or(LAST_FREEZE);
        Trial { target, after: Flow::default(), length: (2 * stay).min(LAST_FREEZE) }
    }
}

impl Sample {
    /// Threads that have not declared that they block.
    fn active(&self) -> usize {
        self.threads.saturating_sub(self.declared)
    }

    /// Whether tasks complete although the threads sleep a good deal (E4).
    fn is_drowsy(&self, limits: Limits) -> bool {
        let enough = 0.75 * limits.core.min(self.active()).max(1) as f64;
        self.completed > 0 && self.usage.is_some_and(|usage| usage.asleep >= 0.5 && usage.cpus < enough)
    }
}

/// The next state and what to do.
pub(super) fn decide(limits: Limits, mut state: State, sample: &Sample) -> (State, Verdict) {
    state.observe(limits, sample);
    if sample.queued == 0 {
        return quiet(state);
    }
    state.quiet = 0;
    if sample.elapsed > state.longest_good_tick() && !sample.outside {
        return state.wait(TICK); // E6
    }
    if sample.idle > 0 {
        state.tick = TICK;
        return (state, if sample.stuck { Verdict::Wake } else { Verdict::Wait });
    }
    // A thread that searches waits for nothing but a CPU and is as good as there; one asleep in a waker is not.
    let delivering = sample.delivering > 0 && !(sample.stuck && sample.blocked > 0);
    if (sample.searching > 0 || delivering) && state.barren < LIVENESS {
        return state.wait(TICK);
    }
    if sample.cooling || sample.threads + sample.starting >= limits.max {
        return state.back_off();
    }
    if sample.starting > sample.threads / 4 {
        return state.wait(SHORT_TICK);
    }
    let Some((wanted, cause)) = wanted(limits, &mut state, sample) else {
        let frozen = state.frozen > Duration::ZERO && state.is_flowing();
        let watching = sample.blocked > 0 || state.drowsy > 0 || state.trial.is_some();
        return if watching && !frozen { state.wait(TICK) } else { state.back_off() };
    };
    let room = limits.max - sample.threads - sample.starting;
    let step = wanted.min(room).min(usize::try_from(sample.queued).unwrap_or(usize::MAX));
    state.tick = SHORT_TICK;
    (state, Verdict::Grow(step, cause))
}

fn quiet(mut state: State) -> (State, Verdict) {
    state.quiet += 1;
    state.trial = None;
    if state.quiet < QUIET_LOOKS {
        return state.back_off();
    }
    (state, Verdict::Disarm)
}

/// How many threads the rules ask for, regardless of room and queue.
fn wanted(limits: Limits, state: &mut State, sample: &Sample) -> Option<(usize, Cause)> {
    let active = sample.active();
    let blocked = sample.blocked.min(active);
    let live = active - blocked;
    // Time alone is weak evidence: it may double the core threads, no more.
    let trusted = sample.certain || sample.threads < 2 * limits.core;
    let hopeless = blocked == active || state.barren >= LONG_LULL || sample.outside; // E8
    let step = if trusted && active > 0 && 4 * blocked >= 3 * active && hopeless {
        Some((3 * sample.threads, Cause::Hard)) // E2
    } else if trusted && live < limits.core {
        Some((limits.core - live, Cause::Replace)) // E3
    } else if state.drowsy >= STEADY_LOOKS {
        Some((sample.threads, Cause::Soft)) // E4
    } else {
        None
    };
    let step = step.filter(|_| !sample.starved || sample.outside).and_then(|(wanted, cause)| {
        // Up to core there is nothing to prove, nor where threads cannot be in each other's way (E8).
        let proven = sample.threads < limits.core || sample.outside;
        let granted = if proven { Some(wanted) } else { state.begin_trial(wanted, sample) };
        if sample.outside {
            state.forget_flow();
        }
        granted.map(|granted| (granted, cause))
    });
    if step.is_some() {
        return step;
    }
    let entitled = limits.core + sample.declared;
    let patience = if sample.threads < 2 * entitled { LIVENESS } else { SLOW_LIVENESS };
    if state.barren >= patience {
        state.barren = Duration::ZERO;
        return Some((1, Cause::Liveness)); // E5
    }
    None
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
