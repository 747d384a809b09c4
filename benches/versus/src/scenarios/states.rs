//! One awaited call after another, in every state in which a machine may be: idle, busy with other
//! programs, small.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::cpu::{burn, calibrate};
use super::one_by_one::quantiles_with_mean;
use super::{Case, Load, Scenario, Sizing};
use crate::driver::Flavor;
use crate::peers::{Call, Family, Peer};
use crate::sample::{Meter, Sample};
use crate::stage::{Crew, Stage};
use crate::surroundings::Surroundings;

/// What the cases are selected by together.
const GROUP: &str = "states";

/// Each call is awaited before the next.
#[derive(Clone, Copy)]
pub(super) struct States {
    /// The CPU time of a closure; none where it is empty.
    pub(super) cost: Duration,
    /// How long the caller sleeps before each call.
    pub(super) pause: Duration,
}

/// The latencies of a run, and until when there may be more of them.
struct Log {
    latencies: Vec<Duration>,
    end: Instant,
    last: Instant,
}

impl Log {
    fn of(tasks: usize, most: Duration) -> Self {
        let start = Instant::now();
        Self { latencies: Vec::with_capacity(tasks), end: start + most, last: start }
    }

    /// Whether one more call is to be made; where they are apart, the caller sleeps first.
    fn goes_on(&mut self, pause: Duration) -> bool {
        if self.latencies.len() == self.latencies.capacity() || self.last > self.end {
            return false;
        }
        if !pause.is_zero() {
            thread::sleep(pause);
            self.last = Instant::now();
        }
        true
    }

    /// One more call has ended. The next begins at once, so that one look at the clock will do.
    fn note(&mut self) {
        let now = Instant::now();
        self.latencies.push(now - self.last);
        self.last = now;
    }
}

impl States {
    /// After so long no other call is made: there are schedulers that have each wait for a time
    /// slice of somebody else.
    const MOST: Duration = Duration::from_millis(1_500);

    /// One call, awaited or waited for; the compiler makes two programs of it.
    fn call<P: Peer>(self, crew: Crew<P>, n: usize) -> impl Call<Output = usize> {
        let cost = self.cost;
        crew.spawn(move || {
            if !cost.is_zero() {
                burn(cost);
            }
            n
        })
    }

    async fn awaited<P: Peer>(self, crew: Crew<P>, mut log: Log) -> Vec<Duration> {
        while log.goes_on(self.pause) {
            black_box(self.call(crew, log.latencies.len()).result().await);
            log.note();
        }
        log.latencies
    }

    fn waited_for<P: Peer>(self, crew: Crew<P>, mut log: Log) -> Vec<Duration> {
        while log.goes_on(self.pause) {
            black_box(self.call(crew, log.latencies.len()).wait());
            log.note();
        }
        log.latencies
    }

    fn of<P: Peer>(self, stage: &Stage<P>, tasks: usize, most: Duration) -> Vec<Duration> {
        let log = Log::of(tasks, most);
        if stage.flavor == Flavor::Thread {
            self.waited_for(stage.crew, log)
        } else {
            stage.driver.run(self.awaited(stage.crew, log))
        }
    }
}

impl Scenario for States {
    fn run<P: Peer>(self, stage: &Stage<P>) -> Result<Sample> {
        calibrate();
        self.of(stage, stage.warm_up, Self::MOST / 10);
        let meter = Meter::start();
        let latencies = self.of(stage, stage.tasks, Self::MOST);
        let reading = meter.stop();
        Ok(reading.sample(latencies.len(), quantiles_with_mean(latencies)))
    }
}

/// What is called, and how often: a closure of so many microseconds, or an empty one now and then.
pub(crate) const CALLS: [(&str, u64, u64, [usize; 2]); 6] = [
    ("0us", 0, 0, [30_000, 500]),
    ("1us", 1, 0, [15_000, 300]),
    ("5us", 5, 0, [10_000, 200]),
    ("20us", 20, 0, [6_000, 100]),
    ("50us", 50, 0, [4_000, 50]),
    ("spaced", 0, 300, [1_000, 20]),
];

/// The states, by the names of their cases.
pub(crate) const STATES: [(&str, Surroundings, &str); 5] = [
    ("idle", Surroundings::Idle, "nothing else is awake"),
    ("hog1", Surroundings::Hogs(1), "one other program spins"),
    ("hog2", Surroundings::Hogs(2), "two other programs spin"),
    ("pin1", Surroundings::Cpus(1), "the process may run on one CPU"),
    ("pin2", Surroundings::Cpus(2), "the process may run on two CPUs"),
];

/// Who takes part.
const CALLED: &[Family] =
    &[Family::Sidestep, Family::Tokio, Family::Blocking, Family::Affinitypool, Family::Rayon];

/// A case for each state and each kind of call.
pub(super) fn cases() -> Vec<Case> {
    let case = |&(state, surroundings, words): &(&str, Surroundings, &str)| {
        CALLS.map(|(name, micros, pause, sizes)| {
            let cost = Duration::from_micros(micros);
            let load = Load::States { cost, pause: Duration::from_micros(pause) };
            let about = match (micros, pause) {
                (0, 0) => format!("{words}; empty closures, each awaited before the next"),
                (0, _) => format!("{words}; empty closures, one every {pause} us"),
                _ => format!("{words}; closures of {micros} us of CPU, each awaited before the next"),
            };
            Case::new(&format!("{GROUP}_{state}_{name}"), load, sizes, about)
                .in_group(GROUP)
                .sized(Sizing::Default)
                .among(CALLED)
                .called_from_everywhere()
                .in_surroundings(surroundings)
                .compared_by("mean")
                .counted_in("calls")
        })
    };
    STATES.iter().flat_map(case).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_ends_when_it_is_full_or_late() {
        let mut log = Log::of(2, Duration::from_secs(3_600));
        while log.goes_on(Duration::ZERO) {
            log.note();
        }
        assert_eq!(log.latencies.len(), 2);
        let mut log = Log::of(1_000, Duration::ZERO);
        let mut calls = 0;
        while log.goes_on(Duration::from_millis(1)) {
            log.note();
            calls += 1;
        }
        assert_eq!(calls, 1);
    }

    #[test]
    fn a_pause_is_no_part_of_a_latency() {
        let mut log = Log::of(1, Duration::from_secs(3_600));
        assert!(log.goes_on(Duration::from_millis(200)));
        log.note();
        assert!(log.latencies[0] < Duration::from_millis(200), "{:?}", log.latencies);
    }
}
