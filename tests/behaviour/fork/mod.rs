//! Pools in the child of a fork.

mod batches;
mod child;
mod global;
#[cfg(feature = "fs")]
mod io;
mod returns;
mod spans;
mod tokens;
