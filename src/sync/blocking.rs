//! What a thread sleeps on: a mutex and a condition variable that ignore poisoning, and a token
//! that `unpark` leaves and `park` takes.

#[cfg(all(test, not(sidestep_loom)))]
mod tests;

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, PoisonError};
use std::task::{Wake, Waker};
use std::time::Instant;

#[cfg(sidestep_loom)]
use loom::sync as imp;
#[cfg(sidestep_shuttle)]
use shuttle::sync as imp;
#[cfg(not(any(sidestep_loom, sidestep_shuttle)))]
use std::sync as imp;

use super::atomic::{AtomicU8, Ordering};
use super::{now, trampoline};

/// A mutual exclusion lock without poisoning.
pub(crate) struct Mutex<T>(imp::Mutex<T>);

/// The right to the value of a [`Mutex`].
pub(crate) struct MutexGuard<'a, T>(imp::MutexGuard<'a, T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Mutex(imp::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The value, without locking: no other thread has the lock.
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Mutex::new(T::default())
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").finish_non_exhaustive()
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// A condition variable for [`Mutex`].
#[derive(Debug)]
pub(crate) struct Condvar(imp::Condvar);

impl Condvar {
    pub(crate) fn new() -> Self {
        Condvar(imp::Condvar::new())
    }

    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        MutexGuard(self.0.wait(guard.0).unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits no longer than to `deadline`; `None` waits without limit. It may return earlier. Under
    /// loom time does not pass.
    pub(crate) fn wait_until<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Option<Instant>,
    ) -> MutexGuard<'a, T> {
        match deadline.filter(|_| cfg!(not(sidestep_loom))) {
            Some(deadline) => self.wait_for(guard, deadline),
            None => self.wait(guard),
        }
    }

    #[cfg(not(sidestep_shuttle))]
    fn wait_for<'a, T>(&self, guard: MutexGuard<'a, T>, deadline: Instant) -> MutexGuard<'a, T> {
        let left = deadline.saturating_duration_since(super::now());
        MutexGuard(self.0.wait_timeout(guard.0, left).unwrap_or_else(PoisonError::into_inner).0)
    }

    /// Returns early, and with the lock held throughout: what ends the wait is left without it.
    #[cfg(sidestep_shuttle)]
    fn wait_for<'a, T>(&self, guard: MutexGuard<'a, T>, deadline: Instant) -> MutexGuard<'a, T> {
        super::clock::wait_for(deadline);
        guard
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

const EMPTY: u8 = 0;
const PARKED: u8 = 1;
const NOTIFIED: u8 = 2;

/// A binary token and the thread that waits for it. Only one thread may park on it at a time.
///
/// `std::thread::park` would do the same, but its token belongs to the user: a program that passes
/// tokens between its own threads must not lose one to a `Task::wait` in between.
#[derive(Debug)]
pub(crate) struct Parker {
    state: AtomicU8,
    lock: Mutex<()>,
    bell: Condvar,
}

impl Parker {
    pub(crate) fn new() -> Self {
        Parker { state: AtomicU8::new(EMPTY), lock: Mutex::new(()), bell: Condvar::new() }
    }

    /// Sleeps until the token is there and takes it. Returns false where `deadline` came first. It
    /// may return early, as if with the token: steps that the thread had put off have run, and may
    /// have done what is waited for.
    pub(crate) fn park(&self, deadline: Option<Instant>) -> bool {
        if self.take() {
            return true;
        }
        if trampoline::settle(deadline) {
            return true;
        }
        let mut guard = self.lock.lock();
        if !self.show_parked() {
            return true;
        }
        loop {
            guard = self.bell.wait_until(guard, deadline);
            if self.take() {
                return true;
            }
            if deadline.is_some_and(|at| now() >= at) {
                // ORDERING: Acquire pairs with the Release swap in `unpark`, which may have come
                // just now.
                return self.state.swap(EMPTY, Ordering::Acquire) == NOTIFIED;
            }
        }
    }

    /// Shows the thread as parked from here on, before it parks; or takes the token, and returns
    /// false.
    pub(crate) fn show_parked(&self) -> bool {
        // ORDERING: Acquire on failure pairs with the Release swap in `unpark`.
        let before = self.state.compare_exchange(EMPTY, PARKED, Ordering::Relaxed, Ordering::Acquire);
        let shown = before != Err(NOTIFIED);
        if !shown {
            // ORDERING: Acquire pairs with the Release swap in `unpark`. A store would not do:
            // another token may have come on top of the first, and what came before it must be
            // visible too.
            self.state.swap(EMPTY, Ordering::Acquire);
        }
        shown
    }

    /// Whether the thread is shown as parked, and no token has come since.
    pub(crate) fn is_parked(&self) -> bool {
        self.state.load(Ordering::Relaxed) == PARKED
    }

    /// Leaves the token. The sleeper, if there is one, wakes.
    pub(crate) fn unpark(&self) {
        // ORDERING: Release pairs with the Acquire in `take` and in `park`.
        if self.state.swap(NOTIFIED, Ordering::Release) == PARKED {
            // The sleeper holds the lock from its last look at the state, which found no token,
            // until it waits: passing through the lock makes sure that the bell does not ring in
            // between.
            drop(self.lock.lock());
            self.bell.notify_one();
        }
    }

    fn take(&self) -> bool {
        // ORDERING: Acquire pairs with the Release swap in `unpark`.
        self.state.compare_exchange(NOTIFIED, EMPTY, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// A waker that unparks.
    pub(crate) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.unpark();
    }
}
