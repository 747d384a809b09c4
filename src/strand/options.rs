//! [`CallOptions`]: options of a call on a value.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::callee::{Callee, call, try_call};
use super::reserve::ReserveCall;
use crate::error::Rejected;
use crate::pool::{ChosenTarget, TaskOptions};
use crate::task::{OnShutdown, Task};

/// Options for one call on a value, or for several: what [`TaskOptions`] are for tasks. The
/// `options` of a [`Strand`](crate::Strand), a [`Session`](crate::Session), a
/// [`Dedicated`](crate::Dedicated) or a [`ResourcePool`](crate::ResourcePool) make them.
///
/// ```
/// use std::time::Duration;
/// use sidestep::Strand;
///
/// let ledger = Strand::new(vec![40, 2]);
/// let sum = ledger
///     .options()
///     .name("sum")
///     .expire_after(Duration::from_secs(5))
///     .call(|ledger| ledger.iter().sum::<i32>());
/// assert_eq!(sum.wait()?, 42);
/// # Ok::<(), sidestep::TaskError>(())
/// ```
#[must_use = "options do nothing until `call`"]
pub struct CallOptions<'a, C: Callee> {
    callee: &'a C,
    options: TaskOptions<'a>,
}

impl<'a, C: Callee> CallOptions<'a, C> {
    pub(crate) fn new(callee: &'a C) -> Self {
        CallOptions { callee, options: callee.call_options() }
    }

    /// Names the call, as [`TaskOptions::name`] names a task.
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.options = self.options.name(name);
        self
    }

    /// Limits how long the call may be queued, as [`TaskOptions::expire_after`] does for a task. A
    /// call that has started runs to its end.
    pub fn expire_after(mut self, time: Duration) -> Self {
        self.options = self.options.expire_after(time);
        self
    }

    /// Limits the time from the call to its end, as [`TaskOptions::cancel_after`] does for a task:
    /// a call that is queued expires, one that runs is cancelled.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sidestep::{Strand, current};
    ///
    /// let counter = Strand::new(0_u64);
    /// let counting = counter.options().cancel_after(Duration::from_millis(20)).call(|counter| {
    ///     while !current::is_cancelled() {
    ///         *counter += 1;
    ///     }
    /// });
    /// if counting.wait().is_ok() {
    ///     assert!(counter.into_inner().wait()? > 0);
    /// }
    /// # Ok::<(), sidestep::TaskError>(())
    /// ```
    pub fn cancel_after(mut self, time: Duration) -> Self {
        self.options = self.options.cancel_after(time);
        self
    }

    /// Sets what a shutdown of the pool does to the call, as [`TaskOptions::on_shutdown`] does for
    /// a task.
    pub fn on_shutdown(mut self, policy: OnShutdown) -> Self {
        self.options = self.options.on_shutdown(policy);
        self
    }

    /// Queues a call with these options: see [`Strand::call`](crate::Strand::call) and
    /// [`ResourcePool::call`](crate::ResourcePool::call).
    ///
    /// # Errors
    ///
    /// None here: the task resolves with the errors of those, and with an error that
    /// [`is_expired`](crate::TaskError::is_expired) if the time limit has passed before the call
    /// could start.
    #[track_caller]
    pub fn call<F, R>(&self, f: F) -> Task<R>
    where
        F: FnOnce(&mut C::Value) -> R + Send + 'static,
        R: Send + 'static,
    {
        call(&self.options, self.callee.server(), f)
    }

    /// [`call`](CallOptions::call) that returns the closure where the call is refused.
    ///
    /// # Errors
    ///
    /// [`Rejected`], with the closure, if the queue of the lane is full, the pool is shut down, or
    /// this process is a forked child. That the value is poisoned or gone shows only when the call
    /// has its turn, so it is an error of the task.
    #[track_caller]
    pub fn try_call<F, R>(&self, f: F) -> Result<Task<R>, Rejected<F>>
    where
        F: FnOnce(&mut C::Value) -> R + Send + 'static,
        R: Send + 'static,
    {
        try_call(&self.options, self.callee.server(), f)
    }

    /// Waits for room in the queue; the permit makes a call with these options.
    #[track_caller]
    pub fn reserve(&self) -> ReserveCall<C>
    where
        C: Clone,
    {
        ReserveCall::new(self.callee.clone(), ChosenTarget::of(&self.options))
    }
}

impl<C: Callee> Clone for CallOptions<'_, C> {
    fn clone(&self) -> Self {
        CallOptions { callee: self.callee, options: self.options.clone() }
    }
}

impl<C: Callee> fmt::Debug for CallOptions<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallOptions").field("options", &self.options).finish_non_exhaustive()
    }
}
