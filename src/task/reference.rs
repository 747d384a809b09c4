//! Counted references to a task. The rules are those of `cell`.

use std::io;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use super::bell::Bell;
use super::cancel_hooks::{Hook, HookLife, Hooks, run_hook};
use super::cell::{ColdPart, Header, free, report_unread};
use super::metadata::Metadata;
use super::state::{BellKind, ReleaseAction, TaskEnd};
use crate::error::{Origin, Reason, TaskError, TaskId};
use crate::panic::catch_panic;
use crate::sync::atomic::Ordering;

/// A counted reference to a task.
pub(crate) struct TaskRef(NonNull<Header>);

// SAFETY: T1: the closure is `Send`, and so is what it gives, and only the claimer touches them.
// T4: of the owner there is no use but through `&O`, and an `Owner` is `Sync`. Everything else in
// the cell is atomic, locked or immutable.
unsafe impl Send for TaskRef {}
// SAFETY: T1 and T4, as above.
unsafe impl Sync for TaskRef {}

impl TaskRef {
    /// # Safety
    ///
    /// `header` is of a live cell whose word counts this reference (T2).
    pub(super) unsafe fn from_raw(header: NonNull<Header>) -> Self {
        TaskRef(header)
    }

    /// Gives the reference up for its address, which [`from_erased`](TaskRef::from_erased) takes
    /// back.
    pub(crate) fn into_raw(self) -> NonNull<()> {
        ManuallyDrop::new(self).0.cast()
    }

    /// # Safety
    ///
    /// `address` is from `into_raw`, and is used once (T2).
    pub(crate) unsafe fn from_erased(address: NonNull<()>) -> Self {
        TaskRef(address.cast())
    }

    pub(super) fn as_raw(&self) -> NonNull<Header> {
        self.0
    }

    pub(super) fn header(&self) -> &Header {
        // SAFETY: T2: this reference keeps the cell alive.
        unsafe { self.0.as_ref() }
    }

    #[inline]
    pub(super) fn cold_part(&self) -> Option<&ColdPart> {
        if !self.header().word.has_cold_part() {
            return None;
        }
        // ORDERING: Acquire pairs with the Release in `cold_part_or_install`.
        let cold = self.header().cold.load(Ordering::Acquire);
        // SAFETY: T3: the bit says that it is installed, and it stays as long as the cell.
        unsafe { cold.as_ref() }
    }

    /// What the spawner has given the task along, where that is anything.
    #[inline]
    pub(crate) fn metadata(&self) -> Option<&Metadata> {
        self.cold_part().map(|cold| &cold.metadata)
    }

    /// The cold part; the claimer alone may call this (T3).
    pub(super) fn cold_part_or_install(&self) -> &ColdPart {
        let header = self.header();
        if !header.word.has_cold_part() {
            // ORDERING: Release pairs with the Acquire in `cold_part`.
            header.cold.store(Box::into_raw(ColdPart::new(Metadata::default())), Ordering::Release);
            if header.word.announce_cold_part() {
                self.side_installed().hooks.fire();
            }
        }
        self.side_installed()
    }

    fn side_installed(&self) -> &ColdPart {
        // ORDERING: Acquire pairs with the Release in `cold_part_or_install`.
        // SAFETY: T3: the callers have seen to it that it is installed; it stays as long as the
        // cell.
        unsafe { &*self.header().cold.load(Ordering::Acquire) }
    }

    #[inline]
    pub(crate) fn id(&self) -> TaskId {
        self.header().id
    }

    /// Where it was spawned.
    #[inline]
    pub(crate) fn site(&self) -> &'static Location<'static> {
        self.header().site
    }

    pub(crate) fn origin(&self) -> Origin {
        let Header { id, site, .. } = *self.header();
        Origin { id, site, name: self.metadata().and_then(|metadata| metadata.name.clone()) }
    }

    /// The address of what spawned this task, for comparison; never to be followed.
    pub(crate) fn owner(&self) -> *const () {
        self.header().owner
    }

    /// Whether `owner` spawned this task.
    pub(crate) fn is_owned_by(&self, owner: *const ()) -> bool {
        ptr::eq(self.owner(), owner)
    }

    pub(crate) fn is_same(&self, other: &TaskRef) -> bool {
        self.0 == other.0
    }

    pub(crate) fn is_queued(&self) -> bool {
        self.header().word.is_queued()
    }

    /// Whether nothing more will become of it.
    pub(crate) fn is_ended(&self) -> bool {
        self.header().word.is_ended()
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.header().word.is_cancelled()
    }

    /// What tells the task from others that there are.
    pub(super) fn address(&self) -> usize {
        std::ptr::from_ref(self.header()).addr()
    }

    /// Whether this process is not the one that spawned the task.
    pub(crate) fn is_forked(&self) -> bool {
        self.header().word.generation().is_past()
    }

    /// Whether nothing more will become of it in this process.
    pub(crate) fn is_over(&self) -> bool {
        self.is_ended() || self.is_forked()
    }

    /// Whether it is one of a scope's, and may borrow (T8).
    pub(crate) fn may_borrow(&self) -> bool {
        self.metadata().is_some_and(|metadata| metadata.on_release.is_some())
    }

    /// Whether it ends with a value; means something once its closure has run or been dropped.
    pub(crate) fn has_value(&self) -> bool {
        self.header().word.end() == TaskEnd::Value
    }

    /// Registers a hook; only the running closure's thread may (it is the claimer, T3).
    pub(super) fn add_hook(&self, hook: Hook) -> Option<u64> {
        if self.is_forked() {
            return None;
        }
        if self.is_cancelled() {
            // The list may still be waiting for the canceller.
            run_hook(hook);
            return None;
        }
        self.cold_part_or_install().hooks.add(hook, HookLife::Closure)
    }

    /// Prepares the task for its first token, and so for hooks of other threads; only the running
    /// closure's thread may (T3).
    pub(super) fn expect_others(&self) {
        if !self.is_forked() {
            self.cold_part_or_install().hooks.expect_others();
        }
    }

    /// What is registered with the task, if it has a cold part. In a forked child another thread
    /// may hold the lock for ever, so there is none.
    #[inline]
    pub(super) fn hooks(&self) -> Option<&Hooks> {
        self.cold_part().filter(|_| !self.is_forked()).map(|cold| &cold.hooks)
    }

    /// Writes down why there is no value; the claimer alone may call this, once.
    pub(super) fn set_reason(&self, reason: Reason) {
        let end = match reason.code() {
            Some(code) => TaskEnd::Coded(code),
            None => {
                *self.cold_part_or_install().reason.lock() = Some(reason);
                TaskEnd::Stored
            }
        };
        self.header().word.set_end(end);
    }

    /// Why an ended task has no value. A reason that is stored is taken.
    pub(crate) fn error(&self) -> TaskError {
        let reason = match self.header().word.end() {
            TaskEnd::Value => None,
            TaskEnd::Coded(code) => Reason::from_code(code),
            TaskEnd::Stored => self.take_reason(|_| true),
        };
        TaskError::new(self.origin(), reason.unwrap_or(Reason::Cancelled))
    }

    /// The error of a cancelled task whose result, if there is or will be one, no handle takes.
    pub(crate) fn given_up(&self) -> TaskError {
        let began = match self.header().word.end() {
            TaskEnd::Value => true,
            TaskEnd::Coded(code) => matches!(Reason::from_code(code), Some(Reason::Poisoned | Reason::Taken)),
            TaskEnd::Stored => {
                let has_no_thread =
                    |cold: &ColdPart| matches!(*cold.reason.lock(), Some(Reason::NoThread(_)));
                !self.cold_part().is_some_and(has_no_thread)
            }
        };
        let reason = if began { Reason::Abandoned } else { Reason::Cancelled };
        TaskError::new(self.origin(), reason)
    }

    /// The reason that is stored, if it is one that `wanted` asks for, for the first caller.
    fn take_reason(&self, wanted: impl FnOnce(&Reason) -> bool) -> Option<Reason> {
        self.cold_part()?.reason.lock().take_if(|reason| wanted(reason))
    }

    /// Reports the panic of an ended task, where there is one and no handle can ask for it any
    /// more.
    fn report_unwanted(&self) {
        // A scope asks later; in a forked child another thread may hold the lock for ever.
        if self.header().word.end() == TaskEnd::Stored && !self.may_borrow() && !self.is_forked() {
            let panic = self.take_reason(|reason| matches!(reason, Reason::Panicked(_)));
            panic.into_iter().for_each(report_unread);
        }
    }

    /// Drops the result, in its place, by the one whose it is (T1): the claimer before the end, or
    /// the handle after it.
    pub(super) fn drop_result(&self) {
        if !self.has_value() {
            return self.report_unwanted();
        }
        if let Some(drop_value) = self.header().vtable.drop_value {
            // SAFETY: T1 and T5: the value is there, and the caller's.
            let drop_value = || unsafe { drop_value(self.0) };
            catch_panic("the destructor of a result that no handle took", drop_value);
        }
    }

    /// Takes the bell out of the cell.
    ///
    /// # Safety
    ///
    /// There is one of this kind, and it is the caller's, which takes it once (T10).
    pub(super) unsafe fn take_bell(&self, kind: BellKind) -> Bell {
        self.header().bell.with_mut(|room| {
            // SAFETY: T10: no other thread uses the room.
            let room = unsafe { &mut *room };
            // SAFETY: T10.
            unsafe { Bell::take(room, kind) }
        })
    }

    /// The error of a handle in a forked child.
    pub(super) fn forked_error(&self) -> TaskError {
        TaskError::new(self.origin(), Reason::NoThread(forked_child()))
    }
}

/// Why a forked child's tasks do not run.
pub(crate) fn forked_child() -> Arc<io::Error> {
    Arc::new(io::Error::other("the threads of the pool stayed in the parent of this forked process"))
}

impl Clone for TaskRef {
    fn clone(&self) -> Self {
        self.header().word.retain();
        TaskRef(self.0)
    }
}

impl Drop for TaskRef {
    fn drop(&mut self) {
        if self.header().word.release() == ReleaseAction::Free {
            // SAFETY: T2: that was the last reference.
            unsafe { free(self.0) };
        }
    }
}

impl std::fmt::Debug for TaskRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskRef").field("id", &self.header().id).field("word", &self.header().word).finish()
    }
}
