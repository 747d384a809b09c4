//! What a handle asks, and how it is answered.

use std::any::Any;
use std::io::{IoSlice, SeekFrom};

use super::capability::{PageCacheFn, PullFn, ReadFn, SeekFn, WriteFns};
use super::step::ValueCall;
use crate::io::unblock::buffers::items::{ItemBuffer, Items};
use crate::io::unblock::buffers::wakers::Interest;

/// What a handle asks.
pub(crate) enum Request<'a, T> {
    /// Bytes for a caller who has room for `want` of them. They go into the handle's chunk, or,
    /// where they can be had without waiting, into `buffer`, unless that is empty.
    Read { read: ReadFn<T>, page_cache: PageCacheFn<T>, want: usize, buffer: &'a mut [u8] },
    /// To take as much of the slices as there is room for. They are flushed, too, if `flushes`.
    Write { write: WriteFns<T>, slices: &'a [IoSlice<'a>], flushes: bool },
    /// That all is written and flushed.
    Flush { write: WriteFns<T> },
    /// That all is written and flushed, and then, unless the value is a regular file, that it is
    /// dropped: by the handle, if that takes no time.
    Close { write: WriteFns<T>, drops_in_place: bool },
    /// To seek.
    Seek { seek: SeekFn<T>, to: SeekFrom },
    /// That the value is at rest: all is written and flushed, and, if it can seek, it is where the
    /// caller is.
    Quiesce,
    /// As `Quiesce`, for those who share the handle: many may ask at a time, and the result of a
    /// seek stays for the caller who has asked for that.
    AtRest,
    /// To run a closure with the value, once that is at rest.
    Call(&'a mut CallRequest<T>),
    /// Items of an iterator.
    Items(ItemsRequest<'a, T>),
    /// The bytes that were accepted and could not be written.
    Unwritten { bytes: &'a mut Vec<u8> },
    /// That all is written. It changes nothing, so many who share the handle may ask at a time.
    Written,
}

/// A closure to be run with the value.
pub(crate) struct CallRequest<T> {
    /// The closure, until the machine has it.
    pub(crate) call: Option<ValueCall<T>>,
    /// Which of the calls it is, once the machine has it.
    pub(crate) number: Option<u64>,
}

/// A request for items, which go into `into`.
pub(crate) struct ItemsRequest<'a, T> {
    pub(crate) pull: PullFn<T>,
    /// Makes a buffer of the given capacity and batch, if there is none yet.
    pub(crate) buffer: fn(usize, usize) -> ItemBuffer,
    pub(crate) capacity: usize,
    pub(crate) batch: usize,
    pub(crate) into: &'a mut Items,
}

/// What answers a request.
pub(crate) enum Answer {
    /// There is what was asked for.
    Done,
    /// There are no more items.
    End,
    /// So many bytes went straight into the caller's buffer, or were accepted from the caller.
    Count(usize),
    /// Where a seek has got.
    Position(u64),
    /// The iterator has panicked.
    Panic(Box<dyn Any + Send>),
}

impl<T> Request<'_, T> {
    /// What the waker of a caller waits for whose request has no answer yet.
    pub(crate) fn interest(&self) -> Interest {
        match self {
            Request::Read { .. } | Request::Items(_) => Interest::Read,
            Request::Written | Request::AtRest => Interest::Written,
            Request::Write { .. }
            | Request::Flush { .. }
            | Request::Close { .. }
            | Request::Seek { .. }
            | Request::Quiesce
            | Request::Call(_)
            | Request::Unwritten { .. } => Interest::Write,
        }
    }

    /// The value is going to be used by other means, or dropped: calls of it that wait for its
    /// descriptor have to begin anew.
    pub(crate) fn takes_value(&self) -> bool {
        matches!(self, Request::Close { .. } | Request::Quiesce | Request::Call(_))
    }

    /// The caller goes on without the seek that it has started by tokio's trait.
    pub(crate) fn leaves_seek(&self) -> bool {
        match self {
            Request::Read { .. }
            | Request::Write { .. }
            | Request::Flush { .. }
            | Request::Close { .. }
            | Request::Quiesce
            | Request::Call(_) => true,
            Request::Seek { .. }
            | Request::Items(_)
            | Request::Unwritten { .. }
            | Request::Written
            | Request::AtRest => false,
        }
    }
}
