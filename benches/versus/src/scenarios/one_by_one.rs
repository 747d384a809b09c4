//! One call at a time: the round trip.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::Scenario;
use crate::peers::{Call, Peer};
use crate::sample::{Meter, Metric, Sample};
use crate::stage::{Crew, Stage};
use crate::stats;

/// Each is awaited before the next.
pub(super) struct Serial;

impl Serial {
    pub(super) async fn of<P: Peer>(crew: Crew<P>, tasks: usize) {
        for n in 0..tasks {
            black_box(crew.spawn(move || n).result().await);
        }
    }
}

impl Scenario for Serial {
    fn run<P: Peer>(self, stage: &Stage<P>) -> Result<Sample> {
        stage.driver.run(Self::of(stage.crew, stage.warm_up));
        let meter = Meter::start();
        stage.driver.run(Self::of(stage.crew, stage.tasks));
        Ok(meter.stop().per_task(stage.tasks))
    }
}

/// The same with a pause before each, long enough for everybody to fall asleep.
pub(super) struct Spaced;

impl Spaced {
    const PAUSE: Duration = Duration::from_micros(300);

    /// The latencies. The pause sleeps on the thread of the runtime: tokio's timer knows only
    /// milliseconds.
    async fn of<P: Peer>(crew: Crew<P>, tasks: usize) -> Vec<Duration> {
        let mut latencies = Vec::with_capacity(tasks);
        for n in 0..tasks {
            thread::sleep(Self::PAUSE);
            let start = Instant::now();
            black_box(crew.spawn(move || n).result().await);
            latencies.push(start.elapsed());
        }
        latencies
    }
}

impl Scenario for Spaced {
    fn run<P: Peer>(self, stage: &Stage<P>) -> Result<Sample> {
        stage.driver.run(Self::of(stage.crew, stage.warm_up));
        let meter = Meter::start();
        let latencies = stage.driver.run(Self::of(stage.crew, stage.tasks));
        Ok(meter.stop().sample(stage.tasks, quantiles(latencies)))
    }
}

/// The usual two of a set of latencies.
pub(super) fn quantiles(latencies: Vec<Duration>) -> Vec<Metric> {
    quantiles_at(&[("p50", 0.5), ("p99", 0.99)], latencies)
}

/// Those, and one between them for where the last hundredth says little.
pub(super) fn quantiles_with_p90(latencies: Vec<Duration>) -> Vec<Metric> {
    quantiles_at(&[("p50", 0.5), ("p90", 0.9), ("p99", 0.99)], latencies)
}

/// Those, and the mean, which counts what a few calls pay for all.
pub(super) fn quantiles_with_mean(latencies: Vec<Duration>) -> Vec<Metric> {
    let count = latencies.len();
    let mean = (count > 0).then(|| Metric::per_task("mean", latencies.iter().sum(), count));
    let mut metrics = quantiles(latencies);
    if let Some(mean) = mean {
        metrics.insert(1, mean);
    }
    metrics
}

fn quantiles_at(shares: &[(&str, f64)], mut latencies: Vec<Duration>) -> Vec<Metric> {
    latencies.sort_unstable();
    shares
        .iter()
        .filter_map(|&(name, share)| Some(Metric::time(name, stats::quantile(&latencies, share)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_stands_between_the_quantiles() {
        let latencies = [1, 2, 9].map(Duration::from_nanos);
        let metrics = quantiles_with_mean(latencies.into());
        let figures: Vec<_> = metrics.iter().map(|metric| (metric.name.as_str(), metric.value)).collect();
        assert_eq!(figures, [("p50", 2.0), ("mean", 4.0), ("p99", 9.0)]);
        assert!(quantiles_with_mean(Vec::new()).is_empty());
    }
}
