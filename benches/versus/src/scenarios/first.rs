//! How long a program waits for its first result.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::runtime::Handle;

use super::Scenario;
use crate::driver::Driver;
use crate::peers::{Call, Peer, Threads};
use crate::sample::{Meter, Metric, Sample};
use crate::stage::Stage;
use crate::stats;

/// Fresh peers, each started and asked for one result, from a fresh runtime whose own start is not
/// counted.
pub(super) struct First;

impl First {
    /// For the threads of the last one to be gone.
    const PAUSE: Duration = Duration::from_millis(1);

    async fn of<P: Peer>(threads: Threads) -> Result<(P, Duration)> {
        let runtime = Handle::current();
        let start = Instant::now();
        let peer = P::start(threads, &runtime)?;
        peer.spawn(|| ()).result().await;
        let time = start.elapsed();
        Ok((peer, time))
    }
}

impl Scenario for First {
    fn run<P: Peer>(self, stage: &Stage<P>) -> Result<Sample> {
        let fresh = if P::GLOBAL { 1 } else { stage.tasks };
        let mut times = Vec::with_capacity(fresh);
        let meter = Meter::start();
        for _ in 0..fresh {
            let driver = Driver::new::<P>(stage.flavor, stage.threads)?;
            let threads = stage.threads;
            let (peer, time) = driver.run(async move { Self::of::<P>(threads).await })?;
            times.push(time);
            drop((peer, driver));
            thread::sleep(Self::PAUSE);
        }
        times.sort_unstable();
        let median = stats::quantile(&times, 0.5).context("there is no peer")?;
        let sample = meter.stop().sample(fresh, vec![Metric::time("first result", median)]);
        // These closures leave no mark in the census.
        Ok(Sample { threads: None, ..sample })
    }
}
