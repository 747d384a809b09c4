//! Gates, counters and patience for the tests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Longer than anything here takes on the slowest machine: reaching it is a failure, never a measurement.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A door that is shut until somebody opens it, for ever.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub fn new() -> Self {
        Gate::default()
    }

    /// Blocks until the gate is open.
    pub fn pass(&self) {
        let (open, bell) = &*self.0;
        let (guard, timeout) =
            bell.wait_timeout_while(open.lock().unwrap(), PATIENCE, |open| !*open).unwrap();
        drop(guard);
        assert!(!timeout.timed_out(), "the gate was never opened");
    }

    pub fn open(&self) {
        let (open, bell) = &*self.0;
        *open.lock().unwrap() = true;
        bell.notify_all();
    }
}

/// Counts how many of its kind have been dropped.
#[derive(Clone, Default)]
pub struct Drops(Arc<AtomicUsize>);

impl Drops {
    pub fn new() -> Self {
        Drops::default()
    }

    /// Something whose drop is counted.
    pub fn token(&self) -> DropToken {
        DropToken(Arc::clone(&self.0))
    }

    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

pub struct DropToken(Arc<AtomicUsize>);

impl Drop for DropToken {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Waits until `condition` holds.
pub fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "it never happened: {what}");
        std::thread::yield_now();
    }
}
