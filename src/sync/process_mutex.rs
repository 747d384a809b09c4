//! A mutex for what a fork makes unusable.

#[cfg(all(test, unix, not(any(sidestep_loom, sidestep_shuttle, miri))))]
mod tests;

use std::fmt;
use std::mem::forget;

use super::{Mutex, MutexGuard};
use crate::sys::fork::Generation;

/// A mutex whose value exists only in the process that it was made in.
///
/// A fork copies the memory but only the thread that called it: in the child the lock may be held
/// for ever, by a thread that is not there, and the value half changed. So in a child the lock
/// returns no value, and the drop leaks it.
pub(crate) struct ProcessMutex<T> {
    generation: Generation,
    /// `None` only once the drop has taken it.
    mutex: Option<Mutex<T>>,
}

impl<T> ProcessMutex<T> {
    pub(crate) fn new(value: T) -> Self {
        ProcessMutex { generation: Generation::current(), mutex: Some(Mutex::new(value)) }
    }

    /// Whether this process is a forked child of the one that made the mutex.
    #[inline]
    pub(crate) fn is_forked(&self) -> bool {
        self.generation.is_past()
    }

    /// Locks the value. `None` in a forked child.
    #[inline]
    pub(crate) fn lock(&self) -> Option<MutexGuard<'_, T>> {
        match &self.mutex {
            Some(mutex) if !self.is_forked() => Some(mutex.lock()),
            _ => None,
        }
    }

    /// The value, without locking, and in a forked child too. Where the mutable borrow comes from a
    /// count of references, as of an `Arc`, no other thread had one at the fork: so none held the
    /// lock, and the value is whole.
    pub(crate) fn get_mut_unshared(&mut self) -> Option<&mut T> {
        self.mutex.as_mut().map(Mutex::get_mut)
    }
}

impl<T: Default> Default for ProcessMutex<T> {
    fn default() -> Self {
        ProcessMutex::new(T::default())
    }
}

impl<T> Drop for ProcessMutex<T> {
    fn drop(&mut self) {
        if self.is_forked() {
            forget(self.mutex.take());
        }
    }
}

impl<T> fmt::Debug for ProcessMutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessMutex").field("is_forked", &self.is_forked()).finish_non_exhaustive()
    }
}
