//! Options of a single call.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::Strand;
use crate::pool::TaskOptions;
use crate::task::{OnShutdown, Task};

/// Options for one call of a [`Strand`], or for several alike, as [`TaskOptions`] for tasks.
/// [`Strand::options`] gives them.
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
    pub(super) fn new(strand: &'a Strand<T>) -> Self {
        CallOptions { strand, options: strand.lane().options() }
    }

    /// As [`TaskOptions::name`].
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.options = self.options.name(name);
        self
    }

    /// As [`TaskOptions::expire_after`]: so a caller can give up on its turn, while a call that has
    /// begun runs to its end.
    pub fn expire_after(mut self, time: Duration) -> Self {
        self.options = self.options.expire_after(time);
        self
    }

    /// As [`TaskOptions::on_shutdown`].
    pub fn on_shutdown(mut self, policy: OnShutdown) -> Self {
        self.options = self.options.on_shutdown(policy);
        self
    }

    /// [`Strand::call`] with these options.
    ///
    /// # Errors
    ///
    /// As there; and the handle resolves with [`is_expired`](crate::TaskError::is_expired) where
    /// the call's time was up before its turn came.
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
