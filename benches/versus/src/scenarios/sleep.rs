//! Closures that truly block, alone and beside short ones.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::Scenario;
use super::one_by_one::quantiles;
use crate::peers::{Call, Peer};
use crate::sample::{Meter, Metric, Sample};
use crate::stage::{Crew, Stage};

/// Many at once, first on a fresh peer, then again.
pub(super) struct Sleepers;

impl Sleepers {
    const NAP: Duration = Duration::from_millis(5);
    /// How many could sleep at a time.
    const BEDS: usize = 512;

    async fn of<P: Peer>(crew: Crew<P>, tasks: usize) -> Duration {
        let start = Instant::now();
        let calls: Vec<_> = (0..tasks).map(|_| crew.spawn(|| thread::sleep(Self::NAP))).collect();
        for call in calls {
            call.result().await;
        }
        start.elapsed()
    }
}

impl Scenario for Sleepers {
    fn run<P: Peer>(self, stage: &Stage<P>) -> Result<Sample> {
        let ideal = Self::NAP * u32::try_from(stage.tasks.div_ceil(Self::BEDS))?;
        let meter = Meter::start();
        let times = ["fresh", "warm"].map(|name| {
            let time = stage.driver.run(Self::of(stage.crew, stage.tasks));
            Metric::time(name, time).with_ideal(ideal)
        });
        let reading = meter.stop();
        Ok(reading.sample(2 * stage.tasks, times.into()))
    }
}

/// A short one now and then, while others keep sleeping.
pub(super) struct Mixed;

impl Mixed {
    const SLEEPERS: usize = 128;
    const NAP: Duration = Duration::from_millis(20);
    const PAUSE: Duration = Duration::from_millis(1);

    /// Keeps one sleeper in flight.
    async fn nap_until<P: Peer>(crew: Crew<P>, end: Arc<AtomicBool>) {
        while !end.load(Relaxed) {
            crew.spawn(|| thread::sleep(Self::NAP)).result().await;
        }
    }

    /// The latencies of the short ones.
    async fn of<P: Peer>(crew: Crew<P>, tasks: usize) -> Vec<Duration> {
        let mut latencies = Vec::with_capacity(tasks);
        for n in 0..tasks {
            tokio::time::sleep(Self::PAUSE).await;
            let start = Instant::now();
            black_box(crew.spawn(move || n).result().await);
            latencies.push(start.elapsed());
        }
        latencies
    }
}

impl Scenario for Mixed {
    fn run<P: Peer>(self, stage: &Stage<P>) -> Result<Sample> {
        let end = Arc::new(AtomicBool::new(false));
        let sleepers: Vec<_> = (0..Self::SLEEPERS)
            .map(|_| stage.driver.handle().spawn(Self::nap_until(stage.crew, Arc::clone(&end))))
            .collect();
        stage.driver.run(Self::of(stage.crew, stage.warm_up));
        let meter = Meter::start();
        let latencies = stage.driver.run(Self::of(stage.crew, stage.tasks));
        let reading = meter.stop();
        end.store(true, Relaxed);
        stage.driver.run(async {
            for sleeper in sleepers {
                sleeper.await.expect("a sleeper does not panic");
            }
        });
        Ok(reading.sample(stage.tasks, quantiles(latencies)))
    }
}
