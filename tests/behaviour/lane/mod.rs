//! Lanes: limited queues of a pool.

mod accounts;
mod ends;
mod hostile;
mod idle;
mod keyed;
mod keyed_hostile;
mod limit_changes;
mod limit_waits;
mod names;
mod order;
mod reserve;
mod reserve_ends;
mod reserve_waits;
mod sessions;
mod share;
mod slots;
#[cfg(feature = "fs")]
mod spawner;
mod waiting;
