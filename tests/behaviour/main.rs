//! What the crate promises, by topic. Hard timings are reached by gates; a test sleeps only to show
//! that nothing happens.
#![expect(clippy::unwrap_used, reason = "a test fails where an unwrap does")]

mod support;

mod event_loop;
mod fork;
mod fs;
mod io;
mod lane;
mod pool;
mod promise;
mod shutdown;
mod stats;
mod strand;
mod task;
mod threads;
