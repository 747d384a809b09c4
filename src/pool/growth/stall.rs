//! Noticing that nothing moves: work waits, no task ends, and the pool cannot help it.

use std::time::Duration;

use super::policy::Limits;
use super::sample::Sample;
use crate::pool::shared::Shared;
#[cfg(feature = "tracing")]
use crate::report::event;

/// Nothing has moved for so long.
const LONG: Duration = Duration::from_secs(1);
/// A report names so many tasks.
#[cfg(feature = "tracing")]
const NAMED: usize = 8;

/// For how long nothing has moved.
#[derive(Debug, Default)]
pub(super) struct Stall {
    still: Duration,
    reported: bool,
}

/// Why a pool that stalls does not grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// `max_threads` are there.
    Max,
    /// The system refuses threads.
    Refused,
    /// There is no evidence that threads are blocked, or more of them have not helped.
    Policy,
}

impl Stall {
    /// Takes in one look. Once for each time that nothing moves for long: why the pool does not help.
    pub(super) fn look(&mut self, limits: Limits, sample: &Sample) -> Option<Obstacle> {
        let coming = sample.searching + sample.delivering;
        if sample.queued == 0 || sample.completed > 0 || sample.idle > 0 || coming > 0 {
            *self = Stall::default();
            return None;
        }
        self.still += sample.elapsed;
        if self.still < LONG || self.reported {
            return None;
        }
        self.reported = true;
        Some(if sample.cooling {
            Obstacle::Refused
        } else if sample.threads + sample.starting >= limits.max {
            Obstacle::Max
        } else {
            Obstacle::Policy
        })
    }
}

/// Traces what is in the way, and which tasks run meanwhile.
pub(super) fn report(shared: &Shared, sample: &Sample, obstacle: Obstacle) {
    #[cfg(feature = "tracing")]
    {
        let slots = shared.roster.slots();
        let running: Vec<_> = slots.iter().flat_map(|slot| slot.shown()).take(NAMED).collect();
        let running: Vec<_> = running.iter().map(|shown| shown.origin.to_string()).collect();
        event!(
            WARN,
            ?obstacle,
            queued = sample.queued,
            threads = sample.threads,
            ?running,
            "the pool stalls: tasks wait and none has ended for a second"
        );
    }
    let _ = (shared, sample, obstacle);
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { core: 2, max: 4 };
    const LOOK: Duration = Duration::from_millis(400);

    #[test]
    fn a_stall_is_told_once_until_something_moves() {
        let stuck = Sample { elapsed: LOOK, queued: 1, threads: 4, ..Sample::default() };
        let mut stall = Stall::default();
        let told: Vec<_> = (0..6).map(|_| stall.look(LIMITS, &stuck)).collect();
        assert_eq!(told, [None, None, Some(Obstacle::Max), None, None, None]);
        assert_eq!(stall.look(LIMITS, &Sample { completed: 1, ..stuck }), None);
        assert_eq!(stall.look(LIMITS, &stuck), None, "it begins anew");
    }

    #[test]
    fn the_obstacle_is_named() {
        let long = Sample { elapsed: LONG, queued: 1, threads: 2, ..Sample::default() };
        assert_eq!(Stall::default().look(LIMITS, &long), Some(Obstacle::Policy));
        assert_eq!(Stall::default().look(LIMITS, &Sample { cooling: true, ..long }), Some(Obstacle::Refused));
        assert_eq!(Stall::default().look(LIMITS, &Sample { idle: 1, ..long }), None, "somebody will take it");
    }
}
