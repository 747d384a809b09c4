//! Threads that wait, and are to be woken once.
//!
//! ORDERING: `count` is written under the lock. Either the caller has a lock of its own between
//! what it changes and the call, or the fences of both callers pair: each writes, fences and then
//! looks, so one of the two sides sees the other.

use std::mem::take;
use std::sync::Arc;

use super::atomic::{AtomicUsize, Ordering};
use super::{Parker, ProcessMutex};

/// The parkers of threads that wait for one change. In a forked child there are none.
#[derive(Debug, Default)]
pub(crate) struct ParkerSet {
    parkers: ProcessMutex<Vec<Arc<Parker>>>,
    /// How many there are, to be asked without the lock.
    count: AtomicUsize,
}

impl ParkerSet {
    /// Adds `parker`, until it is woken or removed. The caller looks once more before it parks.
    pub(crate) fn add(&self, parker: &Arc<Parker>) {
        let Some(mut parkers) = self.parkers.lock() else { return };
        if !parkers.iter().any(|other| Arc::ptr_eq(other, parker)) {
            parkers.push(Arc::clone(parker));
        }
        self.count.store(parkers.len(), Ordering::SeqCst);
    }

    /// Removes `parker`, if it is there.
    pub(crate) fn remove(&self, parker: &Arc<Parker>) {
        let Some(mut parkers) = self.parkers.lock() else { return };
        let Some(index) = parkers.iter().position(|other| Arc::ptr_eq(other, parker)) else { return };
        let removed = parkers.swap_remove(index);
        self.count.store(parkers.len(), Ordering::SeqCst);
        drop(parkers);
        drop(removed);
    }

    /// Wakes all of them. The change that they wait for has been made.
    #[inline]
    pub(crate) fn wake(&self) {
        if self.count.load(Ordering::SeqCst) > 0 {
            self.wake_all();
        }
    }

    #[cold]
    fn wake_all(&self) {
        let Some(mut parkers) = self.parkers.lock() else { return };
        let woken = take(&mut *parkers);
        self.count.store(0, Ordering::SeqCst);
        drop(parkers);
        for parker in woken {
            parker.unpark();
        }
    }
}
