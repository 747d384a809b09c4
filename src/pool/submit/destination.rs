//! Where a task goes: into the queue of a pool, of one of its lanes, or of a key of such a lane.

use std::borrow::Borrow;

use crate::pool::{Lane, LaneKey, Pool};
use crate::semaphore::Semaphore;

/// A pool, a lane or a key, or references to them.
#[derive(Clone, Copy, Debug)]
pub(in crate::pool) enum Destination<P = Pool, L = Lane, K = LaneKey> {
    Pool(P),
    Lane(L),
    Key(K),
}

/// A destination that is borrowed.
pub(in crate::pool) type DestinationRef<'a> = Destination<&'a Pool, &'a Lane, &'a LaneKey>;

impl Destination {
    pub(in crate::pool) fn as_ref(&self) -> DestinationRef<'_> {
        match self {
            Destination::Pool(pool) => Destination::Pool(pool),
            Destination::Lane(lane) => Destination::Lane(lane),
            Destination::Key(key) => Destination::Key(key),
        }
    }
}

impl DestinationRef<'_> {
    /// Handles of its own to the pool, but none to a lane: see [`Lane::without_handle`].
    pub(super) fn without_handle(self) -> Destination {
        match self {
            Destination::Pool(pool) => Destination::Pool(pool.clone()),
            Destination::Lane(lane) => Destination::Lane(lane.without_handle()),
            Destination::Key(key) => Destination::Key(key.without_handle()),
        }
    }

    /// Handles of its own, also where there is none to a lane, which lives: see [`Lane::handle`].
    pub(super) fn with_handle(self) -> Destination {
        match self {
            Destination::Pool(pool) => Destination::Pool(pool.clone()),
            Destination::Lane(lane) => Destination::Lane(lane.handle()),
            Destination::Key(key) => Destination::Key(key.with_handle()),
        }
    }

    /// Handles of its own.
    pub(in crate::pool) fn to_owned(self) -> Destination {
        match self {
            Destination::Pool(pool) => Destination::Pool(pool.clone()),
            Destination::Lane(lane) => Destination::Lane(lane.clone()),
            Destination::Key(key) => Destination::Key(key.clone()),
        }
    }
}

impl<P: Borrow<Pool>, L: Borrow<Lane>, K: Borrow<LaneKey>> Destination<P, L, K> {
    pub(in crate::pool) fn pool(&self) -> &Pool {
        match self {
            Destination::Pool(pool) => pool.borrow(),
            Destination::Lane(lane) => lane.borrow().pool(),
            Destination::Key(key) => key.borrow().lane().pool(),
        }
    }

    /// The lane, if it is one.
    pub(in crate::pool) fn lane(&self) -> Option<&Lane> {
        match self {
            Destination::Pool(_) => None,
            Destination::Lane(lane) => Some(lane.borrow()),
            Destination::Key(key) => Some(key.borrow().lane()),
        }
    }

    /// The permits of the queue, if it is limited.
    pub(in crate::pool) fn permits(&self) -> Option<&Semaphore> {
        match self.lane() {
            None => self.pool().inner.engine.permits(),
            Some(lane) => lane.queue_permits(),
        }
    }
}
