//! The handle of a pool.

use std::fmt;
use std::io;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use super::builder::PoolBuilder;
use super::config::check_number;
use super::global::get as get_global;
use super::inner::Inner;
use super::lane::{Lane, LaneBuilder};
use super::shutdown::{Shutdown, drop_discardable};
use super::stats::{LongRunningTask, Metrics};
use super::submit::{Batch, Reserve, Scope, Submitter, TaskOptions, scope};
use crate::error::Rejected;
use crate::task::{Task, Unblocked};

/// A pool of threads for blocking calls. Cheap to clone; all clones are one pool.
///
/// It keeps a few threads (as many as there are CPUs) and adds more when those are blocked, up to a
/// limit; tiny tasks do not make it grow, however many wait. Threads above the few leave when they
/// have had nothing to do for a while.
///
/// Most programs need only the global pool, through [`spawn`](crate::spawn()) and
/// [`unblock`](crate::unblock). Make one of your own to set limits, or to keep one kind of work
/// from standing in the way of another.
///
/// When the last handle is dropped, what is queued still runs, then the threads leave; the drop
/// does not wait. See [`shutdown`](Pool::shutdown) to wait for the end or cut it short.
///
/// ```
/// let pool = sidestep::Pool::builder().name("db").max_threads(8).build()?;
/// let task = pool.spawn(|| std::fs::read("Cargo.toml"));
/// assert!(!task.wait()??.is_empty());
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Pool {
    pub(super) inner: Arc<Inner>,
}

impl Pool {
    pub(super) fn from_shared(inner: Arc<Inner>) -> Self {
        Pool { inner }
    }

    /// A pool with the default settings, not the global one.
    ///
    /// # Errors
    ///
    /// As [`PoolBuilder::build`]: in the main, the system's error if it refuses the first thread.
    pub fn new() -> io::Result<Self> {
        PoolBuilder::new().build()
    }

    /// Settings for a pool.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }

    /// The pool that the whole process shares, built on first use. The environment variables
    /// `SIDESTEP_CORE_THREADS` and `SIDESTEP_MAX_THREADS` set its limits;
    /// [`PoolBuilder::build_global`] does so in the program.
    ///
    /// It does not fail: if a variable has an impossible value, every task resolves with
    /// [`is_no_thread`](crate::TaskError::is_no_thread) and a message that names the variable and
    /// the value, and likewise behind more forks than [`PoolBuilder::build`] allows; if the system
    /// refuses the first thread, the pool tries again when it is used.
    #[must_use]
    pub fn global() -> &'static Pool {
        get_global()
    }

    /// Queues `f` and returns at once with a handle to its result.
    ///
    /// A closure spawned from inside a task of this pool goes to the queue of that thread, where
    /// every other thread of the pool finds it.
    ///
    /// # Errors
    ///
    /// None here: where the pool is full, shut down, or without a thread, the handle resolves with
    /// an error that says so, and `f` has been dropped unrun.
    #[doc(alias = "spawn_blocking")]
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> Task<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.submitter().spawn(f, Location::caller(), self.inner.carried.metadata())
    }

    /// [`spawn`](Pool::spawn) for when no error is expected: the future gives the plain result, and
    /// resumes a panic.
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
    /// [`Rejected`], with the closure, if the queue is full, the pool is shut down, or this is the
    /// child of a fork.
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
        self.submitter().try_spawn(f, Location::caller(), self.inner.carried.metadata())
    }

    /// Waits for a place in the pool's queue, where that has a [limit](PoolBuilder::queue_limit):
    /// backpressure. The [`Permit`](crate::Permit) that comes of it queues one task and is never
    /// refused for want of room.
    ///
    /// A producer that awaits this before each `spawn` is slowed down to the speed of the pool, and
    /// what waits takes no more memory than the limit allows.
    #[track_caller]
    pub fn reserve(&self) -> Reserve {
        Reserve::in_pool(self.clone(), Location::caller())
    }

    /// Queues many closures with one decision whom to wake, and gives their results as a stream in
    /// the order in which they end, or as a `Vec` in the order of submission.
    ///
    /// The iterator is run to its end first. Closures of different types go in as `Box<dyn FnOnce()
    /// -> T + Send>`.
    ///
    /// # Errors
    ///
    /// None here: each task that is refused says so in its own result.
    ///
    /// ```
    /// let pool = sidestep::Pool::new()?;
    /// let squares = pool.spawn_batch((0..10).map(|n| move || n * n)).wait();
    /// let squares: Vec<i32> = squares.into_iter().collect::<Result<_, _>>()?;
    /// assert_eq!(squares.len(), 10);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "JoinSet")]
    #[track_caller]
    pub fn spawn_batch<I, F, T>(&self, closures: I) -> Batch<T>
    where
        I: IntoIterator<Item = F>,
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let site = Location::caller();
        // The iterator is foreign code, and may take its time or panic: until it has ended there
        // are no tasks.
        let closures: Vec<F> = closures.into_iter().collect();
        let tasks = closures
            .into_iter()
            .map(|f| self.submitter().make(f, site, self.inner.carried.metadata()))
            .collect();
        Batch::new(self.submitter().submit_all(tasks))
    }

    /// Runs `f`, which may spawn tasks that borrow from the calling thread's stack, and blocks
    /// until all of them have ended and their closures have been freed.
    ///
    /// On a thread of the pool itself it does not deadlock: the thread runs queued tasks of the
    /// scope in place.
    ///
    /// # Panics
    ///
    /// Resumes a panic of `f`; otherwise the first panic of a task whose
    /// [`ScopedTask`](crate::ScopedTask) nobody has asked. If the pool has not run a task, and
    /// nobody has asked either, it panics with the sentence of the [`TaskError`](crate::TaskError).
    ///
    /// ```
    /// let pool = sidestep::Pool::new()?;
    /// let text = std::fs::read_to_string("Cargo.toml")?;
    /// let (lines, words) = pool.scope(|scope| {
    ///     let lines = scope.spawn(|| text.lines().count());
    ///     let words = scope.spawn(|| text.split_whitespace().count());
    ///     (lines.wait(), words.wait())
    /// });
    /// assert!(lines? <= words?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn scope<'env, F, R>(&'env self, f: F) -> R
    where
        F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R,
    {
        scope(self, f)
    }

    /// A lane of this pool: a queue of its own whose tasks run on the pool's threads, at most
    /// `limit` at a time. Each call makes a new one; the name is a label. See [`Lane`].
    ///
    /// # Panics
    ///
    /// If `limit` is 0. [`lane_builder`](Pool::lane_builder) gives an error instead.
    #[doc(alias = "Semaphore")]
    #[track_caller]
    pub fn lane(&self, name: impl Into<String>, limit: usize) -> Lane {
        match self.lane_builder(name, limit).build() {
            Ok(lane) => lane,
            Err(error) => panic!("{error}"),
        }
    }

    /// Settings for a lane of this pool.
    pub fn lane_builder(&self, name: impl Into<String>, limit: usize) -> LaneBuilder<'_> {
        LaneBuilder::new(self, name.into(), limit)
    }

    /// Options for tasks: a name, a time limit in the queue, what a shutdown does to them.
    pub fn options(&self) -> TaskOptions<'_> {
        TaskOptions::of_pool(self)
    }

    /// Changes [`PoolBuilder::max_threads`]. Upwards it takes effect at once; downwards threads
    /// leave as their tasks end. A limit below `core_threads` lowers that too, for as long as it
    /// lasts.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput), naming the value, if it is 0 or above
    /// 32767.
    ///
    /// ```
    /// let pool = sidestep::Pool::new()?;
    /// pool.set_max_threads(4)?;
    /// assert!(pool.set_max_threads(0).unwrap_err().to_string().contains("max_threads (0)"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_max_threads(&self, threads: usize) -> io::Result<()> {
        check_number("max_threads", threads)?;
        if !self.inner.engine.is_forked() {
            self.inner.set_max(threads);
        }
        Ok(())
    }

    /// The tasks that have been running for longer than `time`, the longest first, with their names
    /// and where they were spawned. Tasks that wait in place for others count too.
    ///
    /// With [`PoolBuilder::warn_after`] the times are exact. Otherwise tasks carry no times, so
    /// that they cost nothing: a task counts as running since the first call of this that saw it. A
    /// watchdog that calls it every few seconds is late by no more than that.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let pool = sidestep::Pool::builder().warn_after(Duration::from_secs(60)).build()?;
    /// let (go, gate) = std::sync::mpsc::channel::<()>();
    /// let (started, wait) = std::sync::mpsc::channel();
    /// let task = pool.options().name("tape drive").spawn(move || {
    ///     started.send(()).unwrap();
    ///     gate.recv()
    /// });
    /// wait.recv().unwrap();
    /// std::thread::sleep(Duration::from_millis(2));
    /// let stuck = pool.long_running(Duration::from_millis(1));
    /// assert_eq!(stuck[0].name.as_deref(), Some("tape drive"));
    /// # drop(go);
    /// # let _ = task.wait();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn long_running(&self, time: Duration) -> Vec<LongRunningTask> {
        if self.inner.engine.is_forked() {
            return Vec::new();
        }
        self.inner.stats.long_running(time, &self.inner.engine.workers)
    }

    pub(in crate::pool) fn submitter(&self) -> Submitter<'_, Inner> {
        Submitter { inner: &self.inner, queue: &self.inner, has_permit: false }
    }

    /// The pool's numbers. Cheap enough to be asked for every second: it visits each thread's
    /// counters once.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        if self.inner.engine.is_forked() {
            return Metrics::default();
        }
        self.inner.metrics()
    }

    /// Closes admission, now, for all clones, and gives a future of the pool's end.
    ///
    /// What is queued is still run ([`Shutdown::discard_queued`] prevents that), then the threads
    /// leave. Calling it again gives another future of the same end. Neither dropping the future
    /// nor waiting for it on the pool's own threads does any harm. A task that is cancelled or
    /// expires just then may be counted a moment later.
    pub fn shutdown(&self) -> Shutdown {
        if !self.inner.engine.is_forked() {
            self.inner.close();
            drop_discardable(&self.inner);
        }
        Shutdown::new(Arc::clone(&self.inner))
    }
}

// Foreign code runs under no lock of the pool, and a panic in it is caught: nothing is left half
// changed.
impl UnwindSafe for Pool {}
impl RefUnwindSafe for Pool {}

impl Clone for Pool {
    fn clone(&self) -> Self {
        // ORDERING: Relaxed: this handle counts, so the count is not zero meanwhile.
        self.inner.ending.add_handle();
        Pool { inner: Arc::clone(&self.inner) }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // ORDERING: Release pairs with the Acquire of the last one: what was submitted through any
        // handle comes before the end.
        let last = self.inner.ending.remove_handle();
        if last && !self.inner.engine.is_forked() {
            self.inner.close();
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.inner.config.name)
            .field("core_threads", &self.inner.config.core)
            .field("max_threads", &self.inner.threads.max())
            .field("threads", &self.inner.threads.counts().present())
            .finish_non_exhaustive()
    }
}
