//! What makes an `Unblock` go: the lock, the pump, and how a handle waits.
//!
//! | file | owns |
//! |---|---|
//! | `shared` | the machine in its lock, and the two counters that serve as hints |
//! | `pump` | the task that works with the value, and how that gets a thread |
//! | `drive` | the handle's end: asking, waiting, leaving |

pub(super) mod drive;
pub(super) mod pump;
pub(super) mod shared;
