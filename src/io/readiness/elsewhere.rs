//! Systems, and model checkers, where nothing is waited for.

use std::task::Waker;

use crate::sys::descriptor::{Direction, Fd};

/// It never waits.
#[derive(Debug)]
pub(crate) struct NeverWait;

impl NeverWait {
    pub(crate) const fn new() -> Self {
        NeverWait
    }

    #[expect(clippy::unused_self, reason = "it is as on Linux")]
    pub(crate) fn is_set_for(&self, _: &Waker) -> bool {
        false
    }

    #[expect(clippy::unused_self, reason = "it is as on Linux")]
    pub(crate) fn set(&mut self, _: Fd, _: Direction, waker: Waker) -> Result<Option<Waker>, Waker> {
        Err(waker)
    }

    #[expect(clippy::unused_self, reason = "it is as on Linux")]
    pub(crate) fn cancel(&mut self) -> Option<Waker> {
        None
    }
}
