//! One thread's place to sleep: a token that `unpark` leaves and `park` takes.
//!
//! `std::thread::park` would do the same, but its token belongs to the user: a program that passes
//! tokens between its own threads must not lose one to a `Task::wait` in between.

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Instant;

use super::atomic::{AtomicU8, Ordering};
use super::{Condvar, Mutex, now, trampoline};

const EMPTY: u8 = 0;
const PARKED: u8 = 1;
const NOTIFIED: u8 = 2;

/// A binary token and the thread that waits for it. Only one thread may park on it at a time.
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

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
