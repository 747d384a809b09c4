//! The state of an `Unblock`: what the handle has asked, what the value is able to do, and what the
//! pump has to do next. Nothing here takes the lock, does I/O of its own, or calls a waker.
//!
//! | file | owns |
//! |---|---|
//! | `machine` | the state machine, and the pump's side of it: `plan`, `begin`, `end` |
//! | `machine/answer` | the handle's side: what answers a request |
//! | `machine/rewind` | discarding what was read ahead |
//! | `machine/ending` | panics, refusals, and the end of the handle |
//! | `request` | what a handle asks, and the answers |
//! | `step` | where the value is, and what the pump does with it |
//! | `capability` | what a value is able to do, and the table of the types of `std` |

pub(super) mod capability;
pub(super) mod machine;
pub(super) mod request;
pub(super) mod step;
