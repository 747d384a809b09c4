//! Counted references to a task, and the claim of one. The rules are those of `cell`.

use std::io;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use super::cell::{ColdPart, Header, Runner, as_current, as_no_task, free, take_closure, take_value};
use super::metadata::{Context, Metadata, run_within};
use super::state::{CancelAction, EndAction, LetGoAction, ReleaseAction, Settled, TaskEnd};
use crate::error::{Origin, Reason, TaskError, TaskId};
use crate::panic::{catch_panic, report_panic};
use crate::sync::atomic::Ordering;
use crate::sync::oneshot::Sender;
use crate::sync::trampoline;

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

    /// Whether this process is not the one that spawned the task.
    pub(crate) fn is_forked(&self) -> bool {
        self.header().word.generation().is_past()
    }

    /// Whether it is one of a scope's, and may borrow (T8).
    pub(crate) fn may_borrow(&self) -> bool {
        self.metadata().is_some_and(|metadata| metadata.on_release.is_some())
    }

    /// Whether it ends with a value; means something once its closure has run or been dropped.
    pub(crate) fn has_value(&self) -> bool {
        self.header().word.end() == TaskEnd::Value
    }

    /// Takes the right to run or discard the task, if it is still queued.
    pub(crate) fn claim(self) -> Option<Claimed> {
        let claim = self.header().word.claim()?;
        Some(Claimed { task: self, has_metadata: claim.has_metadata })
    }

    /// Ends the task on this thread, unrun, if it is still queued. False if another thread had
    /// claimed it.
    pub(crate) fn revoke(&self, reason: Reason) -> bool {
        let Some(claimed) = self.clone().claim() else { return false };
        claimed.count_cancelled();
        claimed.discard(reason);
        true
    }

    /// Cancels: ends the task on this thread where it is queued, signals it where it runs.
    pub(crate) fn cancel(&self) {
        self.act_on(self.header().word.request_cancel());
    }

    fn act_on(&self, action: CancelAction) {
        match action {
            CancelAction::End(claim) => {
                let claimed = Claimed { task: self.clone(), has_metadata: claim.has_metadata };
                claimed.count_cancelled();
                claimed.discard_flat(Reason::Cancelled);
            }
            // In a forked child another thread may hold the hooks' lock for ever.
            CancelAction::RunHooks if !self.is_forked() => {
                if let Some(cold) = self.cold_part() {
                    cold.hooks.fire();
                }
            }
            CancelAction::RunHooks | CancelAction::Nothing => {}
        }
    }

    /// Registers a hook; only the running closure's thread may (it is the claimer, T3).
    pub(super) fn add_hook(&self, hook: Box<dyn FnOnce() + Send>) -> Option<u64> {
        if self.is_forked() {
            return None;
        }
        self.cold_part_or_install().hooks.add(hook)
    }

    pub(super) fn remove_hook(&self, id: u64) {
        if let Some(cold) = self.cold_part().filter(|_| !self.is_forked()) {
            cold.hooks.remove(id);
        }
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

    /// Reports the panic of an ended task, where there is one and no handle can ask for it any more.
    fn report_unwanted(&self) {
        // A scope asks later; in a forked child another thread may hold the lock for ever.
        if self.header().word.end() == TaskEnd::Stored && !self.may_borrow() && !self.is_forked() {
            let panic = self.take_reason(|reason| matches!(reason, Reason::Panicked(_)));
            panic.into_iter().for_each(report_unread);
        }
    }

    /// Drops the result, in its place, by the one whose it is (T1): the claimer before the end, or
    /// the handle after it.
    fn drop_result(&self) {
        if !self.has_value() {
            return self.report_unwanted();
        }
        if let Some(drop_value) = self.header().vtable.drop_value {
            // SAFETY: T1 and T5: the value is there, and the caller's.
            let drop_value = || unsafe { drop_value(self.0) };
            catch_panic("the destructor of a result that no handle took", drop_value);
        }
    }

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

    /// The error of a handle in a forked child.
    pub(super) fn forked_error(&self) -> TaskError {
        TaskError::new(self.origin(), Reason::NoThread(forked_child()))
    }
}

/// Drops a reason that no handle has asked for, and reports it if it is a panic.
pub(super) fn report_unread(reason: Reason) {
    if let Reason::Panicked(payload) = reason {
        report_panic("a task whose result nobody took", payload.into_inner());
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
            return Ok(unsafe { take_value(task.0) });
        }
        Err(task.error())
    }

    /// Gives the right to the result up where another step has just done so in the word.
    fn into_task(self) -> TaskRef {
        let this = ManuallyDrop::new(self);
        // SAFETY: it is not used again: `this` is not dropped.
        unsafe { ptr::read(&raw const this.task) }
    }

    /// Leaves `bell` to be rung when the task ends. Hands it back if that has come already.
    ///
    /// # Errors
    ///
    /// The bell.
    pub(super) fn leave_bell(&mut self, bell: Sender<()>) -> Result<(), Sender<()>> {
        let header = self.task.header();
        // SAFETY: T10: the handle, which is borrowed mutably, has left none yet.
        header.bell.with_mut(|slot| unsafe { (*slot).write(bell) });
        if header.word.announce_bell() {
            return Ok(());
        }
        // SAFETY: T10: it came too late, so it is this handle's still.
        Err(unsafe { take_bell(header) })
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

/// Takes the bell out of a cell.
///
/// # Safety
///
/// There is one, and it is the caller's (T10).
unsafe fn take_bell(header: &Header) -> Sender<()> {
    header.bell.with_mut(|slot| {
        // SAFETY: T10: no other thread uses the room.
        let slot = unsafe { &*slot };
        // SAFETY: T10: there is a bell in it, which is not used again.
        unsafe { slot.assume_init_read() }
    })
}

/// A claimed task that a host runs inline, without the frame of the task that waits being lost.
pub(crate) fn claim_inline(target: &TaskRef) -> Option<Claimed> {
    if !target.is_queued() {
        return None;
    }
    target.clone().claim()
}

/// A task whose closure belongs to the holder, who must run or discard it.
#[must_use = "a claimed task must be run or discarded, or its handle waits for ever"]
#[derive(Debug)]
pub(crate) struct Claimed {
    task: TaskRef,
    /// Whether the spawner has given it anything along.
    has_metadata: bool,
}

impl Claimed {
    pub(crate) fn task(&self) -> &TaskRef {
        &self.task
    }

    /// What the spawner has given it along.
    #[inline]
    pub(crate) fn metadata(&self) -> Option<&Metadata> {
        if self.has_metadata { self.task.metadata() } else { None }
    }

    #[inline]
    fn take_context(&self) -> Option<Context> {
        self.metadata().and_then(Metadata::take_context)
    }

    /// Tells the task's owner that it will not run. The caller has not counted it in another way.
    pub(crate) fn count_cancelled(&self) {
        let header = self.task.header();
        // SAFETY: T4: this thread has the claim and has not counted it yet.
        unsafe { (header.vtable.count_cancelled)(header.owner) };
    }

    /// Runs the closure on this thread and delivers its result.
    #[inline]
    pub(crate) fn run(self, runner: &impl Runner) {
        let reason = self.run_closure();
        // In a forked child no thread may be left to finish a hook.
        if let Some(cold) = self.task.cold_part().filter(|_| !self.task.is_forked()) {
            cold.hooks.close();
        }
        runner.ended(&self.task, reason.as_ref());
        if let Some(reason) = reason {
            // Only after the count: a handle that is dropped and sees this drops the payload of a
            // panic, whose destructor may look at the counts.
            self.task.set_reason(reason);
        }
        self.end();
    }

    /// Runs the closure, in its context if it has one. Returns the reason where there is no value.
    #[inline]
    fn run_closure(&self) -> Option<Reason> {
        let vtable = self.task.header().vtable;
        // SAFETY: T1: this is the claim, and the closure is taken by this call or by none. T5: the
        // function is from the cell's own table.
        let run = || unsafe { (vtable.run)(self.task.0) };
        // SAFETY: as above.
        let unrun = || unsafe { (vtable.drop_closure)(self.task.0) };
        as_current(&self.task, || match self.take_context() {
            None => run(),
            Some(context) => run_within(context, run, unrun),
        })
    }

    /// Drops the closure unrun and leaves the reason for the handle.
    pub(crate) fn discard(self, reason: Reason) {
        self.task.set_reason(reason);
        let context = self.take_context();
        catch_panic("the destructor of a context", || drop(context));
        // SAFETY: T1: this is the claim. T5: the function is from the cell's own table.
        let drop_closure = || unsafe { (self.task.header().vtable.drop_closure)(self.task.0) };
        catch_panic("the destructor of a closure that did not run", drop_closure);
        self.end();
    }

    /// As `discard`, as a step of the trampoline, since the closure may own the handle of the next
    /// task. But what a task of a scope borrows may not outlive what this thread is inside (J1): it
    /// is never put off.
    pub(crate) fn discard_flat(self, reason: Reason) {
        if self.metadata().is_some_and(|metadata| metadata.on_release.is_some()) {
            self.discard(reason);
        } else {
            trampoline::bounce(move || self.discard(reason));
        }
    }

    /// Takes the closure back, unrun. For the handle the task is cancelled.
    ///
    /// # Safety
    ///
    /// `F` is what the task was made with.
    pub(crate) unsafe fn into_closure<F>(self) -> F {
        self.task.set_reason(Reason::Cancelled);
        let context = self.take_context();
        catch_panic("the destructor of a context", || drop(context));
        // SAFETY: T1: this is the claim. T5: by the caller's promise.
        let closure = unsafe { take_closure(self.task.0) };
        self.end();
        closure
    }

    /// Ends the task: gives what has come of it to the handle and rings the bell, or drops it where
    /// there is no handle.
    #[inline]
    fn end(self) {
        let Claimed { task, has_metadata } = self;
        let (mut settled, mut bell) = (Settled::default(), None);
        let release = loop {
            match task.header().word.finish(settled, !has_metadata) {
                EndAction::TakeBell => {
                    // SAFETY: T10: the word says that there is one, and this is the claim.
                    bell = Some(unsafe { take_bell(task.header()) });
                    settled.bell = true;
                }
                EndAction::DropResult => {
                    as_no_task(|| task.drop_result());
                    settled.result = true;
                }
                EndAction::Done(release) => break release,
            }
        };
        if has_metadata {
            ring(bell);
            return call_on_release(&task);
        }
        // The reference has been let go of.
        let header = ManuallyDrop::new(task).0;
        if release == ReleaseAction::Free {
            // SAFETY: T2: that was the last reference.
            unsafe { free(header) };
        }
        ring(bell);
    }
}

/// Wakes the one who waits for the end of a task.
#[inline]
fn ring(bell: Option<Sender<()>>) {
    if let Some(bell) = bell {
        catch_panic("a waker", || as_no_task(|| drop(bell)));
    }
}

/// Only now: what no handle takes has been dropped.
#[cold]
fn call_on_release(task: &TaskRef) {
    if let Some(on_release) = task.metadata().and_then(|metadata| metadata.on_release.as_ref()) {
        on_release.released(task);
    }
}
