//! Waiting for a place in a limited queue.

use std::fmt;
use std::future::Future;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::future::FusedFuture;

use super::destination::Destination;
use super::{Submitter, TaskOptions};
use crate::error::{Origin, Reason, TaskError};
use crate::pool::Pool;
use crate::semaphore::{Acquire, Semaphore};
use crate::sync::atomic::{Ordering, fence};
use crate::sync::nesting::TooDeep;
use crate::task::{BlockingWait, ColdPart, Help, Host, Task, Work};
use crate::task::{Unblocked, block, forked_child, next_id};

/// A wait for a place in the queue of a [`Pool`] or [`Lane`](crate::Lane): what [`Pool::reserve`]
/// and [`Lane::reserve`](crate::Lane::reserve) return.
///
/// Permits are granted in the order in which the waits began, before any `spawn` or
/// `try_spawn` gets one. A wait begins with the first poll, or with [`wait`](Reserve::wait). Where
/// there is no limit it ends at once.
///
/// # Errors
///
/// [`is_shutdown`](TaskError::is_shutdown) once the pool is shut down, and
/// [`is_no_thread`](TaskError::is_no_thread) in the child of a fork.
///
/// # Cancellation
///
/// Dropping it ends the wait; a permit that has been granted meanwhile goes to the next in the
/// queue.
///
/// One that has been polled and is then forgotten ([`mem::forget`](std::mem::forget), a circle of
/// `Arc`s) stays in the queue. When its turn comes it takes a permit, as a forgotten [`Permit`]
/// keeps its own, and no task ever has that permit again: the others wait on for those that are
/// left, and where none is left until the pool is shut down. It also counts as a handle to its pool
/// for ever, so that only a shutdown ends that.
///
/// # Panics
///
/// Polling panics once the result has been given.
#[must_use = "a place is waited for only by awaiting this, or by `wait`"]
pub struct Reserve {
    /// `None` once the result has been given.
    target: Option<Destination>,
    turn: Acquire,
    site: &'static Location<'static>,
}

impl Reserve {
    pub(in crate::pool) fn of(target: Destination, site: &'static Location<'static>) -> Self {
        Reserve { target: Some(target), turn: Acquire::new(), site }
    }

    /// The permit, if it can be had without waiting.
    pub(in crate::pool) fn try_now(mut self) -> Result<Permit, TaskError> {
        let Some(target) = self.target.take() else { unreachable!("it is new") };
        let reason = match refusal(&target) {
            None if target.permits().is_none_or(Semaphore::try_acquire) => {
                return Ok(Permit { target: Some(target) });
            }
            None => Reason::Full,
            Some(reason) => reason,
        };
        Err(TaskError::new(self.origin(), reason))
    }

    /// Blocks this thread until there is a place.
    ///
    /// On a thread of the pool itself this does not deadlock on a full queue of the pool: where the
    /// pool cannot grow, the thread runs what is queued meanwhile.
    ///
    /// # Errors
    ///
    /// As for the future; besides, [`is_deadlock`](TaskError::is_deadlock) on a thread that holds
    /// every slot of the lane whose queue is full, and on one whose stack has no room to run what
    /// is queued while every other thread of the pool waits.
    ///
    /// # Panics
    ///
    /// If the future has given its result already.
    #[track_caller]
    pub fn wait(mut self) -> Result<Permit, TaskError> {
        match block(&mut self, None) {
            Some(result) => result,
            None => unreachable!("there is no deadline"),
        }
    }

    /// For errors: the task that there was to be.
    fn origin(&self) -> Origin {
        Origin { id: next_id(), site: self.site, name: None }
    }

    /// Whether there is a place by now, or never will be.
    fn look(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        let Some(target) = &self.target else {
            panic!("a sidestep reservation was polled after it had given its result");
        };
        let inner = &target.pool().inner;
        if let Some(reason) = refusal(target) {
            return Poll::Ready(Err(reason));
        }
        let Some(places) = target.permits() else { return Poll::Ready(Ok(())) };
        match places.poll_acquire(&mut self.turn, context.waker()) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
            Poll::Ready(Err(_)) => Poll::Ready(Err(Reason::Shutdown)),
            Poll::Pending => {
                // ORDERING: pairs with the fence in `Inner::close`, which comes before its look
                // for lanes. A lane that was made while the pool was closed has not been told.
                fence(Ordering::SeqCst);
                if inner.engine.is_closed() { Poll::Ready(Err(Reason::Shutdown)) } else { Poll::Pending }
            }
        }
    }

    fn give_up(&mut self) {
        let Some(target) = &self.target else { return };
        // In a forked child a wait may have been in the queue for ever.
        if let Some(places) = target.permits().filter(|_| !target.pool().inner.engine.is_forked()) {
            places.give_up(&mut self.turn);
        }
    }
}

/// Why no task gets into a queue of this pool, if none does.
fn refusal(target: &Destination) -> Option<Reason> {
    let engine = &target.pool().inner.engine;
    if engine.is_forked() {
        return Some(Reason::NoThread(forked_child()));
    }
    engine.is_closed().then_some(Reason::Shutdown)
}

impl BlockingWait for Reserve {
    type Output = Result<Permit, TaskError>;

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Self::Output> {
        Future::poll(Pin::new(self), context)
    }

    fn help(&mut self, host: Option<&dyn Host>) -> Help {
        match &self.target {
            Some(target) if target.lane().is_some_and(|lane| lane.core().is_held_here()) => {
                Help::Fail(Reason::LaneDeadlock)
            }
            Some(target) if host.is_some_and(|host| host.owner() == target.pool().inner.engine.owner()) => {
                Help::RunAny
            }
            _ => Help::Nothing,
        }
    }

    /// Out of the line meanwhile: a permit that came now would lie below what runs on this stack,
    /// which may want one itself.
    fn step_aside(&mut self) {
        self.give_up();
    }

    fn fail(&mut self, reason: Reason) -> Poll<Self::Output> {
        Poll::Ready(Err(TaskError::new(self.origin(), reason)))
    }

    fn too_deep(&mut self, deep: TooDeep) -> Option<Self::Output> {
        Some(Err(TaskError::new(self.origin(), Reason::TooDeep(deep))))
    }
}

impl Future for Reserve {
    type Output = Result<Permit, TaskError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let result = std::task::ready!(self.look(context));
        if result.is_err() {
            self.give_up();
        }
        let Some(target) = self.target.take() else { unreachable!("`look` has looked") };
        Poll::Ready(match result {
            Ok(()) => Ok(Permit { target: Some(target) }),
            Err(reason) => Err(TaskError::new(self.origin(), reason)),
        })
    }
}

/// A wait is terminated once it has given its result.
impl FusedFuture for Reserve {
    fn is_terminated(&self) -> bool {
        self.target.is_none()
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl UnwindSafe for Reserve {}
impl RefUnwindSafe for Reserve {}

impl fmt::Debug for Reserve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reserve").field("turn", &self.turn).finish_non_exhaustive()
    }
}

/// A place in the queue of a [`Pool`] or [`Lane`](crate::Lane). Dropping it frees the place for the
/// next who waits.
///
/// One that is forgotten ([`mem::forget`](std::mem::forget), a circle of `Arc`s) keeps its place
/// for ever: the queue takes one task less from then on, and none if that was its only place; then
/// who waits for one does so until the pool is shut down. The permit also counts as a handle to its
/// pool for ever, so that only a shutdown ends that.
///
/// ```
/// let pool = sidestep::Pool::builder().queue_limit(100).build()?;
/// # sidestep::block_on(async {
/// let permit = pool.reserve().await?; // waits while 100 tasks are queued
/// let answer = permit.spawn(|| 6 * 7).await?;
/// assert_eq!(answer, 42);
/// # Ok::<(), sidestep::TaskError>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping a permit gives the place back"]
pub struct Permit {
    /// `None` once the place has been used.
    target: Option<Destination>,
}

impl Permit {
    /// Queues `f` with this permit: the pool never refuses it because its queue is full.
    ///
    /// A permit does not keep a shutdown waiting. If the pool has been shut down since it was
    /// given, the handle resolves with [`is_shutdown`](TaskError::is_shutdown).
    #[track_caller]
    pub fn spawn<F, T>(mut self, f: F) -> Task<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.submit(f, Location::caller(), |pool| pool.inner.carried.metadata())
    }

    /// [`spawn`](Permit::spawn), with a name, a time limit or other settings: those of `options`.
    /// The task goes to the queue that the permit is for, whatever pool or lane the options are of.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let pool = sidestep::Pool::builder().queue_limit(100).build()?;
    /// let nightly = pool.options().name("backup").expire_after(Duration::from_secs(60));
    /// let backup = pool.reserve().wait()?.spawn_with(&nightly, || "saved");
    /// assert_eq!(backup.wait()?, "saved");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn spawn_with<F, T>(self, options: &TaskOptions<'_>, f: F) -> Task<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.start(options, f)
    }

    /// [`spawn_with`](Permit::spawn_with) for work that may end its task with a reason.
    #[track_caller]
    pub(in crate::pool) fn start<F, T>(mut self, options: &TaskOptions<'_>, f: F) -> Task<T>
    where
        F: Work<T> + Send + 'static,
        T: Send + 'static,
    {
        self.submit(f, Location::caller(), |pool| options.settings.metadata(pool))
    }

    fn submit<F, T>(
        &mut self,
        f: F,
        site: &'static Location<'static>,
        cold: impl FnOnce(&Pool) -> Option<Box<ColdPart>>,
    ) -> Task<T>
    where
        F: Work<T> + Send + 'static,
        T: Send + 'static,
    {
        let Some(target) = self.target.take() else { unreachable!("`spawn` consumes the permit") };
        let cold = cold(target.pool());
        let has_permit = target.permits().is_some();
        match target {
            Destination::Pool(pool) => Submitter { has_permit, ..pool.submitter() }.spawn(f, site, cold),
            Destination::Lane(lane) => Submitter { has_permit, ..lane.submitter() }.spawn(f, site, cold),
            Destination::Key(key) => Submitter { has_permit, ..key.submitter() }.spawn(f, site, cold),
        }
    }

    /// [`spawn`](Permit::spawn) for when no error is expected.
    ///
    /// # Panics
    ///
    /// Not here, but awaiting the future panics if `f` did, or if the pool has been shut down.
    #[track_caller]
    pub fn unblock<F, T>(self, f: F) -> Unblocked<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        Unblocked::new(self.spawn(f))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(target) = self.target.take() else { return };
        if !target.pool().inner.engine.is_forked() {
            target.permits().into_iter().for_each(Semaphore::release);
        }
    }
}

impl UnwindSafe for Permit {}
impl RefUnwindSafe for Permit {}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}
