//! What the global pool does for the whole process: files, standard streams, name lookups. Each
//! has a lane of its own with a reserve, so that none of them stops because another one hangs, or
//! because all threads of the pool do.
//!
//! | lane | of `max_threads` at most | in reserve |
//! |---|---|---|
//! | `fs` | three quarters: 384 of 512 | 4 |
//! | `io`, the standard output and error | three quarters, and 16 | 2 |
//! | `net` | three quarters, and 32 | 2 |
//!
//! A limit leaves room: where all three hang, a pool of 512 still has 80 threads for closures. It
//! is never less than the reserve and one, so that a lane of a small pool can use its reserve
//! beside one of the pool's threads: files of a pool with fewer than seven threads may take all of
//! them. The limits follow [`Pool::set_max_threads`]. Each lane has the queue limit of the pool.
//!
//! The lanes belong to the pool that they are lanes of, not to a `static`: where a global pool
//! replaces another one, it has lanes of its own. They keep their pool alive, as the global pool is
//! anyway.
//!
//! The adapters reach the pool through [`SpawnTarget`], and hold it open by [`HoldOpen`].

mod hold;
mod target;

pub(crate) use self::hold::HoldOpen;
pub(crate) use self::target::SpawnTarget;

use std::sync::OnceLock;

use super::submit::{Destination, DestinationRef};
use super::{Lane, Pool};
use crate::worker::{Engine, Policy};

/// A kind of work that goes to a lane of the global pool.
#[derive(Clone, Copy, Debug)]
pub(in crate::pool) enum Service {
    Files,
    Streams,
    Lookups,
}

impl Service {
    /// Where its closures go.
    pub(in crate::pool) fn destination(self) -> DestinationRef<'static> {
        let pool = Pool::global();
        if pool.inner.engine.is_forked() {
            // Another thread may have been making the lane at the fork. The pool refuses the task.
            return Destination::Pool(pool);
        }
        let lane = &pool.inner.services.0[self as usize];
        Destination::Lane(lane.get_or_init(|| self.lane(pool)))
    }

    fn lane(self, pool: &Pool) -> Lane {
        let name = match self {
            Service::Files => "fs",
            Service::Streams => "io",
            Service::Lookups => "net",
        };
        let limit = self.limit(pool.inner.threads.max());
        let mut builder = pool.lane_builder(name, limit).reserve(self.reserve());
        if let Some(tasks) = pool.inner.config.queue_limit {
            builder = builder.queue_limit(tasks);
        }
        match builder.build_private() {
            Ok(lane) => lane,
            Err(error) => unreachable!("the settings are possible: {error}"),
        }
    }

    /// How many threads its lane has in reserve.
    fn reserve(self) -> usize {
        match self {
            Service::Files => 4,
            Service::Streams | Service::Lookups => 2,
        }
    }

    /// The limit of its lane in a pool that has at most so many threads.
    fn limit(self, max_threads: usize) -> usize {
        let most = match self {
            Service::Files => usize::MAX,
            Service::Streams => 16,
            Service::Lookups => 32,
        };
        (max_threads - max_threads / 4).min(most).max(self.reserve() + 1)
    }
}

/// The lanes of the services, made by their first use.
#[derive(Default)]
pub(in crate::pool) struct Services([OnceLock<Lane>; 3]);

impl Services {
    /// `max_threads` of the pool has been changed.
    pub(in crate::pool) fn resize(&self, max_threads: usize, engine: &Engine, policy: &impl Policy) {
        for service in [Service::Files, Service::Streams, Service::Lookups] {
            if let Some(lane) = self.0[service as usize].get() {
                let _ = engine.set_lane_limit(lane.shared(), service.limit(max_threads), policy);
            }
        }
    }
}
