//! The threads of a pool: when they come, work, sleep and leave.

mod cases_growth;
mod cases_threads;
mod creation;
mod growth;
mod keep_alive;
mod refused;
mod retire;
mod wakes;
