//! The crate under hostile conditions: too little of everything, stopped and interrupted, at the
//! ends of processes, of threads and of clocks, with settings that nobody means. What needs a
//! process of its own runs in one: this binary again, under a limit of time (`child`).
#![expect(clippy::unwrap_used, reason = "a test fails where an unwrap does")]
#![expect(
    clippy::disallowed_methods,
    reason = "what is left running must sleep, and a process be stopped for a while"
)]

mod child;
#[path = "../behaviour/support/mod.rs"]
#[expect(dead_code, unused_imports, unused_macros, reason = "the behaviour tests use the rest")]
mod support;

mod accepted;
mod clocks;
mod exits;
mod values;
mod workload;

#[cfg(target_os = "linux")]
mod before_main;
#[cfg(target_os = "linux")]
mod children;
#[cfg(unix)]
mod commands;
#[cfg(target_os = "linux")]
mod forks;
#[cfg(target_os = "linux")]
mod scarce;
#[cfg(unix)]
mod signals;
#[cfg(target_os = "linux")]
mod starved;
#[cfg(target_os = "linux")]
mod storms;
mod thread_ends;
