//! The handle of a lane, and its settings. The protocol is in the top-level module `lane`.

use std::fmt;
use std::io;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use crate::error::Rejected;
use crate::lane::LaneCore;
use crate::latency::LatencyRecorder;
use crate::pool::Pool;
use crate::pool::config::{MOST_THREADS, refuse};
use crate::pool::stats::LaneMetrics;
use crate::pool::stats::latency;
use crate::pool::submit::Reserve;
use crate::pool::submit::Submitter;
use crate::pool::submit::TaskOptions;
use crate::semaphore::Semaphore;
use crate::task::{Task, Unblocked};

/// A concurrency limit on a pool: a queue of its own whose tasks run on the pool's threads, no more
/// than `limit` at a time.
///
/// Use one lane for each resource that can be overloaded or can hang: a database with four
/// connections, a disk, a resolver. Whatever happens in one lane, the others and the pool itself go
/// on. [`Pool::lane`] makes a lane; all clones are handles to one lane. When the last handle is
/// dropped, the queued tasks still run. A lane keeps its pool alive as a [`Pool`] handle does.
///
/// - **The limit holds at every instant.** A running closure holds one of the lane's slots until it
///   has truly ended: a caller that gives up waiting frees no slot. So a storm of timeouts never
///   puts more load on a resource that already hangs.
/// - **Order** of starts is first-in first-out. With a limit of 1 that is the order of execution
///   too: such a lane is a lock that blocks no thread.
/// - **A lane that is full costs no thread.** Tasks that wait in it do not make the pool grow.
///   Tasks that run in it may: closures that block occupy threads like any others.
/// - **Lanes share threads fairly.** A thread serves a lane for 32 tasks or a millisecond, then
///   turns to the other queued work; after a long task it does so at once. Where the tasks of a
///   lane compute for long on all threads, the pool adds threads for short tasks.
///
/// # Waiting inside a lane
///
/// A closure that [`wait`](Task::wait)s for a task of its own lane may find every slot of the lane
/// held by closures that also wait for it: then the wait returns
/// [`is_deadlock`](crate::TaskError::is_deadlock) instead of hanging. The pool cannot detect waits
/// through channels.
///
/// A waker or callback that blocks holds the slot of its task while more tasks are queued in the
/// lane, unless it declares that it blocks (by [`wait`](Task::wait), [`block_on`](crate::block_on)
/// or [`will_block`](crate::current::will_block)).
///
/// ```
/// let pool = sidestep::Pool::new()?;
/// let database = pool.lane("database", 4);
/// let rows: Vec<_> = (0..100).map(|id| database.spawn(move || format!("row {id}"))).collect();
/// for row in rows {
///     assert!(row.wait()?.starts_with("row"));
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "Semaphore")]
#[derive(Clone)]
pub struct Lane {
    core: Arc<LaneCore>,
    pool: Pool,
    /// Whether what is spawned belongs to the session that has the lane to itself.
    in_session: bool,
}

/// Builds a [`Lane`] with settings of its own.
///
/// ```
/// let pool = sidestep::Pool::new()?;
/// let resolver = pool.lane_builder("resolver", 8).queue_limit(1000).build()?;
/// assert_eq!((resolver.name(), resolver.limit()), ("resolver", 8));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct LaneBuilder<'a> {
    pool: &'a Pool,
    name: String,
    limit: usize,
    queue_limit: Option<usize>,
    reserve: usize,
}

impl<'a> LaneBuilder<'a> {
    pub(super) fn new(pool: &'a Pool, name: String, limit: usize) -> Self {
        LaneBuilder { pool, name, limit, queue_limit: None, reserve: 0 }
    }

    /// How many tasks may wait in the lane at one time; see
    /// [`PoolBuilder::queue_limit`](crate::PoolBuilder::queue_limit). Must be at least 1; by
    /// default there is no limit. The limit of the pool's own queue does not count the lane's
    /// tasks.
    pub fn queue_limit(mut self, tasks: usize) -> Self {
        self.queue_limit = Some(tasks);
        self
    }

    /// Gives the lane up to so many threads of its own, beyond
    /// [`max_threads`](crate::PoolBuilder::max_threads); 0 by default, and at most the lane's
    /// limit.
    ///
    /// Use it for work that must go on when everything else hangs: health checks, the database that
    /// hung closures wait for. As long as threads of the pool get to the lane's tasks, there are no
    /// others. When none does, within a few milliseconds a thread of the reserve runs what waits in
    /// the lane. It runs nothing else, and leaves once it has been idle for
    /// [`keep_alive`](crate::PoolBuilder::keep_alive).
    ///
    /// The lane's limit holds for the threads of both kinds together. So a lane whose closures hang
    /// themselves stands still once as many hang as its limit allows, or, where the pool's threads
    /// all hang, as many as it has in reserve.
    ///
    /// A closure on a thread of the reserve that waits for a task of another lane, or of the pool
    /// itself, waits for a thread of the pool. [`Metrics::reserve_threads`] counts these threads,
    /// whose names are those of the pool and the lane, `r` and a number.
    ///
    /// [`Metrics::reserve_threads`]: crate::Metrics::reserve_threads
    ///
    /// ```
    /// let pool = sidestep::Pool::builder().max_threads(1).build()?;
    /// let health = pool.lane_builder("health", 2).reserve(1).build()?;
    /// let (go, gate) = std::sync::mpsc::channel::<()>();
    /// let hung = pool.spawn(move || gate.recv());
    /// assert_eq!(health.spawn(|| "alive").wait()?, "alive");
    /// # drop(go);
    /// # let _ = hung.wait();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "bulkhead")]
    pub fn reserve(mut self, threads: usize) -> Self {
        self.reserve = threads;
        self
    }

    /// Builds the lane.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput), naming the lane, the field and the value, if
    /// a limit is 0, or the reserve is larger than the lane's limit or than 32767.
    pub fn build(self) -> io::Result<Lane> {
        let LaneBuilder { pool, name, limit, queue_limit, reserve } = self;
        if limit == 0 {
            return refuse(format!("the limit of lane {name:?} (0) must be at least 1"));
        }
        if queue_limit == Some(0) {
            return refuse(format!("queue_limit of lane {name:?} (0) must be at least 1"));
        }
        if reserve > limit {
            return refuse(format!(
                "reserve of lane {name:?} ({reserve}) must be at most its limit ({limit}): no more closures run"
            ));
        }
        if reserve > MOST_THREADS {
            return refuse(format!("reserve of lane {name:?} ({reserve}) must be at most {MOST_THREADS}"));
        }
        // In a forked child no task runs, and a recorder may hang.
        let latency = if pool.inner.engine.is_forked() {
            LatencyRecorder::default()
        } else {
            latency(&pool.inner.config, Some(&name), limit)
        };
        let core = LaneCore::new(name, limit, queue_limit, reserve, latency, &pool.inner.engine.lanes);
        Ok(Lane { core, pool: pool.clone(), in_session: false })
    }
}

impl Lane {
    pub(super) fn submitter(&self) -> Submitter<'_, LaneCore> {
        let Lane { core, pool, in_session } = self;
        Submitter { inner: &pool.inner, queue: core, has_permit: false, in_session: *in_session }
    }

    /// A handle whose tasks belong to the session that has the lane to itself.
    pub(super) fn of_session(&self) -> Lane {
        Lane { in_session: true, ..self.clone() }
    }

    /// The permits of the queue, if it is limited. A session needs none.
    pub(super) fn queue_permits(&self) -> Option<&Semaphore> {
        if self.in_session { None } else { self.core.permits() }
    }

    pub(super) fn core(&self) -> &LaneCore {
        &self.core
    }

    pub(super) fn shared(&self) -> &Arc<LaneCore> {
        &self.core
    }

    /// The lane's name: a label, which need not be unique.
    #[must_use]
    pub fn name(&self) -> &str {
        self.core.name()
    }

    /// How many of the lane's closures run at one time at most.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.core.limit()
    }

    /// How many threads the lane has in reserve at most: see [`LaneBuilder::reserve`].
    #[must_use]
    pub fn reserved_threads(&self) -> usize {
        self.core.reserve().map_or(0, |reserve| reserve.most())
    }

    /// The pool whose threads the lane uses.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Queues `f` in the lane and returns at once with a handle to its result; see [`Pool::spawn`].
    ///
    /// # Errors
    ///
    /// This call never fails. Where the lane is full, or the pool is shut down or without a thread,
    /// it drops `f` unrun, and the handle resolves with an error that names the reason.
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> Task<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.submitter().spawn(f, Location::caller(), self.pool.inner.carried.metadata())
    }

    /// [`spawn`](Lane::spawn) for when no error is expected: the future resolves with the plain
    /// result, and resumes a panic. See [`Pool::unblock`].
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

    /// [`spawn`](Lane::spawn) that returns the closure where the lane refuses it; see
    /// [`Pool::try_spawn`].
    ///
    /// # Errors
    ///
    /// [`Rejected`], with the closure, if the lane's queue is full, the pool is shut down, or this
    /// process is a forked child.
    #[track_caller]
    pub fn try_spawn<F, T>(&self, f: F) -> Result<Task<T>, Rejected<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.submitter().try_spawn(f, Location::caller(), self.pool.inner.carried.metadata())
    }

    /// Waits for a permit of the lane's queue: backpressure, as with [`Pool::reserve`].
    #[track_caller]
    pub fn reserve(&self) -> Reserve {
        Reserve::in_lane(self.clone(), Location::caller())
    }

    /// Sets options for the next tasks of this lane; see [`Pool::options`].
    pub fn options(&self) -> TaskOptions<'_> {
        TaskOptions::of_lane(self)
    }

    /// Returns the lane's metrics. [`Pool::metrics`] counts the lane's tasks too.
    #[must_use]
    pub fn metrics(&self) -> LaneMetrics {
        if self.pool.inner.engine.is_forked() {
            return LaneMetrics::default();
        }
        LaneMetrics::read(&self.core)
    }
}

// User code runs under no lock of the lane, and the pool catches its panics, as for `Pool`.
impl UnwindSafe for Lane {}
impl RefUnwindSafe for Lane {}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane")
            .field("name", &self.name())
            .field("limit", &self.limit())
            .finish_non_exhaustive()
    }
}
