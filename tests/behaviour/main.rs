//! What the crate promises, by topic. Hard timings are reached by gates; a test sleeps only to show
//! that nothing happens.
#![expect(clippy::unwrap_used, reason = "a test fails where an unwrap does")]

mod fake;
mod support;

// Tasks and handles.
mod callback;
mod cancel;
mod cancel_ends;
mod chains;
mod handle;
mod hooks;
mod memory;
mod panics;
mod shown;
mod wait;
mod waker;

// The pool.
mod accounts;
mod fork;
mod fork_returns;
mod global;
mod limits;
mod nested;
mod shutdown;
mod shutdown_inside;

// Control.
mod backpressure;
mod batch;
mod context;
mod deadlines;
mod interrupt;
mod lanes;
mod max_threads;
mod observe;
mod policy;
mod reserve;
mod scope;
mod scope_refused;
mod spans;
#[cfg(feature = "histograms")]
mod times;
mod warnings;

// Its threads.
mod creation;
mod growth;
mod keep_alive;
mod threads;

// Values that need a home.
mod dedicated;
mod strand;
mod strand_value;

// Input and output, files, names of hosts.
mod bridges;
mod file;
mod file_attacks;
mod file_executors;
mod file_locks;
mod fs;
mod fs_alone;
mod fs_futures;
mod fs_open;
mod net;
mod producer;
mod read_dir;
#[cfg(unix)]
mod schedules;
mod stdin;
mod unblock;

// Programs with one thread.
mod event_loop;
mod promise;
mod promise_aplus;
mod promise_aplus_local;
mod promise_combinators;
mod promise_detached;
mod promise_drops;
mod promise_local;
#[cfg(feature = "tracing")]
mod promise_traces;

// What a hostile reader tried.
mod attacks_admission;
mod attacks_cells;
mod attacks_chains;
mod attacks_event_loop;
mod attacks_io;
mod attacks_io_wakes;
mod attacks_lanes;
mod attacks_promises;
mod attacks_scope;
mod attacks_shutdown;
mod attacks_strands;
mod attacks_tasks;
mod attacks_threads;

// What other systems check of theirs.
mod cases_ends;
mod cases_growth;
mod cases_views;

// Bugs that other pools had here.
mod pitfalls;
mod pitfalls_resources;
mod pitfalls_threads;

// What the suites of other systems check.
mod cases_resources;
mod cases_threads;
