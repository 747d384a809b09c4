//! Lanes: limited queues of a pool.

mod accounts;
mod ends;
mod hostile;
mod order;
mod reserve;
mod reserve_ends;
mod reserve_waits;
mod slots;
#[cfg(feature = "fs")]
mod spawner;
mod waiting;
