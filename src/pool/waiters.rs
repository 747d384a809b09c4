//! Threads of the pool that wait inside a task for something to change.
//!
//! ORDERING: `count` is written under the lock; the caller's fences (`watch_growth` and
//! `growth_ended`, or `Idle::notify`) pair, and make one of the two sides see the other.

use std::sync::Arc;

use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, Parker};

/// Threads of the pool that wait, and are to be woken once.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    parkers: Mutex<Vec<Arc<Parker>>>,
    /// How many there are, to be asked without the lock.
    count: AtomicUsize,
}

impl Waiters {
    /// The caller fences next, and looks once more before it parks.
    pub(super) fn add(&self, parker: &Arc<Parker>) {
        let mut parkers = self.parkers.lock();
        if !parkers.iter().any(|other| Arc::ptr_eq(other, parker)) {
            parkers.push(Arc::clone(parker));
        }
        self.count.store(parkers.len(), Ordering::SeqCst);
    }

    pub(super) fn remove(&self, parker: &Arc<Parker>) {
        let mut parkers = self.parkers.lock();
        parkers.retain(|other| !Arc::ptr_eq(other, parker));
        self.count.store(parkers.len(), Ordering::SeqCst);
    }

    /// The caller has fenced since what they are to see.
    #[inline]
    pub(super) fn wake(&self) {
        if self.count.load(Ordering::SeqCst) > 0 {
            self.wake_all();
        }
    }

    #[cold]
    fn wake_all(&self) {
        let mut parkers = self.parkers.lock();
        let woken = std::mem::take(&mut *parkers);
        self.count.store(0, Ordering::SeqCst);
        drop(parkers);
        for parker in woken {
            parker.unpark();
        }
    }
}
