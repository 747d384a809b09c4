//! The end of a pool.

mod drain;
mod drain_guard;
mod inside_tasks;
mod joins;
mod on_shutdown;
#[cfg(feature = "event-loop")]
mod waiters;
