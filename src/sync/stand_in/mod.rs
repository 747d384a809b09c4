//! Plain versions of the lock-free parts, for the model checker, which cannot look into other
//! crates, and for ThreadSanitizer, which knows of no fences. Each passes the same contract tests
//! as the part it stands for.

#[cfg(all(test, not(sidestep_loom)))]
mod contract;
pub(crate) mod deque;
#[cfg(all(test, sidestep_loom))]
pub(crate) mod model;
#[cfg(any(test, sidestep_loom, sidestep_shuttle))]
pub(crate) mod oneshot;
