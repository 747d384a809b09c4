//! Settings of a pool.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::pool::Pool;
use crate::pool::config::{Config, check_threads, refuse};
use crate::pool::inner::Inner;
use crate::pool::threads::NewThread;
use crate::sys::fork;

/// Builds a [`Pool`] with settings of its own.
///
/// | setting | default |
/// |---|---|
/// | [`core_threads`](PoolBuilder::core_threads) | the number of CPUs, at least 2 |
/// | [`max_threads`](PoolBuilder::max_threads) | 512 |
/// | [`keep_alive`](PoolBuilder::keep_alive) | 10 s |
/// | [`stack_size`](PoolBuilder::stack_size) | that of `std::thread` |
/// | [`queue_limit`](PoolBuilder::queue_limit) | none |
/// | [`name`](PoolBuilder::name) | `sidestep` |
///
/// Where only one of `core_threads` and `max_threads` is set, the default of the other is bent to
/// fit.
///
/// ```
/// use std::time::Duration;
///
/// let pool = sidestep::Pool::builder()
///     .name("thumbnails")
///     .core_threads(2)
///     .max_threads(16)
///     .keep_alive(Duration::from_secs(1))
///     .queue_limit(10_000)
///     .build()?;
/// let name = pool.spawn(|| std::thread::current().name().map(str::to_owned)).wait()?;
/// assert!(name.unwrap().starts_with("thumbnails-"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct PoolBuilder {
    pub(super) config: Config,
    core: Option<usize>,
    max: Option<usize>,
    /// The names of those two in errors: a variable of the environment may have set one.
    limit_names: [&'static str; 2],
}

impl PoolBuilder {
    pub(super) fn new() -> Self {
        let limit_names = ["core_threads", "max_threads"];
        PoolBuilder { config: Config::standard(), core: None, max: None, limit_names }
    }

    /// Checks the settings and fills in the defaults.
    pub(super) fn check(mut self) -> io::Result<Config> {
        (self.config.core, self.config.max) = check_threads(self.limit_names, self.core, self.max)?;
        self.config.check()?;
        Ok(self.config)
    }

    /// The name of the pool: its threads are called by it, with a number. Linux shows the first 15
    /// bytes.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.config.name = name.into();
        self
    }

    /// How many threads the pool keeps, and keeps unblocked: they are started as needed and stay.
    /// At least 1.
    pub fn core_threads(mut self, threads: usize) -> Self {
        self.core = Some(threads);
        self
    }

    /// How many threads there may be at most, at any instant. From 1 to 32767, and no fewer than
    /// `core_threads`.
    #[doc(alias = "max_blocking_threads")]
    pub fn max_threads(mut self, threads: usize) -> Self {
        self.max = Some(threads);
        self
    }

    /// How long a thread above core sleeps for want of work before it leaves. Any duration is
    /// legal: zero has it leave at once, [`Duration::MAX`] keeps it.
    pub fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.config.keep_alive = keep_alive;
        self
    }

    /// The stack size of each thread in bytes. Less than 128 KiB is raised to that: the pool itself
    /// needs some, and so does the report of a panic.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.config.stack_size = Some(bytes);
        self
    }

    /// How many tasks may wait at one time. [`Pool::spawn`] on a full queue resolves with
    /// [`is_full`](crate::TaskError::is_full), [`Pool::try_spawn`] returns the closure. Must be at
    /// least 1.
    pub fn queue_limit(mut self, tasks: usize) -> Self {
        self.config.queue_limit = Some(tasks);
        self
    }

    /// Called on each thread of the pool when it starts. A panic in it is caught and traced.
    pub fn on_thread_start(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.config.on_thread_start = Some(Arc::new(hook));
        self
    }

    /// Called on each thread of the pool when it is about to leave. A panic in it is caught and
    /// traced.
    pub fn on_thread_stop(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.config.on_thread_stop = Some(Arc::new(hook));
        self
    }

    /// How a thread of the pool is made: the default uses [`std::thread::Builder`]. A handler that
    /// gives an error, panics, or drops the [`NewThread`] counts as a refusal; the pool goes on
    /// with the threads it has and tries again after 100 ms, then after twice as long, up to a
    /// second. An error of kind [`Unsupported`](io::ErrorKind::Unsupported) is final: the pool does
    /// not ask again.
    ///
    /// While a [`NewThread`] waits to be run the pool counts on it, and starts no other in its
    /// place.
    ///
    /// The handler is called on whichever thread needs the new one, that of a submitter included,
    /// so it should be quick; [`NewThread::run`] belongs on the new thread, since it returns only
    /// when the pool lets that go.
    ///
    /// ```
    /// let pool = sidestep::Pool::builder()
    ///     .spawn_handler(|new| {
    ///         std::thread::Builder::new().name(new.name().to_owned()).spawn(|| new.run())?;
    ///         Ok(())
    ///     })
    ///     .build()?;
    /// assert_eq!(pool.spawn(|| 6 * 7).wait()?, 42);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn spawn_handler(
        mut self,
        handler: impl Fn(NewThread) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.config.spawn_handler = Box::new(handler);
        self
    }

    /// Carries context from the spawner to the closure: task-locals, a log's diagnostic context, a
    /// request's id.
    ///
    /// `capture` runs on the spawner's thread at each `spawn`. What it returns runs on the thread
    /// that runs the task, and is given the run: it installs the context, calls the run once, and
    /// takes the context away again. (A guard could not do this: task-locals are set around a
    /// call.) The run does not unwind: a panic of the closure is reported by the task, and whatever
    /// comes after the run is executed. Several contexts may be given; the first is the outermost.
    ///
    /// # Panics
    ///
    /// A panic of `capture` is caught and traced, and the task runs without this context. A panic
    /// of what it returned is that of the task if it comes before the run, or if the run is never
    /// called; after the run it is caught and traced.
    ///
    /// ```
    /// use std::cell::Cell;
    ///
    /// thread_local!(static REQUEST: Cell<u32> = const { Cell::new(0) });
    ///
    /// let pool = sidestep::Pool::builder()
    ///     .propagate(|| {
    ///         let request = REQUEST.get();
    ///         move |run: &mut dyn FnMut()| {
    ///             let before = REQUEST.replace(request);
    ///             run();
    ///             REQUEST.set(before);
    ///         }
    ///     })
    ///     .build()?;
    /// REQUEST.set(7);
    /// assert_eq!(pool.spawn(|| REQUEST.get()).wait()?, 7);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn propagate<C, W>(mut self, capture: C) -> Self
    where
        C: Fn() -> W + Send + Sync + 'static,
        W: FnOnce(&mut dyn FnMut()) + Send + 'static,
    {
        self.config.captures.list.push(Box::new(move || Box::new(capture())));
        self
    }

    /// Whether the `tracing` span and dispatcher of the spawner surround the closure. They do
    /// unless this says otherwise; it costs each task some allocations while a subscriber is
    /// installed, and nothing otherwise.
    #[cfg(feature = "tracing")]
    pub fn propagate_spans(mut self, propagate: bool) -> Self {
        self.config.captures.spans = propagate;
        self
    }

    /// Has a warning traced, with the name of the task and where it was spawned, for each task that
    /// waits or runs for longer than this: when it begins, for its wait; when it has run for so
    /// long and goes on; and at its end. Another one, every ten seconds at most, says that a task
    /// waits for so long behind others, which those are, and for how long they have run. It also
    /// makes [`Pool::long_running`] exact. Each task costs an allocation and three looks at the
    /// clock more then.
    ///
    /// Without the feature `tracing` there are no warnings.
    pub fn warn_after(mut self, time: Duration) -> Self {
        self.config.warn_after = Some(time);
        self
    }

    /// Whether the pool asks the system, while tasks wait, whether its threads sleep or compute. It
    /// does unless this says otherwise. Where it does not, and on systems that do not tell, it goes
    /// by time alone: by how long tasks wait and threads stay in one task, and by whether the
    /// machine has a CPU to spare.
    ///
    /// For sandboxes where `/proc` is slow or watched, and to see on one system how a pool grows on
    /// another.
    ///
    /// ```
    /// let pool = sidestep::Pool::builder().thread_states(false).build()?;
    /// assert_eq!(pool.spawn(|| 6 * 7).wait()?, 42);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn thread_states(mut self, ask: bool) -> Self {
        self.config.thread_states = ask;
        self
    }

    /// Whether it is recorded how long tasks wait and run, for the pool and for each of its lanes:
    /// [`Metrics::wait_times`](crate::Metrics::wait_times),
    /// [`LaneMetrics::run_times`](crate::LaneMetrics::run_times) and so on. It is not unless this
    /// says so.
    ///
    /// Each task costs an allocation and three looks at the clock more then. The times are kept in
    /// shards, up to eight for the pool and for each lane, but no more than the lane's limit; each
    /// takes 36 KiB if nothing is longer than 10 ms, and never more than 72 KiB.
    ///
    /// ```
    /// let pool = sidestep::Pool::builder().histograms(true).build()?;
    /// pool.spawn(|| ()).wait()?;
    /// assert_eq!(pool.metrics().wait_times().map(|times| times.count()), Some(1));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[cfg(feature = "histograms")]
    pub fn histograms(mut self, record: bool) -> Self {
        self.config.histograms = record;
        self
    }

    /// Has the pool publish its numbers, and those of its lanes, through the facade crate
    /// [`metrics`](https://docs.rs/metrics): at once, then every `interval`, and once more at its
    /// end, before [`shutdown`](Pool::shutdown) resolves. `interval` may be anything but zero.
    ///
    /// All names begin with `sidestep_`; the label `pool` is the name of the pool. Counters and
    /// gauges are those of [`Metrics`](crate::Metrics), such as `sidestep_tasks_completed_total`
    /// and `sidestep_threads`. The histograms `sidestep_task_wait_seconds` and
    /// `sidestep_task_run_seconds` are told of each task as it happens, by the thread that runs it.
    /// Lanes have all that belongs to tasks once more, as in `sidestep_lane_tasks_queued`, with the
    /// label `lane`. Lanes of one name share their series, which last as long as the pool, so names
    /// should be few. Pools of one name overwrite each other's.
    ///
    /// Install the recorder before the pool is built: the histograms go to the one that is there
    /// when the pool, or the lane, is made. Counters and gauges are published by a thread of their
    /// own, so to the global recorder; it is the one that ends
    /// [overdue](crate::TaskOptions::expire_after) tasks, and a recorder that blocks delays it.
    ///
    /// Each task costs an allocation and three looks at the clock more, and what the recorder
    /// takes. Panics in the recorder are caught and traced.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let pool = sidestep::Pool::builder().name("db").export_metrics(Duration::from_secs(5)).build()?;
    /// assert_eq!(pool.spawn(|| 6 * 7).wait()?, 42);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[cfg(feature = "metrics")]
    pub fn export_metrics(mut self, interval: Duration) -> Self {
        self.config.export_every = Some(interval);
        self
    }

    /// Has each thread of the pool enter `runtime`, so that closures can use
    /// `tokio::runtime::Handle::current()`.
    ///
    /// ```
    /// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    /// let pool = sidestep::Pool::builder().runtime(runtime.handle().clone()).build()?;
    /// let id = pool.spawn(|| tokio::runtime::Handle::current().id()).wait()?;
    /// assert_eq!(id, runtime.handle().id());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[cfg(feature = "tokio")]
    pub fn runtime(mut self, runtime: tokio::runtime::Handle) -> Self {
        self.config.runtime = Some(runtime);
        self
    }

    /// Builds the pool and starts its first thread.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput), naming the field and the value, if a setting
    /// is impossible; the error of the system or of the spawn handler if the first thread cannot be
    /// started; [`Unsupported`](io::ErrorKind::Unsupported), with the numbers, behind more than
    /// 65,534 forks, each of which was made in the child of the one before.
    ///
    /// ```
    /// let error = sidestep::Pool::builder().core_threads(4).max_threads(2).build().unwrap_err();
    /// assert_eq!(error.to_string(), "core_threads (4) must be at most max_threads (2)");
    /// ```
    pub fn build(self) -> io::Result<Pool> {
        fork::check()?;
        let inner = Inner::new(self.check()?);
        inner.start_first()?;
        #[cfg(feature = "metrics")]
        inner.begin_export();
        Ok(Pool::from_shared(inner))
    }

    /// Builds the pool and makes it the global one, which [`Pool::global`],
    /// [`spawn`](crate::spawn()) and [`unblock`](crate::unblock) use. The environment variables of
    /// the global pool are read where this builder does not set the field.
    ///
    /// # Errors
    ///
    /// As [`build`](PoolBuilder::build); besides, [`AlreadyExists`](io::ErrorKind::AlreadyExists)
    /// if there is a global pool already, and `InvalidInput` if an environment variable has an
    /// impossible value.
    pub fn build_global(self) -> io::Result<&'static Pool> {
        crate::pool::global::install(self)
    }

    /// Fills fields that are not set from the environment.
    pub(super) fn read_environment(mut self) -> io::Result<Self> {
        let limits = [&mut self.core, &mut self.max];
        let variables = ["SIDESTEP_CORE_THREADS", "SIDESTEP_MAX_THREADS"];
        for ((limit, variable), name) in limits.into_iter().zip(variables).zip(&mut self.limit_names) {
            if limit.is_none() {
                *limit = read_variable(variable)?;
                if limit.is_some() {
                    *name = variable;
                }
            }
        }
        Ok(self)
    }
}

fn read_variable(name: &str) -> io::Result<Option<usize>> {
    let Some(value) = std::env::var_os(name) else { return Ok(None) };
    match value.to_str().and_then(|text| text.trim().parse().ok()) {
        Some(number) => Ok(Some(number)),
        None => refuse(format!("the environment variable {name} ({value:?}) must be a whole number")),
    }
}

impl fmt::Debug for PoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuilder")
            .field("name", &self.config.name)
            .field("core_threads", &self.core)
            .field("max_threads", &self.max)
            .field("keep_alive", &self.config.keep_alive)
            .field("stack_size", &self.config.stack_size)
            .field("queue_limit", &self.config.queue_limit)
            .field("warn_after", &self.config.warn_after)
            .field("export_every", &self.config.export_every)
            .finish_non_exhaustive()
    }
}
