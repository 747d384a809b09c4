//! Which tasks a thread is inside, and code that belongs to none.

use std::cell::Cell;
use std::ptr;

use super::reference::TaskRef;
use crate::error::TaskId;
use crate::sync::thread_local_const;

/// A task that this thread is running, and the one it interrupted by running it inline.
struct Frame {
    task: *const TaskRef,
    below: *const Frame,
}

thread_local_const! { static FRAME: Cell<*const Frame> = Cell::new(ptr::null()) }

/// Runs `f` as the closure of `task`.
pub(crate) fn as_current<R>(task: &TaskRef, f: impl FnOnce() -> R) -> R {
    in_frame(task, f)
}

/// Runs `f`, a waker or a callback, which belongs to no task though the thread may be inside one.
pub(crate) fn as_no_task<R>(f: impl FnOnce() -> R) -> R {
    in_frame(ptr::null(), f)
}

#[inline]
fn in_frame<R>(task: *const TaskRef, f: impl FnOnce() -> R) -> R {
    struct Reset(*const Frame);
    impl Drop for Reset {
        fn drop(&mut self) {
            FRAME.with(|slot| slot.set(self.0));
        }
    }
    let below = FRAME.with(Cell::get);
    let frame = Frame { task, below };
    FRAME.with(|slot| slot.set(&raw const frame));
    let _reset = Reset(below);
    f()
}

/// The tasks on this thread, innermost first; `None` for code that belongs to none.
fn frames<'a>() -> impl Iterator<Item = Option<&'a TaskRef>> {
    let mut next = FRAME.with(Cell::get);
    std::iter::from_fn(move || {
        // SAFETY: T6: null, or a frame on the stack of this thread, above us, until `in_frame`
        // takes it off the list.
        let frame = unsafe { next.as_ref() }?;
        next = frame.below;
        // SAFETY: T6: null, or a reference that the frame borrows for as long.
        Some(unsafe { frame.task.as_ref() })
    })
}

/// The task that this code belongs to.
pub(super) fn current<'a>() -> Option<&'a TaskRef> {
    frames().next().flatten()
}

/// Whether this thread is inside `task`.
pub(crate) fn is_inside(task: &TaskRef) -> bool {
    // A queued one is not running, and with many waits inside each other the list is long.
    !task.is_queued() && tasks().any(|other| other.is_same(task))
}

/// The tasks that this thread is inside, innermost first.
pub(crate) fn tasks<'a>() -> impl Iterator<Item = &'a TaskRef> {
    frames().flatten()
}

/// The tasks of `owner` that this thread is inside.
pub(crate) fn tasks_of(owner: *const ()) -> Vec<TaskId> {
    tasks().filter(|task| task.is_owned_by(owner)).map(TaskRef::id).collect()
}
