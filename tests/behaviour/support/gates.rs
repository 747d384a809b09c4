//! Gates and meetings: what holds threads back until a test lets them go.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use super::patience::PATIENCE;

/// A door that is shut until a test opens it, for ever.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn new() -> Self {
        Gate::default()
    }

    /// Blocks until the gate is open.
    pub(crate) fn pass(&self) {
        let (open, bell) = &*self.0;
        let (guard, timeout) =
            bell.wait_timeout_while(open.lock().unwrap(), PATIENCE, |open| !*open).unwrap();
        drop(guard);
        assert!(!timeout.timed_out(), "the gate was never opened");
    }

    pub(crate) fn open(&self) {
        let (open, bell) = &*self.0;
        *open.lock().unwrap() = true;
        bell.notify_all();
    }

    pub(crate) fn is_open(&self) -> bool {
        *self.0.0.lock().unwrap()
    }
}

/// Holds each of `parties` until the last of them has come.
pub(crate) struct Rendezvous {
    missing: AtomicUsize,
    all_here: Gate,
}

impl Rendezvous {
    pub(crate) fn new(parties: usize) -> Arc<Self> {
        Arc::new(Rendezvous { missing: AtomicUsize::new(parties), all_here: Gate::new() })
    }

    pub(crate) fn meet(&self) {
        if self.missing.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.all_here.open();
        }
        self.all_here.pass();
    }
}
