//! The end of a pool.

mod drain;
mod inside_tasks;
mod on_shutdown;
mod waiters;
