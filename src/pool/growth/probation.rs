//! Whether a step of growth has paid (rule E7 of `policy`).

use std::time::Duration;

use super::policy::STEADY_LOOKS;
use super::sample::Sample;

/// The part of the ideal gain that a step must bring.
const PAY_OFF: f64 = 0.5;
/// No step is on probation for longer.
const LONGEST: Duration = Duration::from_secs(10);

/// Completions over time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flow {
    pub(super) looks: u32,
    pub(super) time: Duration,
    pub(super) completed: u64,
}

impl Flow {
    /// Adds a look; the flow begins with the first completion.
    pub(super) fn add(&mut self, sample: &Sample) {
        if sample.completed > 0 || self.completed > 0 {
            self.looks += 1;
            self.time += sample.elapsed;
            self.completed += sample.completed;
        }
    }

    pub(super) fn per_second(&self) -> f64 {
        self.completed as f64 / self.time.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// A step whose pay-off is not known yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probation {
    /// The completions per second that would pay.
    pub(super) target: f64,
    pub(super) after: Flow,
    /// How long to watch.
    pub(super) length: Duration,
}

impl Probation {
    /// The probation of a step that adds `more` threads to the sample's, which have brought
    /// `before` completions per second.
    pub(super) fn new(before: f64, more: usize, sample: &Sample) -> Self {
        let threads = sample.threads.max(1) as f64;
        let target = before * (1.0 + PAY_OFF * more as f64 / threads);
        let stay = Duration::try_from_secs_f64(threads / before).unwrap_or(LONGEST);
        Probation { target, after: Flow::default(), length: (2 * stay).min(LONGEST) }
    }

    pub(super) fn is_over(&self) -> bool {
        self.after.looks >= STEADY_LOOKS && self.after.time >= self.length
    }

    pub(super) fn has_paid(&self) -> bool {
        self.after.per_second() >= self.target
    }
}
