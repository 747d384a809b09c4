//! The numbers of a pool: counts, times, and the tasks that run for long.
//!
//! | file | owns |
//! |---|---|
//! | `metrics` | the plain numbers of a pool and of a lane |
//! | `observer` | how long tasks wait and run: who is warned, and what is recorded |
//! | `long_running` | which tasks run for long |
//! | `export` | the numbers for the facade crate `metrics` |

#[cfg(feature = "metrics")]
pub(in crate::pool) mod export;
mod long_running;
mod metrics;
mod observer;

pub use self::long_running::LongRunningTask;
pub use self::metrics::{LaneMetrics, Metrics};

pub(in crate::pool) use self::long_running::Sightings;
pub(in crate::pool) use self::observer::{Observer, meter};
