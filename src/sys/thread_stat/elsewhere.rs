//! A system that says nothing of a thread.

use std::time::Duration;

use super::ThreadStat;

/// This system does not count how often a thread goes to sleep.
pub(crate) fn own_sleeps() -> Option<u64> {
    None
}

/// A thread that the system says nothing of.
#[derive(Clone, Debug)]
pub(crate) struct ThreadKey;

impl ThreadKey {
    /// The key of the calling thread.
    pub(crate) fn current() -> Self {
        ThreadKey
    }
}

impl ThreadStat for ThreadKey {
    const LAG: Duration = Duration::ZERO;
}
