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
//! A closure goes onto a work-stealing thread pool; its result comes back as a future. This works
//! under any runtime, multi-threaded or single-threaded, and without one, where a thread simply
//! [`wait`](Task::wait)s.
//!
//! # Which call
//!
//! | you want | call |
//! |---|---|
//! | the plain result; a panic resumes | [`unblock`] |
//! | the result or a [`TaskError`], and a handle that cancels | [`spawn`] |
//! | the closure back if the pool refuses it | [`Pool::try_spawn`] |
//! | to block this thread for the result | [`Task::wait`] |
//! | a callback | [`Task::on_complete`] |
//! | callbacks on one thread, without a runtime | [`EventLoop`] |
//! | steps that follow from each other, in a chain | [`Pool::promise`], [`Promise`] |
//! | no result | [`Task::detach`] |
//! | a concurrency limit for one kind of work | [`Pool::lane`] |
//! | a value that blocks, such as a connection, shared by many | [`Strand`] |
//! | a few of them, any of which will do: a pool of connections | [`ResourcePool`] |
//! | the same as a strand for a value that must stay on one thread | [`Dedicated`] |
//! | backpressure: a bounded queue that producers wait for | [`PoolBuilder::queue_limit`], [`Pool::reserve`] |
//! | a time limit in the queue, a name, a shutdown policy | [`Pool::options`] |
//! | many at once, as they finish | [`Pool::spawn_batch`], [`Batch`] |
//! | the names that tokio gives to all this | [`task`] |
//! | to borrow from the stack | [`Pool::scope`] |
//! | to cancel several things at once, or what runs on other threads | [`CancelToken`], [`current::attach`] |
//! | files | [`fs`] |
//! | a reader, a writer or an iterator as an asynchronous one, or the reverse | [`Unblock`], [`io`] |
//! | the addresses of a name | [`net::lookup_host`] |
//! | limits, names, a shutdown | [`Pool::builder`], [`Pool::shutdown`] |
//! | to observe the pool | [`Pool::metrics`], [`Pool::long_running`], [`PoolBuilder::warn_after`] |
//!
//! The [guide](docs::guide) goes through them, from `unblock` to a tuned program. The other pages
//! in [`docs`] help to [migrate](docs::migrating) from another pool, and to choose between
//! [threads, callbacks, promises and futures](docs::models).
//!
//! # What to know
//!
//! - **Dropping a handle cancels.** The pool drops a queued closure at once, and it never runs. It
//!   signals a running one (see [`current::is_cancelled`] and [`current::on_cancel`]) and discards
//!   its result. So timeouts work as they should.
//! - **The number of threads follows need.** Tiny tasks run on as many threads as there are CPUs,
//!   however many are queued; when threads block, the pool adds others within milliseconds, up to
//!   [`PoolBuilder::max_threads`].
//! - **Waiting inside a task does not deadlock** the pool, whatever its limits. See [`Task::wait`].
//! - **Nothing is lost.** Each closure ends in exactly one way, and its handle reports which.
//!
//! What it is not for: closures that never end (run them on threads of their own), parallel
//! iterators over data that fits the CPUs (rayon), and files by the million on systems where
//! io_uring is available.
//!
//! # Features
//!
//! - `fs` (default): [`fs`], [`io`], [`net`] and [`process`], with [`Unblock`].
//! - `event-loop` (default): [`event_loop`] and [`promise`], with [`Pool::promise`],
//!   [`Lane::promise`] and [`Task::promise`].
//! - `tracing` (default): the pool emits `tracing` events under the target `sidestep` for panics
//!   that no caller can see, such as one in a detached task, and for its decisions, such as growth.
//!   The spans of spawners surround their closures, and a subscriber for tokio-console, or another
//!   that wants them, gets a span for each task.
//! - `tokio`: closures run inside the tokio runtime that they are spawned in, so that they may use
//!   `tokio::runtime::Handle::current()`: those of the global pool, those of [`task`], and those of
//!   pools with `PoolBuilder::propagate_runtime` or `PoolBuilder::runtime`. And tokio's
//!   `AsyncRead`, `AsyncWrite` and `AsyncSeek` for the types of [`io`] and [`fs`], beside those of
//!   `futures-io`.
//! - `tokio-test-util`, for `dev-dependencies`: tokio's paused clock stands still while anything
//!   that was spawned in its runtime is queued or runs, as it does for tokio's own
//!   `spawn_blocking`.
//! - `histograms`: `PoolBuilder::histograms`, which records how long tasks wait and run.
//! - `metrics`: `PoolBuilder::export_metrics`, which publishes a pool's numbers through the facade
//!   crate `metrics`.
//! - `tower`: `Pool::service`, `Lane::service` and `TaskOptions::service`, which make a service of
//!   a blocking function: `poll_ready` waits for room in the queue, so that the load shedding,
//!   timeouts, retries and buffers of `tower` work on it. It needs the crate `tower-service` alone.
//!
//! Without default features there are pools, tasks, lanes, strands and resource pools, for half the
//! time to build.
//! A library should depend on this crate without them, and name those that it needs.

// The build with all features shows what nothing uses, and its pages are the ones to read.
#![cfg_attr(
    not(all(feature = "fs", feature = "event-loop")),
    allow(dead_code, unused_imports, reason = "what only the adapters use stays where it belongs")
)]
#![cfg_attr(
    not(all(feature = "fs", feature = "event-loop")),
    allow(rustdoc::broken_intra_doc_links, reason = "pages mention what other features add")
)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod counts;
#[forbid(unsafe_code)]
mod error;
#[cfg(feature = "event-loop")]
#[forbid(unsafe_code)]
pub mod event_loop;
#[cfg(feature = "fs")]
#[deny(unsafe_code)] // but for `fs/file/raw`
pub mod fs;
#[forbid(unsafe_code)]
mod idle;
#[cfg(feature = "fs")]
pub mod io;
mod lane;
#[forbid(unsafe_code)]
mod latency;
#[cfg(feature = "fs")]
#[forbid(unsafe_code)]
pub mod net;
#[forbid(unsafe_code)]
mod numbers;
#[forbid(unsafe_code)]
mod panic;
mod pool;
#[cfg(feature = "fs")]
#[forbid(unsafe_code)]
pub mod process;
#[cfg(feature = "event-loop")]
#[forbid(unsafe_code)]
pub mod promise;
#[forbid(unsafe_code)]
mod queue;
#[forbid(unsafe_code)]
mod resource_pool;
mod semaphore;
#[cfg(feature = "tower")]
#[forbid(unsafe_code)]
mod service;
mod strand;
mod sync;
mod sys;
pub mod task;
#[forbid(unsafe_code)]
mod trace;
mod worker;

pub use crate::error::{Rejected, TaskError, TaskId};
#[cfg(feature = "event-loop")]
pub use crate::event_loop::EventLoop;
#[cfg(feature = "fs")]
pub use crate::io::Unblock;
#[cfg(feature = "histograms")]
pub use crate::latency::Histogram;
pub use crate::pool::{
    Batch, DrainGuard, KeyedLane, KeyedLaneBuilder, Lane, LaneBuilder, LaneKey, LaneMetrics, LongRunningTask,
    Metrics, NewThread, Permit, Pool, PoolBuilder, Reserve, Scope, ScopedTask, Shutdown, ShutdownReport,
    SlowTask, SlowTaskEvent, Spawner, TaskOptions, UntilIdle,
};
#[cfg(feature = "event-loop")]
pub use crate::promise::{LocalPromise, Promise};
pub use crate::resource_pool::{Closing, ResourceMetrics, ResourcePool, ResourcePoolBuilder};
#[cfg(feature = "tower")]
pub use crate::service::BlockingService;
pub use crate::strand::{CallOptions, CallPermit, Callee, Dedicated, ReserveCall, Session, Strand};
pub use crate::task::handle::{CancelHandle, Cancelling, Task, Unblocked};
pub use crate::task::metadata::OnShutdown;
pub use crate::task::token::CancelToken;
pub use crate::task::until::UntilCancelled;
pub use crate::task::wait::block_on;

pub mod current {
    //! Functions for a running closure: is its task cancelled, is the closure about to block?
    //!
    //! The closure needs no handle for them: they find the task that runs on the calling thread, or
    //! that the thread is [attached](attach) to. Outside a task they do nothing.
    pub use crate::sys::attributes::with_process_signals;
    pub use crate::task::current::{
        Cancelled, HookGuard, attach, check, is_cancelled, on_cancel, retire_thread, token, will_block,
    };
}

/// Runs a blocking closure on the global pool. The future returns its plain result.
///
/// # Cancellation
///
/// Dropping the future cancels: see [`Task`].
///
/// # Panics
///
/// Awaiting resumes a panic of `f`, and panics if the global pool could not run it. [`spawn`]
/// returns an error instead.
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

/// Runs a blocking closure on the global pool. Returns a handle to await, cancel or detach it.
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

pub mod docs {
    //! The guides of the folder `docs`, as pages.
    //!
    //! | page | for |
    //! |---|---|
    //! | [`guide`] | each part of the library: when you need it, its code, what happens, what to mind |
    //! | [`migrating`] | programs that use `blocking`, tokio, actix-web, rayon, `threadpool`, deadpool or r2d2 |
    //! | [`models`] | the choice between threads, callbacks, promises and futures |
    //! | [`promises`] | the rules of promises, next to Promises/A+ |
    //! | [`glossary`] | the words of this library, with the nearest term elsewhere |
    //!
    //! # In the repository
    //!
    //! Some programs and tests that the pages name are packages of their own, or too large, so the
    //! published package does not contain them: `examples/console`, `examples/http`,
    //! `examples/images`, `examples/soak`, `examples/sqlite`, `tests/compat` and `tests/suites`.
    //! The folder `docs/internals` describes the architecture for maintainers.

    // The files of the pages end with the targets of their reference links. Of two definitions of
    // a link the first one counts: here it is the one of `links.md`, whose paths rustdoc checks.
    #[doc = include_str!("links.md")]
    #[doc = include_str!("../docs/GUIDE.md")]
    pub mod guide {}

    #[doc = include_str!("links.md")]
    #[doc = include_str!("../docs/MIGRATING.md")]
    pub mod migrating {}

    #[doc = include_str!("links.md")]
    #[doc = include_str!("../docs/MODELS.md")]
    pub mod models {}

    #[doc = include_str!("links.md")]
    #[doc = include_str!("../docs/PROMISES.md")]
    pub mod promises {}

    #[doc = include_str!("links.md")]
    #[doc = include_str!("../docs/GLOSSARY.md")]
    pub mod glossary {}
}

/// The code blocks of the front page, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
