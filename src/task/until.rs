//! Waiting for the cancellation of a token, by a waker or with a blocked thread. `token` says why
//! no wait is forgotten.

use std::fmt;
use std::future::Future;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_core::future::FusedFuture;

use super::cancel_hooks::WakerLeft;
use super::token::{CancelToken, Prospect};
use super::wait::{BlockingWait, block};
use super::wake::{discard, wake};
use crate::sync::now;

impl CancelToken {
    /// A future that is ready when the token is cancelled, and for threads without one,
    /// [`wait`](UntilCancelled::wait). It keeps a clone of the token.
    ///
    /// ```
    /// use sidestep::CancelToken;
    ///
    /// # sidestep::block_on(async {
    /// let token = CancelToken::new();
    /// let cancelled = token.cancelled();
    /// std::thread::spawn(move || token.cancel());
    /// cancelled.await;
    /// # });
    /// ```
    pub fn cancelled(&self) -> UntilCancelled {
        UntilCancelled { token: self.clone(), waker: None, is_done: false }
    }
}

/// A wait for the cancellation of a [`CancelToken`]: what [`CancelToken::cancelled`] returns.
///
/// A token that can be cancelled no more, since its task has ended or since it is
/// [`never`](CancelToken::never), leaves the future pending for ever;
/// [`wait`](UntilCancelled::wait) returns then.
///
/// # Cancellation
///
/// Dropping it ends the wait, and takes its waker back.
#[must_use = "the cancellation is waited for only by awaiting this, or by `wait`"]
pub struct UntilCancelled {
    token: CancelToken,
    /// What the waker that was left is listed as.
    waker: Option<u64>,
    is_done: bool,
}

impl UntilCancelled {
    /// Blocks this thread until the token is cancelled: then true. False once it can be cancelled
    /// no more.
    ///
    /// On a thread of a pool the wait counts as blocking, and nothing runs inline meanwhile.
    ///
    /// ```
    /// let task = sidestep::spawn(|| sidestep::current::token());
    /// let token = task.wait()?;
    /// assert!(!token.cancelled().wait(), "its task has ended");
    /// # Ok::<(), sidestep::TaskError>(())
    /// ```
    #[track_caller]
    pub fn wait(mut self) -> bool {
        match block(&mut self, None) {
            Some(is_cancelled) => is_cancelled,
            None => unreachable!("there is no deadline"),
        }
    }

    /// Blocks this thread until the token is cancelled, or can be cancelled no more, but no longer
    /// than `timeout`. True if it is cancelled. Any duration is legal; [`Duration::MAX`] is no
    /// limit.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// // A pause that a cancellation ends.
    /// let task = sidestep::spawn(|| {
    ///     sidestep::current::token().cancelled().wait_timeout(Duration::from_millis(1))
    /// });
    /// assert!(!task.wait()?);
    /// # Ok::<(), sidestep::TaskError>(())
    /// ```
    #[track_caller]
    pub fn wait_timeout(mut self, timeout: Duration) -> bool {
        let deadline = now().checked_add(timeout);
        block(&mut self, deadline).unwrap_or(false)
    }

    /// Whether the token is cancelled, or never will be: if neither, `waker` is called when one of
    /// the two is so.
    fn look(&mut self, waker: &Waker) -> Poll<bool> {
        let is_cancelled = match self.token.subject().prospect() {
            Prospect::Cancelled => true,
            Prospect::Never => false,
            Prospect::Open => {
                let Some(hooks) = self.token.subject().hooks() else { return Poll::Ready(false) };
                // User code, and without a lock.
                let (unneeded, is_cancelled) = match hooks.leave_waker(self.waker, waker.clone(), wake) {
                    WakerLeft::Listed(id, unneeded) => {
                        self.waker = Some(id);
                        unneeded.into_iter().for_each(discard);
                        return Poll::Pending;
                    }
                    WakerLeft::Fired(waker) => (waker, true),
                    WakerLeft::Sealed(waker) => (waker, false),
                };
                discard(unneeded);
                is_cancelled
            }
        };
        self.leave();
        Poll::Ready(is_cancelled)
    }

    /// Takes the waker back.
    fn leave(&mut self) {
        let Some(id) = self.waker.take() else { return };
        let waker = self.token.subject().hooks().and_then(|hooks| hooks.take_waker(id));
        waker.into_iter().for_each(discard);
    }
}

impl Future for UntilCancelled {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match self.look(context.waker()) {
            Poll::Ready(true) => {
                self.is_done = true;
                Poll::Ready(())
            }
            Poll::Ready(false) | Poll::Pending => Poll::Pending,
        }
    }
}

impl FusedFuture for UntilCancelled {
    fn is_terminated(&self) -> bool {
        self.is_done
    }
}

impl BlockingWait for UntilCancelled {
    type Output = bool;

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        self.look(context.waker())
    }
}

impl Drop for UntilCancelled {
    fn drop(&mut self) {
        self.leave();
    }
}

impl UnwindSafe for UntilCancelled {}
impl RefUnwindSafe for UntilCancelled {}

impl fmt::Debug for UntilCancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UntilCancelled").field("token", &self.token).finish_non_exhaustive()
    }
}
