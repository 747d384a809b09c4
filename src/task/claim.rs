//! The claim of a task, and what its holder does: runs the closure or drops it, and ends the task.
//! The rules are those of `cell`.

use super::bell::Bell;
use super::cancel_hooks::Hooks;
use super::cell::{free, take_closure};
use super::frame::{as_current, as_no_task};
use super::metadata::Metadata;
use super::reference::TaskRef;
use super::state::{CancelAction, EndAction, ReleaseAction, Settled};
use crate::error::{Reason, TaskId};
use crate::panic::catch_panic;
use crate::sync::trampoline;

/// What a task tells the thread that runs it.
pub(crate) trait Runner {
    /// The closure of `task` has ended, and its result or the reason why it has none is about to be
    /// delivered: count it, then return.
    fn ended(&self, task: &TaskRef, reason: Option<&Reason>);
}

impl TaskRef {
    /// Takes the right to run or discard the task, if it is still queued.
    pub(crate) fn claim(self) -> Option<Claimed> {
        let claim = self.header().word.claim()?;
        Some(Claimed { task: self, has_metadata: claim.has_metadata })
    }

    /// Ends the task on this thread, unrun, if it is still queued. False if another thread had
    /// claimed it.
    pub(crate) fn revoke(&self, reason: Reason) -> bool {
        let Some(claimed) = self.clone().claim() else { return false };
        claimed.count_unrun(&reason);
        claimed.discard(reason);
        true
    }

    /// Cancels: ends the task on this thread where it is queued, signals it where it runs.
    pub(crate) fn cancel(&self) {
        self.act_on(self.header().word.request_cancel());
    }

    pub(super) fn act_on(&self, action: CancelAction) {
        match action {
            CancelAction::End(claim) => {
                let claimed = Claimed { task: self.clone(), has_metadata: claim.has_metadata };
                claimed.count_cancelled();
                claimed.discard_flat(Reason::Cancelled);
            }
            CancelAction::RunHooks => self.hooks().into_iter().for_each(Hooks::fire),
            CancelAction::Nothing => {}
        }
    }
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

    /// Tells the task's owner that it will not run. The caller has not counted it in another way.
    pub(crate) fn count_cancelled(&self) {
        self.count_unrun(&Reason::Cancelled);
    }

    /// [`count_cancelled`](Claimed::count_cancelled) for the reason why the task will not run.
    pub(crate) fn count_unrun(&self, reason: &Reason) {
        let header = self.task.header();
        // SAFETY: T4: this thread has the claim and has not counted it yet.
        unsafe { (header.vtable.count_cancelled)(header.owner, matches!(reason, Reason::Expired)) };
    }

    /// Runs the closure on this thread and delivers its result.
    #[inline]
    pub(crate) fn run(self, runner: &impl Runner) {
        let reason = self.run_closure();
        let has_tokens = self.task.hooks().is_some_and(Hooks::close);
        let to_seal = has_tokens.then(|| self.task.clone());
        runner.ended(&self.task, reason.as_ref());
        let needs_drop = reason.is_some() || self.task.header().vtable.drop_value.is_some();
        if let Some(reason) = reason {
            // Only after the count: a handle that is dropped and sees this drops the payload of a
            // panic, whose destructor may look at the counts.
            self.task.set_reason(reason);
        }
        self.end(Settled { result: !needs_drop, bell: false });
        // Only now: no cancellation comes any more.
        to_seal.iter().for_each(seal);
    }

    /// Runs the closure, in its context if it has one. Returns the reason where there is no value.
    #[inline]
    fn run_closure(&self) -> Option<Reason> {
        let vtable = self.task.header().vtable;
        // SAFETY: T1: this is the claim, and the closure is taken by this call or by none. T5: the
        // function is from the cell's own table.
        let run = || unsafe { (vtable.run)(self.task.as_raw()) };
        // SAFETY: T1, T5: as above.
        let unrun = || unsafe { (vtable.drop_closure)(self.task.as_raw()) };
        as_current(&self.task, || match self.metadata() {
            None => run(),
            Some(metadata) => metadata.surround(run, unrun),
        })
    }

    /// Drops the closure unrun and leaves the reason for the handle.
    pub(crate) fn discard(self, reason: Reason) {
        self.task.set_reason(reason);
        self.metadata().into_iter().for_each(Metadata::drop_surroundings);
        // SAFETY: T1: this is the claim. T5: the function is from the cell's own table.
        let drop_closure = || unsafe { (self.task.header().vtable.drop_closure)(self.task.as_raw()) };
        catch_panic("the destructor of a closure that did not run", drop_closure);
        self.end(Settled::default());
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
        self.metadata().into_iter().for_each(Metadata::drop_surroundings);
        // SAFETY: T1: this is the claim. T5: by the caller's promise.
        let closure = unsafe { take_closure(self.task.as_raw()) };
        self.end(Settled::default());
        closure
    }

    /// Ends the task: gives what has come of it to the handle and rings the bell, or drops it where
    /// there is no handle; except for what is settled.
    #[inline]
    fn end(self, mut settled: Settled) {
        let Claimed { task, has_metadata } = self;
        let (id, mut bell) = (task.id(), None);
        let release = loop {
            match task.header().word.finish(settled, !has_metadata) {
                EndAction::TakeBell(kind) => {
                    // SAFETY: T10: the word says that there is one, and this is the claim.
                    bell = Some(unsafe { task.take_bell(kind) });
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
            ring(bell, task.id());
            return released(&task);
        }
        // The reference has been let go of, and unless it was the last one the cell may be gone.
        let header = task.into_raw().cast();
        if release == ReleaseAction::Free {
            // SAFETY: T2: that was the last reference.
            unsafe { free(header) };
        }
        ring(bell, id);
    }
}

#[inline]
fn ring(bell: Option<Bell>, id: TaskId) {
    if let Some(bell) = bell {
        catch_panic("a waker", || as_no_task(|| bell.ring(id)));
    }
}

/// The task has ended, of which there has been a token.
#[cold]
fn seal(task: &TaskRef) {
    task.hooks().into_iter().for_each(|hooks| hooks.seal(task.is_cancelled()));
}

/// Only now: what no handle takes has been dropped, and a handle that waits has been woken.
#[cold]
fn released(task: &TaskRef) {
    let Some(metadata) = task.metadata() else { return };
    metadata.runtime.end();
    if let Some(on_release) = &metadata.on_release {
        on_release.released(task);
    }
}
