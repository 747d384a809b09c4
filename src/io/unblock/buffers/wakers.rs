//! The wakers of the callers that wait: at most one reader's, one writer's, and any number of those
//! that wait for writes to be done.

use std::task::Waker;

use crate::task::wake;

/// What a waker waits for. The two halves of a handle may wait at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Bytes or items.
    Read,
    /// Room, a flush, a seek, the value itself.
    Write,
    /// The end of all writes: calls that share the handle.
    Written,
}

impl Interest {
    pub(crate) fn none() -> &'static [Interest] {
        &[]
    }

    pub(crate) fn all() -> &'static [Interest] {
        &[Interest::Read, Interest::Write, Interest::Written]
    }
}

/// The wakers that wait.
#[derive(Default)]
pub(crate) struct WakerSet {
    read: Option<Waker>,
    write: Option<Waker>,
    written: Vec<Waker>,
}

impl WakerSet {
    /// Whether `waker` waits already.
    pub(crate) fn has(&self, interest: Interest, waker: &Waker) -> bool {
        match interest {
            Interest::Read => self.read.as_ref().is_some_and(|other| other.will_wake(waker)),
            Interest::Write => self.write.as_ref().is_some_and(|other| other.will_wake(waker)),
            Interest::Written => self.written.iter().any(|other| other.will_wake(waker)),
        }
    }

    /// Lets `waker` wait. The one that it replaces is to be dropped outside of the lock.
    #[must_use]
    pub(crate) fn add(&mut self, interest: Interest, waker: Waker) -> Option<Waker> {
        match interest {
            Interest::Read => self.read.replace(waker),
            Interest::Write => self.write.replace(waker),
            Interest::Written => {
                self.written.push(waker);
                None
            }
        }
    }

    /// Takes those of `interests`, to be called outside of the lock.
    pub(crate) fn take(&mut self, interests: &[Interest]) -> Wakes {
        let mut wakes = Wakes::default();
        for interest in interests {
            match interest {
                Interest::Read => wakes.two[0] = self.read.take(),
                Interest::Write => wakes.two[1] = self.write.take(),
                Interest::Written => wakes.more = std::mem::take(&mut self.written),
            }
        }
        wakes
    }
}

/// Wakers to be called once the lock has been released.
#[must_use]
#[derive(Default)]
pub(crate) struct Wakes {
    two: [Option<Waker>; 2],
    more: Vec<Waker>,
}

impl Wakes {
    pub(crate) fn is_empty(&self) -> bool {
        self.two.iter().all(Option::is_none) && self.more.is_empty()
    }

    /// Those of `more` too, where there are any.
    pub(crate) fn and(&mut self, more: Wakes) {
        if !more.is_empty() {
            let before = std::mem::replace(self, more);
            self.more.extend(before.two.into_iter().flatten().chain(before.more));
        }
    }

    pub(crate) fn wake(self) {
        for waker in self.two.into_iter().flatten().chain(self.more) {
            wake(waker);
        }
    }
}
