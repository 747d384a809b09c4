//! What the global pool does for the whole process: files, standard streams, name lookups.

use super::submit::Destination;
use super::{Lane, Pool};

/// A kind of work that goes to a lane of the global pool.
#[derive(Clone, Copy, Debug)]
pub(in crate::pool) enum Service {
    Files,
    Streams,
    Lookups,
}

impl Service {
    /// Where its closures go.
    pub(in crate::pool) fn destination(self) -> Destination<&'static Pool, &'static Lane> {
        Destination::Pool(Pool::global())
    }
}
