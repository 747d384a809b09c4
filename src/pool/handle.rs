//! The handle of a pool.

use std::fmt;
use std::hash::Hash;
use std::io;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use super::builder::PoolBuilder;
use super::config::check_number;
use super::global::{get as get_global, retire};
use super::inner::Inner;
use super::keyed_lane::KeyedLaneBuilder;
use super::lane::{Lane, LaneBuilder};
use super::shutdown::{DrainGuard, Shutdown, drop_discardable};
use super::stats::{LongRunningTask, Metrics};
use super::submit::{Batch, Destination, Permit, Reserve, Scope, Submitter, TaskOptions, scope, spawn_batch};
use super::until_idle::UntilIdle;
use crate::error::{Rejected, TaskError};
use crate::task::{Task, Unblocked};

/// A pool of threads for blocking calls. Cheap to clone; all clones are handles to one pool.
///
/// The pool keeps its core threads (as many as there are CPUs) and adds more when those are
/// blocked, up to a limit; tiny tasks do not make it grow, however many wait. Threads above core
/// exit when they have been idle for a while.
///
/// Most programs need only the global pool, through [`spawn`](crate::spawn()) and
/// [`unblock`](crate::unblock). Make a pool of your own to set limits, or to keep one kind of work
/// from delaying another.
///
/// When the last handle is dropped, the pool still runs its queued tasks, then its threads exit;
/// the drop does not wait for that. Use [`shutdown`](Pool::shutdown) to wait for the end or to
/// discard queued tasks.
///
/// ```
/// let pool = sidestep::Pool::builder().name("db").max_threads(8).build()?;
/// let task = pool.spawn(|| std::fs::read("Cargo.toml"));
/// assert!(!task.wait()??.is_empty());
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "a pool whose last handle is dropped ends once its queue is empty"]
pub struct Pool {
    pub(super) inner: Arc<Inner>,
}

impl Pool {
    pub(super) fn from_shared(inner: Arc<Inner>) -> Self {
        Pool { inner }
    }

    /// Builds a pool with the default settings, apart from the global pool.
    ///
    /// # Errors
    ///
    /// The errors of [`PoolBuilder::build`]: chiefly the system's error if it refuses the first
    /// thread.
    pub fn new() -> io::Result<Self> {
        PoolBuilder::new().build()
    }

    /// Returns a builder with the default settings.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }

    /// Returns the pool that the whole process shares; the first call builds it. The environment
    /// variables `SIDESTEP_CORE_THREADS` and `SIDESTEP_MAX_THREADS` set its limits;
    /// [`PoolBuilder::build_global`] sets them in the program.
    ///
    /// After a [`shutdown`](Pool::shutdown) of the global pool, and in the child of a `fork`, the
    /// next call builds a fresh pool, with the same settings, or those of another
    /// [`build_global`](PoolBuilder::build_global). What this call has returned before is a handle
    /// of the old pool, which refuses all tasks; so do not keep the reference, but call this
    /// function for each use, which takes one load. The state of the old pool is not freed.
    ///
    /// This call does not fail. If a variable has an invalid value, or if the process descends from
    /// more forks than [`PoolBuilder::build`] allows, every task resolves with
    /// [`is_no_thread`](TaskError::is_no_thread) and a message that names the variable and
    /// the value, or the number of forks; if the system refuses the first thread, the pool tries
    /// again when it is used.
    #[must_use = "it only returns the pool, and makes it if there is none"]
    pub fn global() -> &'static Pool {
        get_global()
    }

    /// Queues `f` and returns at once with a handle to its result.
    ///
    /// A closure spawned from inside a task of this pool goes to the queue of that task's thread,
    /// from which every other thread of the pool may steal it.
    ///
    /// # Errors
    ///
    /// This call never fails. Where the pool is full, shut down, or without a thread, it drops `f`
    /// unrun, and the handle resolves with an error that names the reason.
    #[doc(alias = "spawn_blocking")]
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> Task<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.submitter().spawn(f, Location::caller(), self.inner.carried.metadata())
    }

    /// [`spawn`](Pool::spawn) for when no error is expected: the future resolves with the plain
    /// result, and resumes a panic.
    ///
    /// # Cancellation
    ///
    /// Dropping the future cancels the task: see [`Task`].
    ///
    /// # Panics
    ///
    /// This call does not panic, but awaiting the future panics if `f` panicked, or if the pool
    /// could not run it.
    #[track_caller]
    pub fn unblock<F, T>(&self, f: F) -> Unblocked<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        Unblocked::new(self.spawn(f))
    }

    /// [`spawn`](Pool::spawn) that returns the closure where the pool refuses it.
    ///
    /// # Errors
    ///
    /// [`Rejected`], with the closure, if the queue is full, the pool is shut down, or this process
    /// is a forked child.
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

    /// Waits for a permit of the pool's queue, where that has a [limit](PoolBuilder::queue_limit):
    /// backpressure. The [`Permit`] queues one task, which is never refused because
    /// the queue is full.
    ///
    /// A producer that awaits a permit for each task is slowed down to the speed of the pool, and
    /// the waiting tasks take no more memory than the limit allows.
    #[track_caller]
    pub fn reserve(&self) -> Reserve {
        Reserve::of(Destination::Pool(self.clone()), Location::caller())
    }

    /// Returns a permit of the pool's queue if one is free, as [`reserve`](Pool::reserve) does once
    /// one is. Those that wait for one go first.
    ///
    /// # Errors
    ///
    /// [`is_full`](TaskError::is_full) if every permit is taken or promised,
    /// [`is_shutdown`](TaskError::is_shutdown) once the pool is shut down, and
    /// [`is_no_thread`](TaskError::is_no_thread) in the child of a fork.
    ///
    /// ```
    /// let pool = sidestep::Pool::builder().queue_limit(1).build()?;
    /// let permit = pool.try_reserve()?;
    /// assert!(pool.try_reserve().unwrap_err().is_full());
    /// assert_eq!(permit.spawn(|| 6 * 7).wait()?, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn try_reserve(&self) -> Result<Permit, TaskError> {
        Reserve::of(Destination::Pool(self.clone()), Location::caller()).try_now()
    }

    /// Queues many closures at once, with a single wake-up decision, and returns their results as a
    /// stream in the order in which the tasks end, or as a `Vec` in the order of submission.
    ///
    /// This call runs the iterator to its end first. Box closures of different types as `Box<dyn
    /// FnOnce() -> T + Send>`.
    ///
    /// # Errors
    ///
    /// This call never fails: the result of each refused task is an error.
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
        spawn_batch(self.submitter(), closures, Location::caller(), || self.inner.carried.metadata())
    }

    /// Runs `f`, which may spawn tasks that borrow from the calling thread's stack, and blocks
    /// until all these tasks have ended and their closures have been freed.
    ///
    /// On a thread of the pool itself this call does not deadlock: the thread runs queued tasks of
    /// the scope inline.
    ///
    /// # Cancellation
    ///
    /// The tasks of a scope are cancelled with the task that this call is made in, if it is made in
    /// one: those that are queued, or that are spawned later, do not run. This call waits for the
    /// others as ever, and then panics because of a task that did not run, as below: what follows
    /// it may rely on that task's work. So a cancelled task does not get past its scope by mistake;
    /// where it is to return in an orderly way, it asks each handle.
    ///
    /// # Panics
    ///
    /// Resumes a panic of `f`; otherwise the first panic of a task whose result was not taken from
    /// its [`ScopedTask`](crate::ScopedTask). If the pool did not run a task, and its result was
    /// not taken, this call panics with the message of the [`TaskError`].
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
    #[track_caller]
    pub fn scope<'env, F, R>(&'env self, f: F) -> R
    where
        F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R,
    {
        scope(self, f)
    }

    /// Returns the lane of this name, or makes it: a queue of its own whose tasks run on the pool's
    /// threads, at most `limit` at a time. See [`Lane`].
    ///
    /// One name is one lane, as long as the lane has a handle or a task that has not ended: so
    /// parts of a program that do not know each other share a limit by its name.
    ///
    /// # Panics
    ///
    /// If `limit` is 0, or a living lane of the name was made with another limit.
    /// [`LaneBuilder::build`] returns an error instead.
    ///
    /// ```
    /// let pool = sidestep::Pool::new()?;
    /// let reports = pool.lane("database", 4);
    /// let orders = pool.lane("database", 4); // the same lane: no more than four at a time in all
    /// orders.spawn(|| ()).wait()?;
    /// assert_eq!(reports.metrics().tasks_completed(), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "Semaphore")]
    #[track_caller]
    pub fn lane(&self, name: impl Into<String>, limit: usize) -> Lane {
        match self.lane_builder(name, limit).build() {
            Ok(lane) => lane,
            Err(error) => panic!("{error}"),
        }
    }

    /// Returns a builder for a lane of this pool, with more settings.
    pub fn lane_builder(&self, name: impl Into<String>, limit: usize) -> LaneBuilder<'_> {
        LaneBuilder::new(self, name.into(), limit)
    }

    /// Returns a builder for a lane whose tasks have keys of type `K`, at most `limit` at a time in
    /// all: in order within a key, in turn between keys. See [`KeyedLane`](crate::KeyedLane).
    pub fn keyed_lane<K>(&self, name: impl Into<String>, limit: usize) -> KeyedLaneBuilder<'_, K>
    where
        K: Hash + Eq + Send + Sync + 'static,
    {
        KeyedLaneBuilder::new(self, name.into(), limit)
    }

    /// Returns a future that resolves when nothing is queued in the pool or its lanes, and nothing
    /// runs; on a plain thread, [`wait`](UntilIdle::wait). See [`UntilIdle`].
    #[doc(alias = "join")]
    pub fn idle(&self) -> UntilIdle {
        UntilIdle::new(Destination::Pool(self.clone()))
    }

    /// The pool's name: see [`PoolBuilder::name`].
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.config.name
    }

    /// How many threads the pool keeps: see [`PoolBuilder::core_threads`]. A lower
    /// [`max_threads`](Pool::max_threads) lowers it.
    #[must_use]
    pub fn core_threads(&self) -> usize {
        self.inner.threads.core()
    }

    /// How many threads the pool may have: see [`PoolBuilder::max_threads`].
    #[must_use]
    pub fn max_threads(&self) -> usize {
        self.inner.threads.max()
    }

    /// Whether the pool refuses all tasks because it has been [shut down](Pool::shutdown). What was
    /// queued before may still run.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        self.inner.engine.is_closed()
    }

    /// Sets options for the next tasks: a name, a time limit in the queue, a shutdown policy.
    pub fn options(&self) -> TaskOptions<'_> {
        TaskOptions::of_pool(self)
    }

    /// Changes [`PoolBuilder::max_threads`]. A higher limit takes effect at once; under a lower
    /// limit threads exit as their tasks end. A limit below `core_threads` lowers that too, until a
    /// higher limit is set.
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

    /// Returns the tasks that have been running for longer than `time`, the longest first, with
    /// their names and where they were spawned. Tasks that wait for others, while their thread runs
    /// those inline, count too.
    ///
    /// With [`PoolBuilder::warn_after`] the times are exact. Otherwise tasks carry no times, this
    /// method costs them nothing, and the times are estimates from when each thread has looked at
    /// the clock last and how many tasks it has begun since. The estimate is exact to microseconds
    /// for a task that a thread was woken for; after up to 31 others it errs by as much as those
    /// took longer, or less long, than those before. A task that runs inline inside of another
    /// counts from the first call of `long_running` that saw it. Later calls keep to
    /// that beginning.
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

    pub(in crate::pool) fn submitter(&self) -> Submitter<'_, &Arc<Inner>> {
        Submitter { inner: &self.inner, queue: &self.inner, has_permit: false }
    }

    /// Returns the pool's metrics. A call every second is cheap enough: it reads each thread's
    /// counters once.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        if self.inner.engine.is_forked() {
            return Metrics::default();
        }
        self.inner.metrics()
    }

    /// Closes admission at once, for all clones, and returns a future of the pool's end. A shutdown
    /// of the [global pool](Pool::global) puts it out of use: the next use of the global pool makes
    /// a new one, even while the old one still runs its queue.
    ///
    /// The pool still runs its queued tasks ([`Shutdown::discard_queued`] prevents that), then its
    /// threads exit. A second call returns another future of that end. The future may be dropped,
    /// and may be awaited on the pool's own threads. A task that is cancelled or expires while the
    /// pool ends may be counted a moment later.
    pub fn shutdown(&self) -> Shutdown {
        if !self.inner.engine.is_forked() {
            retire(self);
            self.inner.close();
            drop_discardable(&self.inner);
        }
        Shutdown::new(Arc::clone(&self.inner))
    }
}

impl Pool {
    /// Returns a guard that shuts the pool down when it is dropped, and waits up to `time` until
    /// the pool has run what is queued: for `main`, whose end would end the process in the middle
    /// of tasks that were detached. Any duration is valid.
    ///
    /// The guard waits as [`Shutdown::wait`] with a [`timeout`](Shutdown::timeout) does. Tasks that
    /// have not ended by then go on, and the guard traces how many there are, and the names and
    /// places of those that run. What files and streams have accepted needs no guard: see
    /// [`io::set_exit_timeout`](crate::io::set_exit_timeout).
    ///
    /// Declare it first in `main`, so that it is dropped last. [`std::process::exit`] drops no
    /// guard.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// fn main() {
    ///     let _drain = sidestep::Pool::global().drain_on_drop(Duration::from_secs(10));
    ///     sidestep::spawn(|| println!("this is printed")).detach();
    /// }
    /// ```
    pub fn drain_on_drop(&self, time: Duration) -> DrainGuard {
        DrainGuard::new(self.clone(), time)
    }
}

// User code runs under no lock of the pool, and the pool catches its panics: nothing is left half
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
            .field("core_threads", &self.core_threads())
            .field("max_threads", &self.max_threads())
            .field("queue_limit", &self.inner.config.queue_limit)
            .field("threads", &self.inner.threads.counts().alive())
            .finish_non_exhaustive()
    }
}
