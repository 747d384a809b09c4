//! Many closures that compute, awaited in the order in which they were submitted: tasks end in the
//! order in which they are awaited, so each may wake the caller, who takes a CPU from the workers.

use std::time::Duration;

use anyhow::Result;

use super::cpu::{burn, calibrate};
use super::{Case, Load, Scenario};
use crate::peers::{Call, Family, Peer};
use crate::sample::{Meter, Metric, Sample};
use crate::stage::{Crew, Stage};

/// All are submitted at once.
pub(super) struct InOrder {
    /// The CPU time of each.
    pub(super) cost: Duration,
}

impl InOrder {
    async fn of<P: Peer>(crew: Crew<P>, cost: Duration, tasks: usize) {
        let calls: Vec<_> = (0..tasks).map(|_| crew.spawn(move || burn(cost))).collect();
        for call in calls {
            call.result().await;
        }
    }
}

impl Scenario for InOrder {
    fn run<P: Peer>(self, stage: &Stage<P>) -> Result<Sample> {
        calibrate();
        stage.driver.run(Self::of(stage.crew, self.cost, stage.warm_up));
        let ideal = self.cost * u32::try_from(stage.tasks)? / u32::try_from(num_cpus::get())?;
        let meter = Meter::start();
        stage.driver.run(Self::of(stage.crew, self.cost, stage.tasks));
        let reading = meter.stop();
        Ok(reading.sample(stage.tasks, vec![Metric::time("makespan", reading.wall).with_ideal(ideal)]))
    }
}

/// Closures of so many microseconds, and how many.
const COSTS: [(u64, [usize; 2]); 3] = [(5, [20_000, 500]), (20, [20_000, 500]), (100, [5_000, 100])];

/// Who takes part.
const AWAITED: &[Family] =
    &[Family::Sidestep, Family::Tokio, Family::Blocking, Family::Affinitypool, Family::Rayon];

/// A case for each length.
pub(super) fn cases() -> Vec<Case> {
    let case = |(micros, sizes)| {
        let load = Load::InOrder { cost: Duration::from_micros(micros) };
        let about = format!("closures of {micros} us of CPU, submitted at once and awaited in that order");
        Case::new(&format!("in_order_{micros}us"), load, sizes, about)
            .in_group("in_order")
            .among(AWAITED)
            .both_flavors()
    };
    COSTS.map(case).into()
}
