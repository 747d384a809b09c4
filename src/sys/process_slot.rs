//! A value that the whole process shares, and that a forked child replaces.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The value, once there is one. Values are never freed: they may be in use, or be the parent's.
pub(crate) struct ProcessSlot<T: 'static> {
    value: AtomicPtr<T>,
}

impl<T: Send + Sync + 'static> ProcessSlot<T> {
    pub(crate) const fn new() -> Self {
        ProcessSlot { value: AtomicPtr::new(ptr::null_mut()) }
    }

    pub(crate) fn get(&self) -> Option<&'static T> {
        // ORDERING: Acquire pairs with the Release in `replace`: the value is whole.
        let value = self.value.load(Ordering::Acquire);
        // SAFETY: it is null, or was made by `replace`, from a box that is never freed.
        unsafe { value.as_ref() }
    }

    /// Puts `new` where `old` is. Of threads that do so at a time one succeeds; the others drop
    /// theirs. Returns the value that is there now.
    pub(crate) fn replace(&self, old: Option<&'static T>, new: T) -> &'static T {
        let old = old.map_or(ptr::null_mut(), |old| ptr::from_ref(old).cast_mut());
        let new = Box::into_raw(Box::new(new));
        // ORDERING: Release pairs with the Acquire in `get`, and Acquire, where another thread was
        // first, with its Release.
        match self.value.compare_exchange(old, new, Ordering::Release, Ordering::Acquire) {
            // SAFETY: it was made of a box just now, which is never freed from here on.
            Ok(_) => unsafe { &*new },
            Err(other) => {
                // SAFETY: it was made of a box just now, and no other thread has seen it.
                drop(unsafe { Box::from_raw(new) });
                // SAFETY: it is not `old`, so `replace` has put it there, from a box that is never
                // freed. It is not null, as null is only ever replaced.
                unsafe { &*other }
            }
        }
    }
}
