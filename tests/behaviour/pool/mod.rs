//! The pool: its limits and queues, groups of tasks, what tasks take along.

mod admission;
mod backpressure;
mod batch;
mod batch_push;
mod batch_wakers;
mod caller_runtime;
mod context;
mod global;
mod join_set;
mod max_threads;
mod paused_clock;
mod permits;
mod queue_limit;
mod reserve;
mod scope;
mod spans;
mod thread_limit;
