//! What the crate promises, by topic. Hard timings are reached by gates; a test sleeps only to show that nothing
//! happens.
#![expect(clippy::disallowed_types, reason = "the tests use std's own primitives to look at the crate from outside")]

mod support;

// Tasks and handles.
mod cancel;
mod handle;
mod hooks;
mod memory;
mod panics;
mod wait;

// The pool.
mod accounts;
mod fork;
mod global;
mod limits;
mod nested;
mod shutdown;

// Its threads.
mod creation;
mod growth;
mod keep_alive;
mod threads;

// Bugs that other pools had here.
mod pitfalls;
