//! The pool: its threads, how tasks enter and leave its queues, and the handles to it.
//!
//! | room | owns |
//! |---|---|
//! | `handle`, `lane`, `keyed_lane`, `global` | the handles of a pool and of its lanes; the pool of the whole process |
//! | `until_idle` | waiting until a pool or lane has nothing to do |
//! | `adapters` | what the modules above use of a pool besides its public methods |
//! | `services` | what the global pool does for the whole process |
//! | `builder`, `config` | the settings, and which values are refused |
//! | `inner` | what all handles and threads of one pool share, part by part; what the pool decides for its threads |
//! | `submit` | how a task gets into a queue, or is refused, and the ways to spawn |
//! | `reserves` | when a lane gets a thread of its reserve, and what the pool decides for that thread |
//! | `threads` | how many threads there are and may be, and how one more is made |
//! | `growth` | when the pool adds threads: a pure policy, the samples it decides on, and the thread that acts |
//! | `expiry` | the thread that ends queued tasks whose time is up, and publishes the numbers |
//! | `shutdown` | the end of a pool, the threads that wait for it, and the tasks that it drops |
//! | `stats` | the metrics; how long tasks wait and run; which run for long |

mod adapters;
mod builder;
mod config;
mod expiry;
mod global;
mod growth;
mod handle;
mod inner;
mod keyed_lane;
mod lane;
#[cfg(all(test, sidestep_loom))]
mod loom_models;
mod reserves;
#[cfg(feature = "fs")]
mod services;
mod shutdown;
mod stats;
mod submit;
mod threads;
mod until_idle;

pub use self::builder::PoolBuilder;
pub(crate) use self::expiry::TimedCall;
pub use self::handle::Pool;
pub use self::keyed_lane::{KeyedLane, KeyedLaneBuilder, LaneKey};
pub use self::lane::{Lane, LaneBuilder};
#[cfg(feature = "fs")]
pub(crate) use self::services::{HoldOpen, SpawnTarget};
pub use self::shutdown::{DrainGuard, Shutdown, ShutdownReport};
pub use self::stats::{LaneMetrics, LongRunningTask, Metrics, SlowTask, SlowTaskEvent};
pub(crate) use self::submit::ChosenTarget;
pub use self::submit::{
    Batch, JoinSet, Permit, Reserve, Scope, ScopedTask, Spawner, TaskOptions, spawn_blocking,
};
pub use self::threads::NewThread;
pub use self::until_idle::UntilIdle;
