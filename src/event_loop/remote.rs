//! The way onto the loop's thread from all others.

use std::error::Error;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use super::handle::Handle;
use super::mailbox::Mailbox;

/// Posts closures to an [`EventLoop`](crate::EventLoop) from any thread. [`Handle::remote`] makes
/// one.
///
/// It keeps nothing alive: a [`run`](crate::EventLoop::run) with nothing else outstanding returns,
/// and what is posted after that waits for the next one.
#[derive(Clone)]
pub struct Remote {
    mailbox: Arc<Mailbox>,
}

impl Remote {
    pub(super) fn new(mailbox: Arc<Mailbox>) -> Self {
        Remote { mailbox }
    }

    /// Has `f` run on the loop's thread, after all that has become ready before.
    ///
    /// # Errors
    ///
    /// [`Closed`], with the closure, if the loop has been dropped, or if this process is a forked
    /// child of the one that made the `Remote`. A closure that was taken may still be dropped
    /// unrun: when the loop is dropped first.
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
        self.mailbox.post(f).map_err(|closure| Closed { closure })
    }
}

// Foreign code runs under no lock of it, and a panic in that is caught.
impl UnwindSafe for Remote {}
impl RefUnwindSafe for Remote {}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

/// A closure that [`Remote::post`] did not take because the loop is gone.
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
    /// The closure, unrun.
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
