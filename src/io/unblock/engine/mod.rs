//! What makes an `Unblock` go: the lock, the pump, and how a handle waits.
//!
//! | file | owns |
//! |---|---|
//! | `shared` | the machine in its lock, and the two counters that serve as hints |
//! | `pump` | the task that works with the value, and how that gets a thread |
//! | `room` | a pump's wait for room in a full queue |
//! | `left_over` | the one thread that writes for pools that have ended |
//! | `drive` | the handle's end: asking, waiting, leaving |

pub(super) mod drive;
mod left_over;
pub(super) mod pump;
mod room;
pub(super) mod shared;
