//! What the growth policy remembers from look to look: how long a tick takes, since when nothing
//! has completed, and whether a step is on probation.

use std::time::Duration;

use super::policy::{LONG_LULL, Limits, SHORT_TICK, STEADY_LOOKS, Verdict};
use super::probation::{Flow, Probation};
use super::sample::Sample;

/// The first look after the monitor was armed: a pool that has just started has no time to lose.
const FIRST_TICK: Duration = Duration::from_micros(150);
/// While nothing calls for growth the ticks get longer, up to this.
pub(super) const LONG_TICK: Duration = Duration::from_millis(4);
/// A tick may take this much longer than twice the time asked for (E6).
pub(super) const OVERSLEPT: Duration = Duration::from_millis(1);
/// After so many ticks in a row that took longer, the shortest of these is the usual tick here.
const LATE_LOOKS: u32 = 16;
/// Completions have ceased when there has been none for so long.
pub(super) const LULL: Duration = Duration::from_millis(1);
pub(super) const LEAST_STEP_FACTOR: f64 = 1.0 / 16.0;
pub(super) const FIRST_COOLDOWN: Duration = Duration::from_millis(100);
const LAST_COOLDOWN: Duration = Duration::from_secs(10);

/// What the policy remembers from look to look.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    /// How long to sleep before the next look.
    pub(super) tick: Duration,
    /// Ticks in a row that took too long, and the shortest of them (E6).
    pub(super) late: (u32, Duration),
    pub(super) quiet: u32,
    /// The time since the last completion or step of E5.
    pub(super) since_progress: Duration,
    /// The completions since the last step or lull.
    pub(super) flow: Flow,
    /// Completions per second before the lull.
    pub(super) before_lull: Option<f64>,
    /// Looks in a row to which the threads seemed underutilized (E4).
    pub(super) underutilized: u32,
    /// The step that is on probation (E7).
    pub(super) probation: Option<Probation>,
    pub(super) cooldown: Duration,
    pub(super) next_cooldown: Duration,
    /// How large a step may be while tasks complete, in parts of the threads there are: less after
    /// each step that did not pay, more after each that did.
    pub(super) step_factor: f64,
}

impl State {
    pub(super) fn new() -> Self {
        State {
            tick: FIRST_TICK,
            late: (0, Duration::MAX),
            quiet: 0,
            since_progress: Duration::ZERO,
            flow: Flow::default(),
            before_lull: None,
            underutilized: 0,
            probation: None,
            cooldown: Duration::ZERO,
            next_cooldown: FIRST_COOLDOWN,
            step_factor: 1.0,
        }
    }

    /// Takes in what happened since the last look, whatever the policy decides about it. True if
    /// the tick took too long (E6).
    pub(super) fn observe(&mut self, limits: Limits, sample: &Sample) -> bool {
        self.cooldown = self.cooldown.saturating_sub(sample.elapsed);
        self.count_late(sample.elapsed);
        let counted = sample.elapsed.min(self.longest_good_tick());
        let counted = if sample.starved { counted / 4 } else { counted };
        self.flow.add(sample);
        self.since_progress =
            if sample.completed > 0 { Duration::ZERO } else { self.since_progress + counted };
        if self.flow.completed > 0 && !self.is_flowing() {
            self.before_lull = Some(self.flow.per_second());
            self.flow = Flow::default();
        }
        self.underutilized = if sample.is_underutilized(limits) { self.underutilized + 1 } else { 0 };
        if let Some(probation) = self.probation.as_mut().filter(|_| sample.starting == 0) {
            probation.after.add(sample);
            self.judge();
        }
        sample.elapsed > self.longest_good_tick()
    }

    fn count_late(&mut self, elapsed: Duration) {
        let good = elapsed <= 2 * self.tick + OVERSLEPT;
        let (late, shortest) = self.late;
        self.late = if good { (0, Duration::MAX) } else { (late.saturating_add(1), shortest.min(elapsed)) };
    }

    /// How long a tick may take (E6).
    pub(super) fn longest_good_tick(&self) -> Duration {
        let (late, shortest) = self.late;
        let usual = if late >= LATE_LOOKS { shortest } else { self.tick };
        usual.saturating_mul(2).saturating_add(OVERSLEPT)
    }

    /// Whether tasks have been completing until now.
    pub(super) fn is_flowing(&self) -> bool {
        let lull = if self.step_factor < 1.0 { LONG_LULL } else { LULL };
        self.flow.completed > 0 && self.since_progress < lull
    }

    /// Whether a step has not paid, so that the next one must wait.
    pub(super) fn is_cooling_down(&self) -> bool {
        self.cooldown > Duration::ZERO && self.is_flowing()
    }

    /// Ends a probation that has been watched for long enough (E7).
    pub(super) fn judge(&mut self) {
        let Some(probation) = self.probation.take_if(|probation| probation.is_over()) else { return };
        self.flow = probation.after;
        if probation.has_paid() {
            self.next_cooldown = (self.next_cooldown / 2).max(FIRST_COOLDOWN);
            self.step_factor = (self.step_factor * 2.0).min(1.0);
        } else {
            self.cooldown = self.next_cooldown;
            self.next_cooldown = (self.next_cooldown * 2).min(LAST_COOLDOWN);
            self.step_factor = (self.step_factor / 4.0).max(LEAST_STEP_FACTOR);
        }
    }

    /// How large a step that E7 governs may be now; `None` while another is on probation or has
    /// just failed.
    pub(super) fn begin_probation(&mut self, wanted: usize, sample: &Sample) -> Option<usize> {
        if !self.is_flowing() {
            // Nothing completes: there is no time to lose. What the step brings shows when tasks
            // complete again.
            let before = self.before_lull.filter(|_| self.probation.is_none());
            let begun = before.map(|before| Probation::new(before, wanted, sample));
            self.probation = begun.or(self.probation);
            return Some(wanted);
        }
        if self.probation.is_some() || self.cooldown > Duration::ZERO || self.flow.looks < STEADY_LOOKS {
            return None;
        }
        let wanted = wanted.min((self.step_factor * sample.threads as f64).ceil() as usize);
        self.probation = Some(Probation::new(self.flow.per_second(), wanted, sample));
        Some(wanted)
    }

    /// Forgets the completions until now: they do not predict the next ones (E8).
    pub(super) fn forget_flow(&mut self) {
        self.probation = None;
        self.flow = Flow::default();
    }

    pub(super) fn wait(mut self, tick: Duration) -> (Self, Verdict) {
        self.tick = tick;
        (self, Verdict::Wait)
    }

    pub(super) fn back_off(self) -> (Self, Verdict) {
        let longer = (self.tick.max(SHORT_TICK) * 2).min(LONG_TICK);
        self.wait(longer)
    }
}
