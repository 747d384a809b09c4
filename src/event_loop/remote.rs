//! Posting to a loop from other threads: [`Handle::remote`], and [`Remote`].

use std::error::Error;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use super::entry::LoopMailbox;
use super::handle::Handle;

impl Handle {
    /// A handle that posts closures to the loop from other threads.
    #[must_use]
    pub fn remote(&self) -> Remote {
        Remote { mailbox: self.mailbox() }
    }
}

/// Posts closures to an [`EventLoop`](crate::EventLoop) from any thread. [`Handle::remote`] makes
/// one.
///
/// A `Remote` does not keep the loop running: [`run`](crate::EventLoop::run) returns when nothing
/// is outstanding, and a closure that is posted after that waits for the next `run`.
#[derive(Clone)]
pub struct Remote {
    mailbox: Arc<LoopMailbox>,
}

impl Remote {
    /// Runs `f` on the loop's thread, after everything that is ready already.
    ///
    /// # Errors
    ///
    /// [`Closed`], with the closure, if the loop has been dropped, or if this process is a forked
    /// child of the one that made the `Remote`. If the loop is dropped after this has returned
    /// `Ok`, and before the closure has run, the closure is dropped unrun.
    ///
    /// ```
    /// use sidestep::EventLoop;
    ///
    /// let mut ev = EventLoop::new();
    /// let remote = ev.remote();
    /// let answer = remote.clone();
    /// std::thread::spawn(move || answer.post(|_| println!("on the thread of the loop"))).join().unwrap()?;
    /// ev.run();
    /// drop(ev);
    /// assert!(remote.post(|_| unreachable!()).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn post<F>(&self, f: F) -> Result<(), Closed<F>>
    where
        F: FnOnce(&Handle) + Send + 'static,
    {
        self.mailbox.post(f, |f| Box::new(f)).map_err(|closure| Closed { closure })
    }
}

// No user code runs under the lock of the mailbox, and a panic of user code is caught.
impl UnwindSafe for Remote {}
impl RefUnwindSafe for Remote {}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

/// A closure that [`Remote::post`] did not take, or a message that
/// [`ChannelSender::send`](super::ChannelSender::send) did not, because the loop is gone.
///
/// ```
/// let remote = sidestep::EventLoop::new().remote();
/// let closed = remote.post(|_| println!("never")).unwrap_err();
/// assert_eq!(closed.to_string(), "the event loop is gone");
/// let _the_closure = closed.into_inner();
/// ```
pub struct Closed<F> {
    closure: F,
}

impl<F> Closed<F> {
    pub(super) fn new(closure: F) -> Self {
        Closed { closure }
    }

    /// The closure, unrun, or the message.
    #[must_use]
    pub fn into_inner(self) -> F {
        self.closure
    }
}

impl<F> fmt::Debug for Closed<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closed").finish_non_exhaustive()
    }
}

impl<F> fmt::Display for Closed<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the event loop is gone")
    }
}

impl<F> Error for Closed<F> {}
