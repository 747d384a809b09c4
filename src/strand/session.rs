//! [`Session`]: a strand's value for one caller, over several calls. The protocol is that of the
//! lane: see "Sessions" in `lane`.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use super::callee::plain_call;
use super::callee::sealed::Serve;
use super::inner::{StrandCall, StrandInner};
use super::options::CallOptions;
use crate::pool::{ChosenTarget, TaskOptions};
use crate::task::Task;

/// The exclusive use of a [`Strand`](crate::Strand)'s value over several calls: what
/// [`Strand::session`](crate::Strand::session) resolves with.
///
/// Use it for calls that belong together although the caller awaits something between them: a
/// transaction, a dialogue with a device. Its calls run at once; all others of the strand, and
/// whatever else is queued in its lane, wait in their order until it is dropped. It holds no
/// thread, and its calls are never refused because the lane's queue is full, which those that wait
/// for it may have filled.
///
/// When it is dropped, calls of it that are queued still run, before the next one. A shutdown of
/// the pool ends it: what it has queued runs, then the others; later calls of it resolve with
/// [`is_shutdown`](crate::TaskError::is_shutdown).
///
/// # Waiting
///
/// Who awaits or waits for a call of the strand, or for another session, while it holds this one
/// waits for ever. Only from inside a call of the session itself, `wait` returns an error that
/// [`is_deadlock`](crate::TaskError::is_deadlock). A session that is forgotten
/// ([`mem::forget`](std::mem::forget)) keeps the value until the pool is shut down.
///
/// # Poisoning
///
/// A call that panics poisons the value, for this session too. [`replace`](Session::replace), or
/// [`clear_poison`](crate::Strand::clear_poison) of the strand, heals it.
///
/// ```
/// use sidestep::Strand;
///
/// # fn main() -> Result<(), sidestep::TaskError> {
/// # sidestep::block_on(async {
/// let account = Strand::new(100_u32);
/// let session = account.session().await?;
/// let later = account.call(|balance| *balance);
/// let balance = session.call(|balance| *balance).await?;
/// // Whatever is awaited here, no other call comes between.
/// session.call(move |new| *new = balance - 30).await?;
/// drop(session);
/// assert_eq!(later.await?, 70);
/// # Ok(()) })
/// # }
/// ```
#[must_use = "dropping a session lets the next call run"]
pub struct Session<T: Send + 'static> {
    inner: Arc<StrandInner<T>>,
    /// The lane's session, with the options of all calls.
    target: ChosenTarget,
}

impl<T: Send + 'static> Session<T> {
    /// The session of the strand's lane, which is open.
    pub(super) fn new(inner: Arc<StrandInner<T>>) -> Self {
        let target = inner.target.in_session(&inner.lane);
        Session { inner, target }
    }

    /// Queues a call, without waiting: see [`Strand::call`](crate::Strand::call). The calls of a
    /// session run one at a time and in order.
    ///
    /// # Errors
    ///
    /// None here: the task resolves with the errors of `Strand::call`, but for
    /// [`is_full`](crate::TaskError::is_full).
    #[track_caller]
    pub fn call<F, R>(&self, f: F) -> Task<R>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        plain_call(&self.target, self.server(), f)
    }

    /// Options for calls: a name, a time limit in the queue, what a shutdown does to them.
    pub fn options(&self) -> CallOptions<'_, Self> {
        CallOptions::new(self)
    }

    /// Puts `value` in the place of the strand's value: see
    /// [`Strand::replace`](crate::Strand::replace).
    ///
    /// # Errors
    ///
    /// None here: the task resolves with those of `Strand::replace`.
    #[track_caller]
    pub fn replace(&self, value: T) -> Task<()> {
        let inner = Arc::clone(&self.inner);
        self.target.attempt(move || inner.replace(value))
    }
}

impl<T: Send + 'static> Serve for Session<T> {
    type Value = T;
    type Server = StrandCall<T>;

    fn server(&self) -> StrandCall<T> {
        StrandCall(Arc::clone(&self.inner))
    }

    fn call_options(&self) -> TaskOptions<'_> {
        self.target.options()
    }
}

impl<T: Send + 'static> Drop for Session<T> {
    fn drop(&mut self) {
        self.inner.lane.end_session();
    }
}

// A call that panics poisons the strand, as for a handle.
impl<T: Send + 'static> UnwindSafe for Session<T> {}
impl<T: Send + 'static> RefUnwindSafe for Session<T> {}

impl<T: Send + 'static> fmt::Debug for Session<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("lane", &self.inner.lane.name()).finish_non_exhaustive()
    }
}
