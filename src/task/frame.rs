//! Which tasks a thread is inside, and code that belongs to none.

use std::cell::Cell;
use std::marker::PhantomData;
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
struct Frames<'a> {
    next: *const Frame,
    tasks: PhantomData<&'a TaskRef>,
}

fn frames<'a>() -> Frames<'a> {
    Frames { next: FRAME.with(Cell::get), tasks: PhantomData }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Option<&'a TaskRef>;

    #[inline]
    fn next(&mut self) -> Option<Option<&'a TaskRef>> {
        // SAFETY: T6: null, or a frame on the stack of this thread, above us, until `in_frame`
        // takes it off the list.
        let frame = unsafe { self.next.as_ref() }?;
        self.next = frame.below;
        // SAFETY: T6: null, or a reference that the frame borrows for as long.
        Some(unsafe { frame.task.as_ref() })
    }
}

/// The tasks that this thread is inside.
pub(crate) struct EnclosingTasks<'a>(Frames<'a>);

impl<'a> Iterator for EnclosingTasks<'a> {
    type Item = &'a TaskRef;

    fn next(&mut self) -> Option<&'a TaskRef> {
        loop {
            if let Some(task) = self.0.next()? {
                return Some(task);
            }
        }
    }
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
pub(crate) fn tasks<'a>() -> EnclosingTasks<'a> {
    EnclosingTasks(frames())
}

/// The tasks of `owner` that this thread is inside.
pub(crate) fn tasks_of(owner: *const ()) -> Vec<TaskId> {
    let mut found = Vec::new();
    for task in tasks() {
        if task.is_owned_by(owner) {
            found.push(task.id());
        }
    }
    found
}
