//! Wait and run times for the facade crate `metrics`: one series of each per pool and per lane.
//!
//! A pool or lane registers its handles when it is made, so a task costs no look-up. The recorder
//! is user code: each call catches its panics, and holds no lock.

use std::time::Duration;

use metrics::{Histogram, Unit, describe_histogram, histogram};

use crate::panic::catch_panic;

/// The name, in a report, of a recorder that has panicked.
pub(crate) const PLACE: &str = "a recorder of metrics";

const WAIT: &str = "sidestep_task_wait_seconds";
const RUN: &str = "sidestep_task_run_seconds";
const LANE_WAIT: &str = "sidestep_lane_task_wait_seconds";
const LANE_RUN: &str = "sidestep_lane_task_run_seconds";

/// The times of one pool or lane, as the recorder knows them.
#[derive(Debug)]
pub(super) struct Series {
    wait: Histogram,
    run: Histogram,
}

impl Series {
    /// The series of a pool or of a lane. `None` if the recorder panics.
    pub(super) fn register(pool: &str, lane: Option<&str>) -> Option<Self> {
        let pool = pool.to_owned();
        let lane = lane.map(str::to_owned);
        catch_panic(PLACE, || match lane {
            None => Series {
                wait: histogram!(WAIT, "pool" => pool.clone()),
                run: histogram!(RUN, "pool" => pool),
            },
            Some(lane) => Series {
                wait: histogram!(LANE_WAIT, "pool" => pool.clone(), "lane" => lane.clone()),
                run: histogram!(LANE_RUN, "pool" => pool, "lane" => lane),
            },
        })
    }

    pub(super) fn waited(&self, time: Duration) {
        catch_panic(PLACE, || self.wait.record(time.as_secs_f64()));
    }

    pub(super) fn ran(&self, time: Duration) {
        catch_panic(PLACE, || self.run.record(time.as_secs_f64()));
    }
}

/// Describes the series to the recorder, which may panic.
pub(crate) fn describe() {
    let texts = [
        (WAIT, "How long tasks of the pool waited, from their spawning to the start of their closure."),
        (RUN, "How long the closures of the pool's tasks ran."),
        (LANE_WAIT, "How long tasks of the lane waited, from their spawning to the start of their closure."),
        (LANE_RUN, "How long the closures of the lane's tasks ran."),
    ];
    for (name, text) in texts {
        describe_histogram!(name, Unit::Seconds, text);
    }
}
