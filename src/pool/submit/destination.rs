//! Where a task goes: into the queue of a pool, or of one of its lanes.

use std::borrow::Borrow;

use crate::pool::{Lane, Pool};
use crate::semaphore::Semaphore;

/// A pool or a lane, or references to them.
#[derive(Clone, Copy, Debug)]
pub(in crate::pool) enum Destination<P = Pool, L = Lane> {
    Pool(P),
    Lane(L),
}

impl Destination {
    pub(in crate::pool) fn as_ref(&self) -> Destination<&Pool, &Lane> {
        match self {
            Destination::Pool(pool) => Destination::Pool(pool),
            Destination::Lane(lane) => Destination::Lane(lane),
        }
    }
}

impl Destination<&Pool, &Lane> {
    /// Handles of its own.
    pub(in crate::pool) fn to_owned(self) -> Destination {
        match self {
            Destination::Pool(pool) => Destination::Pool(pool.clone()),
            Destination::Lane(lane) => Destination::Lane(lane.clone()),
        }
    }
}

impl<P: Borrow<Pool>, L: Borrow<Lane>> Destination<P, L> {
    pub(in crate::pool) fn pool(&self) -> &Pool {
        match self {
            Destination::Pool(pool) => pool.borrow(),
            Destination::Lane(lane) => lane.borrow().pool(),
        }
    }

    /// The permits of the queue, if it is limited.
    pub(in crate::pool) fn permits(&self) -> Option<&Semaphore> {
        match self {
            Destination::Pool(pool) => pool.borrow().inner.engine.permits(),
            Destination::Lane(lane) => lane.borrow().queue_permits(),
        }
    }
}
