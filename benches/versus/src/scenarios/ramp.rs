//! How fast a pool that has just started gets the threads that it needs.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::runtime::Handle;

use super::{Case, Load, RAMPERS, Scenario, Sizing};
use crate::driver::Driver;
use crate::peers::{Call, Peer, Threads};
use crate::sample::{Meter, Metric, Reading, Sample};
use crate::stage::{Stage, marked};
use crate::stats;

/// Fresh peers, on fresh runtimes, each of which meets as many calls at once as there are tasks.
#[derive(Clone, Copy)]
pub(super) struct Ramp {
    /// How long each call blocks.
    pub(super) nap: Duration,
    /// How many peers, where they are fast enough.
    pub(super) fresh: usize,
}

impl Ramp {
    /// For the threads of the last one to be gone.
    const PAUSE: Duration = Duration::from_millis(20);
    /// After this no other peer is started.
    const MOST: Duration = Duration::from_secs(2);

    async fn of<P: Peer>(self, threads: Threads, calls: usize) -> Result<(P, Reading)> {
        let peer = P::start(threads, &Handle::current())?;
        let meter = Meter::start();
        let nap = move || thread::sleep(self.nap);
        let calls: Vec<_> = (0..calls).map(|_| peer.spawn(marked(nap))).collect();
        for call in calls {
            call.result().await;
        }
        let reading = meter.stop();
        Ok((peer, reading))
    }
}

impl Scenario for Ramp {
    fn run<P: Peer>(self, stage: &Stage<P>) -> Result<Sample> {
        let fresh = if P::GLOBAL { 1 } else { self.fresh };
        let mut readings = Vec::with_capacity(fresh);
        let start = Instant::now();
        while readings.is_empty() || (readings.len() < fresh && start.elapsed() < Self::MOST) {
            let driver = Driver::new::<P>(stage.flavor, stage.threads)?;
            let (peer, reading) = driver.run(self.of::<P>(stage.threads, stage.tasks))?;
            readings.push(reading);
            drop((peer, driver));
            thread::sleep(Self::PAUSE);
        }
        readings.sort_unstable_by_key(|reading| reading.wall);
        let median = stats::quantile(&readings, 0.5).context("there is no peer")?;
        let time = Metric::time("fresh", median.wall).with_ideal(self.nap);
        Ok(median.sample(stage.tasks, vec![time]))
    }
}

/// Calls of so many milliseconds, on so many fresh peers, by how many there are at once.
const RAMPS: [(u64, usize, &[usize]); 4] =
    [(5, 10, &[50, 200, 500]), (20, 10, &[50, 200, 500]), (200, 3, &[50, 200, 500]), (1, 10, &[2_000])];

/// The cases: a line for each length of the calls.
pub(super) fn cases() -> Vec<Case> {
    let ramp = |&(millis, fresh, calls): &(u64, usize, &'static [usize])| {
        let load = Load::Ramp { nap: Duration::from_millis(millis), fresh };
        calls.iter().map(move |&calls| {
            let about =
                "a peer that has just started meets N calls at once that sleep so long; until all have ended";
            Case::new(&format!("ramp_{millis}ms/{calls}"), load, [calls, calls / 10], about)
                .in_group("ramp")
                .sized(Sizing::Default)
                .among(RAMPERS)
                .counted_in("calls")
        })
    };
    RAMPS.iter().flat_map(ramp).collect()
}
