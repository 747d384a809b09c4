//! Tasks under the names that tokio gives them, so that a program comes from there by changing its
//! `use` lines.
//!
//! ```
//! use sidestep::task::{JoinSet, spawn_blocking}; // was: tokio::task::..
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # sidestep::block_on(async {
//! let text = spawn_blocking(|| std::fs::read_to_string("Cargo.toml")).await??;
//!
//! let mut set = JoinSet::new();
//! for line in text.lines().map(str::to_owned).take(10) {
//!     set.spawn_blocking(move || line.len());
//! }
//! let mut longest = 0;
//! while let Some(length) = set.join_next().await {
//!     longest = longest.max(length?);
//! }
//! assert!(longest > 5);
//! # Ok(()) })
//! # }
//! ```
//!
//! The closures run on the [global pool](crate::Pool::global), within or without a runtime. With
//! the feature `tokio` each runs inside the runtime that its caller was in, so that
//! `tokio::runtime::Handle::current()` works in it.
//!
//! | here | elsewhere in this crate |
//! |---|---|
//! | [`spawn_blocking`], [`JoinHandle`]: dropping detaches | [`spawn`](crate::spawn()), [`Task`]: dropping cancels |
//! | [`JoinError`]: a panic or a cancellation | [`TaskError`](crate::TaskError): a predicate for each reason |
//! | [`AbortHandle`], [`Id`] | [`CancelHandle`], [`TaskId`](crate::TaskId) |
//! | [`JoinSet`] | [`Batch`](crate::Batch) |
//!
//! [Migrating](crate::docs::migrating#tokio) lists what behaves differently.

// For maintainers. Beside those names this folder holds the core of the crate: a closure that runs
// at most once and reports exactly once. What is public of that is re-exported by `lib.rs`.
//
// | file | owns |
// |---|---|
// | `state` | the state word: who may run the closure, whose the result is, who frees the cell |
// | `slab` | where cells live |
// | `bell` | what a handle that waits leaves in the cell |
// | `cancel_hooks` | what is to be done when something is cancelled: hooks, wakers, dependents |
// | `caller_runtime` | the tokio runtime that a task was spawned in |
// | `clock_hold` | what makes the paused clock of such a runtime stand still |
// | `metadata` | what only some tasks carry: name, deadline, context |
// | `cell` | the memory: closure or value, and what only few tasks need |
// | `reference` | counted references to a cell |
// | `source` | what can be cancelled and belongs to no task |
// | `token` | what other code may be given of a cancellation |
// | `spans` | the span of some code, to be entered and closed elsewhere |
// | `frame` | which tasks a thread is inside |
// | `claim` | the right to run a task, and its end |
// | `result` | making a task, and the right to its result |
// | `host` | the door to the thread of a pool that a task runs on |
// | `current` | what a running closure may ask |
// | `wait` | the one loop in which a thread blocks for something |
// | `until` | waiting for a cancellation |
// | `runtime_thread` | the warning where a wait blocks a thread of an async runtime |
// | `wake` | calling and dropping wakers |
// | `look` | how long a handle looks at its task before it waits |
// | `join` | how a handle receives the result |
// | `handle` | the public handles |
// | `join_handle`, `join_error` | those with tokio's names |
// | `group` | the tasks of a batch |
//
// `JoinSet` and `spawn_blocking` stand on the pool, and are only re-exported here.
//
// # The life of a task
//
// ```text
//            claim by a worker, or by a waiter in place
//   QUEUED ----------------------------------------------> CLAIMED --- the closure returns or panics ---> ENDED
//      |                                                      ^
//      +--- cancel, discard, refusal: drop the closure -------+
// ```
//
// `QUEUED -> CLAIMED` is one compare-exchange and has one winner, who owns the closure. A loser
// finds the task taken and has nothing to do: the queue entry of a cancelled task is an empty
// tombstone. The winner drops the closure (by running it or unrun), counts the end, leaves the
// value in the room of the closure or writes down why there is none, and ends the task, in this
// order; so a thread that sees the end also sees the count and the result. `join` says how a handle
// that waits learns of the end, and `docs/internals/ARCHITECTURE.md` has the memory layout.

mod bell;
mod caller_runtime;
mod cancel_hooks;
mod cell;
mod claim;
#[cfg(feature = "tokio-test-util")]
mod clock_hold;
pub(crate) mod current;
mod frame;
mod group;
pub(crate) mod handle;
mod host;
mod join;
mod join_error;
mod join_handle;
mod look;
#[cfg(all(test, sidestep_loom))]
mod loom_models;
pub(crate) mod metadata;
mod reference;
mod result;
#[cfg(all(feature = "tokio", feature = "tracing"))]
mod runtime_thread;
mod slab;
mod source;
#[cfg(feature = "tracing")]
mod spans;
mod state;
pub(crate) mod token;
pub(crate) mod until;
pub(crate) mod wait;
mod wake;

pub use self::join_error::{Id, JoinError};
pub use self::join_handle::{AbortHandle, JoinHandle, id, try_id};
pub use crate::pool::{JoinSet, spawn_blocking};

pub(crate) use self::bell::Group;
pub(crate) use self::caller_runtime::CallerRuntime;
pub(crate) use self::cell::{Attempt, ColdPart, Owner, Work};
pub(crate) use self::claim::{Claimed, Runner, claim_inline};
pub(crate) use self::frame::{as_current, is_inside, tasks, tasks_of};
pub(crate) use self::group::{LateMember, Member};
pub(crate) use self::handle::{CancelHandle, Task, Unblocked, raise};
pub(crate) use self::host::{Host, Inline, host, host_of, with_host};
pub(crate) use self::look::expect_soon;
pub(crate) use self::metadata::{Context, Metadata, OnRelease, OnShutdown};
pub(crate) use self::reference::{TaskRef, forked_child};
pub(crate) use self::result::{new_scoped_task, new_task, next_id};
#[cfg(feature = "tracing")]
pub(crate) use self::spans::{HeldSpan, TASK_SPAN};
pub(crate) use self::wait::{BlockingWait, Help, awaits_end, block, block_on, fail_too_deep, shared_parker};
pub(crate) use self::wake::{discard, wake};
