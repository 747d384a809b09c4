//! How long a test waits for what must happen, and for what must not.

use std::time::{Duration, Instant};

/// Longer than anything here takes on the slowest machine: reaching it is a failure, never a
/// measurement. The variable is for tools that make everything many times slower.
pub(crate) const PATIENCE: Duration =
    Duration::from_secs(if option_env!("SIDESTEP_PATIENCE").is_some() { 300 } else { 60 });

/// Waits until `condition` holds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "it never happened: {what}");
        std::thread::yield_now();
    }
}

/// Gives what must not happen some time to happen.
#[expect(clippy::disallowed_methods, reason = "only time can show that something does not happen")]
pub(crate) fn nothing_happens() {
    std::thread::sleep(Duration::from_millis(50));
}
