//! What the async thread itself pays for a call.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::Scenario;
use crate::peers::{Call, Peer};
use crate::sample::{Meter, Metric, Sample};
use crate::stage::{Crew, Stage};
use crate::stats;

/// Bursts, of which only the submitting calls are timed.
pub(super) struct Submit;

impl Submit {
    const BURST: usize = 1_000;
    /// Submitted before the clock starts, so that the workers are awake.
    const LEAD: usize = 64;

    async fn burst<P: Peer>(crew: Crew<P>) -> Duration {
        let submit = |n| crew.spawn(move || n);
        let mut calls = Vec::with_capacity(Self::LEAD + Self::BURST);
        calls.extend((0..Self::LEAD).map(submit));
        let start = Instant::now();
        calls.extend((0..Self::BURST).map(submit));
        let time = start.elapsed();
        for call in calls {
            call.result().await;
        }
        time
    }

    /// How long each burst took to submit.
    async fn of<P: Peer>(crew: Crew<P>, tasks: usize) -> Vec<Duration> {
        let mut times = Vec::new();
        for _ in 0..tasks.div_ceil(Self::BURST) {
            times.push(Self::burst(crew).await);
        }
        times
    }
}

impl Scenario for Submit {
    fn run<P: Peer>(self, stage: &Stage<P>) -> Result<Sample> {
        stage.driver.run(Self::of(stage.crew, stage.warm_up));
        let meter = Meter::start();
        let mut times = stage.driver.run(Self::of(stage.crew, stage.tasks));
        let tasks = times.len() * (Self::LEAD + Self::BURST);
        let reading = meter.stop();
        times.sort_unstable();
        let median = stats::quantile(&times, 0.5).context("there is no burst")?;
        Ok(reading.sample(tasks, vec![Metric::per_task("submit", median, Self::BURST)]))
    }
}
