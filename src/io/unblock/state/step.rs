//! Where the value of an `Unblock` is, the steps that the pump takes with it, and what comes of
//! them.

use std::any::Any;
use std::io::{self, SeekFrom};

use super::capability::{PullFn, ReadFn, SeekFn, WriteFns};
use crate::io::aligned::AlignedBytes;
use crate::io::unblock::buffers::items::Items;
use crate::io::unblock::buffers::wakers::Wakes;

/// Where the value is.
pub(crate) enum ValueState<T> {
    /// Here, and no pump works with it.
    Idle(T),
    /// Here, and a pump is queued on the pool.
    Queued(T),
    /// Here, and the pump comes back for it: it calls wakers, or spins for a while in case the
    /// handle asks for more.
    Paused(T),
    /// With the pump.
    Running,
    /// With the handle, or gone.
    CheckedOut,
    /// With the pump, which drops it, because the caller has closed it.
    Closing,
    /// Closed by the caller: dropped, or here to be dropped outside of the lock.
    Closed(Option<T>),
    /// It has panicked.
    Poisoned(Poison),
}

/// What a panic in the value has left.
pub(crate) struct Poison {
    pub(crate) message: String,
    /// For a stream, which resumes the panic.
    pub(crate) payload: Option<Box<dyn Any + Send>>,
}

/// A seek that the caller asked for.
#[derive(Default)]
pub(crate) enum SeekState {
    #[default]
    None,
    Wanted(SeekFrom),
    Running,
    /// It has ended, and its result has not been fetched.
    Done(SeekFrom, io::Result<u64>),
}

impl SeekState {
    /// Whether it is still to take effect.
    pub(crate) fn is_due(&self) -> bool {
        matches!(self, SeekState::Wanted(_) | SeekState::Running)
    }

    /// Begins the seek that is wanted.
    pub(crate) fn begin(&mut self) -> Option<SeekFrom> {
        let SeekState::Wanted(to) = *self else { return None };
        *self = SeekState::Running;
        Some(to)
    }

    /// The result of a seek to `to`.
    pub(crate) fn take(&mut self, to: SeekFrom) -> Option<io::Result<u64>> {
        match std::mem::take(self) {
            SeekState::Done(done, result) if done == to => Some(result),
            other => {
                *self = other;
                None
            }
        }
    }

    /// Moves a result that was never fetched to `stale`.
    pub(crate) fn discard_result(&mut self, stale: &mut SeekState) {
        if matches!(self, SeekState::Done(..)) {
            *stale = std::mem::take(self);
        }
    }

    /// A seek to `to` that has not begun never does.
    pub(crate) fn withdraw(&mut self, to: SeekFrom) {
        if matches!(self, SeekState::Wanted(wanted) if *wanted == to) {
            *self = SeekState::None;
        }
    }
}

/// A closure of `with_mut`.
pub(crate) type ValueCall<T> = Box<dyn FnOnce(&mut T) + Send>;

/// What the pump should do with the value, as far as it can be said without changing anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    Rewind,
    Write,
    Flush,
    Close,
    Seek,
    Call,
    Probe,
    Read,
    Pull,
    /// Nothing, until the handle asks for something.
    Rest,
    /// Nothing ever again: the handle is gone.
    End,
}

/// What the pump does with the value.
pub(crate) enum PumpStep<T> {
    /// Moves the value back by so many bytes, which were read ahead.
    Rewind(SeekFn<T>, usize),
    /// Writes the bytes from the given one on.
    Write(WriteFns<T>, AlignedBytes, usize),
    Flush(WriteFns<T>),
    /// Drops the value, because the caller closes it.
    Close,
    /// Seeks; the value is so many bytes ahead of the caller.
    Seek(SeekFn<T>, SeekFrom, usize),
    Call(ValueCall<T>),
    /// Asks where the value is, to know whether it can seek.
    Probe(SeekFn<T>),
    /// Reads into the buffer, or one of the given size.
    Read(ReadFn<T>, Option<AlignedBytes>, usize),
    /// Takes up to so many items.
    Pull(PullFn<T>, Items, usize),
    Rest,
    End,
}

/// What came of a step.
pub(crate) enum StepResult {
    /// The result, and whether it is an error that may pass.
    Rewound(io::Result<()>, bool),
    Wrote(AlignedBytes, usize, io::Result<()>),
    Flushed(io::Result<()>),
    /// The result, and whether the value has left the position up to which it was read.
    Sought(SeekFrom, io::Result<u64>, bool),
    Called,
    Probed(io::Result<u64>),
    Read(AlignedBytes, io::Result<usize>),
    /// The items, how many, and whether there are no more.
    Pulled(Items, usize, bool),
}

/// What is to be woken, reported and dropped once the lock has been released: all of that is user
/// code.
#[must_use]
#[derive(Default)]
pub(crate) struct AfterUnlock {
    pub(crate) wakes: Wakes,
    /// The result of a seek that was never fetched.
    pub(crate) seek: SeekState,
    /// An error that no call will report.
    pub(crate) unreported: Option<io::Error>,
    /// An error that needs no report.
    pub(crate) unneeded: Option<io::Error>,
    /// Items that have no buffer to go to.
    pub(crate) items: Option<Items>,
}

impl AfterUnlock {
    /// Adds an error that no call will report. Of two the first is kept, since it came first.
    pub(crate) fn report(&mut self, error: Option<io::Error>) {
        if self.unreported.is_none() {
            self.unreported = error;
        } else {
            self.unneeded = error;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.wakes.is_empty()
            && matches!(self.seek, SeekState::None)
            && self.unreported.is_none()
            && self.unneeded.is_none()
            && self.items.is_none()
    }
}
