//! The threads of a pool: when they come, work, sleep and leave.

mod attributes;
mod creation;
mod growth;
mod keep_alive;
mod refused;
mod retire;
mod start;
mod wakes;
