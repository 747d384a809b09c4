//! Counters: how often something was called, how many were there at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number, and what raises it by one.
pub(crate) fn counter() -> (Arc<AtomicUsize>, impl Fn() + Clone + Send + Sync + 'static) {
    let count = Arc::new(AtomicUsize::new(0));
    let raised = Arc::clone(&count);
    (count, move || {
        raised.fetch_add(1, Ordering::SeqCst);
    })
}

/// Counts how many there are and the most there were at one time.
#[derive(Default)]
pub(crate) struct Crowd {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Crowd {
    pub(crate) fn enter(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
    }

    pub(crate) fn leave(&self) {
        self.now.fetch_sub(1, Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }

    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}
