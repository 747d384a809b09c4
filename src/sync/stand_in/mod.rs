//! Plain versions of the lock-free parts, for the model checker: it cannot look into other crates. Each passes the
//! same contract tests as the part it stands for.

#[cfg(all(test, not(sidestep_loom)))]
mod contract;
pub(crate) mod deque;
#[cfg(all(test, sidestep_loom))]
pub(crate) mod model;
pub(crate) mod oneshot;
