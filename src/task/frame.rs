//! Which tasks a thread is inside, code that belongs to none, and code that has been attached to a
//! token.
//!
//! Attached code belongs to what the token stands for, but its thread is not inside of that: the
//! task runs elsewhere, may wait for this thread, and may be waited for here.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr;

use super::reference::TaskRef;
use super::token::CancelToken;
use crate::error::TaskId;
use crate::sync::thread_local_const;

/// A task that this thread is running, and the one it interrupted by running it inline.
struct Frame {
    task: *const TaskRef,
    below: *const Frame,
}

thread_local_const! { static FRAME: Cell<*const Frame> = Cell::new(ptr::null()) }

/// The place of the task in the frame of attached code, which is the first part of an
/// [`AttachedFrame`].
const ATTACHED: *const TaskRef = ptr::without_provenance(align_of::<TaskRef>());

#[repr(C)]
struct AttachedFrame {
    frame: Frame,
    token: *const CancelToken,
}

/// What code belongs to.
pub(super) enum Belonging<'a> {
    /// The closure of this task, on the thread that has claimed it.
    Task(&'a TaskRef),
    /// What this token stands for.
    Token(&'a CancelToken),
}

impl<'a> Belonging<'a> {
    /// The task, if it is one.
    pub(super) fn task(self) -> Option<&'a TaskRef> {
        match self {
            Belonging::Task(task) => Some(task),
            Belonging::Token(token) => token.task(),
        }
    }
}

/// Runs `f` as the closure of `task`.
pub(crate) fn as_current<R>(task: &TaskRef, f: impl FnOnce() -> R) -> R {
    in_frame(task, f)
}

/// Runs `f`, a waker or a callback, which belongs to no task though the thread may be inside one.
pub(crate) fn as_no_task<R>(f: impl FnOnce() -> R) -> R {
    in_frame(ptr::null(), f)
}

/// Runs `f` as code that belongs to what `token` stands for.
pub(super) fn as_attached<R>(token: &CancelToken, f: impl FnOnce() -> R) -> R {
    let attached = AttachedFrame { frame: Frame { task: ATTACHED, below: FRAME.with(Cell::get) }, token };
    inside((&raw const attached).cast(), attached.frame.below, f)
}

#[inline]
fn in_frame<R>(task: *const TaskRef, f: impl FnOnce() -> R) -> R {
    let below = FRAME.with(Cell::get);
    let frame = Frame { task, below };
    inside(&raw const frame, below, f)
}

/// Runs `f` with `frame`, which the caller keeps (T6), on top of the list.
#[inline]
fn inside<R>(frame: *const Frame, below: *const Frame, f: impl FnOnce() -> R) -> R {
    struct Reset(*const Frame);
    impl Drop for Reset {
        fn drop(&mut self) {
            FRAME.with(|slot| slot.set(self.0));
        }
    }
    FRAME.with(|slot| slot.set(frame));
    let _reset = Reset(below);
    f()
}

/// The tasks on this thread, innermost first; `None` for code that belongs to none, and for what is
/// attached.
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
        if ptr::eq(frame.task, ATTACHED) {
            return Some(None);
        }
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

/// What this code belongs to.
#[inline]
pub(super) fn current<'a>() -> Option<Belonging<'a>> {
    let top = FRAME.with(Cell::get);
    // SAFETY: T6: null, or a frame on the stack of this thread, above us.
    let task = unsafe { top.as_ref() }?.task;
    if ptr::eq(task, ATTACHED) {
        // SAFETY: T6: such a frame is the first part of an attached one, and the pointer is that of
        // the whole.
        let attached = unsafe { &*top.cast::<AttachedFrame>() };
        // SAFETY: T6: the frame borrows the token for as long.
        return Some(Belonging::Token(unsafe { &*attached.token }));
    }
    // SAFETY: T6: null, or a reference that the frame borrows for as long.
    unsafe { task.as_ref() }.map(Belonging::Task)
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
