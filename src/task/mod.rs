//! A closure that runs at most once and reports exactly once.
//!
//! | file | owns |
//! |---|---|
//! | `state` | the state word: who may run the closure, whose the result is, who frees the cell |
//! | `slab` | where cells live |
//! | `bell` | what a handle that waits leaves in the cell |
//! | `cancel_hooks` | what is to be done when something is cancelled: hooks, wakers, dependents |
//! | `metadata` | what only some tasks carry: name, deadline, context |
//! | `cell` | the memory: closure or value, and what only few tasks need |
//! | `reference` | counted references to a cell |
//! | `source` | what can be cancelled and belongs to no task |
//! | `token` | what other code may be given of a cancellation |
//! | `spans` | the span that attached code runs in |
//! | `frame` | which tasks a thread is inside |
//! | `claim` | the right to run a task, and its end |
//! | `result` | making a task, and the right to its result |
//! | `host` | the door to the thread of a pool that a task runs on |
//! | `current` | what a running closure may ask |
//! | `wait` | the one loop in which a thread blocks for something |
//! | `until` | waiting for a cancellation |
//! | `runtime_thread` | the warning where a wait blocks a thread of an async runtime |
//! | `wake` | calling and dropping wakers |
//! | `look` | how long a handle looks at its task before it waits |
//! | `join` | how a handle receives the result |
//! | `handle` | the public handles |
//! | `group` | the tasks of a batch |
//!
//! # The life of a task
//!
//! ```text
//!            claim by a worker, or by a waiter in place
//!   QUEUED ----------------------------------------------> CLAIMED --- the closure returns or panics ---> ENDED
//!      |                                                      ^
//!      +--- cancel, discard, refusal: drop the closure -------+
//! ```
//!
//! `QUEUED -> CLAIMED` is one compare-exchange and has one winner, who owns the closure. A loser
//! finds the task taken and has nothing to do: the queue entry of a cancelled task is an empty
//! tombstone. The winner drops the closure (by running it or unrun), counts the end, leaves the
//! value in the room of the closure or writes down why there is none, and ends the task, in this
//! order; so a thread that sees the end also sees the count and the result. `join` says how a
//! handle that waits learns of the end, and `docs/internals/ARCHITECTURE.md` has the memory layout.

mod bell;
mod cancel_hooks;
mod cell;
mod claim;
pub(crate) mod current;
mod frame;
mod group;
mod handle;
mod host;
mod join;
mod look;
#[cfg(all(test, sidestep_loom))]
mod loom_models;
mod metadata;
mod reference;
mod result;
#[cfg(all(feature = "tokio", feature = "tracing"))]
mod runtime_thread;
mod slab;
mod source;
#[cfg(feature = "tracing")]
mod spans;
mod state;
mod token;
mod until;
mod wait;
mod wake;

pub use self::handle::{CancelHandle, Cancelling, Task, Unblocked};
pub use self::metadata::OnShutdown;
pub use self::token::CancelToken;
pub use self::until::UntilCancelled;
pub use self::wait::block_on;

pub(crate) use self::bell::Group;
pub(crate) use self::cell::{Attempt, ColdPart, Owner, Work};
pub(crate) use self::claim::{Claimed, Runner, claim_inline};
pub(crate) use self::frame::{as_current, is_inside, tasks, tasks_of};
pub(crate) use self::group::Member;
pub(crate) use self::handle::raise;
pub(crate) use self::host::{Host, Inline, host, host_of, with_host};
pub(crate) use self::look::expect_soon;
pub(crate) use self::metadata::{Context, Metadata, OnRelease};
pub(crate) use self::reference::{TaskRef, forked_child};
pub(crate) use self::result::{new_scoped_task, new_task, next_id};
pub(crate) use self::wait::{BlockingWait, Help, awaits_end, block, fail_too_deep, shared_parker};
pub(crate) use self::wake::{discard, wake};
