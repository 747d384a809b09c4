//! Settings of a pool.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::pool::Pool;
use crate::pool::config::{Config, check_threads, refuse};
use crate::pool::inner::Inner;
use crate::pool::stats::SlowTask;
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
/// Where only one of `core_threads` and `max_threads` is set, the default of the other is adjusted
/// to it.
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
///
/// A clone has all settings, hooks included: several pools can be built alike.
#[derive(Clone)]
#[must_use = "a builder does nothing until `build`"]
pub struct PoolBuilder {
    pub(super) config: Config,
    core: Option<usize>,
    max: Option<usize>,
    /// The names of those two settings in errors: an environment variable may have set one.
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

    /// The name of the pool. Each thread is named after it, with a number appended; Linux shows the
    /// first 15 bytes of a thread's name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.config.name = name.into();
        self
    }

    /// How many threads the pool keeps, and keeps unblocked: it starts them as needed and retains
    /// them. Must be at least 1.
    pub fn core_threads(mut self, threads: usize) -> Self {
        self.core = Some(threads);
        self
    }

    /// The most threads that the pool has at any instant. Must be from 1 to 32767, and at least
    /// `core_threads`.
    #[doc(alias = "max_blocking_threads")]
    pub fn max_threads(mut self, threads: usize) -> Self {
        self.max = Some(threads);
        self
    }

    /// How long a thread above `core_threads` stays idle before it exits. Any duration is valid:
    /// with zero the thread exits at once, with [`Duration::MAX`] it never does.
    pub fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.config.keep_alive = keep_alive;
        self
    }

    /// The stack size of each thread in bytes. Must be at least 1; the pool raises less than 128
    /// KiB to that, since its own calls and the report of a panic need some stack.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.config.stack_size = Some(bytes);
        self
    }

    /// How many tasks may wait in the pool's queue at one time. Must be at least 1; by default
    /// there is no limit. A task that [`Pool::spawn`] finds no room for resolves with
    /// [`is_full`](crate::TaskError::is_full), [`Pool::try_spawn`] returns the closure, and
    /// [`Pool::reserve`] waits for room.
    pub fn queue_limit(mut self, tasks: usize) -> Self {
        self.config.queue_limit = Some(tasks);
        self
    }

    /// A hook that each thread of the pool calls when it starts. The pool catches a panic of the
    /// hook and traces it.
    pub fn on_thread_start(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.config.on_thread_start = Some(Arc::new(hook));
        self
    }

    /// A hook that each thread of the pool calls when it is about to exit. The pool catches a panic
    /// of the hook and traces it.
    pub fn on_thread_stop(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.config.on_thread_stop = Some(Arc::new(hook));
        self
    }

    /// How the pool creates a thread; the default uses [`std::thread::Builder`], and gives the
    /// thread what the process has: see [`inherit_affinity`](PoolBuilder::inherit_affinity),
    /// [`inherit_priority`](PoolBuilder::inherit_priority) and
    /// [`block_signals`](PoolBuilder::block_signals). If the handler
    /// returns an error, panics, or drops the [`NewThread`], the thread is refused: the pool goes
    /// on with the threads it has and tries again after 100 ms, then after twice as long, up to a
    /// second. An error of kind [`Unsupported`](io::ErrorKind::Unsupported) is final: the pool does
    /// not try again.
    ///
    /// While a [`NewThread`] waits to be run the pool counts it as a thread, and starts no other
    /// instead of it.
    ///
    /// The pool calls the handler on the thread that needs another one, which may be a thread that
    /// submits a task, so the handler should be quick. Call [`NewThread::run`] on the new thread:
    /// it returns only when the pool no longer needs that thread.
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
        self.config.spawn_handler = Some(Arc::new(handler));
        self
    }

    /// Whether a thread may run only on the CPUs of the thread that makes it. Off by default: a
    /// thread may run on those of the process, which on Linux are those of its main thread. So a
    /// pool that a pinned thread makes, or makes grow, is not pinned.
    ///
    /// This setting is for Linux; on other systems a thread inherits its CPUs. It says nothing of
    /// the threads of a [`spawn_handler`](PoolBuilder::spawn_handler): they are what the handler
    /// makes them.
    pub fn inherit_affinity(mut self, inherit: bool) -> Self {
        self.config.inherit.affinity = inherit;
        self
    }

    /// Whether a thread has the scheduling policy and the niceness of the thread that makes it. Off
    /// by default: a thread has those of the process, which on Linux are those of its main thread.
    /// So a real-time thread that submits tasks makes no real-time threads. Where the system does
    /// not let a thread become more urgent than it is, as for a niced one without privileges, it
    /// stays what it is.
    ///
    /// The setting is for Linux, and not for the threads of a
    /// [`spawn_handler`](PoolBuilder::spawn_handler), as with
    /// [`inherit_affinity`](PoolBuilder::inherit_affinity).
    pub fn inherit_priority(mut self, inherit: bool) -> Self {
        self.config.inherit.priority = inherit;
        self
    }

    /// Whether the threads block all signals but those of their own faults, such as `SIGSEGV`. On
    /// by default: so a signal to the process never interrupts a closure, and its handler runs on a
    /// thread of the program. With `false` the threads block what the main thread blocks.
    ///
    /// A program that a closure starts begins with the signals of its thread blocked, unless the
    /// closure starts it inside of
    /// [`current::with_process_signals`](crate::current::with_process_signals): a pool whose
    /// closures do little else is best off with `false`. So is a pool in a program that a profiler
    /// interrupts with `SIGPROF`. The setting is for Unix, and not for the threads of a
    /// [`spawn_handler`](PoolBuilder::spawn_handler).
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// use std::process::Command;
    ///
    /// let children = sidestep::Pool::builder().name("children").block_signals(false).build()?;
    /// let exit = children.spawn(|| Command::new("true").status()).wait()??;
    /// assert!(exit.success());
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn block_signals(mut self, block: bool) -> Self {
        self.config.inherit.takes_signals = !block;
        self
    }

    /// Carries context from the spawning thread to the closure: task-locals, a log's diagnostic
    /// context, a request's id.
    ///
    /// The spawning thread calls `capture` at each `spawn`. The thread that runs the task calls the
    /// function that `capture` returned, with a `run` argument: the function installs the context,
    /// calls `run` once, and removes the context. (A guard could not do this: task-locals are set
    /// around a call.) `run` does not unwind: the task reports a panic of the closure, and the code
    /// after `run` is executed. Several contexts may be set; the first is the outermost.
    ///
    /// # Panics
    ///
    /// The pool catches and traces a panic of `capture`, and the task runs without this context. If
    /// the function that `capture` returned panics before it has called `run`, or returns without
    /// calling it, the task panics; the pool catches and traces a panic that comes after `run`.
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
        self.config.captures.list.push(Arc::new(move || Box::new(capture())));
        self
    }

    /// Whether the closure runs inside the `tracing` span and dispatcher of the spawning thread. On
    /// by default; it costs each task some allocations while a subscriber is installed, and nothing
    /// otherwise. A subscriber that wants the [spans of tasks](crate::docs::guide#tokio-console)
    /// gets them in either case.
    #[cfg(feature = "tracing")]
    pub fn propagate_spans(mut self, propagate: bool) -> Self {
        self.config.captures.spans = propagate;
        self
    }

    /// Warns of each task that waits or runs for longer than `time`: when the task begins, for its
    /// wait; when it has run for `time` and goes on; and when it ends. This setting also makes
    /// [`Pool::long_running`] exact. It costs each task an allocation and three reads of the clock.
    ///
    /// The warnings are events of `tracing`, with the name of the task and where it was spawned;
    /// and calls of [`on_slow_task`](PoolBuilder::on_slow_task), which needs no feature. With
    /// `tracing` there is one more event, every ten seconds at most: a task has waited for `time`
    /// behind others, which those are, and for how long they have run. Without the feature
    /// `tracing` and without a callback only `long_running` shows anything.
    pub fn warn_after(mut self, time: Duration) -> Self {
        self.config.warn_after = Some(time);
        self
    }

    /// A callback for the tasks that [`warn_after`](PoolBuilder::warn_after) warns of; without
    /// `warn_after` it is never called. For programs that log by other means than `tracing`.
    ///
    /// The pool calls it for a wait and for an end on the thread that runs the task, as a part of
    /// the task, and for a task that goes on running on the thread that watches deadlines. So it
    /// should be short. A panic of it is caught and traced.
    ///
    /// ```
    /// use std::sync::mpsc::channel;
    /// use std::time::Duration;
    /// use sidestep::{Pool, SlowTaskEvent};
    ///
    /// let (sender, warnings) = channel();
    /// let pool = Pool::builder()
    ///     .warn_after(Duration::ZERO)
    ///     .on_slow_task(move |slow| _ = sender.send((slow.name.clone(), slow.event)))
    ///     .build()?;
    /// pool.options().name("tape drive").spawn(|| ()).wait()?;
    /// let name = Some("tape drive".into());
    /// assert!(warnings.try_iter().any(|warning| warning == (name.clone(), SlowTaskEvent::Ended)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn on_slow_task(mut self, callback: impl Fn(&SlowTask) + Send + Sync + 'static) -> Self {
        self.config.on_slow_task = Some(Arc::new(callback));
        self
    }

    /// Whether the pool asks the operating system, while tasks wait, whether its threads sleep or
    /// compute. On by default. Where it is off, and on systems that do not report this, the pool
    /// goes by time alone: by how long tasks wait and threads stay in one task, and by whether the
    /// machine has an idle CPU.
    ///
    /// Turn it off in sandboxes where `/proc` is slow or watched, or to see on one system how a
    /// pool grows on another.
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

    /// Whether the pool records how long tasks wait and run, for itself and for each of its lanes:
    /// see [`Metrics::wait_times`](crate::Metrics::wait_times),
    /// [`LaneMetrics::run_times`](crate::LaneMetrics::run_times) and their siblings. Off by
    /// default.
    ///
    /// It costs each task an allocation and three reads of the clock. The pool keeps the times in
    /// shards, up to eight for itself and for each lane, but no more than the lane's limit; a shard
    /// takes 36 KiB if no time is longer than 10 ms, and never more than 72 KiB.
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

    /// Publishes the pool's metrics, and those of its lanes, through the facade crate
    /// [`metrics`](https://docs.rs/metrics): at once, then every `interval`, and once more at the
    /// pool's end, before [`shutdown`](Pool::shutdown) resolves. `interval` must be non-zero.
    ///
    /// All names begin with `sidestep_`; the label `pool` is the name of the pool. Counters and
    /// gauges are those of [`Metrics`](crate::Metrics), such as `sidestep_tasks_completed_total`
    /// and `sidestep_threads`. The histograms `sidestep_task_wait_seconds` and
    /// `sidestep_task_run_seconds` record each task as it begins and ends, on the thread that runs
    /// it. Each lane has the metrics of tasks under names of its own, such as
    /// `sidestep_lane_tasks_queued`, with the label `lane`. Lanes of one name share their series,
    /// which last as long as the pool, so use few names. Pools of one name overwrite each other's
    /// series.
    ///
    /// Install the recorder before the pool is built: the histograms go to the recorder that is
    /// installed when the pool, or the lane, is made. A background thread publishes counters and
    /// gauges to the global recorder; that thread also ends
    /// [overdue](crate::TaskOptions::expire_after) tasks, so a recorder that blocks delays their
    /// end.
    ///
    /// It costs each task an allocation, three reads of the clock, and the recorder's own time. The
    /// pool catches and traces panics of the recorder.
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

    /// Makes each thread of the pool enter `runtime`, so that closures can use
    /// `tokio::runtime::Handle::current()`, wherever they are spawned. See also
    /// [`propagate_runtime`](PoolBuilder::propagate_runtime).
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

    /// Whether a closure runs inside the tokio runtime that its spawner is in, so that
    /// `tokio::runtime::Handle::current()` works in it as in a closure of tokio's `spawn_blocking`.
    /// On by default for the [global pool](Pool::global), off for others. The runtime of the
    /// spawner comes before that of [`runtime`](PoolBuilder::runtime), which is left to closures
    /// that are spawned outside of one.
    ///
    /// The pool keeps no runtime alive. Where one has ended before the closure starts, the closure
    /// runs all the same; what it asks of the runtime fails as tokio says, most often by a panic:
    /// then that is the error of this task.
    ///
    /// It costs a task that is spawned inside a runtime one allocation. Functions of
    /// [`fs`](crate::fs) and [`net`](crate::net) want no runtime and pay nothing.
    ///
    /// ```
    /// use tokio::runtime::{Builder, Handle};
    ///
    /// let pool = sidestep::Pool::builder().propagate_runtime(true).build()?;
    /// for _ in 0..2 {
    ///     let runtime = Builder::new_current_thread().build()?;
    ///     let inside = runtime.block_on(async { pool.spawn(|| Handle::current().id()).await })?;
    ///     assert_eq!(inside, runtime.handle().id());
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "tokio")]
    pub fn propagate_runtime(mut self, propagate: bool) -> Self {
        self.config.captures.runtime = Some(propagate);
        self
    }

    /// Builds the pool and starts its first thread.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput), naming the field and the value, if a setting
    /// is invalid; the error of the system or of the spawn handler if the first thread cannot be
    /// started; [`Unsupported`](io::ErrorKind::Unsupported), with the numbers, in a process that
    /// descends from more than 65,534 nested forks.
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
    /// [`spawn`](crate::spawn()) and [`unblock`](crate::unblock) use. Where this builder does not
    /// set a field, the environment variable of the global pool sets it.
    ///
    /// # Errors
    ///
    /// The errors of [`build`](PoolBuilder::build); [`AlreadyExists`](io::ErrorKind::AlreadyExists)
    /// if there is a global pool already, which [`Pool::shutdown`] puts out of use; `InvalidInput`
    /// if an environment variable has an invalid value.
    pub fn build_global(self) -> io::Result<&'static Pool> {
        crate::pool::global::install(self)
    }

    /// Sets the fields that are not set yet as the global pool has them, the limits from
    /// environment variables.
    pub(super) fn read_environment(mut self) -> io::Result<Self> {
        #[cfg(feature = "tokio")]
        self.config.captures.runtime.get_or_insert(true);
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

/// As [`Pool::builder`].
impl Default for PoolBuilder {
    fn default() -> Self {
        Self::new()
    }
}

fn read_variable(name: &str) -> io::Result<Option<usize>> {
    let Some(value) = std::env::var_os(name) else { return Ok(None) };
    match value.to_str().and_then(|text| usize::try_from(text.trim().parse::<u64>().ok()?).ok()) {
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
