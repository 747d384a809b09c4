//! What an `Unblock` buffers: bytes each way, items, and wakers. Nothing here knows the value, the
//! lock or the pool.
//!
//! | file | owns |
//! |---|---|
//! | `inbound` | bytes that were read and not yet taken, and how far the value is read ahead |
//! | `outbound` | bytes that were accepted and not yet written |
//! | `items` | items that were taken from an iterator and not yet given out |
//! | `sizes` | how much is buffered, and moved at a time |
//! | `wakers` | wakers by what they wait for |

pub(super) mod inbound;
pub(super) mod items;
pub(super) mod outbound;
pub(super) mod sizes;
pub(super) mod wakers;
