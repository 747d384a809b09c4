//! Settings that have been checked, and what is refused.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::pool::PoolBuilder;
use crate::pool::submit::Captures;
use crate::pool::threads::NewThread;

const DEFAULT_MAX: usize = 512;
pub(super) const DEFAULT_KEEP_ALIVE: Duration = Duration::from_secs(10);
/// The counts of `idle` have 16 bits each.
const MOST_THREADS: usize = 32_767;
const MOST_STACK: usize = isize::MAX as usize / 2;
/// What the pool's own calls need in a build without optimisation, the report of a panic included,
/// and as much again.
const LEAST_STACK: usize = 128 * 1024;

pub(super) type Hook = Arc<dyn Fn() + Send + Sync>;
pub(super) type SpawnHandler = Box<dyn Fn(NewThread) -> io::Result<()> + Send + Sync>;

/// Settings that have been checked.
pub(super) struct Config {
    pub(super) name: String,
    pub(super) core: usize,
    pub(super) max: usize,
    /// See [`Policy::may_linger`](crate::worker::Policy::may_linger). Models that want it
    /// have a pool of their own.
    pub(super) lingers: bool,
    pub(super) keep_alive: Duration,
    pub(super) stack_size: Option<usize>,
    pub(super) queue_limit: Option<usize>,
    pub(super) on_thread_start: Option<Hook>,
    pub(super) on_thread_stop: Option<Hook>,
    pub(super) spawn_handler: SpawnHandler,
    pub(super) captures: Captures,
    pub(super) warn_after: Option<Duration>,
    /// Whether the monitor asks the system about the threads.
    pub(super) thread_states: bool,
    #[cfg(feature = "histograms")]
    pub(super) histograms: bool,
    /// How often the numbers are published; only the feature `metrics` can set it.
    pub(super) export_every: Option<Duration>,
    #[cfg(feature = "tokio")]
    pub(super) runtime: Option<tokio::runtime::Handle>,
}

impl PoolBuilder {
    /// Checks the settings and fills in the defaults.
    pub(super) fn check(self) -> io::Result<Config> {
        let (core, max) = self.check_threads()?;
        if self.stack_size.is_some_and(|bytes| bytes == 0 || bytes > MOST_STACK) {
            return refuse(format!("stack_size ({}) is impossible", self.stack_size.unwrap_or(0)));
        }
        if self.queue_limit == Some(0) {
            return refuse("queue_limit (0) would refuse every task".to_owned());
        }
        if self.export_every == Some(Duration::ZERO) {
            return refuse(format!("export_metrics ({:?}) is no interval", Duration::ZERO));
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
            stack_size: self.stack_size.map(|bytes| bytes.max(LEAST_STACK)),
            queue_limit: self.queue_limit,
            on_thread_start: self.on_thread_start,
            on_thread_stop: self.on_thread_stop,
            spawn_handler: self.spawn_handler,
            captures: self.captures,
            warn_after: self.warn_after,
            thread_states: self.thread_states,
            #[cfg(feature = "histograms")]
            histograms: self.histograms,
            export_every: self.export_every,
            #[cfg(feature = "tokio")]
            runtime: self.runtime,
        })
    }

    fn check_threads(&self) -> io::Result<(usize, usize)> {
        let [core_name, max_name] = self.limit_names;
        for (field, value) in [(core_name, self.core), (max_name, self.max)] {
            value.map_or(Ok(()), |value| check_number(field, value))?;
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

/// Refuses an impossible number of threads.
pub(super) fn check_number(field: &str, threads: usize) -> io::Result<()> {
    match threads {
        0 => refuse(format!("{field} (0) is no pool: at least one thread is needed")),
        many if many > MOST_THREADS => refuse(format!("{field} ({many}) is more than {MOST_THREADS}")),
        _ => Ok(()),
    }
}

pub(super) fn refuse<T>(message: String) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
