//! Settings of a pool, and what is refused.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Pool;
use super::shared::Shared;
use super::threads::{NewThread, default_handler};

const DEFAULT_MAX: usize = 512;
const DEFAULT_KEEP_ALIVE: Duration = Duration::from_secs(10);
/// The counts of `idle` have 16 bits each.
const MOST_THREADS: usize = 32_767;
const MOST_STACK: usize = isize::MAX as usize / 2;

type Hook = Arc<dyn Fn() + Send + Sync>;
type SpawnHandler = Box<dyn Fn(NewThread) -> io::Result<()> + Send + Sync>;

/// Settings that have been checked.
pub(super) struct Config {
    pub(super) name: String,
    pub(super) core: usize,
    pub(super) max: usize,
    /// See [`Workplace::may_linger`](crate::worker::Workplace::may_linger). Models that want it have a pool of their own.
    pub(super) lingers: bool,
    pub(super) keep_alive: Duration,
    pub(super) stack_size: Option<usize>,
    pub(super) queue_limit: Option<usize>,
    pub(super) on_thread_start: Option<Hook>,
    pub(super) on_thread_stop: Option<Hook>,
    pub(super) spawn_handler: SpawnHandler,
    #[cfg(feature = "tokio")]
    pub(super) runtime: Option<tokio::runtime::Handle>,
}

/// Builds a [`Pool`] with settings of its own.
///
/// | setting | default |
/// |---|---|
/// | [`core_threads`](Builder::core_threads) | the number of CPUs, at least 2 |
/// | [`max_threads`](Builder::max_threads) | 512 |
/// | [`keep_alive`](Builder::keep_alive) | 10 s |
/// | [`stack_size`](Builder::stack_size) | that of `std::thread` |
/// | [`queue_limit`](Builder::queue_limit) | none |
/// | [`name`](Builder::name) | `sidestep` |
///
/// Where only one of `core_threads` and `max_threads` is set, the default of the other is bent to fit.
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
pub struct Builder {
    name: String,
    core: Option<usize>,
    max: Option<usize>,
    /// What the user knows `core` and `max` by.
    limit_names: [&'static str; 2],
    keep_alive: Duration,
    stack_size: Option<usize>,
    queue_limit: Option<usize>,
    on_thread_start: Option<Hook>,
    on_thread_stop: Option<Hook>,
    spawn_handler: SpawnHandler,
    #[cfg(feature = "tokio")]
    runtime: Option<tokio::runtime::Handle>,
}

impl Builder {
    pub(super) fn new() -> Self {
        Builder {
            name: "sidestep".to_owned(),
            core: None,
            max: None,
            limit_names: ["core_threads", "max_threads"],
            keep_alive: DEFAULT_KEEP_ALIVE,
            stack_size: None,
            queue_limit: None,
            on_thread_start: None,
            on_thread_stop: None,
            spawn_handler: Box::new(default_handler),
            #[cfg(feature = "tokio")]
            runtime: None,
        }
    }

    /// The name of the pool: its threads are called by it, with a number. Linux shows the first 15 bytes.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How many threads the pool keeps, and keeps unblocked: they are started as needed and stay. At least 1.
    pub fn core_threads(mut self, threads: usize) -> Self {
        self.core = Some(threads);
        self
    }

    /// How many threads there may be at most, at any instant. From 1 to 32767, and no fewer than `core_threads`.
    pub fn max_threads(mut self, threads: usize) -> Self {
        self.max = Some(threads);
        self
    }

    /// How long a thread above core sleeps for want of work before it leaves. Any duration is legal: zero has it
    /// leave at once, [`Duration::MAX`] keeps it.
    pub fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// The stack size of each thread in bytes.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// How many tasks may wait at one time. [`Pool::spawn`] on a full queue resolves with
    /// [`is_full`](crate::TaskError::is_full), [`Pool::try_spawn`] hands the closure back. At least 1.
    pub fn queue_limit(mut self, tasks: usize) -> Self {
        self.queue_limit = Some(tasks);
        self
    }

    /// Called on each thread of the pool when it starts. A panic in it is caught and traced.
    pub fn on_thread_start(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_thread_start = Some(Arc::new(hook));
        self
    }

    /// Called on each thread of the pool when it is about to leave. A panic in it is caught and traced.
    pub fn on_thread_stop(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_thread_stop = Some(Arc::new(hook));
        self
    }

    /// How a thread of the pool is made: the default uses [`std::thread::Builder`]. A handler that gives an error,
    /// panics, or drops the [`NewThread`] counts as a refusal; the pool goes on with the threads it has and tries
    /// again after 100 ms, then after twice as long, up to a second. An error of kind
    /// [`Unsupported`](io::ErrorKind::Unsupported) is final: the pool does not ask again.
    ///
    /// While a [`NewThread`] waits to be run the pool counts on it, and starts no other in its place.
    ///
    /// The handler is called on whichever thread needs the new one, that of a submitter included, so it should be quick;
    /// [`NewThread::run`] belongs on the new thread, since it returns only when the pool lets that go.
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
        self.spawn_handler = Box::new(handler);
        self
    }

    /// Has each thread of the pool enter `runtime`, so that closures can use `tokio::runtime::Handle::current()`.
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
        self.runtime = Some(runtime);
        self
    }

    /// Builds the pool and starts its first thread.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput), naming the field and the value, if a setting is impossible;
    /// the error of the system or of the spawn handler if the first thread cannot be started.
    ///
    /// ```
    /// let error = sidestep::Pool::builder().core_threads(4).max_threads(2).build().unwrap_err();
    /// assert_eq!(error.to_string(), "core_threads (4) is more than max_threads (2)");
    /// ```
    pub fn build(self) -> io::Result<Pool> {
        let shared = Shared::new(self.check()?);
        shared.start_first()?;
        Ok(Pool::from_shared(shared))
    }

    /// Builds the pool and makes it the global one, which [`Pool::global`], [`spawn`](crate::spawn()) and
    /// [`unblock`](crate::unblock) use. The environment variables of the global pool are read where this builder
    /// does not set the field.
    ///
    /// # Errors
    ///
    /// As [`build`](Builder::build); besides, [`AlreadyExists`](io::ErrorKind::AlreadyExists) if there is a global
    /// pool already, and `InvalidInput` if an environment variable has an impossible value.
    pub fn build_global(self) -> io::Result<&'static Pool> {
        super::global::install(self)
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

    /// Checks the settings and fills in the defaults.
    pub(super) fn check(self) -> io::Result<Config> {
        let (core, max) = self.check_threads()?;
        if self.stack_size.is_some_and(|bytes| bytes == 0 || bytes > MOST_STACK) {
            return refuse(format!("stack_size ({}) is impossible", self.stack_size.unwrap_or(0)));
        }
        if self.queue_limit == Some(0) {
            return refuse("queue_limit (0) would refuse every task".to_owned());
        }
        if self.name.contains('\0') {
            return refuse(format!("name ({:?}) contains a NUL, which no thread name may", self.name));
        }
        Ok(Config {
            name: self.name,
            core,
            max,
            lingers: cfg!(not(sidestep_loom)) && num_cpus::get() > 1,
            keep_alive: self.keep_alive,
            stack_size: self.stack_size,
            queue_limit: self.queue_limit,
            on_thread_start: self.on_thread_start,
            on_thread_stop: self.on_thread_stop,
            spawn_handler: self.spawn_handler,
            #[cfg(feature = "tokio")]
            runtime: self.runtime,
        })
    }

    fn check_threads(&self) -> io::Result<(usize, usize)> {
        let [core_name, max_name] = self.limit_names;
        for (field, value) in [(core_name, self.core), (max_name, self.max)] {
            match value {
                Some(0) => return refuse(format!("{field} (0) is no pool: at least one thread is needed")),
                Some(many) if many > MOST_THREADS => {
                    return refuse(format!("{field} ({many}) is more than {MOST_THREADS}"));
                }
                _ => {}
            }
        }
        let default_core = num_cpus::get().clamp(2, MOST_THREADS);
        match (self.core, self.max) {
            (Some(core), Some(max)) if core > max => {
                refuse(format!("{core_name} ({core}) is more than {max_name} ({max})"))
            }
            (Some(core), Some(max)) => Ok((core, max)),
            (Some(core), None) => Ok((core, DEFAULT_MAX.max(core))),
            (None, Some(max)) => Ok((default_core.min(max), max)),
            (None, None) => Ok((default_core, DEFAULT_MAX.max(default_core))),
        }
    }
}

fn refuse<T>(message: String) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

fn read_variable(name: &str) -> io::Result<Option<usize>> {
    let Some(value) = std::env::var_os(name) else { return Ok(None) };
    match value.to_str().and_then(|text| text.trim().parse().ok()) {
        Some(number) => Ok(Some(number)),
        None => refuse(format!("the environment variable {name} ({value:?}) is no whole number")),
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("core_threads", &self.core)
            .field("max_threads", &self.max)
            .field("keep_alive", &self.keep_alive)
            .field("stack_size", &self.stack_size)
            .field("queue_limit", &self.queue_limit)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests {
    use super::*;

    fn threads(core: Option<usize>, max: Option<usize>) -> Result<(usize, usize), String> {
        let builder = Builder { core, max, ..Builder::new() };
        builder.check_threads().map_err(|error| error.to_string())
    }

    #[test]
    fn one_limit_bends_the_default_of_the_other() {
        let cpus = num_cpus::get().max(2);
        assert_eq!(threads(None, None), Ok((cpus, 512.max(cpus))));
        assert_eq!(threads(None, Some(1)), Ok((1, 1)));
        assert_eq!(threads(Some(600), None), Ok((600, 600)));
        assert_eq!(threads(Some(3), Some(3)), Ok((3, 3)));
    }

    #[test]
    fn impossible_values_are_refused_by_name_and_value() {
        assert!(threads(Some(0), None).unwrap_err().contains("core_threads (0)"));
        assert!(threads(None, Some(0)).unwrap_err().contains("max_threads (0)"));
        assert!(threads(None, Some(32_768)).unwrap_err().contains("max_threads (32768)"));
        assert!(threads(Some(usize::MAX), None).unwrap_err().contains("core_threads (1844"));
        let message = |builder: Builder| builder.check().err().unwrap().to_string();
        assert!(message(Builder::new().stack_size(0)).contains("stack_size (0)"));
        assert!(message(Builder::new().stack_size(usize::MAX)).contains("stack_size (1844"));
        assert!(message(Builder::new().queue_limit(0)).contains("queue_limit (0)"));
        assert!(message(Builder::new().name("a\0b")).contains("name (\"a\\0b\")"));
    }
}
