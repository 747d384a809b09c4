//! Promises, driven by a task or by an event loop.

mod aplus;
mod aplus_local;
mod combinators;
mod detached;
mod drops;
mod hostile;
mod local;
mod send;
#[cfg(feature = "tracing")]
mod traces;
