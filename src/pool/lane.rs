//! The handle of a lane, and its settings. The protocol is in the top-level module `lane`.

use std::fmt;
use std::io;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use crate::error::{Rejected, TaskError};
use crate::lane::{KeySettings, LaneCore, LanePlace, LaneSettings, MOST_WEIGHT, Naming};
use crate::latency::LatencyRecorder;
use crate::pool::Pool;
use crate::pool::config::{MOST_THREADS, refuse};
use crate::pool::stats::LaneMetrics;
use crate::pool::stats::latency;
use crate::pool::submit::{
    Batch, Destination, LaneQueueOf, Permit, Reserve, Submitter, TaskOptions, spawn_batch,
};
use crate::pool::until_idle::UntilIdle;
use crate::semaphore::Semaphore;
use crate::task::{Task, Unblocked};

/// A concurrency limit on a pool: a queue of its own whose tasks run on the pool's threads, no more
/// than `limit` at a time.
///
/// Use one lane for each resource that can be overloaded or can hang: a database with four
/// connections, a disk, a resolver. Whatever happens in one lane, the others and the pool itself go
/// on. [`Pool::lane`] gets the lane of a name, or makes it; all handles of one name, and their
/// clones, are handles to one lane. When the last handle is dropped, the queued tasks still run. A
/// lane keeps its pool alive as a [`Pool`] handle does.
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
///   [`LaneBuilder::share`] sets how the turns of several lanes are divided.
/// - **The limit can change** while the lane works: [`set_limit`](Lane::set_limit).
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
#[must_use = "a lane does nothing until it is given tasks"]
pub struct Lane {
    core: Arc<LaneCore>,
    pool: Pool,
    /// Whether what is spawned belongs to the session that has the lane to itself.
    in_session: bool,
    /// Whether this counts as a handle: not if a task of the lane keeps it. See
    /// [`without_handle`](Lane::without_handle).
    is_handle: bool,
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
    reserve: Option<usize>,
    weight: Option<usize>,
}

impl<'a> LaneBuilder<'a> {
    pub(super) fn new(pool: &'a Pool, name: String, limit: usize) -> Self {
        LaneBuilder { pool, name, limit, queue_limit: None, reserve: None, weight: None }
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
        self.reserve = Some(threads);
        self
    }

    /// Divides the turns of the pool's threads among the lanes that have a share, in proportion to
    /// their weights, as far as they have work. From 1 to 10,000; by default a lane has none.
    ///
    /// Use it where lanes compete for the threads of a busy pool: interactive work beside a
    /// nightly batch, tenants who have paid for different parts. Of two lanes with weights 1 and 3
    /// that both always have work and a free slot, the second has three turns for each turn of the
    /// first. A lane that has nothing to do costs the others nothing, and saves nothing up for
    /// later. None starves: a lane of weight 1 beside one of weight 10,000 has a turn in each
    /// 10,001.
    ///
    /// A turn is up to 32 tasks or a millisecond, or one task that takes longer. A lane that has
    /// all of its slots in use has no turn, whatever its weight is. Lanes without a share, and
    /// tasks that are of no lane, take their turns beside all lanes that have one, in the order in
    /// which they come.
    ///
    /// ```
    /// let pool = sidestep::Pool::builder().max_threads(2).build()?;
    /// let online = pool.lane_builder("online", 2).share(9).build()?;
    /// let nightly = pool.lane_builder("nightly", 2).share(1).build()?;
    /// let jobs: Vec<_> = (0..100).map(|number| nightly.spawn(move || number)).collect();
    /// assert_eq!(online.spawn(|| "at once, or nearly").wait()?, "at once, or nearly");
    /// for (number, job) in jobs.into_iter().enumerate() {
    ///     assert_eq!(job.wait()?, number);
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "weight")]
    #[doc(alias = "priority")]
    pub fn share(mut self, weight: usize) -> Self {
        self.weight = Some(weight);
        self
    }

    /// Gets the lane of this name, or builds it.
    ///
    /// One name is one lane, as long as the lane *lives*: it has a handle, or a task that has not
    /// ended. This call then returns another handle to it, if the settings agree: those that are
    /// set here with those that the lane was made with. What [`Lane::set_limit`] has changed since
    /// does not matter.
    ///
    /// # Errors
    ///
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput), naming the lane, the field and the value,
    ///   if a limit is 0, the weight is 0 or above 10,000, or the reserve is larger than the lane's
    ///   limit or than 32767.
    /// - [`AlreadyExists`](io::ErrorKind::AlreadyExists), naming the lane, the field and both
    ///   values, if a living lane of the name was made with other settings.
    ///
    /// ```
    /// let pool = sidestep::Pool::new()?;
    /// let database = pool.lane("database", 4);
    /// assert!(pool.lane_builder("database", 4).build().is_ok());
    /// let error = pool.lane_builder("database", 8).build().unwrap_err();
    /// assert!(error.to_string().contains("limit 4, and not 8"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn build(self) -> io::Result<Lane> {
        self.make(Naming::Shared, None)
    }

    /// [`build`](LaneBuilder::build) for a lane of its own, of which the name is a label.
    pub(crate) fn build_private(self) -> io::Result<Lane> {
        self.make(Naming::Label, None)
    }

    pub(super) fn make(self, naming: Naming, keys: Option<KeySettings>) -> io::Result<Lane> {
        self.check()?;
        let LaneBuilder { pool, name, limit, queue_limit, reserve, weight } = self;
        let settings = LaneSettings { limit, queue_limit, reserve, weight, keys };
        let inner = &pool.inner;
        // In a forked child no task runs, and a recorder may hang.
        let is_forked = inner.engine.is_forked();
        let recorder = |name: &str| match is_forked {
            true => LatencyRecorder::default(),
            false => latency(&inner.config, Some(name), limit),
        };
        let core = inner.engine.lanes.get_or_make(name, naming, settings.clone(), recorder);
        // From here on a handle, which counts itself out.
        let lane = Lane { core, pool: pool.clone(), in_session: false, is_handle: true };
        inner.engine.look_at_handles(&lane.core, &**inner);
        let Some(conflict) = lane.core.settings().conflict(&settings) else { return Ok(lane) };
        let name = lane.name();
        let message = format!(
            "lane {name:?} lives, and was made with {conflict}: use another name, or the settings of \
             the living lane, whose limit `set_limit` changes"
        );
        Err(io::Error::new(io::ErrorKind::AlreadyExists, message))
    }

    fn check(&self) -> io::Result<()> {
        let LaneBuilder { name, limit, .. } = self;
        if *limit == 0 {
            return refuse(format!("the limit of lane {name:?} (0) must be at least 1"));
        }
        if self.queue_limit == Some(0) {
            return refuse(format!("queue_limit of lane {name:?} (0) must be at least 1"));
        }
        if let Some(reserve) = self.reserve.filter(|reserve| reserve > limit) {
            return refuse(format!(
                "reserve of lane {name:?} ({reserve}) must be at most its limit ({limit}): no more closures run"
            ));
        }
        if let Some(reserve) = self.reserve.filter(|reserve| *reserve > MOST_THREADS) {
            return refuse(format!("reserve of lane {name:?} ({reserve}) must be at most {MOST_THREADS}"));
        }
        if let Some(weight) = self.weight.filter(|weight| *weight == 0 || *weight > MOST_WEIGHT) {
            return refuse(format!(
                "share of lane {name:?} ({weight}) must be at least 1 and at most {MOST_WEIGHT}"
            ));
        }
        Ok(())
    }
}

impl Lane {
    pub(super) fn submitter(&self) -> Submitter<'_, LaneQueueOf<'_>> {
        let place = if self.in_session { LanePlace::Session } else { LanePlace::InOrder };
        let queue = LaneQueueOf { lane: &self.core, place };
        Submitter { inner: &self.pool.inner, queue, has_permit: false }
    }

    /// A handle whose tasks belong to the session that has the lane to itself.
    pub(super) fn of_session(&self) -> Lane {
        let mut lane = self.clone();
        lane.in_session = true;
        lane
    }

    /// The lane, for what its tasks keep: a pause must not outlast the handles, and tasks that wait
    /// for its end would be some.
    pub(crate) fn without_handle(&self) -> Lane {
        let (core, pool) = (Arc::clone(&self.core), self.pool.clone());
        Lane { core, pool, in_session: self.in_session, is_handle: false }
    }

    pub(super) fn is_handle(&self) -> bool {
        self.is_handle
    }

    /// A handle. To be called where the lane lives, by its name too: in a task of the lane, or by
    /// what has a handle or the session.
    pub(crate) fn handle(&self) -> Lane {
        if self.is_handle {
            return self.clone();
        }
        let inner = &self.pool.inner;
        inner.engine.lanes.add_handle(&self.core);
        let (core, pool) = (Arc::clone(&self.core), self.pool.clone());
        let lane = Lane { core, pool, in_session: self.in_session, is_handle: true };
        inner.engine.look_at_handles(&lane.core, &**inner);
        lane
    }

    /// The permits of the queue, if it is limited. A session needs none.
    pub(super) fn queue_permits(&self) -> Option<&Semaphore> {
        if self.in_session { None } else { self.core.permits() }
    }

    pub(super) fn core(&self) -> &LaneCore {
        &self.core
    }

    /// From now on no more than `most` closures run at a time. False if the limit is above that.
    pub(crate) fn cap_limit(&self, most: usize) -> bool {
        self.core.cap_limit(most)
    }

    pub(super) fn shared(&self) -> &Arc<LaneCore> {
        &self.core
    }

    /// The lane's name. No other living lane of the pool is found by it: see
    /// [`LaneBuilder::build`].
    #[must_use]
    pub fn name(&self) -> &str {
        self.core.name()
    }

    /// How many of the lane's closures run at one time at most, as it stands now: 0 while the lane
    /// is paused.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.core.limit()
    }

    /// Sets how many of the lane's closures run at one time at most; 0 pauses the lane.
    ///
    /// A higher limit takes effect at once. A lower one disturbs no closure that runs: until enough
    /// of them have ended no other begins. In a paused lane tasks can be queued, cancelled, and can
    /// expire, but none begins. It holds for all handles, and may be called from anywhere, closures
    /// of the lane included. [`usize::MAX`] is as good as no limit.
    ///
    /// What is queued is never lost to a pause: the lane goes on with a limit of 1 where it is
    /// paused while the pool is shut down, or as the lane's last handle is dropped. Every `Lane` is
    /// a handle, and so is each that another value has: a [`Strand`](crate::Strand), a [`Permit`],
    /// a wait for a permit or until the lane is idle, an open file. A closure that owns one and is
    /// queued in the lane itself keeps the pause from ending in this way.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput), naming the lane and the value, if the lane is
    /// that of a [`Strand`](crate::Strand) and the limit above 1, or that of a
    /// [`ResourcePool`](crate::ResourcePool) and the limit above its size.
    ///
    /// ```
    /// let pool = sidestep::Pool::new()?;
    /// let database = pool.lane("database", 4);
    /// database.set_limit(0)?; // while the server restarts
    /// let row = database.spawn(|| "a row");
    /// assert!(!row.is_finished());
    /// database.set_limit(8)?;
    /// assert_eq!(row.wait()?, "a row");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "pause")]
    #[doc(alias = "resize")]
    pub fn set_limit(&self, limit: usize) -> io::Result<()> {
        let inner = &self.pool.inner;
        if inner.engine.set_lane_limit(&self.core, limit, &**inner) {
            return Ok(());
        }
        let name = self.name();
        let most = self.core.most();
        refuse(format!(
            "limit {limit} of lane {name:?} must be at most {most}: a strand or a resource pool runs its calls there"
        ))
    }

    /// Returns a future that resolves when nothing of the lane is queued or runs; on a plain
    /// thread, [`wait`](UntilIdle::wait). See [`UntilIdle`].
    pub fn idle(&self) -> UntilIdle {
        UntilIdle::new(Destination::Lane(self.without_handle()))
    }

    /// How many threads the lane has in reserve at most: see [`LaneBuilder::reserve`].
    #[must_use]
    pub fn reserved_threads(&self) -> usize {
        self.core.reserve().map_or(0, |reserve| reserve.most())
    }

    /// The pool whose threads the lane uses.
    #[must_use = "it only returns the pool"]
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

    /// Queues many closures in the lane at once, with a single wake-up decision: see
    /// [`Pool::spawn_batch`].
    ///
    /// # Errors
    ///
    /// This call never fails: the result of each refused task is an error.
    ///
    /// ```
    /// let pool = sidestep::Pool::new()?;
    /// let database = pool.lane("database", 4);
    /// let rows = database.spawn_batch((0..100).map(|id| move || format!("row {id}")));
    /// assert!(rows.wait().into_iter().all(|row| row.is_ok_and(|row| row.starts_with("row"))));
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
        let cold = || self.pool.inner.carried.metadata();
        spawn_batch(self.submitter(), closures, Location::caller(), cold)
    }

    /// Waits for a permit of the lane's queue: backpressure, as with [`Pool::reserve`].
    #[track_caller]
    pub fn reserve(&self) -> Reserve {
        Reserve::of(Destination::Lane(self.clone()), Location::caller())
    }

    /// Returns a permit of the lane's queue if one is free: see [`Pool::try_reserve`].
    ///
    /// # Errors
    ///
    /// [`is_full`](TaskError::is_full) if every permit is taken or promised, and the other errors
    /// of [`Pool::try_reserve`].
    #[track_caller]
    pub fn try_reserve(&self) -> Result<Permit, TaskError> {
        Reserve::of(Destination::Lane(self.clone()), Location::caller()).try_now()
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

impl Clone for Lane {
    fn clone(&self) -> Self {
        if self.is_handle {
            self.core.add_handle();
        }
        Lane { core: Arc::clone(&self.core), pool: self.pool.clone(), ..*self }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if self.is_handle && self.core.remove_handle() {
            self.pool.inner.engine.look_at_handles(&self.core, &*self.pool.inner);
        }
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
            .field("queue_limit", &self.core.settings().queue_limit)
            .finish_non_exhaustive()
    }
}
