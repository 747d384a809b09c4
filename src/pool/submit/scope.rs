//! Tasks that borrow from the stack of a thread that waits for them.
//!
//! # Why it is safe
//!
//! A scoped closure may use what lives as long as `'env`, which is longer than the call of
//! [`Pool::scope`]. That call does not return, nor unwind, before its count of tasks is zero. The
//! count falls when a task is *released* ([`OnRelease`]): after its closure has been consumed or
//! dropped, and after the sender has let go of the result. So by then what a task has borrowed is
//! neither in the pool nor on any of its threads; a result that was not fetched lies with its
//! [`ScopedTask`], which cannot leave the scope, or is leaked with it and never touched again. A
//! panic's payload borrows nothing, since it is `'static`. In a forked child the threads are gone,
//! and no task will touch anything.
//!
//! - **T8** What a task's closure and result borrow outlives the task's release and its receiver:
//!   it is `'static`, or `Pool::scope` neither returns nor unwinds before, and the receiver is in a
//!   handle that is bound to `'scope`.
//!
//! The lifetimes are those of `std::thread::scope`: `'scope` cannot be named by the closures'
//! surroundings, so nothing of a scope gets out of it.
//!
//! # How a cancellation reaches the tasks
//!
//! A scope that is opened in a task, or in code that is attached to a token, registers a hook with
//! that, its *opener*, as `current::on_cancel` does. The hook cancels what the scope has spawned: a
//! queued task ends at once and unrun, a running one is signalled, which runs its own hooks; one of
//! these may be that of a scope inside of it, and so on. So every question that a task of a scope
//! may ask is answered by its own word and its own hooks, and costs what it costs any task.
//!
//! `members` lists the tasks for that, under a lock with a mark that the cancellation has come. A
//! spawn that finds the mark refuses the task, as if the pool had; otherwise it submits the task
//! and then lists it, or cancels it if the mark has been set meanwhile. The hook sets the mark and
//! takes the list in one step. So for each task one of the two cancels it, whichever comes first,
//! and what is spawned after a cancellation does not run. A task is listed after its submission,
//! not before: a canceller counts it, and what has not been submitted must not be counted. The
//! scope unregisters the hook once its tasks have been released: that waits for a hook that runs on
//! another thread.
//!
//! Scopes nest as deep as the stacks of the pool allow, and the canceller's stack may be smaller:
//! so the hook runs as a step of the trampoline. Put off, it may run when the scope has returned.
//! Then all its tasks have been released, and a cancellation touches nothing of such a task but its
//! word (T1). A queued task of a scope, on the other hand, is discarded at once and never put off
//! (`Claimed::discard_flat`), since what it borrows is at stake.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::mem::take;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::error::{Reason, TaskError, TaskId};
use crate::numbers::NumberSet;
use crate::panic::report_panic;
use crate::pool::Pool;
use crate::pool::expiry::{TaskList, next_sweep};
use crate::pool::submit::Submitter;
use crate::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use crate::sync::nesting::TooDeep;
use crate::sync::{Mutex, Parker, trampoline};
use crate::sys::fork::Generation;
use crate::task::current::{is_in_task, on_cancel};
use crate::task::{
    BlockingWait, Help, Host, Metadata, OnRelease, Task, TaskRef, block, forked_child, host, host_of,
    new_scoped_task,
};

/// A scope to spawn borrowing tasks in: what [`Pool::scope`] hands to its closure.
///
/// Nothing of it gets out. A handle does not:
///
/// ```compile_fail,E0521
/// # let pool = sidestep::Pool::new().unwrap();
/// let mut kept = None;
/// pool.scope(|scope| kept = Some(scope.spawn(|| 1)));
/// ```
///
/// And what a task borrows lives longer than the scope:
///
/// ```compile_fail,E0373
/// # let pool = sidestep::Pool::new().unwrap();
/// pool.scope(|scope| {
///     let inside = String::new();
///     scope.spawn(|| inside.len()).wait().unwrap()
/// });
/// ```
pub struct Scope<'scope, 'env: 'scope> {
    pool: &'env Pool,
    state: Arc<State>,
    /// Invariant in both lifetimes.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// What the scope and its tasks share.
struct State {
    /// Tasks that have not been released.
    left: AtomicUsize,
    /// The thread that waits for them.
    joiner: Arc<Parker>,
    /// Queued tasks for the joiner to run, if it is a thread of the pool.
    queued: Option<TaskList>,
    /// What a cancellation of the task that has opened the scope is to reach; `None` outside of
    /// tasks.
    members: Option<Mutex<Members>>,
    /// Released tasks that have no value, in the order in which they were released.
    failed: Mutex<Vec<TaskRef>>,
    /// Those whose error a handle has returned.
    looked_at: Mutex<NumberSet>,
    /// The fork generation that the scope was opened in. In a child locks may be held for ever, and
    /// no thread waits.
    generation: Generation,
    /// In a forked child: tasks that were refused there, less the errors that handles have
    /// returned.
    lost: AtomicIsize,
}

/// The tasks of a scope that have not ended, and some that have.
struct Members {
    tasks: Vec<TaskRef>,
    sweep_at: usize,
    /// The task that has opened the scope has been cancelled.
    is_cancelled: bool,
}

impl OnRelease for State {
    fn released(&self, task: &TaskRef) {
        if self.is_forked() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        } else if !task.has_value() {
            self.failed.lock().push(task.clone());
        }
        // ORDERING: Release pairs with the Acquire in `poll`: what the task did comes before the
        // scope's end.
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.joiner.unpark();
        }
    }
}

impl State {
    fn is_forked(&self) -> bool {
        self.generation.is_past()
    }

    fn is_cancelled(&self) -> bool {
        let members = self.members.as_ref().filter(|_| !self.is_forked());
        members.is_some_and(|members| members.lock().is_cancelled)
    }

    /// Lists a task that has been submitted; or cancels it, if that has come for all of them.
    fn add_member(&self, task: &TaskRef) {
        let Some(members) = self.members.as_ref().filter(|_| !self.is_forked()) else { return };
        let mut members = members.lock();
        if members.is_cancelled {
            drop(members);
            return task.cancel();
        }
        members.tasks.push(task.clone());
        let mut swept = Vec::new();
        if members.tasks.len() >= members.sweep_at {
            (swept, members.tasks) = take(&mut members.tasks).into_iter().partition(TaskRef::is_ended);
            members.sweep_at = next_sweep(members.tasks.len());
        }
        drop(members);
        // The drop of a task's last reference may run user code.
        drop(swept);
    }

    /// The task that has opened the scope has been cancelled.
    fn cancel_members(&self) {
        let Some(members) = self.members.as_ref().filter(|_| !self.is_forked()) else { return };
        let mut members = members.lock();
        members.is_cancelled = true;
        let tasks = take(&mut members.tasks);
        drop(members);
        tasks.iter().for_each(TaskRef::cancel);
    }

    /// A handle has returned the error of a task.
    fn look_at(&self, id: TaskId) {
        if self.is_forked() {
            self.lost.fetch_sub(1, Ordering::Relaxed);
        } else {
            self.looked_at.lock().insert(id.as_u64());
        }
    }

    /// All tasks have been released, or this is a forked child: lets go of them, and returns the
    /// error of the first that has failed and whose handle was not asked.
    fn close(&self) -> Option<Box<dyn Any + Send>> {
        if self.is_forked() {
            let missing = self.left.load(Ordering::Relaxed) as isize + self.lost.load(Ordering::Relaxed);
            return (missing > 0)
                .then(|| Box::new(format!("tasks of a scope did not run: {}", forked_child())) as _);
        }
        let queued = self.queued.as_ref().map(TaskList::close);
        let members = self.members.as_ref().map(|members| take(&mut members.lock().tasks));
        let failed = take(&mut *self.failed.lock());
        let looked_at = take(&mut *self.looked_at.lock());
        drop((queued, members));
        let first = failed.iter().find(|task| !looked_at.contains(task.id().as_u64()))?;
        Some(first.error().try_into_panic().unwrap_or_else(|error| Box::new(error.to_string())))
    }
}

/// A wait until all tasks of a scope have been released.
struct ScopeWait<'a> {
    state: &'a State,
    owner: *const (),
    /// What this thread is to run next.
    next: Option<TaskRef>,
}

impl BlockingWait for ScopeWait<'_> {
    type Output = ();

    fn poll(&mut self, _context: &mut Context<'_>) -> Poll<()> {
        // ORDERING: Acquire pairs with the Release in `released`; the additions in between do not
        // break its chain.
        if self.state.left.load(Ordering::Acquire) == 0 || self.state.is_forked() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn help(&mut self, host: Option<&dyn Host>) -> Help {
        let queued =
            self.state.queued.as_ref().filter(|_| host.is_some_and(|host| host.owner() == self.owner));
        // Where there is no stack left to run it, it stays the next one until another thread has
        // come for it, or until it has been ended.
        if self.next.as_ref().is_none_or(|next| !next.is_queued()) {
            self.next = queued.and_then(TaskList::pop);
        }
        self.next.clone().map_or(Help::Nothing, Help::Run)
    }

    /// What this thread has put off is no task of a scope, and what a task of a scope waits for is
    /// the task's own affair.
    fn too_deep(&mut self, _deep: TooDeep) -> Option<()> {
        None
    }

    fn parker(&self) -> Arc<Parker> {
        Arc::clone(&self.state.joiner)
    }
}

/// Ends the process rather than the frame that scoped tasks borrow from.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        std::process::abort();
    }
}

/// See [`Pool::scope`].
#[track_caller]
pub(in crate::pool) fn scope<'env, F, R>(pool: &'env Pool, f: F) -> R
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R,
{
    let inner = &*pool.inner;
    let helps = host_of(inner.engine.owner()).is_some();
    let scope = Scope {
        pool,
        state: Arc::new(State {
            left: AtomicUsize::new(0),
            joiner: Arc::new(Parker::new()),
            queued: helps.then(TaskList::new),
            members: is_in_task().then(|| {
                Mutex::new(Members { tasks: Vec::new(), sweep_at: next_sweep(0), is_cancelled: false })
            }),
            failed: Mutex::new(Vec::new()),
            looked_at: Mutex::new(NumberSet::default()),
            generation: Generation::current(),
            lost: AtomicIsize::new(0),
        }),
        scope: PhantomData,
        env: PhantomData,
    };
    let address = Arc::as_ptr(&scope.state).cast();
    let guard = AbortOnUnwind;
    host().into_iter().for_each(|host| host.open_scope(address));
    let hook = scope.state.members.is_some().then(|| {
        let reached = Arc::clone(&scope.state);
        on_cancel(move || trampoline::bounce(move || reached.cancel_members()))
    });
    let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    let _ = block(&mut ScopeWait { state: &scope.state, owner: inner.engine.owner(), next: None }, None);
    drop(hook);
    host().into_iter().for_each(|host| host.close_scope(address));
    let failure = scope.state.close();
    std::mem::forget(guard);
    match (result, failure) {
        (Ok(value), None) => value,
        (Ok(_), Some(payload)) => resume_unwind(payload),
        (Err(payload), failure) => {
            if let Some(failure) = failure {
                report_panic("a task of a scope whose body has panicked", failure);
            }
            resume_unwind(payload)
        }
    }
}

impl<'scope> Scope<'scope, '_> {
    /// Queues `f`, which may borrow what outlives the scope, and returns at once.
    ///
    /// Dropping the handle does not cancel: the scope waits for every task. Closures may spawn into
    /// the same scope.
    ///
    /// # Cancellation
    ///
    /// If the scope was opened in a task, or in code that is [attached](crate::current::attach) to
    /// one, and that task is cancelled, so are all tasks of the scope,
    /// those that are spawned later too: one that is queued ends unrun
    /// ([`is_cancelled`](TaskError::is_cancelled)), and one that runs is signalled
    /// ([`current::is_cancelled`](crate::current::is_cancelled),
    /// [`current::on_cancel`](crate::current::on_cancel)).
    ///
    /// # Errors
    ///
    /// None here: where the pool does not run `f`, the handle says so, or, if that is not asked,
    /// [`Pool::scope`] panics.
    #[track_caller]
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedTask<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let inner = &self.pool.inner;
        let submitter = Submitter { inner, queue: inner, has_permit: false };
        let on_release: Arc<State> = Arc::clone(&self.state);
        let cold =
            inner.carried.metadata_with(Metadata { on_release: Some(on_release), ..Metadata::default() });
        // ORDERING: Relaxed: the thread that waits, or a task that it waits for, does this.
        self.state.left.fetch_add(1, Ordering::Relaxed);
        // SAFETY: T8.
        let (entry, handle) =
            unsafe { new_scoped_task(f, Arc::as_ptr(&inner.engine.account), Location::caller(), Some(cold)) };
        if self.state.is_cancelled() {
            // As if it had been refused: it has not been counted.
            entry.claim().into_iter().for_each(|claimed| claimed.discard(Reason::Cancelled));
        } else {
            submitter.submit(entry, handle.task());
            self.state.add_member(handle.task());
        }
        if let Some(queued) = self.state.queued.as_ref().filter(|_| !self.state.is_forked()) {
            let _ = queued.add(handle.task().clone());
            // It may have nothing else to run.
            self.state.joiner.unpark();
        }
        let task = Some(Task::new(handle));
        ScopedTask { task, state: Arc::clone(&self.state), scope: PhantomData }
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = self.state.left.load(Ordering::Relaxed);
        f.debug_struct("Scope").field("pool", self.pool).field("left", &left).finish()
    }
}

/// A handle to a task of a [`Scope`]. Dropping it changes nothing: the scope waits for the task.
pub struct ScopedTask<'scope, T> {
    /// `None` only inside the methods that consume the handle.
    task: Option<Task<T>>,
    state: Arc<State>,
    scope: PhantomData<&'scope ()>,
}

impl<T> ScopedTask<'_, T> {
    /// Blocks this thread until the task has ended and returns its result, as [`Task::wait`].
    ///
    /// # Errors
    ///
    /// The [`TaskError`] if the closure panicked or was not run. It counts as looked at then:
    /// [`Pool::scope`] does not panic because of it.
    #[track_caller]
    pub fn wait(mut self) -> Result<T, TaskError> {
        let Some(task) = self.task.take() else { unreachable!("`wait` consumes the handle") };
        let id = task.id();
        let result = task.wait();
        // A task that waits for itself has an end yet to come.
        if result.as_ref().is_err_and(|error| !error.is_for_itself()) {
            self.state.look_at(id);
        }
        result
    }

    /// Whether the task has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.as_ref().is_some_and(Task::is_finished)
    }
}

impl<T> Drop for ScopedTask<'_, T> {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.detach();
        }
    }
}

impl<T> fmt::Debug for ScopedTask<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedTask").field("task", &self.task).finish()
    }
}
