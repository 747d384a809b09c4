//! The cell of a strand's value, which one thread accesses at a time.
//!
//! ```text
//!               access              drop of the guard
//!   UNLOCKED ------------> LOCKED ----------------------> UNLOCKED
//!                            |
//!                            +---------- take ----------> TAKEN
//! ```
//!
//! The strand's lane runs one call at a time, so `access` finds the cell `UNLOCKED` or `TAKEN`. But
//! a call that waits for its own pool's shutdown has released its slot, and the next call starts
//! while the first one still accesses the value: the next call finds the cell `LOCKED` and is
//! refused. So soundness rests on this file alone.
//!
//! - **V1** The cell holds the value unless its state is `TAKEN`.
//! - **V2** The thread that changes the state from `UNLOCKED` to `LOCKED` has the value to itself
//!   until it changes the state again. No other thread changes a state that is `LOCKED`.

use std::mem::{MaybeUninit, forget};

use crate::sync::UnsafeCell;
use crate::sync::atomic::{AtomicBool, AtomicU8, Ordering};

const UNLOCKED: u8 = 0;
const LOCKED: u8 = 1;
const TAKEN: u8 = 2;

/// A value that one thread accesses at a time.
pub(super) struct ExclusiveCell<T> {
    state: AtomicU8,
    poisoned: AtomicBool,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: V2: one thread has the value at a time, and sharing the cell sends the value, or parts of
// it, to that thread.
unsafe impl<T: Send> Sync for ExclusiveCell<T> {}

/// Why a call cannot access the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AccessError {
    /// A call that has released its slot of the lane still accesses the value.
    Locked,
    /// The value has been taken out for good.
    Taken,
    /// A call has panicked while it accessed the value.
    Poisoned,
}

impl<T> ExclusiveCell<T> {
    pub(super) fn new(value: T) -> Self {
        ExclusiveCell {
            state: AtomicU8::new(UNLOCKED),
            poisoned: AtomicBool::new(false),
            value: UnsafeCell::new(MaybeUninit::new(value)),
        }
    }

    /// Locks the value, unless it is locked, taken or poisoned.
    pub(super) fn access(&self) -> Result<Access<'_, T>, AccessError> {
        let access = self.access_poisoned()?;
        if self.is_poisoned() { Err(AccessError::Poisoned) } else { Ok(access) }
    }

    /// Locks the value, poisoned or not, unless it is locked or taken.
    pub(super) fn access_poisoned(&self) -> Result<Access<'_, T>, AccessError> {
        // ORDERING: Acquire pairs with the Release in `leave` of the guard before: what that
        // guard's thread made of the value is visible.
        match self.state.compare_exchange(UNLOCKED, LOCKED, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => {}
            Err(LOCKED) => return Err(AccessError::Locked),
            Err(_) => return Err(AccessError::Taken),
        }
        Ok(Access { cell: self, poisons: false })
    }

    pub(super) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Relaxed)
    }

    pub(super) fn clear_poison(&self) {
        self.poisoned.store(false, Ordering::Relaxed);
    }

    /// Takes the value out, poisoned or not. `None` if it has been taken already.
    pub(super) fn take(&mut self) -> Option<T> {
        // There is no guard, since a guard would borrow the cell. ORDERING: the exclusive reference
        // came by synchronisation, but perhaps by one that the model checker does not see. Acquire
        // as in `access`.
        if self.state.swap(TAKEN, Ordering::Acquire) == TAKEN {
            return None;
        }
        // SAFETY: V1: the state was `UNLOCKED`, and from now on is `TAKEN`.
        Some(unsafe { self.read() })
    }

    /// Moves the value out.
    ///
    /// # Safety
    ///
    /// The value is there (V1), no other thread uses it, and the caller sets the state to `TAKEN`
    /// before any thread reads the state again.
    unsafe fn read(&self) -> T {
        self.value.with_mut(|slot| {
            // SAFETY: V2: the pointer is valid, and no other thread uses the slot.
            let slot = unsafe { &*slot };
            // SAFETY: V1, by the caller's promise.
            unsafe { slot.assume_init_read() }
        })
    }
}

impl<T> Drop for ExclusiveCell<T> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

/// A guard: exclusive access to the value, until it is dropped.
pub(super) struct Access<'a, T> {
    cell: &'a ExclusiveCell<T>,
    /// A closure is using the value: if the guard is dropped now, the closure has panicked.
    poisons: bool,
}

impl<T> Access<'_, T> {
    /// Calls `f` with the value. If `f` panics, the cell is poisoned.
    pub(super) fn with<R>(mut self, f: impl FnOnce(&mut T) -> R) -> R {
        self.poisons = true;
        let result = self.cell.value.with_mut(|slot| {
            // SAFETY: V2: this guard has the value to itself.
            let slot = unsafe { &mut *slot };
            // SAFETY: V1: the state is `LOCKED`.
            f(unsafe { slot.assume_init_mut() })
        });
        self.poisons = false;
        result
    }

    /// Puts `value` in the place of the value, which is sound then, and returns the old one.
    pub(super) fn replace(self, value: T) -> T {
        let cell = self.cell;
        let old = cell.value.with_mut(|slot| {
            // SAFETY: V2: this guard has the value to itself.
            let slot = unsafe { &mut *slot };
            // SAFETY: V1: the state is `LOCKED`.
            std::mem::replace(unsafe { slot.assume_init_mut() }, value)
        });
        // Before the guard is gone: the next call sees it.
        cell.clear_poison();
        old
    }

    /// Takes the value out for good.
    pub(super) fn take(self) -> T {
        // SAFETY: V1 and V2: this guard has made the state `LOCKED`, and makes it `TAKEN` next.
        let value = unsafe { self.cell.read() };
        self.leave(TAKEN);
        forget(self);
        value
    }

    fn leave(&self, state: u8) {
        // ORDERING: Release pairs with the Acquire in `access`.
        self.cell.state.store(state, Ordering::Release);
    }
}

impl<T> Drop for Access<'_, T> {
    fn drop(&mut self) {
        if self.poisons {
            self.cell.poisoned.store(true, Ordering::Relaxed);
        }
        self.leave(UNLOCKED);
    }
}

#[cfg(all(test, sidestep_loom))]
mod loom_models;
#[cfg(all(test, not(sidestep_loom)))]
mod tests;
