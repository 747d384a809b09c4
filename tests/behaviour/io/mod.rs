//! Blocking values as streams, and streams in blocking code.

mod bridges;
mod closing;
mod full;
mod hostile;
mod producer;
mod readiness;
#[cfg(unix)]
mod schedules;
mod seekless;
mod sizes;
mod stdin;
mod stdout;
mod turns;
mod unblock;
mod wakes;
