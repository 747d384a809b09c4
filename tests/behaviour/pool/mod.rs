//! The pool: its limits and queues, groups of tasks, what tasks take along.

mod admission;
mod backpressure;
mod batch;
mod batch_wakers;
mod context;
mod global;
mod max_threads;
mod permits;
mod queue_limit;
mod reserve;
mod scope;
mod spans;
mod thread_limit;
