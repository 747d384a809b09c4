//! Takes blocking calls off an async program, and hands the results back as futures.
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! # sidestep::block_on(async {
//! let text = sidestep::unblock(|| std::fs::read_to_string("Cargo.toml")).await?;
//! # assert!(text.contains("sidestep"));
//! # Ok(()) })
//! # }
//! ```
//!
//! A closure goes onto a work-stealing thread pool; its result comes back through a oneshot
//! channel. No runtime is needed, and any will do: a multi-threaded one, a single-threaded one, or
//! none at all, where a thread simply [`wait`](Task::wait)s.
//!
//! # Which call
//!
//! | you want | call |
//! |---|---|
//! | the plain result, panics passed on | [`unblock`] |
//! | the result or a [`TaskError`], and a handle that cancels | [`spawn`] |
//! | the closure back if the pool will not take it | [`Pool::try_spawn`] |
//! | to block this thread for the result | [`Task::wait`] |
//! | a callback | [`Task::on_complete`] |
//! | callbacks on one thread, without a runtime | [`EventLoop`] |
//! | steps that follow from each other, in a chain | [`Pool::promise`], [`Promise`] |
//! | nothing back | [`Task::detach`] |
//! | no more than so many at a time | [`Pool::lane`] |
//! | a value that blocks, such as a connection, shared by many | [`Strand`] |
//! | the same for a value that must stay on one thread | [`Dedicated`] |
//! | to be slowed down to the pool's speed | [`PoolBuilder::queue_limit`], [`Pool::reserve`] |
//! | a time limit in the queue, a name, a say in the shutdown | [`Pool::options`] |
//! | many at once, as they finish | [`Pool::spawn_batch`] |
//! | to borrow from the stack | [`Pool::scope`] |
//! | files | [`fs`] |
//! | a reader, a writer or an iterator as an asynchronous one, or the reverse | [`Unblock`], [`io`] |
//! | the addresses of a name | [`net::lookup_host`] |
//! | limits, names, an end | [`Pool::builder`], [`Pool::shutdown`] |
//! | to see what is going on | [`Pool::metrics`], [`Pool::long_running`], [`PoolBuilder::warn_after`] |
//!
//! `docs/GUIDE.md` goes through them, from `unblock` to a tuned program.
//!
//! # What to know
//!
//! - **Dropping a handle cancels.** A queued closure is dropped at once and never runs; a running
//!   one is told (see [`current`]) and its result is thrown away. So timeouts work as they should.
//! - **The number of threads follows need.** Tiny tasks run on as many threads as there are CPUs,
//!   however many are queued; when threads block, others are added within milliseconds, up to
//!   [`PoolBuilder::max_threads`].
//! - **Waiting inside a task does not deadlock** the pool, whatever its limits. See [`Task::wait`].
//! - **Nothing is lost.** Each closure ends in exactly one way, and its handle says which.
//!
//! What it is not for: closures that never end (give them a thread of their own), parallel
//! iterators over data that fits the CPUs (rayon), and files by the million where io_uring is to be
//! had.
//!
//! # Features
//!
//! - `tracing` (default): what the pool swallows on purpose, such as a panic in a detached task,
//!   and what it decides, such as growth, become `tracing` events under the target `sidestep`.
//! - `tokio`: `PoolBuilder::runtime`, so that closures may use `tokio::runtime::Handle::current()`;
//!   and tokio's `AsyncRead`, `AsyncWrite` and `AsyncSeek` for the types of [`io`] and [`fs`],
//!   beside those of `futures-io`.
//! - `histograms`: `PoolBuilder::histograms`, which records how long tasks wait and run.
//! - `metrics`: `PoolBuilder::export_metrics`, which publishes a pool's numbers through the facade
//!   crate `metrics`.

mod counts;
#[forbid(unsafe_code)]
mod error;
#[forbid(unsafe_code)]
pub mod event_loop;
#[forbid(unsafe_code)]
pub mod fs;
#[forbid(unsafe_code)]
mod idle;
pub mod io;
mod lane;
#[forbid(unsafe_code)]
mod latency;
#[forbid(unsafe_code)]
pub mod net;
#[forbid(unsafe_code)]
mod panic;
mod pool;
#[forbid(unsafe_code)]
pub mod promise;
#[forbid(unsafe_code)]
mod queue;
mod semaphore;
mod strand;
mod sync;
mod sys;
mod task;
#[forbid(unsafe_code)]
mod trace;
mod worker;

pub use crate::error::{Rejected, TaskError, TaskId};
pub use crate::event_loop::EventLoop;
pub use crate::io::Unblock;
#[cfg(feature = "histograms")]
pub use crate::latency::Histogram;
pub use crate::pool::{
    Batch, Lane, LaneBuilder, LaneMetrics, LongRunningTask, Metrics, NewThread, Permit, Pool, PoolBuilder,
    Reserve, Scope, ScopedTask, Shutdown, ShutdownReport, TaskOptions,
};
pub use crate::promise::{LocalPromise, Promise};
pub use crate::strand::{CallOptions, Dedicated, Strand};
pub use crate::task::{CancelHandle, Cancelling, OnShutdown, Task, Unblocked, block_on};

pub mod current {
    //! What a running closure may ask, and tell the pool.
    //!
    //! The closure needs no handle for it: these functions know the task that runs on the calling
    //! thread. Outside a task they do nothing.
    pub use crate::task::current::{
        Cancelled, HookGuard, check, is_cancelled, on_cancel, retire_thread, will_block,
    };
}

/// Runs a blocking closure on the global pool; the future gives its plain result.
///
/// # Cancellation
///
/// Dropping the future cancels: see [`Task`].
///
/// # Panics
///
/// Awaiting resumes a panic of `f`, and panics if the global pool could not run it. Use [`spawn`]
/// for an error instead.
///
/// ```
/// # sidestep::block_on(async {
/// let size = sidestep::unblock(|| std::fs::metadata("Cargo.toml").map(|meta| meta.len())).await;
/// assert!(size.unwrap() > 0);
/// # });
/// ```
#[doc(alias = "spawn_blocking")]
#[track_caller]
pub fn unblock<F, T>(f: F) -> Unblocked<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Pool::global().unblock(f)
}

/// Runs a blocking closure on the global pool, with a handle to wait for it, cancel it or let it
/// go.
///
/// # Errors
///
/// The task resolves with a [`TaskError`] if the closure panicked, was cancelled, or could not be
/// run.
///
/// ```
/// let task = sidestep::spawn(|| 6 * 7);
/// assert_eq!(task.wait()?, 42);
/// # Ok::<(), sidestep::TaskError>(())
/// ```
#[doc(alias = "spawn_blocking")]
#[track_caller]
pub fn spawn<F, T>(f: F) -> Task<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Pool::global().spawn(f)
}

/// The code blocks of the pages beside the sources, compiled and run.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../README.md")]
    mod readme {}
    #[doc = include_str!("../docs/GUIDE.md")]
    mod guide {}
    #[doc = include_str!("../docs/ARCHITECTURE.md")]
    mod architecture {}
    #[doc = include_str!("../docs/MIGRATING.md")]
    mod migrating {}
    #[doc = include_str!("../docs/MODELS.md")]
    mod models {}
    #[doc = include_str!("../docs/PLATFORMS.md")]
    mod platforms {}
    #[doc = include_str!("../docs/PROMISES.md")]
    mod promises {}
}
