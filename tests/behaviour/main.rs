//! What the crate promises, in a folder for each topic; `tests/README.md` says what belongs where.
//!
//! - `task`: a task and its handles
//! - `pool`: limits and queues, groups of tasks, what a task takes along
//! - `threads`: when the threads of a pool come, work, sleep and leave
//! - `stats`: what a pool tells of itself
//! - `shutdown`: the end of a pool
//! - `fork`: pools in the child of a fork
//! - `lane`: limited queues of a pool
//! - `strand`: values with a home: strands and dedicated threads
//! - `resource_pool`: values of which any free one serves a call
//! - `service`: blocking code as services of tower
//! - `io`: blocking values as streams, and streams in blocking code
//! - `fs`: files, directories, names of hosts
//! - `process`: child processes
//! - `event_loop`: programs with one thread
//! - `promise`: promises, driven by a task or by an event loop
//!
//! Hard timings are reached by gates; a test sleeps only to show that nothing happens.
#![expect(clippy::unwrap_used, reason = "a test fails where an unwrap does")]
#![cfg_attr(
    not(feature = "fs"),
    allow(dead_code, unused_imports, reason = "only tests of that feature use them")
)]
#![cfg_attr(
    not(target_os = "linux"),
    allow(dead_code, unused_imports, reason = "only tests of what that system has use them")
)]

mod support;

#[cfg(feature = "event-loop")]
mod event_loop;
#[cfg(unix)]
mod fork;
#[cfg(feature = "fs")]
mod fs;
#[cfg(feature = "fs")]
mod io;
mod lane;
mod pool;
#[cfg(all(feature = "fs", unix))]
mod process;
#[cfg(all(feature = "fs", windows))]
mod process_windows;
#[cfg(feature = "event-loop")]
mod promise;
mod resource_pool;
#[cfg(feature = "tower")]
mod service;
mod shutdown;
mod stats;
mod strand;
mod task;
mod threads;
