//! Room in the queue first, and then the call: [`ReserveCall`] and [`CallPermit`].

use std::fmt;
use std::future::Future;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::callee::{Callee, call_with_permit};
use crate::error::TaskError;
use crate::pool::{ChosenTarget, Permit, Reserve};
use crate::task::Task;

/// A wait for room in the queue of a [`Strand`](crate::Strand), a [`Dedicated`](crate::Dedicated)
/// value or a [`ResourcePool`](crate::ResourcePool): what their `reserve` returns.
///
/// Permits are granted in the order in which the waits began, before any `call` or `try_call` gets
/// room. A wait begins with the first poll, or with [`wait`](ReserveCall::wait). Where the queue
/// has no limit it ends at once.
///
/// # Errors
///
/// [`is_shutdown`](TaskError::is_shutdown) once the pool is shut down, and
/// [`is_no_thread`](TaskError::is_no_thread) in the child of a fork.
///
/// # Cancellation
///
/// Dropping it ends the wait; a permit that has been granted meanwhile goes to the next who waits.
///
/// # Panics
///
/// Polling panics once the result has been given.
#[must_use = "room is waited for only by awaiting this, or by `wait`"]
pub struct ReserveCall<C: Callee> {
    /// `None` once the result has been given.
    call: Option<(C, ChosenTarget)>,
    turn: Reserve,
}

impl<C: Callee> ReserveCall<C> {
    #[track_caller]
    pub(super) fn new(callee: C, target: ChosenTarget) -> Self {
        let turn = target.reserve();
        ReserveCall { call: Some((callee, target)), turn }
    }

    /// Blocks this thread until there is room: see [`Reserve::wait`].
    ///
    /// # Errors
    ///
    /// As for the future, and those of [`Reserve::wait`]: a call that waits for room in its own
    /// queue, which only its own end could make, gets an error that
    /// [`is_deadlock`](TaskError::is_deadlock).
    ///
    /// # Panics
    ///
    /// If the future has given its result already.
    #[track_caller]
    pub fn wait(self) -> Result<CallPermit<C>, TaskError> {
        let ReserveCall { call, turn } = self;
        let permit = turn.wait()?;
        Ok(CallPermit::new(call, permit))
    }
}

impl<C: Callee> Future for ReserveCall<C> {
    type Output = Result<CallPermit<C>, TaskError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let result = ready!(Pin::new(&mut this.turn).poll(context));
        let call = this.call.take();
        Poll::Ready(result.map(|permit| CallPermit::new(call, permit)))
    }
}

impl<C: Callee> Unpin for ReserveCall<C> {}
impl<C: Callee> UnwindSafe for ReserveCall<C> {}
impl<C: Callee> RefUnwindSafe for ReserveCall<C> {}

impl<C: Callee> fmt::Debug for ReserveCall<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReserveCall").field("turn", &self.turn).finish_non_exhaustive()
    }
}

/// Room in a queue for one call. Dropping it gives the room to the next who waits.
///
/// It keeps the value as a handle does, but no shutdown and no `close` waits for it.
///
/// ```
/// use sidestep::{Pool, Strand};
///
/// let pool = Pool::new()?;
/// let lane = pool.lane_builder("journal", 1).queue_limit(10).build()?;
/// let journal = Strand::in_lane(&lane, Vec::new())?;
/// # sidestep::block_on(async {
/// let permit = journal.reserve().await?; // waits while 10 calls are queued
/// let line = String::from("made only when there is room");
/// permit.call(move |lines| lines.push(line)).await?;
/// # Ok::<(), sidestep::TaskError>(())
/// # })?;
/// assert_eq!(journal.call(|lines| lines.len()).wait()?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping a permit gives the room back"]
pub struct CallPermit<C: Callee> {
    callee: C,
    target: ChosenTarget,
    permit: Permit,
}

impl<C: Callee> CallPermit<C> {
    fn new(call: Option<(C, ChosenTarget)>, permit: Permit) -> Self {
        let Some((callee, target)) = call else { unreachable!("the permit came with the only result") };
        CallPermit { callee, target, permit }
    }

    /// Queues the call: it is never refused because the queue is full. The options are those with
    /// which the room was reserved.
    ///
    /// # Errors
    ///
    /// None here: the task resolves with the errors of the `call` of the value.
    #[track_caller]
    pub fn call<F, R>(self, f: F) -> Task<R>
    where
        F: FnOnce(&mut C::Value) -> R + Send + 'static,
        R: Send + 'static,
    {
        let CallPermit { callee, target, permit } = self;
        call_with_permit(&target.options(), permit, callee.server(), f)
    }
}

impl<C: Callee> UnwindSafe for CallPermit<C> {}
impl<C: Callee> RefUnwindSafe for CallPermit<C> {}

impl<C: Callee> fmt::Debug for CallPermit<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallPermit").field("permit", &self.permit).finish_non_exhaustive()
    }
}
