//! What makes the paused clock of a tokio runtime stand still while tasks of this library that were
//! spawned in it are queued or run.
//!
//! A paused clock moves on by itself when its runtime has nothing to do, unless a closure of
//! tokio's `spawn_blocking` is on its way: and that is the only thing that holds it. So one such
//! closure waits in each runtime as long as there is a [`ClockHold`] of it. Only a runtime with one
//! thread can pause its clock; for others there is none.
//!
//! # Why the clock does not move too early
//!
//! tokio counts its closure when `spawn_blocking` is called, and from then on the clock stands; the
//! call is made under the lock of the table, before the spawn of the task goes on. A second task of
//! that runtime finds the entry in the table, so the closure has been counted by then, and has not
//! been let go: the last hold takes the entry out under the same lock before it lets the closure
//! go. A task drops its hold after it has woken its handle. The wake-up makes the runtime look at
//! its tasks before it looks at the clock, so it knows of the end when the clock may move on; and
//! when tokio's closure ends, tokio wakes the runtime itself.
//!
//! # The end of the runtime
//!
//! The drop of a runtime waits for the closures of `spawn_blocking` that run. This one is not to
//! make it wait for tasks of another pool. Before that wait the runtime drops its asynchronous
//! tasks. So one of these, which never ends by itself, lets the closure go when it is dropped.

use std::any::Any;
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use tokio::runtime::{Handle, Id as RuntimeId, RuntimeFlavor};
use tokio::task::AbortHandle as TokioAbortHandle;

use crate::panic::report_panic;
use crate::sync::{Condvar, Mutex, MutexGuard, ProcessMutex};
use crate::sys::first_use::get_or_make;

/// The runtimes whose clocks are held.
type ClockTable = Vec<HeldClock>;

struct HeldClock {
    runtime: RuntimeId,
    holds: usize,
    closure: Arc<WaitingClosure>,
}

/// The table; `None` in a forked child, where the runtimes have no threads either.
fn table() -> Option<MutexGuard<'static, ClockTable>> {
    static CLOCKS: OnceLock<ProcessMutex<ClockTable>> = OnceLock::new();
    get_or_make(&CLOCKS, ProcessMutex::default).lock()
}

/// Holds the clock of a runtime, until the last one is dropped.
pub(super) struct ClockHold(Arc<WaitingClosure>);

impl ClockHold {
    /// `None` for a runtime whose clock cannot be paused.
    pub(super) fn of(runtime: &Handle) -> Option<Self> {
        if runtime.runtime_flavor() != RuntimeFlavor::CurrentThread {
            return None;
        }
        let mut clocks = table()?;
        let is_same = |held: &&mut HeldClock| held.runtime == runtime.id() && !held.closure.is_let_go();
        if let Some(held) = clocks.iter_mut().find(is_same) {
            held.holds += 1;
            return Some(ClockHold(Arc::clone(&held.closure)));
        }
        match WaitingClosure::begin(runtime) {
            Ok(closure) => {
                clocks.push(HeldClock { runtime: runtime.id(), holds: 1, closure: Arc::clone(&closure) });
                Some(ClockHold(closure))
            }
            Err(payload) => {
                // A subscriber is user code.
                drop(clocks);
                report_panic("`spawn_blocking` of tokio", payload);
                None
            }
        }
    }

    /// The entry of the table.
    fn entry(&self, clocks: &ClockTable) -> Option<usize> {
        clocks.iter().position(|held| Arc::ptr_eq(&held.closure, &self.0))
    }
}

impl Clone for ClockHold {
    fn clone(&self) -> Self {
        if let Some(mut clocks) = table() {
            if let Some(index) = self.entry(&clocks) {
                clocks[index].holds += 1;
            }
        }
        ClockHold(Arc::clone(&self.0))
    }
}

impl Drop for ClockHold {
    fn drop(&mut self) {
        let Some(mut clocks) = table() else { return };
        let Some(index) = self.entry(&clocks) else { return };
        clocks[index].holds -= 1;
        if clocks[index].holds == 0 {
            clocks.swap_remove(index);
            drop(clocks);
            self.0.end();
        }
    }
}

/// The closure that waits in a runtime.
struct WaitingClosure {
    state: Mutex<ClosureState>,
    changed: Condvar,
}

#[derive(Default)]
struct ClosureState {
    is_let_go: bool,
    /// The asynchronous task that sees the end of the runtime.
    watcher: Option<TokioAbortHandle>,
}

impl WaitingClosure {
    /// Spawns the closure in `runtime`.
    ///
    /// # Errors
    ///
    /// The panic of tokio's, where the system refuses it a thread.
    fn begin(runtime: &Handle) -> Result<Arc<Self>, Box<dyn Any + Send>> {
        let closure = Arc::new(WaitingClosure { state: Mutex::default(), changed: Condvar::new() });
        let waiting = Arc::clone(&closure);
        let spawn = || drop(runtime.spawn_blocking(move || waiting.wait()));
        catch_unwind(AssertUnwindSafe(spawn))?;
        let let_go = LetGoOnDrop(Arc::clone(&closure));
        let watcher = runtime.spawn(async move {
            let _let_go = let_go;
            pending::<()>().await;
        });
        closure.state.lock().watcher = Some(watcher.abort_handle());
        Ok(closure)
    }

    fn is_let_go(&self) -> bool {
        self.state.lock().is_let_go
    }

    /// Waits, on a thread of the runtime.
    fn wait(&self) {
        let mut state = self.state.lock();
        while !state.is_let_go {
            state = self.changed.wait(state);
        }
    }

    fn let_go(&self) {
        self.state.lock().is_let_go = true;
        self.changed.notify_all();
    }

    /// There is nothing to hold the clock for.
    fn end(&self) {
        self.let_go();
        let watcher = self.state.lock().watcher.take();
        watcher.into_iter().for_each(|watcher| watcher.abort());
    }
}

/// The runtime has ended, or the watcher is no longer needed.
struct LetGoOnDrop(Arc<WaitingClosure>);

impl Drop for LetGoOnDrop {
    fn drop(&mut self) {
        self.0.let_go();
    }
}
