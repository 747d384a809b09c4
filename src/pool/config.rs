//! A pool's settings, and which values it refuses.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::pool::stats::SlowTaskHook;
use crate::pool::submit::Captures;
use crate::pool::threads::NewThread;
use crate::sys::attributes::Inherit;
use crate::sys::cpus;

const DEFAULT_MAX: usize = 512;
const DEFAULT_KEEP_ALIVE: Duration = Duration::from_secs(10);
/// The counts of `idle` have 16 bits each.
pub(super) const MOST_THREADS: usize = 32_767;
const MOST_STACK: usize = isize::MAX as usize / 2;
/// What the pool's own calls need in a build without optimisation, the report of a panic included,
/// and as much again.
const LEAST_STACK: usize = 128 * 1024;

pub(super) type ThreadHook = Arc<dyn Fn() + Send + Sync>;
pub(super) type SpawnHandler = Arc<dyn Fn(NewThread) -> io::Result<()> + Send + Sync>;

/// The settings of a pool.
#[derive(Clone)]
pub(super) struct Config {
    pub(super) name: String,
    pub(super) core: usize,
    pub(super) max: usize,
    /// See [`Policy::may_spin`](crate::worker::Policy::may_spin). Models that want it
    /// have a pool of their own.
    pub(super) spins: bool,
    pub(super) keep_alive: Duration,
    pub(super) stack_size: Option<usize>,
    pub(super) queue_limit: Option<usize>,
    pub(super) on_thread_start: Option<ThreadHook>,
    pub(super) on_thread_stop: Option<ThreadHook>,
    /// The user's; `None` makes threads of the library.
    pub(super) spawn_handler: Option<SpawnHandler>,
    /// What the threads inherit from the threads that make them.
    pub(super) inherit: Inherit,
    pub(super) captures: Captures,
    pub(super) warn_after: Option<Duration>,
    pub(super) on_slow_task: Option<SlowTaskHook>,
    /// The pool stands for one that cannot be: it refuses all tasks.
    pub(super) is_impossible: bool,
    /// Whether the monitor asks the system about the threads.
    pub(super) thread_states: bool,
    #[cfg(feature = "histograms")]
    pub(super) histograms: bool,
    /// How often the numbers are published; only the feature `metrics` can set it.
    pub(super) export_every: Option<Duration>,
    #[cfg(feature = "tokio")]
    pub(super) runtime: Option<tokio::runtime::Handle>,
}

impl Config {
    /// The defaults.
    pub(super) fn standard() -> Self {
        Config {
            name: "sidestep".to_owned(),
            core: 0,
            max: 0,
            spins: cfg!(not(sidestep_loom)) && cpus::count() > 1,
            keep_alive: DEFAULT_KEEP_ALIVE,
            stack_size: None,
            queue_limit: None,
            on_thread_start: None,
            on_thread_stop: None,
            spawn_handler: None,
            inherit: Inherit::default(),
            captures: Captures::standard(),
            warn_after: None,
            on_slow_task: None,
            is_impossible: false,
            thread_states: true,
            #[cfg(feature = "histograms")]
            histograms: false,
            export_every: None,
            #[cfg(feature = "tokio")]
            runtime: None,
        }
    }

    /// Checks all but the numbers of threads.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.stack_size.is_some_and(|bytes| bytes == 0 || bytes > MOST_STACK) {
            let bytes = self.stack_size.unwrap_or(0);
            return refuse(format!("stack_size ({bytes}) must be at least 1 and at most {MOST_STACK}"));
        }
        if self.queue_limit == Some(0) {
            return refuse("queue_limit (0) must be at least 1: it would refuse every task".to_owned());
        }
        if self.export_every == Some(Duration::ZERO) {
            return refuse(format!("export_metrics ({:?}) must be more than zero", Duration::ZERO));
        }
        if self.name.contains('\0') {
            return refuse(format!(
                "name ({:?}) must not contain a NUL, which no thread name may",
                self.name
            ));
        }
        Ok(())
    }

    /// The stack of each thread, in bytes: no less than what the pool's own calls need.
    pub(super) fn stack(&self) -> Option<usize> {
        self.stack_size.map(|bytes| bytes.max(LEAST_STACK))
    }
}

/// The numbers of threads to keep and to have at most, from the settings of these names.
pub(super) fn check_threads(
    [core_name, max_name]: [&str; 2],
    core: Option<usize>,
    max: Option<usize>,
) -> io::Result<(usize, usize)> {
    for (field, value) in [(core_name, core), (max_name, max)] {
        value.map_or(Ok(()), |value| check_number(field, value))?;
    }
    let default_core = cpus::count().clamp(2, MOST_THREADS);
    match (core, max) {
        (Some(core), Some(max)) if core > max => {
            refuse(format!("{core_name} ({core}) must be at most {max_name} ({max})"))
        }
        (Some(core), Some(max)) => Ok((core, max)),
        (Some(core), None) => Ok((core, DEFAULT_MAX.max(core))),
        (None, Some(max)) => Ok((default_core.min(max), max)),
        (None, None) => Ok((default_core, DEFAULT_MAX.max(default_core))),
    }
}

/// Refuses an impossible number of threads.
pub(super) fn check_number(field: &str, threads: usize) -> io::Result<()> {
    match threads {
        0 => refuse(format!("{field} (0) must be at least 1: a pool needs a thread")),
        many if many > MOST_THREADS => refuse(format!("{field} ({many}) must be at most {MOST_THREADS}")),
        _ => Ok(()),
    }
}

pub(super) fn refuse<T>(message: String) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
