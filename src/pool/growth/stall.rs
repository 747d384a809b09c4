//! Noticing that tasks wait for long, and reporting it: that no task ends at all, or that tasks
//! wait behind others.

use std::time::{Duration, Instant};

use super::policy::Limits;
use super::sample::Sample;
#[cfg(feature = "tracing")]
use crate::numbers::sort;
#[cfg(feature = "tracing")]
use crate::trace::event;
use crate::worker::Registry;

/// A report is due when no task has ended for so long, or when a task has waited for so long (or
/// for `warn_after`, where that is set).
const LONG: Duration = Duration::from_secs(1);
/// There is at most one report of a wait in so long.
const PAUSE: Duration = Duration::from_secs(10);
/// A report names so many tasks.
#[cfg(feature = "tracing")]
const NAMED: usize = 8;

/// For how long no task has ended, and when the last report was.
#[derive(Debug, Default)]
pub(super) struct Stall {
    still: Duration,
    reported: bool,
    /// The time of the last report.
    last: Option<Instant>,
}

/// A reason for a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Tasks wait and none ends; the obstacle is why the pool does not grow.
    Stalls(Obstacle),
    /// Tasks end, but one has waited for so long.
    Waits(Duration),
}

/// Why a pool that stalls does not grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// The pool has `max_threads` threads.
    Max,
    /// The system refuses threads.
    Refused,
    /// There is no evidence that threads are blocked, or more of them have not helped.
    Policy,
}

impl Stall {
    /// Takes in one look. Returns what there is to report: once for each stall, and at intervals
    /// while tasks wait for longer than `warn_after`.
    pub(super) fn look(
        &mut self,
        limits: Limits,
        sample: &Sample,
        warn_after: Option<Duration>,
        now: Instant,
    ) -> Option<Trouble> {
        let trouble = match self.look_for_stall(limits, sample) {
            Some(obstacle) => Trouble::Stalls(obstacle),
            None if !sample.calls || sample.waited < warn_after.unwrap_or(LONG) => return None,
            None if self.last.is_some_and(|last| now.saturating_duration_since(last) < PAUSE) => return None,
            None => Trouble::Waits(sample.waited),
        };
        self.last = Some(now);
        Some(trouble)
    }

    fn look_for_stall(&mut self, limits: Limits, sample: &Sample) -> Option<Obstacle> {
        let coming = sample.searching + sample.delivering;
        if sample.queued == 0 || sample.completed > 0 || sample.idle > 0 || coming > 0 {
            (self.still, self.reported) = (Duration::ZERO, false);
            return None;
        }
        self.still += sample.elapsed;
        if self.still < LONG || self.reported {
            return None;
        }
        self.reported = true;
        Some(if sample.refused {
            Obstacle::Refused
        } else if sample.threads + sample.starting >= limits.max {
            Obstacle::Max
        } else {
            Obstacle::Policy
        })
    }
}

/// Traces the trouble, and which tasks run meanwhile; long waits as a warning if `warns`.
pub(super) fn report(workers: &Registry, warns: bool, sample: &Sample, trouble: Trouble) {
    #[cfg(feature = "tracing")]
    {
        let Sample { queued, threads, .. } = *sample;
        let running = Running(workers);
        match trouble {
            Trouble::Stalls(obstacle) => event!(
                WARN,
                ?obstacle,
                queued,
                threads,
                ?running,
                "the pool stalls: tasks wait and none has ended for a second"
            ),
            Trouble::Waits(waited) if warns => {
                event!(WARN, ?waited, queued, threads, ?running, "a task waits for long behind others");
            }
            Trouble::Waits(waited) => {
                event!(DEBUG, ?waited, queued, threads, ?running, "a task waits for long behind others");
            }
        }
    }
    let _ = (workers, warns, sample, trouble);
}

/// Some of the running tasks, those first that have been running for longest, and for how long as
/// far as the monitor has seen. Found out by a subscriber that records it.
#[cfg(feature = "tracing")]
struct Running<'a>(&'a Registry);

#[cfg(feature = "tracing")]
impl std::fmt::Debug for Running<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (mut running, mut ages) = (Vec::new(), Vec::new());
        for record in self.0.records() {
            let held = record.last_sample.lock().held;
            let age = u64::try_from(held.as_nanos()).unwrap_or(u64::MAX);
            for shown in record.running_tasks() {
                ages.push((u64::MAX - age, running.len()));
                running.push((held, shown.origin));
            }
        }
        sort(&mut ages);
        let first = ages.into_iter().take(NAMED).filter_map(|(_, index)| running.get(index));
        let shown = first.map(|(held, origin)| format!("{origin} for {held:?}"));
        f.debug_list().entries(shown).finish()
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
