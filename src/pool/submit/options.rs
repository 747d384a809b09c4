//! Options of a single task.

use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::time::Duration;

use super::batch::{Batch, spawn_batch};
use super::context::EntersRuntime;
use super::destination::{Destination, DestinationRef};
use crate::error::Rejected;
use crate::pool::{Lane, LaneKey, Pool};
use crate::sync::now;
use crate::task::{ColdPart, Metadata, OnShutdown, Task, Unblocked, Work};

/// What a spawner may set for its tasks.
#[derive(Clone, Debug)]
pub(in crate::pool) struct TaskSettings {
    name: Option<Cow<'static, str>>,
    expire_after: Option<Duration>,
    cancel_after: Option<Duration>,
    on_shutdown: OnShutdown,
    enters_runtime: EntersRuntime,
}

impl TaskSettings {
    pub(in crate::pool) const fn new() -> Self {
        TaskSettings {
            name: None,
            expire_after: None,
            cancel_after: None,
            on_shutdown: OnShutdown::Drain,
            enters_runtime: EntersRuntime::AsPool,
        }
    }

    /// These settings, for tasks that enter a runtime as this says.
    pub(in crate::pool) const fn enters_runtime(mut self, enters: EntersRuntime) -> Self {
        self.enters_runtime = enters;
        self
    }

    fn is_plain(&self) -> bool {
        let is_timed = self.expire_after.is_some() || self.cancel_after.is_some();
        self.name.is_none() && !is_timed && self.on_shutdown == OnShutdown::Drain
    }

    /// What a task carries that is spawned on `pool` now: nothing, as long as nothing is set and
    /// the pool has nothing to add.
    pub(super) fn metadata(&self, pool: &Pool) -> Option<Box<ColdPart>> {
        let carried = &pool.inner.carried;
        if self.is_plain() {
            return carried.metadata_in(self.enters_runtime);
        }
        let at = |time: Duration| now().checked_add(time);
        let cancel_at = self.cancel_after.and_then(at);
        let metadata = Metadata {
            name: self.name.clone(),
            deadline: self.expire_after.and_then(at).into_iter().chain(cancel_at).min(),
            cancel_at,
            on_shutdown: self.on_shutdown,
            ..Metadata::default()
        };
        Some(carried.metadata_with_in(metadata, self.enters_runtime))
    }
}

impl Default for TaskSettings {
    fn default() -> Self {
        TaskSettings::new()
    }
}

impl DestinationRef<'_> {
    /// Spawns a task with `settings`.
    pub(in crate::pool) fn spawn<F, T>(
        self,
        f: F,
        site: &'static Location<'static>,
        settings: &TaskSettings,
    ) -> Task<T>
    where
        F: Work<T> + Send + 'static,
        T: Send + 'static,
    {
        let cold = settings.metadata(self.pool());
        match self {
            Destination::Pool(pool) => pool.submitter().spawn(f, site, cold),
            Destination::Lane(lane) => lane.submitter().spawn(f, site, cold),
            Destination::Key(key) => key.submitter().spawn(f, site, cold),
        }
    }
}

/// Options for one task, or for several alike: a name, a time limit in the queue or altogether,
/// what a shutdown does to it. [`Pool::options`] and [`Lane::options`] give them.
///
/// An option costs the task one allocation, whatever the number of options.
///
/// Options are a [`Spawner`](crate::Spawner): what takes one spawns with them.
///
/// ```
/// use std::time::Duration;
///
/// let pool = sidestep::Pool::new()?;
/// let thumbnail = pool
///     .options()
///     .name("resize")
///     .expire_after(Duration::from_secs(30))
///     .spawn(|| "a small picture");
/// assert_eq!(thumbnail.wait()?, "a small picture");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "options do nothing until `spawn`"]
pub struct TaskOptions<'a> {
    pub(super) destination: DestinationRef<'a>,
    pub(super) settings: TaskSettings,
}

impl<'a> TaskOptions<'a> {
    /// `settings` are copied.
    pub(in crate::pool) fn new(destination: DestinationRef<'a>, settings: &TaskSettings) -> Self {
        TaskOptions { destination, settings: settings.clone() }
    }

    pub(in crate::pool) fn of_pool(pool: &'a Pool) -> Self {
        TaskOptions::new(Destination::Pool(pool), &TaskSettings::new())
    }

    pub(in crate::pool) fn of_lane(lane: &'a Lane) -> Self {
        TaskOptions::new(Destination::Lane(lane), &TaskSettings::new())
    }

    pub(in crate::pool) fn of_key(key: &'a LaneKey) -> Self {
        TaskOptions::new(Destination::Key(key), &TaskSettings::new())
    }

    /// A name for errors, warnings and [`Pool::long_running`]. It need not be unique.
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.settings.name = Some(name.into());
        self
    }

    /// Makes the task expire if it is still queued this long after `spawn`: a thread of the pool
    /// that watches deadlines drops its closure at once, and it resolves with
    /// [`is_expired`](crate::TaskError::is_expired). Once it runs, it runs to its end; to give up
    /// waiting for that, use the timeout of your runtime or [`Task::wait_timeout`], and to end it,
    /// [`cancel_after`](TaskOptions::cancel_after).
    ///
    /// Any duration is legal: zero lets the task expire unrun, and [`Duration::MAX`] is no limit.
    /// The closures of expired tasks are dropped one after another by one thread per pool, so a
    /// destructor that blocks delays the others.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let pool = sidestep::Pool::builder().max_threads(1).build()?;
    /// let (go, gate) = std::sync::mpsc::channel::<()>();
    /// let busy = pool.spawn(move || gate.recv());
    /// let late = pool.options().expire_after(Duration::from_millis(1)).spawn(|| "too late");
    /// assert!(late.wait().unwrap_err().is_expired());
    /// # drop(go);
    /// # let _ = busy.wait();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn expire_after(mut self, time: Duration) -> Self {
        self.settings.expire_after = Some(time);
        self
    }

    /// Limits the time from `spawn` to the end of the task, without a timer of the caller's. If the
    /// task is still queued this long after `spawn`, it expires, as with
    /// [`expire_after`](TaskOptions::expire_after). If it runs, it is cancelled, as by a
    /// [`CancelHandle`](crate::CancelHandle): its [hooks](crate::current::on_cancel) run, on the
    /// pool's thread that watches deadlines, and
    /// [`is_cancelled`](crate::current::is_cancelled) turns true. The closure ends by itself, and
    /// the handle resolves with what it makes of that.
    ///
    /// With `expire_after` as well the shorter of the two times counts while the task is queued.
    /// Any duration is legal: zero lets the task expire unrun, and [`Duration::MAX`] is no limit.
    /// A hook that blocks delays what is due next. Where the system refuses the thread, the
    /// cancellation is late, or does not come.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sidestep::current;
    ///
    /// let pool = sidestep::Pool::new()?;
    /// let search = pool.options().cancel_after(Duration::from_millis(20)).spawn(|| {
    ///     let mut rounds = 0_u64;
    ///     while !current::is_cancelled() {
    ///         rounds += 1;
    ///     }
    ///     rounds
    /// });
    /// match search.wait() {
    ///     Ok(rounds) => println!("given up after {rounds} rounds"),
    ///     Err(error) => assert!(error.is_expired(), "it waited for a thread for so long"),
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "timeout")]
    pub fn cancel_after(mut self, time: Duration) -> Self {
        self.settings.cancel_after = Some(time);
        self
    }

    /// What a shutdown of the pool does to the task while it is queued. The default is
    /// [`OnShutdown::Drain`].
    pub fn on_shutdown(mut self, policy: OnShutdown) -> Self {
        self.settings.on_shutdown = policy;
        self
    }

    /// [`Pool::spawn`] or [`Lane::spawn`] with these options.
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> Task<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.submit(f, Location::caller())
    }

    /// These options, for tasks that enter the runtime of their spawners on whatever pool.
    pub(super) fn in_callers_runtime(mut self) -> Self {
        self.settings = self.settings.enters_runtime(EntersRuntime::Always);
        self
    }

    pub(in crate::pool) fn submit<F, T>(&self, f: F, site: &'static Location<'static>) -> Task<T>
    where
        F: Work<T> + Send + 'static,
        T: Send + 'static,
    {
        self.destination.spawn(f, site, &self.settings)
    }

    /// [`Pool::spawn_batch`] or [`Lane::spawn_batch`] with these options, for each of the tasks.
    ///
    /// ```
    /// let pool = sidestep::Pool::new()?;
    /// let words = ["one", "two"].map(|word| move || word.len());
    /// let lengths = pool.options().name("count").spawn_batch(words).wait();
    /// assert_eq!(lengths.into_iter().sum::<Result<usize, _>>()?, 6);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn spawn_batch<I, F, T>(&self, closures: I) -> Batch<T>
    where
        I: IntoIterator<Item = F>,
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let site = Location::caller();
        let cold = || self.settings.metadata(self.destination.pool());
        match self.destination {
            Destination::Pool(pool) => spawn_batch(pool.submitter(), closures, site, cold),
            Destination::Lane(lane) => spawn_batch(lane.submitter(), closures, site, cold),
            Destination::Key(key) => spawn_batch(key.submitter(), closures, site, cold),
        }
    }

    /// [`Pool::unblock`] or [`Lane::unblock`] with these options.
    ///
    /// # Panics
    ///
    /// Not here, but awaiting the future panics if `f` did, or if the task expired or could not be
    /// run.
    #[track_caller]
    pub fn unblock<F, T>(&self, f: F) -> Unblocked<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        Unblocked::new(self.spawn(f))
    }

    /// [`Pool::try_spawn`] or [`Lane::try_spawn`] with these options.
    ///
    /// # Errors
    ///
    /// [`Rejected`], with the closure, if the queue is full, the pool is shut down, or this is the
    /// child of a fork.
    #[track_caller]
    pub fn try_spawn<F, T>(&self, f: F) -> Result<Task<T>, Rejected<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.try_submit(f, Location::caller())
    }

    pub(in crate::pool) fn try_submit<F, T>(
        &self,
        f: F,
        site: &'static Location<'static>,
    ) -> Result<Task<T>, Rejected<F>>
    where
        F: Work<T> + Send + 'static,
        T: Send + 'static,
    {
        let cold = self.settings.metadata(self.destination.pool());
        match self.destination {
            Destination::Pool(pool) => pool.submitter().try_spawn(f, site, cold),
            Destination::Lane(lane) => lane.submitter().try_spawn(f, site, cold),
            Destination::Key(key) => key.submitter().try_spawn(f, site, cold),
        }
    }
}

impl fmt::Debug for TaskOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskOptions")
            .field("name", &self.settings.name)
            .field("expire_after", &self.settings.expire_after)
            .field("cancel_after", &self.settings.cancel_after)
            .field("on_shutdown", &self.settings.on_shutdown)
            .finish_non_exhaustive()
    }
}
