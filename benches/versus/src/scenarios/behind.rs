//! Short calls while the machine computes: how long they take, and whether the computations do.
//!
//! The closures that compute never block, so threads beyond the cores bring nothing to them; what
//! they bring is a place for the short calls.

use std::hint::black_box;
use std::iter;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::{StreamExt, stream};

use super::cpu::{burn_all, burn_until, calibrate};
use super::one_by_one::{Serial, quantiles_with_p90};
use super::{Case, Load, SERVERS, Scenario, Sizing};
use crate::peers::{Call, Limited, Peer};
use crate::sample::{Meter, Metric, Reading, Sample};
use crate::stage::{Crew, Door, Stage};

/// The name of both kinds of cases together.
const GROUP: &str = "behind_cpu";
/// How many short calls there are before anything computes, so that nobody measures the start of
/// the first thread.
const WARM_UP: usize = 10;

/// Makes an empty call after each pause, while `more`, which gets the number of those made, says
/// so. They do not keep step with anything else, because each pause begins when the call before it
/// has ended.
async fn short_calls<P: Peer>(
    crew: Crew<P>,
    pause: Duration,
    more: impl Fn(usize) -> bool + Send,
) -> Vec<Duration> {
    let mut times = Vec::new();
    while more(times.len()) {
        tokio::time::sleep(pause).await;
        let (n, start) = (times.len(), Instant::now());
        black_box(crew.spawn(move || n).result().await);
        times.push(start.elapsed());
    }
    times
}

/// The sample of a run in which `times` are those of the short calls and the computations used
/// `burned`: what a short call cost is the rest.
fn sample(mut reading: Reading, times: Vec<Duration>, burned: Duration, computing: Metric) -> Sample {
    reading.cpu = reading.cpu.saturating_sub(burned);
    let calls = times.len();
    let mut metrics = quantiles_with_p90(times);
    metrics.push(computing);
    reading.sample(calls, metrics)
}

/// The computations are in a lane, or in what a peer has instead, which they keep full; the short
/// calls are not.
#[derive(Clone, Copy)]
pub(super) struct Lane {
    pub(super) limit: usize,
    /// How much each computes.
    pub(super) cost: Duration,
}

impl Lane {
    const PAUSE: Duration = Duration::from_millis(20);
    /// When all of it ends even if short calls are missing. One that still waits then gets the
    /// machine, and counts.
    const MOST: Duration = Duration::from_secs(5);

    /// Has twice as many calls outstanding as may run, until `end`, which ends those that run too;
    /// gives the CPU time that they have used.
    async fn compute<L: Limited>(self, door: Door<L>, end: Arc<AtomicBool>) -> Duration {
        let Self { limit, cost } = self;
        let calls = iter::from_fn(move || {
            let until = Arc::clone(&end);
            (!end.load(Relaxed)).then(|| door.spawn(move || burn_until(cost, &until)).result())
        });
        let times = stream::iter(calls).buffer_unordered(2 * limit);
        times.fold(Duration::ZERO, async |total, used| total + used).await
    }

    /// Sees to the end.
    async fn ring(end: Arc<AtomicBool>) {
        tokio::time::sleep(Self::MOST).await;
        end.store(true, Relaxed);
    }

    /// The wall time for each computation. One that was cut short counts in part.
    fn each(&self, wall: Duration, burned: Duration) -> Result<Metric> {
        let computations = burned.as_secs_f64() / self.cost.as_secs_f64();
        let at_once = u32::try_from(self.limit.min(num_cpus::get()))?;
        let time = wall.div_f64(computations.max(f64::MIN_POSITIVE));
        Ok(Metric::time("time per computation", time).with_ideal(self.cost / at_once))
    }
}

impl Scenario for Lane {
    fn run<P: Peer>(self, stage: &Stage<P>) -> Result<Sample> {
        let door = stage.limited(self.limit)?;
        let (crew, tasks) = (stage.crew, stage.tasks);
        let end = Arc::new(AtomicBool::new(false));
        stage.driver.run(Serial::of(crew, WARM_UP));
        let meter = Meter::start();
        let runtime = stage.driver.handle();
        let computations = runtime.spawn(self.compute(door, Arc::clone(&end)));
        let bell = runtime.spawn(Self::ring(Arc::clone(&end)));
        let until = Arc::clone(&end);
        let more = move |made| made < tasks && !until.load(Relaxed);
        let times = stage.driver.run(short_calls(crew, Self::PAUSE, more));
        bell.abort();
        end.store(true, Relaxed);
        let burned = stage.driver.run(async { computations.await.expect("no computation panics") });
        let reading = meter.stop();
        Ok(sample(reading, times, burned, self.each(reading.wall, burned)?))
    }
}

/// The computations are submitted all at once, beside the short calls.
pub(super) struct Flood {
    /// How many for each core.
    pub(super) per_core: usize,
}

impl Flood {
    const PAUSE: Duration = Duration::from_millis(5);

    /// How long the computations take. At their end it tells the short calls.
    async fn compute<P: Peer>(crew: Crew<P>, costs: Vec<Duration>, end: Arc<AtomicBool>) -> Duration {
        let start = Instant::now();
        burn_all(crew, costs).await;
        let time = start.elapsed();
        end.store(true, Relaxed);
        time
    }
}

impl Scenario for Flood {
    /// Each computes for as many milliseconds as there are tasks.
    fn run<P: Peer>(self, stage: &Stage<P>) -> Result<Sample> {
        let crew = stage.crew;
        let cost = Duration::from_millis(u64::try_from(stage.tasks)?);
        let costs = vec![cost; self.per_core * num_cpus::get()];
        let burned = costs.iter().sum();
        let end = Arc::new(AtomicBool::new(false));
        calibrate();
        stage.driver.run(Serial::of(crew, WARM_UP));
        let meter = Meter::start();
        let computations = stage.driver.handle().spawn(Self::compute(crew, costs, Arc::clone(&end)));
        let more = move |made| made == 0 || !end.load(Relaxed);
        let times = stage.driver.run(short_calls(crew, Self::PAUSE, more));
        let time = stage.driver.run(async { computations.await.expect("no computation panics") });
        let ideal = cost * u32::try_from(self.per_core)?;
        Ok(sample(meter.stop(), times, burned, Metric::time("makespan", time).with_ideal(ideal)))
    }
}

/// In a lane of so many, computations of so many milliseconds, and beside them so many calls:
/// enough of these for one computation to follow another.
const LANES: [(usize, u64, usize); 6] =
    [(1, 10, 100), (2, 10, 100), (2, 50, 100), (4, 50, 100), (4, 200, 100), (8, 1_000, 220)];

/// The cases of both.
pub(super) fn cases() -> Vec<Case> {
    let lanes = LANES.map(|(limit, millis, calls)| {
        let load = Load::BehindLane { limit, cost: Duration::from_millis(millis) };
        let about = "empty calls, 20 ms apart, beside a full lane of computations; CPU/task: without these; \
                     affinitypool: the lane is a second pool";
        Case::new(&format!("behind_lane_{limit}_{millis}ms"), load, [calls, 5], about).counted_in("calls")
    });
    let floods = [50, 200, 4_000].into_iter().flat_map(|millis| {
        [1, 2, 4].map(|per_core| {
            let about = "empty calls, 5 ms apart, beside computations submitted at once, so many for each core; \
                         CPU/task: without these";
            let name = format!("behind_flood_{per_core}x_{millis}ms");
            Case::new(&name, Load::BehindFlood { per_core }, [millis, 20], about).counted_in("ms each")
        })
    });
    let case = |case: Case| case.in_group(GROUP).sized(Sizing::Default).among(SERVERS);
    lanes.into_iter().chain(floods).map(case).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computations_that_are_cut_short_count_in_part() {
        let lane = Lane { limit: 1, cost: Duration::from_millis(10) };
        let metric = lane.each(Duration::from_millis(300), Duration::from_millis(250)).unwrap();
        assert_eq!((metric.value, metric.ideal), (12e6, Some(10e6)));
    }

    #[test]
    fn no_more_computes_at_a_time_than_there_are_cores() {
        let lane = Lane { limit: 1_000, cost: Duration::from_secs(1) };
        let metric = lane.each(Duration::from_secs(1), Duration::from_secs(1)).unwrap();
        assert_eq!(metric.ideal, Some(1e9 / num_cpus::get() as f64));
    }
}
