//! What only some tasks carry from their spawner: a name, a deadline, what a shutdown does to them,
//! the context they run in, and what observes their release.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use super::caller_runtime::CallerRuntime;
use super::reference::TaskRef;
use crate::error::Reason;
use crate::panic::{catch_panic, report_panic};
use crate::sync::{Mutex, now};

/// What a shutdown of the pool does to a task that is still queued. See
/// [`TaskOptions::on_shutdown`](crate::TaskOptions::on_shutdown).
///
/// | | [`Pool::shutdown`](crate::Pool::shutdown) | and [`Shutdown::discard_queued`](crate::Shutdown::discard_queued) |
/// |---|---|---|
/// | `Drain` | runs it | drops it |
/// | `Discard` | drops it | drops it |
/// | `AlwaysRun` | runs it | runs it |
///
/// A dropped task resolves with [`is_shutdown`](crate::TaskError::is_shutdown). A
/// [timeout](crate::Shutdown::timeout) of the shutdown bounds the wait for all of them. A pool
/// whose last handle is dropped runs what is queued, whatever this says.
///
/// ```
/// use sidestep::OnShutdown;
///
/// let pool = sidestep::Pool::builder().max_threads(1).build()?;
/// let (go, gate) = std::sync::mpsc::channel::<()>();
/// let running = pool.spawn(move || gate.recv());
/// let save = pool.options().on_shutdown(OnShutdown::AlwaysRun).spawn(|| "saved");
/// let warm_up = pool.options().on_shutdown(OnShutdown::Discard).spawn(|| "warm");
/// let shutdown = pool.shutdown().discard_queued();
/// assert!(warm_up.wait().unwrap_err().is_shutdown());
/// drop(go);
/// assert_eq!(save.wait()?, "saved");
/// # let _ = (running.wait(), shutdown.wait());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnShutdown {
    /// Runs, unless the shutdown discards what is queued.
    #[default]
    Drain,
    /// Is dropped by any shutdown.
    Discard,
    /// Runs even where the shutdown discards what is queued.
    AlwaysRun,
}

/// Runs the closure it is given, surrounded by whatever the spawner had around itself.
pub(crate) type Context = Box<dyn FnOnce(&mut dyn FnMut()) + Send>;

/// Observes the release of tasks.
pub(crate) trait OnRelease: Send + Sync {
    /// Nothing of `task` is left but, where its handle is still there, its result: neither closure,
    /// nor bell, nor a result that no handle will take.
    fn released(&self, task: &TaskRef);
}

/// What a task carries. Everything is optional.
#[derive(Default)]
pub(crate) struct Metadata {
    pub(crate) name: Option<Cow<'static, str>>,
    /// When a task that is still queued expires.
    pub(crate) deadline: Option<Instant>,
    /// When a task that runs is cancelled.
    pub(crate) cancel_at: Option<Instant>,
    pub(crate) on_shutdown: OnShutdown,
    /// When it was spawned, where the pool takes times.
    pub(crate) spawned: Option<Instant>,
    /// Taken by the claimer.
    pub(crate) context: Mutex<Option<Context>>,
    /// The runtime that it was spawned in.
    pub(crate) runtime: CallerRuntime,
    pub(crate) on_release: Option<Arc<dyn OnRelease>>,
}

impl Metadata {
    pub(crate) fn is_overdue(&self) -> bool {
        self.deadline.is_some_and(|deadline| now() >= deadline)
    }

    /// Calls `run` inside of what surrounded the spawner, the runtime outermost; or drops what it
    /// would run, by `unrun`. Returns what `run` returns, the reason why there is no value.
    #[cold]
    pub(super) fn surround(&self, run: impl FnOnce() -> Option<Reason>, unrun: impl Fn()) -> Option<Reason> {
        let context = self.context.lock().take();
        let inside = || match context {
            None => run(),
            Some(context) => run_within(context, run, &unrun),
        };
        match self.runtime.take_entry() {
            None => inside(),
            Some(runtime) => run_within(|run| runtime.around(run), inside, &unrun),
        }
    }

    /// The closure will not run: drops what it would have run in.
    #[cold]
    pub(super) fn drop_surroundings(&self) {
        let context = self.context.lock().take();
        catch_panic("the destructor of a context", || drop(context));
        catch_panic("the destructor of a runtime's handle", || self.runtime.leave());
    }
}

/// Calls `run` inside `context`; or drops what it would run, by `unrun`. Returns what `run`
/// returns, the reason why there is no value.
///
/// The context is user code: it may panic before the closure or after it, and may call it once,
/// twice or not at all. What the closure has returned is never lost to that.
pub(super) fn run_within(
    context: impl FnOnce(&mut dyn FnMut()),
    run: impl FnOnce() -> Option<Reason>,
    unrun: impl FnOnce(),
) -> Option<Reason> {
    let mut run = Some(run);
    let mut result = None;
    let mut once = || {
        if let Some(run) = run.take() {
            result = Some(run());
        }
    };
    let surrounded = catch_unwind(AssertUnwindSafe(|| context(&mut once)));
    match (result, surrounded) {
        (Some(result), Ok(())) => result,
        (Some(result), Err(payload)) => {
            report_panic("the context of a task, after its closure", payload);
            result
        }
        (None, surrounded) => {
            catch_panic("the destructor of a closure that its context did not run", unrun);
            let did_not = || Box::new("the context of the task did not run its closure") as _;
            Some(Reason::panicked(surrounded.err().unwrap_or_else(did_not)))
        }
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
