//! A meeting of tasks, and the bound that a number of threads keeps to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Gate;

/// Holds everybody until the last of `parties` has come.
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

/// Checks that a pool keeps to `bound` threads, given how many it had at most in one attempt. Where
/// the machine holds a pool up for so long that one rule or another adds a thread, that does not
/// happen so many times in a row.
pub(crate) fn keeps_to(bound: usize, attempt: impl Fn() -> usize) {
    let mut peaks = Vec::new();
    while peaks.len() < 8 {
        peaks.push(attempt());
        if peaks.iter().any(|&peak| peak <= bound) {
            return;
        }
    }
    panic!("{peaks:?} threads, at most {bound} expected");
}
