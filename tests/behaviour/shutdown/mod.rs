//! The end of a pool.

mod drain;
mod drain_guard;
mod inside_tasks;
mod joins;
mod on_shutdown;
mod waiters;
