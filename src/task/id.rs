//! The numbers of tasks.

#[cfg(all(test, not(sidestep_loom)))]
mod tests;

use std::cell::Cell;

use crate::error::TaskId;
use crate::sync::atomic::{Ordering, StaticU64};
use crate::sync::thread_local_const;

/// The next task id. Each thread takes them from a block of its own, so that spawners do not meet.
pub(crate) fn next_id() -> TaskId {
    const BLOCK: u64 = 1024;
    static NEXT_BLOCK: StaticU64 = StaticU64::new(0);
    thread_local_const! { static NEXT: Cell<u64> = Cell::new(0) }

    NEXT.with(|next| {
        let mut id = next.get();
        if id % BLOCK == 0 {
            id = NEXT_BLOCK.fetch_add(1, Ordering::Relaxed) * BLOCK;
        }
        next.set(id + 1);
        TaskId::new(id + 1)
    })
}
