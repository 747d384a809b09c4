//! Where a strand's value lives, and who has it just now.
//!
//! ```text
//!            enter               drop of the visit
//!   IDLE ------------> BUSY ----------------------> IDLE
//!                        |
//!                        +------- take -----------> GONE
//! ```
//!
//! The strand's lane lets one call run at a time, so `enter` finds the value `IDLE` or `GONE`. But
//! a call that waits for its own pool's shutdown has given its slot away, and the next call comes
//! while the first still has the value: that one finds it `BUSY` and is refused. So soundness rests
//! on this file alone.
//!
//! - **V1** The value is there unless the stage is `GONE`.
//! - **V2** Who changes `IDLE` to `BUSY` has the value to itself until it changes the stage again,
//!   which nobody else does.

use std::mem::MaybeUninit;

use crate::sync::UnsafeCell;
use crate::sync::atomic::{AtomicBool, AtomicU8, Ordering};

const IDLE: u8 = 0;
const BUSY: u8 = 1;
const GONE: u8 = 2;

/// A value that one thread has at a time.
pub(super) struct Home<T> {
    stage: AtomicU8,
    poisoned: AtomicBool,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: V2: one thread has the value at a time, and is given it or what it holds by sending.
unsafe impl<T: Send> Sync for Home<T> {}

/// Why the value is not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absence {
    /// A call that has given its turn away still has it.
    Busy,
    /// It has been taken for good.
    Gone,
    /// A call has panicked while it had it.
    Poisoned,
}

impl<T> Home<T> {
    pub(super) fn new(value: T) -> Self {
        Home {
            stage: AtomicU8::new(IDLE),
            poisoned: AtomicBool::new(false),
            value: UnsafeCell::new(MaybeUninit::new(value)),
        }
    }

    /// The value, if it is at home and sound.
    pub(super) fn enter(&self) -> Result<Visit<'_, T>, Absence> {
        // ORDERING: Acquire pairs with the Release of the visit before: what that made of the value
        // is visible.
        match self.stage.compare_exchange(IDLE, BUSY, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => {}
            Err(BUSY) => return Err(Absence::Busy),
            Err(_) => return Err(Absence::Gone),
        }
        let visit = Visit { home: self, breaks: false };
        if self.is_poisoned() { Err(Absence::Poisoned) } else { Ok(visit) }
    }

    pub(super) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Relaxed)
    }

    pub(super) fn clear_poison(&self) {
        self.poisoned.store(false, Ordering::Relaxed);
    }

    /// The value, if it is still there, whatever has become of it.
    pub(super) fn take(&mut self) -> Option<T> {
        // There is no visit, since that would borrow the home. ORDERING: the exclusive reference
        // came by synchronisation, but perhaps by one that the model checker does not see. Acquire
        // as in `enter`.
        if self.stage.swap(GONE, Ordering::Acquire) == GONE {
            return None;
        }
        // SAFETY: V1: the stage was `IDLE`, and from now on is `GONE`.
        Some(unsafe { self.read() })
    }

    /// Moves the value out.
    ///
    /// # Safety
    ///
    /// It is there (V1), nobody else uses it, and the stage is `GONE` before anybody looks again.
    unsafe fn read(&self) -> T {
        self.value.with_mut(|slot| {
            // SAFETY: V2: the pointer is valid, and nobody else uses the slot.
            let slot = unsafe { &*slot };
            // SAFETY: V1, by the caller's promise.
            unsafe { slot.assume_init_read() }
        })
    }
}

impl<T> Drop for Home<T> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

/// The right to the value, until it is dropped.
pub(super) struct Visit<'a, T> {
    home: &'a Home<T>,
    /// The value is in the hands of a closure: if the visit ends now, that has panicked.
    breaks: bool,
}

impl<T> Visit<'_, T> {
    /// Calls `f` with the value. If it panics, the home is poisoned.
    pub(super) fn with<R>(mut self, f: impl FnOnce(&mut T) -> R) -> R {
        self.breaks = true;
        let result = self.home.value.with_mut(|slot| {
            // SAFETY: V2: this visit has the value to itself.
            let slot = unsafe { &mut *slot };
            // SAFETY: V1: the stage is `BUSY`.
            f(unsafe { slot.assume_init_mut() })
        });
        self.breaks = false;
        result
    }

    /// Takes the value for good.
    pub(super) fn take(self) -> T {
        // SAFETY: V1 and V2: the stage is `BUSY` by this visit, which makes it `GONE` next.
        let value = unsafe { self.home.read() };
        self.leave(GONE);
        std::mem::forget(self);
        value
    }

    fn leave(&self, stage: u8) {
        // ORDERING: Release pairs with the Acquire in `enter`.
        self.home.stage.store(stage, Ordering::Release);
    }
}

impl<T> Drop for Visit<'_, T> {
    fn drop(&mut self) {
        if self.breaks {
            self.home.poisoned.store(true, Ordering::Relaxed);
        }
        self.leave(IDLE);
    }
}

#[cfg(all(test, sidestep_loom))]
mod loom_models;
#[cfg(all(test, not(sidestep_loom)))]
mod tests;
