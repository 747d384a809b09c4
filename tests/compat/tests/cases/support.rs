//! Gates, counters and patience for the tests.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::yield_now;
use std::time::{Duration, Instant};

use futures_lite::future::block_on;

/// Longer than anything here takes on the slowest machine: reaching it is a failure, never a
/// measurement.
const PATIENCE: Duration = Duration::from_secs(30);

/// A door that is shut until somebody opens it, for ever.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn new() -> Self {
        Gate::default()
    }

    /// Blocks until the gate is open.
    pub(crate) fn pass(&self) {
        assert!(self.opens_within(PATIENCE), "the gate was never opened");
    }

    pub(crate) fn opens_within(&self, time: Duration) -> bool {
        let (open, bell) = &*self.0;
        let waited = bell.wait_timeout_while(open.lock().unwrap(), time, |open| !*open);
        *waited.unwrap().0
    }

    pub(crate) fn open(&self) {
        let (open, bell) = &*self.0;
        *open.lock().unwrap() = true;
        bell.notify_all();
    }
}

/// Counts how many of its kind have been dropped.
#[derive(Clone, Default)]
pub(crate) struct Drops(Arc<AtomicUsize>);

impl Drops {
    pub(crate) fn new() -> Self {
        Drops::default()
    }

    /// Something whose drop is counted.
    pub(crate) fn token(&self) -> Token {
        Token(Arc::clone(&self.0))
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// See [`Drops::token`].
pub(crate) struct Token(Arc<AtomicUsize>);

impl Drop for Token {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Waits until `holds` does.
pub(crate) fn eventually(holds: impl Fn() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "it never came to hold");
        yield_now();
    }
}

/// The message of the panic that awaiting `future` ends in.
pub(crate) fn panic_of<F: Future<Output: Send>>(future: F) -> String {
    let Err(payload) = catch_unwind(AssertUnwindSafe(|| block_on(future))) else {
        panic!("it was to panic");
    };
    match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => (*payload.downcast::<&str>().unwrap()).to_owned(),
    }
}

/// Time for what must not happen.
#[expect(clippy::disallowed_methods, reason = "nothing is to happen, and nothing tells when it has not")]
pub(crate) fn let_nothing_happen() {
    std::thread::sleep(Duration::from_millis(50));
}
