//! [`CallOptions`]: options of a call of a strand.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::Strand;
use crate::pool::TaskOptions;
use crate::task::{OnShutdown, Task};

/// Options for one call of a [`Strand`], or for several: what [`TaskOptions`] are for tasks.
/// [`Strand::options`] makes them.
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
pub struct CallOptions<'a, T: Send + 'static> {
    strand: &'a Strand<T>,
    options: TaskOptions<'a>,
}

impl<'a, T: Send + 'static> CallOptions<'a, T> {
    pub(super) fn new(strand: &'a Strand<T>, options: TaskOptions<'a>) -> Self {
        CallOptions { strand, options }
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

    /// Queues a call with these options: see [`Strand::call`].
    ///
    /// # Errors
    ///
    /// None here: the task resolves with the errors of [`Strand::call`], and with an error that
    /// [`is_expired`](crate::TaskError::is_expired) if the time limit has passed before the call
    /// could start.
    #[track_caller]
    pub fn call<F, R>(&self, f: F) -> Task<R>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        self.options.attempt(self.strand.turn(|value| Ok(f(value))))
    }
}

impl<T: Send + 'static> Clone for CallOptions<'_, T> {
    fn clone(&self) -> Self {
        CallOptions { strand: self.strand, options: self.options.clone() }
    }
}

impl<T: Send + 'static> fmt::Debug for CallOptions<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallOptions").field("options", &self.options).finish_non_exhaustive()
    }
}
