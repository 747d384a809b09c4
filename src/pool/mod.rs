//! The pool: threads that come and go, the queue's ends, and the handle to it all.
//!
//! | file | owns |
//! |---|---|
//! | `shared` | the state that handles and threads share, and what workers and tasks ask of it |
//! | `builder`, `global` | settings; the process-wide pool |
//! | `headcount` | how many threads there are, and may be |
//! | `threads`, `cool_down` | how one more is made, and the pause if that fails |
//! | `growth` | when there should be more: a pure function |
//! | `sample` | what that function gets to see |
//! | `monitor` | the thread that looks and acts |
//! | `shutdown`, `metrics` | the end, and the numbers |
//!
//! # Closing loses nothing
//!
//! Closing sets a flag and wakes everybody. A thread leaves once it has seen the flag, fenced, and then found all
//! queues empty. A submitter pushes, fences, and then looks at the flag; if it is set, the submitter tries to claim
//! its own task back and refuse it. One of the two fences comes first: either the thread sees the push and stays for
//! it, or the submitter sees the flag. Both may happen, and the claim decides.

mod builder;
mod cool_down;
mod global;
mod growth;
mod headcount;
#[cfg(all(test, sidestep_loom))]
mod loom_models;
mod metrics;
mod monitor;
mod sample;
mod shared;
mod shutdown;
mod threads;

use std::fmt;
use std::io;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

pub use self::builder::Builder;
pub use self::metrics::Metrics;
pub use self::shutdown::{Shutdown, ShutdownReport};
pub use self::threads::NewThread;

use self::shared::Shared;
use crate::error::{Reason, Rejected, TaskError};
use crate::sync::atomic::{Ordering, fence};
use crate::sync::oneshot::Receiver;
use crate::task::{Outcome, Owner, Task, TaskRef, Unblocked, forked_child, new_task};
use crate::worker::{Workplace, submit};

/// A pool of threads for blocking calls. Cheap to clone; all clones are one pool.
///
/// It keeps a few threads (as many as there are CPUs) and adds more when those are blocked, up to a limit; tiny tasks
/// do not make it grow, however many wait. Threads above the few leave when they have had nothing to do for a while.
///
/// Most programs need only the global pool, through [`spawn`](crate::spawn()) and [`unblock`](crate::unblock). Make
/// one of your own to set limits, or to keep one kind of work from standing in the way of another.
///
/// When the last handle is dropped, what is queued still runs, then the threads leave; the drop does not wait. See
/// [`shutdown`](Pool::shutdown) to wait for the end or cut it short.
///
/// ```
/// let pool = sidestep::Pool::builder().name("db").max_threads(8).build()?;
/// let task = pool.spawn(|| std::fs::read("Cargo.toml"));
/// assert!(!task.wait()??.is_empty());
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Pool {
    shared: Arc<Shared>,
}

impl Pool {
    fn from_shared(shared: Arc<Shared>) -> Self {
        Pool { shared }
    }

    /// A pool with the default settings, not the global one.
    ///
    /// # Errors
    ///
    /// The system's error if it refuses the first thread.
    pub fn new() -> io::Result<Self> {
        Builder::new().build()
    }

    /// Settings for a pool.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// The pool that the whole process shares, built on first use. The environment variables
    /// `SIDESTEP_CORE_THREADS` and `SIDESTEP_MAX_THREADS` set its limits; [`Builder::build_global`] does so in the
    /// program.
    ///
    /// It does not fail: if a variable has an impossible value, every task resolves with
    /// [`is_no_thread`](TaskError::is_no_thread) and a message that names the variable and the value; if the system
    /// refuses the first thread, the pool tries again when it is used.
    #[must_use]
    pub fn global() -> &'static Pool {
        global::get()
    }

    /// Queues `f` and returns at once with a handle to its result.
    ///
    /// A closure spawned from inside a task of this pool goes to the queue of that thread, where every other thread
    /// of the pool finds it.
    ///
    /// # Errors
    ///
    /// None here: where the pool is full, shut down, or without a thread, the handle resolves with an error that says
    /// so, and `f` has been dropped unrun.
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> Task<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let (entry, handle, receiver) = new_task(f, Arc::as_ptr(&self.shared), Location::caller());
        if let Err((refused, entry)) = self.admit(entry) {
            refused.discard(entry);
        } else if let Some(claimed) = self.take_back(&handle) {
            claimed.discard(Outcome::Shutdown, None);
        }
        Task::new(handle, receiver)
    }

    /// [`spawn`](Pool::spawn) for when no error is expected: the future gives the plain result, and resumes a panic.
    ///
    /// # Cancellation
    ///
    /// Dropping the future cancels: see [`Task`].
    ///
    /// # Panics
    ///
    /// Not here, but awaiting the future panics if `f` did, or if the pool could not run it.
    #[track_caller]
    pub fn unblock<F, T>(&self, f: F) -> Unblocked<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        Unblocked::new(self.spawn(f))
    }

    /// As [`spawn`](Pool::spawn), but hands the closure back where the pool will not run it.
    ///
    /// # Errors
    ///
    /// [`Rejected`], with the closure, if the queue is full, the pool is shut down, or this is the child of a fork.
    ///
    /// ```
    /// let pool = sidestep::Pool::builder().max_threads(1).queue_limit(1).build()?;
    /// let (started, wait) = std::sync::mpsc::channel();
    /// let (go, gate) = std::sync::mpsc::channel::<()>();
    /// let running = pool.spawn(move || {
    ///     started.send(()).unwrap();
    ///     gate.recv()
    /// });
    /// wait.recv().unwrap();
    /// let queued = pool.spawn(|| "in line");
    /// let rejected = pool.try_spawn(|| "not this time").unwrap_err();
    /// assert!(rejected.error().is_full());
    /// assert_eq!(rejected.into_inner()(), "not this time");
    /// # drop(go);
    /// # let _ = (running.wait(), queued.wait());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn try_spawn<F, T>(&self, f: F) -> Result<Task<T>, Rejected<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let (entry, handle, receiver): (_, _, Receiver<T>) =
            new_task(f, Arc::as_ptr(&self.shared), Location::caller());
        let origin = handle.origin();
        let (claimed, reason) = match self.admit(entry) {
            Err((refused, entry)) => (entry.claim(), refused.reason()),
            Ok(()) => match self.take_back(&handle) {
                None => return Ok(Task::new(handle, receiver)),
                claimed => (claimed, Reason::Shutdown),
            },
        };
        match claimed {
            Some(claimed) => {
                // SAFETY: the task was made of `f` just now, with the types `F` and `T`.
                let closure = unsafe { claimed.into_closure::<F, T>() };
                Err(Rejected::new(closure, TaskError::new(origin, reason)))
            }
            None => unreachable!("a task that was not admitted is nobody else's to claim"),
        }
    }

    /// Queues an entry and has somebody look; or gives it back with the reason.
    fn admit(&self, entry: TaskRef) -> Result<(), (Refused, TaskRef)> {
        let shared = &*self.shared;
        if shared.is_forked() {
            return Err((Refused::Forked, entry));
        }
        if shared.is_closed() {
            return Err((Refused::Closed, entry));
        }
        if !shared.take_place() {
            return Err((Refused::Full, entry));
        }
        submit(shared.address(), &shared.queues, &shared.roster, entry);
        if shared.is_closed() {
            // The task will be taken back, or somebody has it: nobody need be woken.
            fence(Ordering::SeqCst);
        } else {
            shared.notify();
        }
        Ok(())
    }

    /// If the pool has been closed meanwhile, and nobody has taken the task: the task, counted as cancelled. The
    /// fence between the push and this look at the flag is in `admit`.
    fn take_back(&self, handle: &TaskRef) -> Option<crate::task::Claimed> {
        if !self.shared.is_closed() {
            return None;
        }
        let claimed = handle.clone().claim()?;
        self.shared.cancelled();
        Some(claimed)
    }

    /// The pool's numbers. Cheap enough to be asked for every second: it visits each thread's counters once.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        if self.shared.is_forked() {
            return Metrics::default();
        }
        Metrics::read(&self.shared)
    }

    /// Closes admission, now, for all clones, and gives a future of the pool's end.
    ///
    /// What is queued is still run ([`Shutdown::discard_queued`] prevents that), then the threads leave. Calling it
    /// again gives another future of the same end. Neither dropping the future nor waiting for it on the pool's own
    /// threads does any harm.
    pub fn shutdown(&self) -> Shutdown {
        if !self.shared.is_forked() {
            self.shared.close();
        }
        Shutdown::new(Arc::clone(&self.shared))
    }
}

/// Why a task is not admitted.
#[derive(Clone, Copy)]
enum Refused {
    Forked,
    Closed,
    Full,
}

impl Refused {
    fn reason(self) -> Reason {
        match self {
            Refused::Forked => Reason::NoThread(forked_child()),
            Refused::Closed => Reason::Shutdown,
            Refused::Full => Reason::Full,
        }
    }

    fn discard(self, entry: TaskRef) {
        let Some(claimed) = entry.claim() else { return };
        match self {
            Refused::Forked => claimed.discard(Outcome::NoThread, Some(forked_child())),
            Refused::Closed => claimed.discard(Outcome::Shutdown, None),
            Refused::Full => claimed.discard(Outcome::Full, None),
        }
    }
}

// Foreign code runs under no lock of the pool, and a panic in it is caught: nothing is left half changed.
impl UnwindSafe for Pool {}
impl RefUnwindSafe for Pool {}

impl Clone for Pool {
    fn clone(&self) -> Self {
        self.shared.handles.fetch_add(1, Ordering::Relaxed);
        Pool { shared: Arc::clone(&self.shared) }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let last = self.shared.handles.fetch_sub(1, Ordering::AcqRel) == 1;
        if last && !self.shared.is_forked() {
            self.shared.close();
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.shared.config.name)
            .field("core_threads", &self.shared.config.core)
            .field("max_threads", &self.shared.config.max)
            .field("threads", &self.shared.headcount.present())
            .finish_non_exhaustive()
    }
}
