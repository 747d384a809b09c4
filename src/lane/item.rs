//! What waits in the pool's queues: a task, or the right to run a lane. One pointer either way.
//!
//! - **N4** An item is the address of a cell, or, with the lowest bit set, of a lane, and stands
//!   for one reference to it; opening or dropping the item takes that reference back.

use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Arc;

use super::LaneCore;
use crate::task::TaskRef;

/// Set in the address of a lane; cells and lanes are aligned to more.
const LANE: usize = 1;

const _: () = assert!(align_of::<LaneCore>() > LANE);

/// An item of a pool's queue.
pub(crate) struct QueueItem(NonNull<()>);

/// An item, opened.
#[derive(Debug)]
pub(crate) enum Job {
    /// A task, or the tombstone of one.
    Task(TaskRef),
    /// A slot of this lane is pending, or was.
    Lane(Arc<LaneCore>),
}

// SAFETY: N4: it is a `TaskRef` or an `Arc<LaneCore>`, which both are (see `Job`).
unsafe impl Send for QueueItem {}
// SAFETY: N4: it is a `TaskRef` or an `Arc<LaneCore>`, which both are.
unsafe impl Sync for QueueItem {}

/// An item may be shared and sent as long as what it may be can.
const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<Job>();
};

impl QueueItem {
    pub(crate) fn task(task: TaskRef) -> Self {
        QueueItem(task.into_raw())
    }

    pub(crate) fn lane(lane: Arc<LaneCore>) -> Self {
        let address = Arc::into_raw(lane).cast_mut().cast::<()>().map_addr(|address| address | LANE);
        match NonNull::new(address) {
            Some(address) => QueueItem(address),
            None => unreachable!("an `Arc` is never null"),
        }
    }

    pub(crate) fn open(self) -> Job {
        let this = ManuallyDrop::new(self);
        let address = this.0.as_ptr();
        if address.addr() & LANE == 0 {
            // SAFETY: N4: without the mark it came from `TaskRef::into_raw`, and this is the one
            // time that the reference is taken back.
            Job::Task(unsafe { TaskRef::from_erased(this.0) })
        } else {
            let lane = address.map_addr(|address| address & !LANE).cast::<LaneCore>();
            // SAFETY: N4: with the mark it came from `Arc::into_raw`, and this is the one time that
            // the reference is taken back.
            Job::Lane(unsafe { Arc::from_raw(lane) })
        }
    }
}

impl Drop for QueueItem {
    fn drop(&mut self) {
        drop(QueueItem(self.0).open());
    }
}

impl fmt::Debug for QueueItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("QueueItem").field(&self.0).finish()
    }
}
