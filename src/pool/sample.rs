//! Looking at the threads: what the growth policy gets to see.
//!
//! Whether a thread is asleep is asked of three samplers in turn, the surest first; the first that knows answers.
//!
//! | sampler | asks | where |
//! |---|---|---|
//! | [`ThreadState`] | the scheduler's letter for the thread | Linux with `/proc` |
//! | [`CpuClock`] | how much CPU time the thread has used since the last look | Linux |
//! | [`TimeAlone`] | nothing: a thread that is long in one task counts as blocked | everywhere |
//!
//! The check must not be left out where it can be had: on a busy machine a thread that merely waits for a CPU stays in
//! one task for longer than a tick, and is not blocked.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::config::Config;
use super::growth::{Sample, Usage};
use super::shared::Shared;
use crate::idle::Counts;
use crate::sync::atomic::Ordering;
use crate::worker::{Note, Slot, ThreadKey, Totals, Workplace};

/// So many threads are asked about per look; they stand for the others.
const ASKED: usize = 8;
/// If all those are asleep, up to so many others are asked about, for one that is not: a single thread that is ready to
/// run may be the one that the others wait for.
const ASKED_AGAIN: usize = 64;
/// For how many looks a thread must be in one task before weaker evidence counts.
const PATIENCE: u32 = 4;

/// Tells whether a thread sleeps.
pub(super) trait Sampler: fmt::Debug + Send {
    /// Whether the thread is asleep; `None` if this sampler cannot tell. `note` is from the last look, `elapsed` ago,
    /// and `cpu_time` is the thread's clock now.
    fn is_asleep(
        &self,
        key: ThreadKey,
        note: &Note,
        cpu_time: Option<Duration>,
        elapsed: Duration,
    ) -> Option<bool>;

    /// Whether a thread that is asleep waits for something outside the process, as far as this sampler can tell.
    fn waits_outside(&self, _: ThreadKey) -> bool {
        false
    }

    /// Whether its word is more than a guess.
    fn is_certain(&self) -> bool {
        true
    }
}

/// The scheduler's own word.
#[derive(Debug)]
pub(super) struct ThreadState;

impl Sampler for ThreadState {
    fn is_asleep(&self, key: ThreadKey, _: &Note, _: Option<Duration>, _: Duration) -> Option<bool> {
        // `R` runs or waits for a CPU; `T` and `t` are stopped by a signal or a debugger, which is no blocking.
        key.state().map(|letter| matches!(letter, b'S' | b'D'))
    }

    fn waits_outside(&self, key: ThreadKey) -> bool {
        key.waits_outside() == Some(true)
    }
}

/// A thread that is long in one task and uses less than a quarter of a CPU sleeps.
#[derive(Debug)]
pub(super) struct CpuClock;

impl Sampler for CpuClock {
    fn is_asleep(
        &self,
        _: ThreadKey,
        note: &Note,
        cpu_time: Option<Duration>,
        elapsed: Duration,
    ) -> Option<bool> {
        let used = cpu_time?.saturating_sub(note.cpu_time?);
        Some(note.stalled >= PATIENCE && used < elapsed / 4)
    }
}

/// A thread that is long in one task may well sleep.
#[derive(Debug)]
pub(super) struct TimeAlone;

impl Sampler for TimeAlone {
    fn is_asleep(&self, _: ThreadKey, note: &Note, _: Option<Duration>, _: Duration) -> Option<bool> {
        Some(note.stalled >= PATIENCE)
    }

    fn is_certain(&self) -> bool {
        false
    }
}

/// The monitor's eyes, and what it remembers of its last look.
#[derive(Debug)]
pub(super) struct Lookout {
    samplers: Vec<Box<dyn Sampler>>,
    totals: Totals,
    tokens: usize,
    /// For how many looks nothing has moved.
    still: u32,
    /// Moves on from look to look, so that others are asked about.
    turn: usize,
}

/// One thread that is inside a task, as seen in one look.
struct Seen {
    slot: Arc<Slot>,
    note: Note,
    cpu_time: Option<Duration>,
}

impl Lookout {
    pub(super) fn new(samplers: Vec<Box<dyn Sampler>>) -> Self {
        Lookout { samplers, totals: Totals::default(), tokens: 0, still: 0, turn: 0 }
    }

    /// The samplers that the pool's settings allow, the surest first.
    pub(super) fn of(config: &Config) -> Self {
        if config.thread_states { Lookout::standard() } else { Lookout::new(vec![Box::new(TimeAlone)]) }
    }

    /// All samplers, the surest first.
    pub(super) fn standard() -> Self {
        Lookout::new(vec![Box::new(ThreadState), Box::new(CpuClock), Box::new(TimeAlone)])
    }

    /// Looks at the pool's threads.
    pub(super) fn look(&mut self, shared: &Shared, elapsed: Duration) -> Sample {
        self.turn = self.turn.wrapping_add(1);
        let (queued, counts, totals) = Self::waiting(shared);
        let tokens = counts.searching + counts.starting + counts.delivering;
        // While nothing is queued the monitor asks about nobody: it cannot tell who holds a token for want of a CPU.
        let still = queued > 0 && tokens == self.tokens && totals.started == self.totals.started;
        self.still = if still { self.still + 1 } else { 0 };
        let before = std::mem::replace(&mut self.totals, totals);
        self.tokens = tokens;
        let ends = |totals: &Totals| totals.completed + totals.panicked;
        let mut sample = Sample {
            elapsed,
            queued,
            completed: ends(&totals) - ends(&before),
            threads: shared.headcount.staying().saturating_sub(counts.starting),
            starting: counts.starting,
            idle: counts.idle,
            declared: shared.blocking(),
            certain: true,
            searching: counts.searching,
            delivering: counts.delivering,
            stuck: self.still >= 2,
            cooling: shared.cool_down.is_on(),
            ..Sample::default()
        };
        // The answers count only where the policy gets to its rules (E1), and asking costs.
        let inside = self.inside(shared);
        let room = shared.headcount.reserved() < shared.max();
        if queued > 0 && counts.idle == 0 && room {
            self.ask(&mut sample, inside, elapsed);
            // The monitor takes time to ask, the more so where it gets no CPU: whoever was still at first may have moved.
            let is_still =
                || shared.idle.counts() == counts && shared.roster.totals().started == totals.started;
            sample.stuck = sample.stuck && is_still();
        }
        // No foreign code runs with a searching token: whoever holds one waits for nothing but a CPU.
        sample.starved |= sample.stuck && sample.searching > 0;
        sample
    }

    /// How many tasks were queued all the time while the tokens were counted, and how many lanes have slots pending. A task
    /// that was submitted or taken meanwhile says nothing about whether somebody was coming for it; and one that waits in
    /// a lane for a slot waits for no thread.
    fn waiting(shared: &Shared) -> (u64, Counts, Totals) {
        let lanes_before = shared.lanes.counts();
        let before = shared.roster.totals();
        let counts = shared.idle.counts();
        let after = shared.roster.totals();
        let lanes = shared.lanes.counts();
        // Threads count the starts of lanes' tasks with all others; submissions are counted apart.
        let started = (after.started - before.started).saturating_sub(lanes.started - lanes_before.started);
        let begun = started + (after.cancelled - before.cancelled);
        let queued =
            (before.submitted + lanes_before.started).saturating_sub(before.started + before.cancelled);
        (queued.saturating_sub(begun) + lanes.pending, counts, after)
    }

    /// The threads inside a task, with their notes brought up to date; deques of stalled threads are emptied.
    fn inside(&self, shared: &Shared) -> Vec<Seen> {
        let mut inside = Vec::new();
        for slot in shared.roster.slots() {
            let mut note = slot.note.lock();
            let delivered = slot.tallies.delivered.get();
            let started = slot.tallies.started.get();
            let same = note.started == started && note.delivered == delivered;
            let busy = started > delivered;
            let stalled = if busy && same { note.stalled + 1 } else { 0 };
            *note = Note { started, delivered, stalled, ..*note };
            let seen = *note;
            drop(note);
            let deque = slot.deque.get().filter(|_| stalled > 0);
            if deque.is_some_and(|&deque| shared.queues.evacuate(deque)) {
                shared.notify();
            }
            if busy && !slot.blocking.load(Ordering::Relaxed) {
                inside.push(Seen { slot, note: seen, cpu_time: None });
            }
        }
        inside
    }

    /// Asks the samplers about some of the threads and extrapolates.
    fn ask(&self, sample: &mut Sample, mut inside: Vec<Seen>, elapsed: Duration) {
        if inside.is_empty() {
            return;
        }
        let active = inside.len();
        let stalled = inside.iter().filter(|seen| seen.note.stalled > 0).count();
        inside.rotate_left(self.turn.wrapping_mul(ASKED) % active);
        // Stalled threads first: their answers decide the quick rules.
        inside.sort_by_key(|seen| seen.note.stalled == 0);
        let others = inside.split_off(ASKED.min(active));
        let asked_stalled = stalled.min(ASKED);
        let (mut asleep_stalled, mut asleep, mut used, mut clocks) = (0, 0, Duration::ZERO, 0);
        let mut outside = 0;
        for seen in &mut inside {
            seen.cpu_time = seen.slot.key.cpu_time();
            let (sleeps, certain) = self.is_asleep(seen, elapsed);
            asleep += usize::from(sleeps);
            if seen.note.stalled > 0 {
                asleep_stalled += usize::from(sleeps);
                outside += usize::from(sleeps && self.waits_outside(seen.slot.key));
                sample.certain &= certain;
            }
            if let (Some(now), Some(before)) = (seen.cpu_time, seen.note.cpu_time) {
                let own = now.saturating_sub(before).min(elapsed);
                // It is ready to run, and does not get to.
                sample.starved |= seen.note.stalled > 0 && !sleeps && certain && own < elapsed / 2;
                used += own;
                clocks += 1;
            }
            seen.slot.note.lock().cpu_time = seen.cpu_time;
        }
        let extrapolated = stalled * asleep_stalled + asked_stalled / 2;
        sample.blocked = extrapolated.checked_div(asked_stalled).unwrap_or(0);
        sample.outside = outside > 0 && 4 * outside >= 3 * asleep_stalled;
        if sample.blocked == stalled && asked_stalled == ASKED && self.any_awake(&others, elapsed) {
            sample.blocked -= 1;
            sample.starved = true;
        }
        if clocks > 0 && elapsed > Duration::ZERO {
            let share = used.as_secs_f64() / elapsed.as_secs_f64() / f64::from(clocks);
            let asleep = asleep as f64 / inside.len() as f64;
            sample.usage = Some(Usage { cpus: share * active as f64, asleep });
        }
    }

    /// Whether one of the stalled threads among `others` is not asleep.
    fn any_awake(&self, others: &[Seen], elapsed: Duration) -> bool {
        let stalled = others.iter().filter(|seen| seen.note.stalled > 0);
        stalled.take(ASKED_AGAIN).any(|seen| !self.is_asleep(seen, elapsed).0)
    }

    fn waits_outside(&self, key: ThreadKey) -> bool {
        self.samplers.iter().any(|sampler| sampler.waits_outside(key))
    }

    fn is_asleep(&self, seen: &Seen, elapsed: Duration) -> (bool, bool) {
        self.samplers
            .iter()
            .find_map(|sampler| {
                let sleeps = sampler.is_asleep(seen.slot.key, &seen.note, seen.cpu_time, elapsed)?;
                Some((sleeps, sampler.is_certain()))
            })
            .unwrap_or((false, true))
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
