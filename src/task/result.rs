//! Making a task, and the reference of its handle, which comes with the right to the result. The
//! rules are those of `cell`.

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::ptr;

use super::bell::Bell;
use super::cell::{ColdPart, Owner, Work, allocate, take_value};
use super::reference::TaskRef;
use super::state::LetGoAction;
use crate::error::{Reason, TaskError, TaskId};
use crate::sync::atomic::{Ordering, StaticU64};
use crate::sync::{thread_local_const, trampoline};

/// Makes a task of `closure`: the first reference is for the queue, the second for the handle.
pub(crate) fn new_task<F, T, O>(
    closure: F,
    owner: *const O,
    site: &'static Location<'static>,
    cold: Option<Box<ColdPart>>,
) -> (TaskRef, ResultRef<T>)
where
    F: Work<T> + Send + 'static,
    T: Send + 'static,
    O: Owner,
{
    // SAFETY: T8: `'static`, so nothing is borrowed.
    unsafe { new_scoped_task(closure, owner, site, cold) }
}

/// As [`new_task`], for a closure that may borrow.
///
/// # Safety
///
/// What `F` and `T` borrow stays valid until the task has been released
/// ([`OnRelease`](super::metadata::OnRelease)) and the second reference is gone.
pub(crate) unsafe fn new_scoped_task<F, T, O>(
    closure: F,
    owner: *const O,
    site: &'static Location<'static>,
    cold: Option<Box<ColdPart>>,
) -> (TaskRef, ResultRef<T>)
where
    F: Work<T> + Send,
    T: Send,
    O: Owner,
{
    let header = allocate(closure, next_id(), owner, site, cold);
    // SAFETY: T2: the word counts two references, and this is the first.
    let entry = unsafe { TaskRef::from_raw(header) };
    // SAFETY: T2: this is the second.
    let handle = unsafe { TaskRef::from_raw(header) };
    // SAFETY: T1, T5: it is the only one that takes the result, a `T`.
    (entry, unsafe { ResultRef::new(handle) })
}

/// The next task id. Each thread takes them from a block of its own, so that spawners do not meet.
pub(crate) fn next_id() -> TaskId {
    const BLOCK: u64 = 1024;
    static NEXT_BLOCK: StaticU64 = StaticU64::new(0);
    thread_local_const! { static NEXT: std::cell::Cell<u64> = std::cell::Cell::new(0) }

    NEXT.with(|next| {
        let mut id = next.get();
        if id % BLOCK == 0 {
            id = NEXT_BLOCK.fetch_add(1, Ordering::Relaxed) * BLOCK;
        }
        next.set(id + 1);
        TaskId(id + 1)
    })
}

impl TaskRef {
    /// As `drop_result`, by the handle, whose reference goes with it. The value may own the last
    /// handle of another task, with another value, and so on.
    fn drop_result_flat(self) {
        if self.may_borrow() {
            self.drop_result();
        } else {
            // J1: nothing observes the release of the task, so by T8 the value is `'static`.
            trampoline::bounce(move || self.drop_result());
        }
    }
}

/// The reference of a task's handle. It comes with the right to the task's result, a `T` (T1, T5).
pub(crate) struct ResultRef<T> {
    task: TaskRef,
    result: PhantomData<fn() -> T>,
}

impl<T> ResultRef<T> {
    /// # Safety
    ///
    /// The value of the task is a `T`, and this is the only reference of this type (T1, T5).
    pub(super) unsafe fn new(task: TaskRef) -> Self {
        ResultRef { task, result: PhantomData }
    }

    pub(crate) fn task(&self) -> &TaskRef {
        &self.task
    }

    /// Takes the result of the task, which has ended.
    pub(super) fn take(self) -> Result<T, TaskError> {
        debug_assert!(self.task.is_ended(), "T1");
        let task = self.into_task();
        if task.has_value() {
            // SAFETY: T1: the word says that the task has ended with a value, and the handle, which
            // is gone now, has not let go of it. T5: by `new`.
            return Ok(unsafe { take_value(task.as_raw()) });
        }
        Err(task.error())
    }

    /// Gives the right to the result up where another step has just done so in the word.
    fn into_task(self) -> TaskRef {
        let this = ManuallyDrop::new(self);
        // SAFETY: T2: it is not used again: `this` is not dropped.
        unsafe { ptr::read(&raw const this.task) }
    }

    /// Leaves `bell` to be rung when the task ends. Hands it back if that has come already.
    ///
    /// # Errors
    ///
    /// The bell.
    pub(super) fn leave_bell(&mut self, bell: Bell) -> Result<(), Bell> {
        let (kind, bell) = bell.into_room();
        // SAFETY: T10: the handle, which is borrowed mutably, has left none yet.
        self.task.header().bell.with_mut(|room| _ = unsafe { (*room).write(bell) });
        if self.task.header().word.announce_bell(kind) {
            return Ok(());
        }
        // SAFETY: T10: it came too late, so it is this handle's still.
        Err(unsafe { self.task.take_bell(kind) })
    }

    /// Cancels the task and lets go of its result.
    pub(super) fn cancel(self) {
        let task = self.into_task();
        let (cancel, let_go) = task.header().word.cancel_and_let_go();
        task.act_on(cancel);
        if let_go == LetGoAction::TakeResult {
            task.drop_result_flat();
        }
    }

    /// The error of a wait that would never end, for this reason. The task is cancelled, unless it
    /// is the one that waits.
    pub(super) fn give_up(self, reason: Reason) -> TaskError {
        let is_running = matches!(reason, Reason::Deadlock);
        let error = TaskError::new(self.task.origin(), reason);
        if !is_running {
            self.cancel();
        }
        error
    }

    /// Lets the task go on without a handle.
    pub(super) fn detach(self) {
        let task = self.into_task();
        if task.header().word.detach() {
            // The reference has been let go of.
            std::mem::forget(task);
        } else {
            task.drop_result_flat();
        }
    }
}

impl<T> Drop for ResultRef<T> {
    fn drop(&mut self) {
        if self.task.header().word.let_go() == LetGoAction::TakeResult {
            self.task.clone().drop_result_flat();
        }
    }
}

impl<T> std::fmt::Debug for ResultRef<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.task.fmt(f)
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
