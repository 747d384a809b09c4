//! How a task gets into a queue, or is refused.
//!
//! # Closing loses nothing
//!
//! Closing sets a flag and wakes all threads. A thread leaves once it has seen the flag, fenced,
//! and then found all queues empty. A submitter pushes, fences, and then looks at the flag; if it
//! is set, the submitter tries to claim its own task back and refuse it. One of the two fences
//! comes first: either the thread sees the push and stays for it, or the submitter sees the flag.
//! Both may happen, and the claim decides.
//!
//! A task that waits in a lane has an entry in the queues, or every slot of the lane is taken: then
//! the entries of the pending ones were pushed before this submitter had the lane's lock, so before
//! its fence, and threads with active ones do not leave.
//!
//! ORDERING: the fences here, and the one in `Idle::notify`, pair with the one in
//! `Idle::enter_stack`.

mod batch;
#[cfg(feature = "tracing")]
mod console;
mod context;
mod destination;
mod join_set;
mod options;
mod reserve;
mod scope;
mod spawner;

pub use self::batch::Batch;
pub use self::join_set::{JoinSet, spawn_blocking};
pub use self::options::TaskOptions;
pub use self::reserve::{Permit, Reserve};
pub use self::scope::{Scope, ScopedTask};
pub use self::spawner::Spawner;

pub(in crate::pool) use self::batch::spawn_batch;
pub(in crate::pool) use self::context::{Captures, Carried, EntersRuntime};
pub(in crate::pool) use self::destination::{Destination, DestinationRef};
pub(in crate::pool) use self::options::TaskSettings;
pub(in crate::pool) use self::scope::scope;
pub(crate) use self::spawner::ChosenTarget;

use std::panic::Location;
use std::sync::Arc;

use crate::counts::{AccountCounters, PoolAccount, UnrunCounters};
use crate::error::{Reason, Rejected, TaskError};
use crate::lane::{LaneAccount, LaneCore, LanePlace};
use crate::pool::inner::Inner;
use crate::semaphore::Semaphore;
use crate::task::{
    Claimed, ColdPart, Metadata, OnShutdown, Owner, Task, TaskRef, Work, forked_child, new_task,
};
use crate::trace::event;

/// Where tasks can be queued: the pool itself, a lane of it, or a key of such a lane.
pub(in crate::pool) trait Queue {
    /// What its tasks refer to.
    type Account: Owner;
    fn account(&self) -> &Arc<Self::Account>;
    /// Its places, if it is limited.
    fn places(&self) -> Option<&Semaphore>;
    /// Whether it is that of a session, whose tasks need no place that is free: those that wait for
    /// the end of the session may have them all.
    fn is_session(&self) -> bool;
    /// Where what it refuses is counted.
    fn unrun(&self) -> &UnrunCounters;
    /// The name of the lane, if it is one.
    #[cfg(feature = "tracing")]
    fn lane_name(&self) -> Option<&str>;
    /// Counts the task and enqueues it. True if a thread must look into the pool's queues.
    fn push(&self, inner: &Inner, task: TaskRef) -> bool;
}

impl Queue for &Arc<Inner> {
    type Account = PoolAccount;

    #[inline]
    fn account(&self) -> &Arc<PoolAccount> {
        &self.engine.account
    }

    #[inline]
    fn places(&self) -> Option<&Semaphore> {
        self.engine.permits()
    }

    #[inline]
    fn is_session(&self) -> bool {
        false
    }

    fn unrun(&self) -> &UnrunCounters {
        self.engine.account.counters.unrun()
    }

    #[cfg(feature = "tracing")]
    fn lane_name(&self) -> Option<&str> {
        None
    }

    #[inline]
    fn push(&self, inner: &Inner, task: TaskRef) -> bool {
        inner.engine.submit(task);
        true
    }
}

/// A lane, or a part of it.
#[derive(Clone, Copy)]
pub(in crate::pool) struct LaneQueueOf<'a> {
    pub(in crate::pool) lane: &'a Arc<LaneCore>,
    /// On a key the caller has a pin.
    pub(in crate::pool) place: LanePlace,
}

impl Queue for LaneQueueOf<'_> {
    type Account = LaneAccount;

    fn account(&self) -> &Arc<LaneAccount> {
        self.lane.account()
    }

    fn places(&self) -> Option<&Semaphore> {
        self.lane.permits()
    }

    fn is_session(&self) -> bool {
        matches!(self.place, LanePlace::Session)
    }

    fn unrun(&self) -> &UnrunCounters {
        self.lane.account().counters.unrun()
    }

    #[cfg(feature = "tracing")]
    fn lane_name(&self) -> Option<&str> {
        Some(self.lane.name())
    }

    fn push(&self, inner: &Inner, task: TaskRef) -> bool {
        inner.engine.submit_to_lane(self.lane, task, self.place)
    }
}

/// The way into one queue of a pool.
pub(in crate::pool) struct Submitter<'a, Q> {
    pub(in crate::pool) inner: &'a Arc<Inner>,
    pub(in crate::pool) queue: Q,
    /// The task has a place already, which is given back if the task is refused.
    pub(in crate::pool) has_permit: bool,
}

/// A task that is not queued yet. It must be submitted: dropped before, its handle would cancel and
/// count what was never counted as submitted.
pub(in crate::pool) struct NewTask<T> {
    pub(in crate::pool) entry: TaskRef,
    pub(in crate::pool) task: Task<T>,
}

impl<Q: Queue> Submitter<'_, Q> {
    /// Queues `f`, or has its handle say why not.
    pub(in crate::pool) fn spawn<F, T>(
        &self,
        f: F,
        site: &'static Location<'static>,
        cold: Option<Box<ColdPart>>,
    ) -> Task<T>
    where
        F: Work<T> + Send + 'static,
        T: Send + 'static,
    {
        let NewTask { entry, task } = self.make(f, site, cold);
        self.submit(entry, task.new_ref());
        task
    }

    /// Makes a task that is not queued yet.
    pub(in crate::pool) fn make<F, T>(
        &self,
        f: F,
        site: &'static Location<'static>,
        cold: Option<Box<ColdPart>>,
    ) -> NewTask<T>
    where
        F: Work<T> + Send + 'static,
        T: Send + 'static,
    {
        let (entry, handle) = new_task(f, Arc::as_ptr(self.queue.account()), site, cold);
        NewTask { entry, task: Task::new(handle) }
    }

    /// Queues tasks with one decision whom to wake.
    pub(in crate::pool) fn submit_all<T>(&self, made: Vec<NewTask<T>>) -> Vec<Task<T>> {
        #[cfg(feature = "tracing")]
        if console::may_be_wanted() {
            let submit = |NewTask { entry, task }| {
                self.submit(entry, Task::new_ref(&task));
                task
            };
            return made.into_iter().map(submit).collect();
        }
        let mut look = false;
        let mut tasks = Vec::with_capacity(made.len());
        let mut handles = Vec::with_capacity(made.len());
        let mut unwanted = Vec::new();
        for NewTask { entry, task } in made {
            let handle = task.new_ref().clone();
            match self.push(entry, &handle) {
                Ok(more) => look |= more,
                Err(refusal) => unwanted.push(refusal),
            }
            handles.push(handle);
            tasks.push(task);
        }
        self.inner.engine.announce(look, &**self.inner);
        let taken_back = handles.iter().filter_map(|handle| self.take_back(handle));
        unwanted.extend(taken_back.map(|claimed| (claimed, Reason::Shutdown)));
        // User code, which may wait for the others: those are on their way by now.
        for (claimed, reason) in unwanted {
            claimed.discard_flat(reason);
        }
        tasks
    }

    /// Queues `f`, or hands it back.
    pub(in crate::pool) fn try_spawn<F, T>(
        &self,
        f: F,
        site: &'static Location<'static>,
        cold: Option<Box<ColdPart>>,
    ) -> Result<Task<T>, Rejected<F>>
    where
        F: Work<T> + Send + 'static,
        T: Send + 'static,
    {
        let NewTask { entry, task } = self.make(f, site, cold);
        let origin = task.new_ref().origin();
        match self.try_submit(entry, task.new_ref()) {
            Ok(()) => Ok(task),
            Err((claimed, reason)) => {
                // SAFETY: T5: the task was made of `f` just now, with the types `F` and `T`.
                let closure = unsafe { claimed.into_closure::<F>() };
                Err(Rejected::new(closure, TaskError::new(origin, reason)))
            }
        }
    }

    /// Queues a task whose handle is `handle`, or discards it with the reason.
    #[inline]
    pub(in crate::pool) fn submit(&self, entry: TaskRef, handle: &TaskRef) {
        if let Err((claimed, reason)) = self.try_submit(entry, handle) {
            claimed.discard_flat(reason);
        }
    }

    #[inline]
    fn try_submit(&self, entry: TaskRef, handle: &TaskRef) -> Result<(), (Claimed, Reason)> {
        let look = self.push(entry, handle)?;
        self.inner.engine.announce(look, &**self.inner);
        self.take_back(handle).map_or(Ok(()), |claimed| Err((claimed, Reason::Shutdown)))
    }

    /// Pushes a task, unless it is refused. True if a thread must look:
    /// [`Engine::announce`](crate::worker::Engine::announce) is next.
    #[inline]
    pub(in crate::pool) fn push(&self, entry: TaskRef, handle: &TaskRef) -> Result<bool, (Claimed, Reason)> {
        if let Err(reason) = self.check() {
            return Err((self.refuse(entry, &reason), reason));
        }
        match handle.metadata() {
            None => Ok(self.queue.push(self.inner, entry)),
            Some(metadata) => self.push_special(entry, handle, metadata),
        }
    }

    /// Counts a task that is not admitted.
    #[cold]
    fn refuse(&self, entry: TaskRef, reason: &Reason) -> Claimed {
        if !matches!(reason, Reason::NoThread(_)) {
            self.queue.unrun().count_rejected();
        }
        trace_refusal(&entry, reason);
        match entry.claim() {
            Some(claimed) => claimed,
            None => unreachable!("a task that was not admitted is nobody else's to claim"),
        }
    }

    /// Pushes a task that has a place, and carries something from its spawner.
    #[inline(never)]
    fn push_special(
        &self,
        entry: TaskRef,
        handle: &TaskRef,
        metadata: &Metadata,
    ) -> Result<bool, (Claimed, Reason)> {
        self.show(handle, metadata);
        let look = self.queue.push(self.inner, entry);
        let is_discardable = metadata.on_shutdown == OnShutdown::Discard;
        if is_discardable && !self.inner.ending.discardable().add(handle.clone()) {
            // The pool has been shut down since the check, and what any shutdown drops has been
            // dropped.
            if let Some(claimed) = handle.clone().claim() {
                claimed.count_cancelled();
                return Err((claimed, Reason::Shutdown));
            }
        }
        if let Some(deadline) = metadata.deadline {
            self.inner.expiry.watch(&self.inner.config.name, deadline, handle.clone());
        }
        Ok(look)
    }

    /// Has a console show a task that is about to be pushed.
    pub(in crate::pool) fn show(&self, task: &TaskRef, metadata: &Metadata) {
        #[cfg(feature = "tracing")]
        if console::may_be_wanted() {
            let place = console::ShownPlace { pool: &self.inner.config.name, lane: self.queue.lane_name() };
            console::show(task, metadata, &place, self.inner.carried.propagates_spans());
        }
        let _ = (task, metadata);
    }

    /// Takes what a task needs to be queued, or says what is missing.
    #[inline]
    fn check(&self) -> Result<(), Reason> {
        let inner = &**self.inner;
        if inner.engine.is_forked() {
            return Err(Reason::NoThread(forked_child()));
        }
        if inner.engine.is_closed() {
            self.release_permit();
            return Err(Reason::Shutdown);
        }
        if self.queue.is_session() {
            self.queue.places().into_iter().for_each(Semaphore::acquire_beyond);
            return Ok(());
        }
        let has_permit = self.has_permit || self.queue.places().is_none_or(Semaphore::try_acquire);
        if has_permit { Ok(()) } else { Err(Reason::Full) }
    }

    fn release_permit(&self) {
        if self.has_permit {
            self.queue.places().into_iter().for_each(Semaphore::release);
        }
    }

    /// If the pool has been closed meanwhile, and no thread has taken the task: the task, counted
    /// as cancelled. There has been a fence since the push.
    #[inline]
    pub(in crate::pool) fn take_back(&self, handle: &TaskRef) -> Option<Claimed> {
        if !self.inner.engine.is_closed() {
            return None;
        }
        let claimed = handle.clone().claim()?;
        claimed.count_cancelled();
        Some(claimed)
    }
}

/// In a forked child there may be no thread left to end what a subscriber waits for.
fn trace_refusal(task: &TaskRef, reason: &Reason) {
    if !matches!(reason, Reason::NoThread(_)) {
        event!(DEBUG, task = %task.origin(), ?reason, "refused a task");
    }
    let _ = task;
}
