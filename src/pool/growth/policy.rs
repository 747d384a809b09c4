//! When a pool adds threads: a pure function from what the monitor has seen to what it should do.
//!
//! The length of the queue does not distinguish 100,000 tiny tasks from 8 blocked threads. A look
//! at each thread can: it is *blocked* if it has been inside one and the same task for a whole tick
//! and is asleep. Then keep `core` threads that are not blocked, and where nearly all are blocked
//! multiply instead of adding one by one. A thread that computes for long is not blocked, but it
//! does not serve waiting tasks either: it is *occupied*. Then look at how long the oldest task has
//! waited.
//!
//! - **E1** Only while something is queued and no thread is idle or on the way. In all other cases
//!   wake-ups suffice.
//! - **E2** *Hard*: all active threads are blocked, or at least three quarters of them are and
//!   nothing has completed for 10 ms, or 1 ms once there has been such a step; and so are three
//!   quarters of those that have begun their tasks since the last such step: four threads for each
//!   of these. What happens to the new threads shows what else waits: 50 threads that have been
//!   blocked for long are no reason to start 200 for tasks that may compute. So the first such step
//!   for the queued tasks goes by `core` threads, and leaves no more unblocked threads than E9
//!   would.
//! - **E3** *Replace*: fewer than `core` active threads are not blocked: make up for the
//!   difference.
//! - **E4** *Soft*: for four looks tasks complete, yet the threads, except those that are in one
//!   task for long, sleep half of the time, and all of them use less CPU than three quarters of
//!   `core`: twice as many threads.
//! - **E5** *Liveness*: nothing has completed for 100 ms: one thread more, per 100 ms up to twice
//!   what the pool is entitled to, then per 500 ms, and per 5 s where more threads are certain to
//!   compute than E9 would start. This is for waits that burn CPU.
//! - **E6** A tick that took far longer than asked shows that the machine is short of CPU, not that
//!   threads block; no more of it counts than a good tick takes. Where 16 in a row took so long,
//!   the clock is coarse, or the machine offers nothing better: then the shortest of them counts as
//!   a good tick. A machine is also short of CPU where a thread is ready to run and gets none. Then
//!   only E5 adds threads, four times as slowly, and E9.
//! - **E7** Steps of E2 to E4 must pay: at least half of what they would bring if no thread waited
//!   for another thread, over twice the time that a task stays with a thread (twice the threads:
//!   half again as many completions per second). While tasks complete there is one such step at a
//!   time, which doubles the threads at most; if it does not pay there is no other for a while (the
//!   cooldown), the next steps are small until they pay, and a lull in the completions must last
//!   for longer until it counts. Threads that queue for one lock look like threads that wait for a
//!   disk; only the pay-off tells them apart.
//! - **E8** *Outside*: threads that sleep for a timer, a peer or a child, and not for what may be
//!   another thread, contend with no thread. Where most of the blocked threads sleep so, E2 needs
//!   neither all of them nor a lull, and asks for eight threads for each; and E6 and E7 are waived:
//!   the step ends the probation of an earlier one.
//! - **E9** *Waiting*: a task has waited for a millisecond, and fewer than `core` threads are
//!   neither blocked nor occupied: make up for the difference. Work that waits behind computations
//!   of its own kind calls for no thread, since these would take the new threads too. So a lane of
//!   which `core` threads compute calls for none, and outside of lanes at most twice `core` threads
//!   are not blocked. If a task has waited for longer behind as many threads that have computed for
//!   longer, there may be four times `core`, and where the evidence is certain one more: so a
//!   handful of long computations leaves a thread for short tasks, while a flood of them does not
//!   become a flood of threads. Occupied threads of lanes do not count: their lanes' limits bound
//!   them. E9 makes up for occupied threads alone, and where others are blocked its steps must pay
//!   (E7).
//! - **E10** *Time alone*: where the system does not report which threads sleep, threads that have
//!   been in one task for a whole tick count as blocked while a CPU is idle, for a thread that
//!   computes would use it. Only if a CPU has been idle for four looks, and there are as many such
//!   threads as CPUs, is that sure: then E2 asks for eight threads for each. Until then E2 to E4 go
//!   up to four times `core` and no further.
//!
//! Antecedents: counting what can run (Linux' workqueues, libdispatch), declared blocking
//! (Chromium, Java's fork-join pool), the starvation rule and the measured pay-off (.NET's gate
//! thread and hill climbing), the age of the oldest request as the measure of overload (CoDel:
//! Nichols and Jacobson, "Controlling queue delay", 2012).

use std::time::Duration;

use super::sample::{Fresh, Sample};
use super::state::{LULL, State};

/// How long the monitor sleeps between two looks by default.
pub(super) const TICK: Duration = Duration::from_micros(500);
/// After a step of growth, until the effect shows.
pub(super) const SHORT_TICK: Duration = Duration::from_micros(250);
/// So many looks at an empty queue disarm the monitor.
pub(super) const QUIET_LOOKS: u32 = 8;
/// The looks in a row that E4, E7 and E10 want to see.
pub(super) const STEADY_LOOKS: u32 = 4;
/// Where a step has not paid, completions have ceased when there has been none for so long.
pub(super) const LONG_LULL: Duration = Duration::from_millis(10);
pub(super) const LIVENESS: Duration = Duration::from_millis(100);
const SLOW_LIVENESS: Duration = Duration::from_millis(500);
const SLOWEST_LIVENESS: Duration = Duration::from_secs(5);
/// From so long a wait on a task calls for a thread (E9),
const WAITED: Duration = Duration::from_millis(1);
/// and from so long on for more than twice `core`.
const WAITED_LONG: Duration = Duration::from_millis(10);
/// With weak evidence a task counts for E4 if it takes at least so long; otherwise it does not
/// sleep but is short.
const SLEEPY: Duration = Duration::from_micros(100);

/// The pool's limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) core: usize,
    pub(super) max: usize,
    /// How many CPUs the process may use.
    pub(super) cpus: usize,
}

impl Limits {
    /// How many threads outside of lanes that are not blocked E9 allows.
    fn most_live(self, sample: &Sample) -> usize {
        4 * self.core + usize::from(sample.certain)
    }
}

/// Why threads are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Hard,
    Replace,
    Soft,
    Liveness,
    Waiting,
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

/// The next state and what to do.
pub(super) fn decide(limits: Limits, mut state: State, sample: &Sample) -> (State, Verdict) {
    let overslept = state.observe(limits, sample) && !sample.outside; // E6
    if sample.queued == 0 {
        return quiet(state);
    }
    state.quiet = 0;
    if sample.idle > 0 {
        state.tick = TICK;
        return (state, if sample.stuck && !overslept { Verdict::Wake } else { Verdict::Wait });
    }
    // A thread that searches waits for nothing but a CPU, so it will come; a thread asleep in a
    // waker may not.
    let delivering = sample.delivering > 0 && !(sample.stuck && sample.blocked > 0);
    if (sample.searching > 0 || delivering) && (state.since_progress < LIVENESS || overslept) {
        return state.wait(TICK);
    }
    if sample.refused || sample.threads + sample.starting >= limits.max {
        return state.back_off();
    }
    if sample.starting > sample.threads / 4 {
        return state.wait(SHORT_TICK);
    }
    let blocked = if overslept { None } else { wanted_for_blocked(limits, &mut state, sample) };
    let step = blocked.or_else(|| wanted_for_waiting(limits, &mut state, sample));
    let step =
        step.or_else(|| if overslept { None } else { wanted_for_liveness(limits, &mut state, sample) });
    let Some((wanted, cause)) = step else {
        let watching = sample.blocked > 0 || state.underutilized > 0 || state.probation.is_some();
        let watching = watching && !state.is_cooling_down() || overslept || may_call(limits, sample);
        return if watching { state.wait(TICK) } else { state.back_off() };
    };
    let room = limits.max - sample.threads - sample.starting;
    let step = wanted.min(room).min(usize::try_from(sample.queued).unwrap_or(usize::MAX));
    state.tick = SHORT_TICK;
    (state, Verdict::Grow(step, cause))
}

fn quiet(mut state: State) -> (State, Verdict) {
    state.quiet += 1;
    state.probation = None;
    if state.quiet < QUIET_LOOKS {
        return state.back_off();
    }
    (state, Verdict::Disarm)
}

/// How many threads E2 to E4 ask for, regardless of room and queue.
fn wanted_for_blocked(limits: Limits, state: &mut State, sample: &Sample) -> Option<(usize, Cause)> {
    if sample.starved && !sample.outside {
        return None; // E6
    }
    let active = sample.active();
    let live = active - sample.blocked();
    // After a step the threads that have just begun a task are live for a moment.
    let lull = if sample.fresh.is_some() { LULL } else { LONG_LULL };
    let hopeless = live == 0 || state.since_progress >= lull || sample.outside; // E8
    let hard = if active > 0 && 4 * sample.blocked() >= 3 * active && hopeless {
        wanted_for_each(limits, sample)
    } else {
        0
    };
    let (wanted, cause) = if hard > 0 {
        (hard, Cause::Hard) // E2
    } else if live < limits.core {
        (limits.core - live, Cause::Replace) // E3
    } else if state.underutilized >= STEADY_LOOKS {
        (sample.threads, Cause::Soft) // E4
    } else {
        return None;
    };
    let bound = if sample.is_sure(limits) { limits.max } else { 4 * limits.core }; // E10
    let wanted = wanted.min(bound.saturating_sub(active + sample.starting));
    if wanted == 0 {
        return None;
    }
    // Up to core there is nothing to prove, nor where threads cannot contend with each other (E8).
    let proven = sample.threads < limits.core || sample.outside;
    let granted = if proven { Some(wanted) } else { state.begin_probation(wanted, sample) };
    if sample.outside {
        state.forget_flow();
    }
    granted.map(|granted| (granted, cause))
}

/// How many threads E2 asks for, judged by what has happened to the last ones.
fn wanted_for_each(limits: Limits, sample: &Sample) -> usize {
    let times = if sample.is_harmless(limits) { 8 } else { 4 };
    let Some(Fresh { threads, blocked }) = sample.fresh else {
        let live = (sample.active() - sample.blocked() + sample.starting).saturating_sub(sample.in_lanes);
        return (times * sample.blocked().min(limits.core))
            .min(limits.most_live(sample).saturating_sub(live));
    };
    if 4 * blocked >= 3 * threads { times * blocked } else { 0 }
}

/// How many threads E9 asks for, regardless of room and queue.
fn wanted_for_waiting(limits: Limits, state: &mut State, sample: &Sample) -> Option<(usize, Cause)> {
    let wanted = if sample.waited < WAITED { 0 } else { short_of(limits, sample) };
    if wanted == 0 {
        return None;
    }
    // What blocks other threads may block the new ones before long.
    let proven = sample.blocked() == 0 || sample.is_harmless(limits);
    let granted = if proven { Some(wanted) } else { state.begin_probation(wanted, sample) };
    granted.map(|granted| (granted, Cause::Waiting))
}

/// How many threads are missing that are neither blocked nor occupied, as far as E9 allows them.
fn short_of(limits: Limits, sample: &Sample) -> usize {
    let Limits { core, .. } = limits;
    let active = sample.active() + sample.starting;
    let live = active - sample.blocked();
    let free = live.saturating_sub(sample.occupied);
    // A thread that only seems to be blocked may compute.
    let counted = if sample.is_sure(limits) { live } else { active };
    let outside_lanes = counted.saturating_sub(sample.in_lanes);
    let bound = if sample.waited >= WAITED_LONG && sample.long >= 2 * core {
        limits.most_live(sample)
    } else {
        2 * core
    };
    // E2 and E3 make up for blocked threads.
    core.saturating_sub(free).min(sample.occupied).min(bound.saturating_sub(outside_lanes))
}

/// Whether E9 may ask for threads before long: a task waits, and there is room for them.
fn may_call(limits: Limits, sample: &Sample) -> bool {
    let later = Sample { waited: WAITED_LONG, ..*sample };
    sample.calls && sample.occupied > 0 && short_of(limits, &later) > 0
}

/// Whether E5 asks for one.
fn wanted_for_liveness(limits: Limits, state: &mut State, sample: &Sample) -> Option<(usize, Cause)> {
    let entitled = limits.core + sample.declared;
    let computing = sample.occupied.saturating_sub(sample.in_lanes);
    let patience = if sample.threads < 2 * entitled {
        LIVENESS
    } else if sample.certain && computing >= limits.most_live(sample) {
        SLOWEST_LIVENESS
    } else {
        SLOW_LIVENESS
    };
    if state.since_progress < patience {
        return None;
    }
    state.since_progress = Duration::ZERO;
    Some((1, Cause::Liveness))
}

impl Sample {
    /// Threads that have not declared that they block.
    fn active(&self) -> usize {
        self.threads.saturating_sub(self.declared)
    }

    /// Whether the threads that seem to be blocked are certain to be (E10).
    fn is_sure(&self, limits: Limits) -> bool {
        self.certain || self.spare >= STEADY_LOOKS && self.blocked >= limits.cpus
    }

    /// Whether more threads would contend with none (E8, E10).
    fn is_harmless(&self, limits: Limits) -> bool {
        self.outside || !self.certain && self.is_sure(limits)
    }

    /// Active threads that are blocked.
    fn blocked(&self) -> usize {
        self.blocked.min(self.active())
    }

    /// Whether tasks complete although the threads sleep a good deal (E4). Where the system does
    /// not report that, it is so if a CPU is idle and a task keeps its thread for long enough
    /// (E10).
    pub(super) fn is_underutilized(&self, limits: Limits) -> bool {
        if self.completed == 0 {
            return false;
        }
        if let Some(usage) = self.usage {
            let enough = 0.75 * limits.core.min(self.active()).max(1) as f64;
            return usage.asleep >= 0.5 && usage.cpus < enough;
        }
        let tasks = u32::try_from(self.completed).unwrap_or(u32::MAX);
        let threads = u32::try_from(self.active()).unwrap_or(u32::MAX);
        self.spare >= 2 && self.elapsed.saturating_mul(threads) / tasks >= SLEEPY
    }
}
