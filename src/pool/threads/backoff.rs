//! Backoff: the pause after the system has refused a thread.
//!
//! ORDERING: the lock orders what is behind it. `paused` is `SeqCst`, and a thread that begins a
//! pause calls `Engine::growth_ended` next, whose fence pairs with the one in `watch_growth`: it
//! wakes a waiter that still expects the pool to grow, which looks again.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Mutex, now};
use crate::trace::event;

const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(1);

/// The pause after a failure to start a thread.
#[derive(Debug)]
pub(in crate::pool) struct Backoff {
    inner: Mutex<Pause>,
    /// Mirrors `inner.until.is_some()`, to be read without the lock.
    paused: AtomicUsize,
    failures: AtomicU64,
}

#[derive(Debug)]
struct Pause {
    /// `None` while nothing has failed since the last success.
    until: Option<Until>,
    length: Duration,
    error: Option<Arc<io::Error>>,
}

#[derive(Clone, Copy, Debug)]
enum Until {
    Instant(Instant),
    /// The handler that has failed has not returned yet: until it does.
    HandlerReturns,
    /// The system has no threads at all: for ever.
    Ever,
}

impl Backoff {
    pub(in crate::pool) fn new() -> Self {
        let inner = Pause { until: None, length: FIRST, error: None };
        Backoff { inner: Mutex::new(inner), paused: AtomicUsize::new(0), failures: AtomicU64::new(0) }
    }

    /// Whether no attempt should be made now.
    pub(in crate::pool) fn is_on(&self) -> bool {
        if self.paused.load(Ordering::SeqCst) == 0 {
            return false;
        }
        match self.inner.lock().until {
            Some(Until::Instant(instant)) => now() < instant,
            Some(Until::HandlerReturns | Until::Ever) => true,
            None => false,
        }
    }

    /// A start has failed, and the handler that knows why has not returned: no attempt is made
    /// until `begin` or `end`. Does not read the clock.
    pub(in crate::pool) fn hold(&self) {
        let mut inner = self.inner.lock();
        if !matches!(inner.until, Some(Until::Ever)) {
            inner.until = Some(Until::HandlerReturns);
            self.paused.store(1, Ordering::SeqCst);
        }
    }

    /// Begins a pause, twice as long as the last one if no thread has started since. Failures
    /// during a pause do not lengthen it.
    pub(in crate::pool) fn begin(&self, error: io::Error) {
        let error = Arc::new(error);
        if self.pause(&error) {
            event!(WARN, %error, "could not start a thread");
        }
    }

    fn pause(&self, error: &Arc<io::Error>) -> bool {
        let mut inner = self.inner.lock();
        let again = match inner.until {
            None | Some(Until::HandlerReturns) => true,
            Some(Until::Instant(instant)) => now() >= instant,
            Some(Until::Ever) => false,
        };
        if again {
            // A system without threads need not have a clock either: this does not read it.
            let permanent = error.kind() == io::ErrorKind::Unsupported;
            let until = || Until::Instant(now() + inner.length);
            inner.until = Some(if permanent { Until::Ever } else { until() });
            inner.length = (inner.length * 2).min(LAST);
            inner.error = Some(Arc::clone(error));
            self.paused.store(1, Ordering::SeqCst);
        }
        again
    }

    /// Begins a pause without an end: no attempt will ever be made.
    pub(in crate::pool) fn begin_for_ever(&self, error: io::Error) {
        let mut inner = self.inner.lock();
        inner.until = Some(Until::Ever);
        inner.error = Some(Arc::new(error));
        self.paused.store(1, Ordering::SeqCst);
    }

    /// Ends the pause: a thread has started.
    pub(in crate::pool) fn end(&self) {
        if self.paused.load(Ordering::SeqCst) == 1 {
            let mut inner = self.inner.lock();
            inner.until = None;
            inner.length = FIRST;
            self.paused.store(0, Ordering::SeqCst);
        }
    }

    /// The last failure.
    pub(in crate::pool) fn error(&self) -> Arc<io::Error> {
        let error = self.inner.lock().error.clone();
        error.unwrap_or_else(|| Arc::new(io::Error::other("the pool has no thread left")))
    }

    pub(in crate::pool) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    pub(in crate::pool) fn count_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
