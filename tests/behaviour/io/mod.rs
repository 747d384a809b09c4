//! Blocking values as streams, and streams in blocking code.

mod bridges;
mod full;
mod hostile;
mod producer;
#[cfg(unix)]
mod schedules;
mod seekless;
mod sizes;
mod stdin;
mod unblock;
mod wakes;
