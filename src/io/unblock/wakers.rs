//! Who waits for a value: at most one reader, one writer, and any number who wait for writes to be
//! done.

use std::task::Waker;

use crate::task::wake;

/// What a waker waits for. The two halves of a handle may wait at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Bytes or items.
    Read,
    /// Room, a flush, a seek, the value itself.
    Write,
    /// The end of all writes: calls that share the handle.
    Written,
}

impl Side {
    pub(super) fn none() -> &'static [Side] {
        &[]
    }

    pub(super) fn all() -> &'static [Side] {
        &[Side::Read, Side::Write, Side::Written]
    }
}

/// The wakers that wait.
#[derive(Default)]
pub(super) struct Wakers {
    read: Option<Waker>,
    write: Option<Waker>,
    written: Vec<Waker>,
}

impl Wakers {
    /// Whether `waker` waits already.
    pub(super) fn has(&self, side: Side, waker: &Waker) -> bool {
        match side {
            Side::Read => self.read.as_ref().is_some_and(|other| other.will_wake(waker)),
            Side::Write => self.write.as_ref().is_some_and(|other| other.will_wake(waker)),
            Side::Written => self.written.iter().any(|other| other.will_wake(waker)),
        }
    }

    /// Lets `waker` wait. The one that it replaces is to be dropped outside of the lock.
    #[must_use]
    pub(super) fn add(&mut self, side: Side, waker: Waker) -> Option<Waker> {
        match side {
            Side::Read => self.read.replace(waker),
            Side::Write => self.write.replace(waker),
            Side::Written => {
                self.written.push(waker);
                None
            }
        }
    }

    /// Takes those of `sides`, to be woken outside of the lock.
    pub(super) fn take(&mut self, sides: &[Side]) -> Wakes {
        let mut wakes = Wakes::default();
        for side in sides {
            match side {
                Side::Read => wakes.two[0] = self.read.take(),
                Side::Write => wakes.two[1] = self.write.take(),
                Side::Written => wakes.more = std::mem::take(&mut self.written),
            }
        }
        wakes
    }
}

/// Wakers to be woken once the lock has been released.
#[must_use]
#[derive(Default)]
pub(super) struct Wakes {
    two: [Option<Waker>; 2],
    more: Vec<Waker>,
}

impl Wakes {
    pub(super) fn is_empty(&self) -> bool {
        self.two.iter().all(Option::is_none) && self.more.is_empty()
    }

    /// Those of `more` too, where there are any.
    pub(super) fn and(&mut self, more: Wakes) {
        if !more.is_empty() {
            let before = std::mem::replace(self, more);
            self.more.extend(before.two.into_iter().flatten().chain(before.more));
        }
    }

    pub(super) fn wake(self) {
        for waker in self.two.into_iter().flatten().chain(self.more) {
            wake(waker);
        }
    }
}
