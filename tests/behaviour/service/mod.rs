//! Blocking code as services of `tower`: readiness, permits, and the layers of that crate.

mod layers;
mod ready;

use std::task::{Context, Poll, Waker};

use sidestep::{BlockingService, Lane, Pool, Task, TaskError};
use tower::Service;

use crate::support::{Gate, occupy_lane};

/// A lane that runs one task at a time, with room for one that waits.
pub(crate) fn narrow(pool: &Pool) -> Lane {
    pool.lane_builder("narrow", 1).queue_limit(1).build().unwrap()
}

/// A narrow lane whose slot and whose room are taken until `gate` opens.
pub(crate) fn full(pool: &Pool, gate: &Gate) -> (Lane, [Task<()>; 2]) {
    let lane = narrow(pool);
    let held = occupy_lane(&lane, gate);
    let queued = lane.spawn(|| ());
    (lane, [held, queued])
}

/// Polls a service for readiness once.
pub(crate) fn poll_ready<F, R>(service: &mut BlockingService<F>, waker: &Waker) -> Poll<Result<(), TaskError>>
where
    F: Fn(u32) -> R + Send + Sync + 'static,
    R: Send + 'static,
{
    Service::<u32>::poll_ready(service, &mut Context::from_waker(waker))
}
