//! Values whose descriptor may never be ready: a pipe, a socket, a terminal. They are read and
//! written here, under the lock, straight between the descriptor and the caller's buffer, by calls
//! that do not wait.
//!
//! # What becomes of a call
//!
//! | the call | then |
//! |---|---|
//! | succeeds or fails | that is the answer: nothing is buffered, and nothing outstanding |
//! | would have to wait | the handle leaves its waker with `readiness`, for this direction, and returns; nothing else remains of the call |
//! | cannot be made without waiting, but would not wait just now | the pump makes it, as for a file: for a write so much is accepted as is sure to go over |
//! | would have to wait, and `readiness` has no room | the pump makes it, and holds a thread of the pool meanwhile |
//!
//! While the pump has the value, or has left bytes that it read, all calls wait for that.
//!
//! The descriptor is looked up for each call, and what is known of it is forgotten whenever the
//! value has been in other hands.

use std::io::{self, IoSlice};
use std::ops::ControlFlow;

use super::Machine;
use crate::io::aligned::AlignedBytes;
use crate::io::unblock::buffers::inbound::ReadChunk;
use crate::io::unblock::state::capability::{Capabilities, may_read_ahead};
use crate::io::unblock::state::request::{Answer, Request};
use crate::io::unblock::state::step::{AfterUnlock, ValueState};
use crate::sys::descriptor::{Attempt, Endpoint, Fd};

/// What is known of the descriptor of the value.
#[derive(Debug)]
pub(crate) enum Direct {
    /// It has not been looked at.
    Unknown,
    /// There is none, or it is never waited for: a regular file.
    No,
    Yes(Endpoint),
}

/// The answer to a request, or none yet; or, where it is not made here, what the other way needs.
pub(super) type Directly<C> = ControlFlow<Option<io::Result<Answer>>, C>;

impl<T: 'static> Machine<T> {
    /// The descriptor of the value, if it is one to wait for and no pump works with the value.
    pub(super) fn endpoint(&mut self) -> Option<(Fd, &mut Endpoint)> {
        let how = self.capabilities.descriptor?;
        let ValueState::Idle(value) = &self.value else { return None };
        let fd = how.find(value);
        if matches!(self.direct, Direct::Unknown) {
            match Endpoint::of(fd, how) {
                Some(endpoint) => {
                    self.direct = Direct::Yes(endpoint);
                    self.cannot_seek();
                    self.capabilities.page_cache = false;
                    self.probed = true;
                }
                None => self.direct = Direct::No,
            }
        }
        match &mut self.direct {
            Direct::Yes(endpoint) => Some((fd, endpoint)),
            _ => None,
        }
    }

    /// The value has a descriptor to wait for, be it with the pump.
    pub(crate) fn is_direct(&self) -> bool {
        matches!(self.direct, Direct::Yes(_))
    }

    /// The value may be another by now, or leaves: what is known of its descriptor is forgotten,
    /// and what was opened beside it is closed.
    pub(super) fn forget_endpoint(&mut self) {
        if let Direct::Yes(_) = std::mem::replace(&mut self.direct, Direct::Unknown) {
            let known = Capabilities::<T>::of_type();
            self.capabilities.seek = known.seek;
            self.capabilities.page_cache = known.page_cache;
            self.reads_ahead = may_read_ahead::<T>();
            self.probed = false;
        }
    }

    /// A pipe or a device says itself whether it can seek. That changes nothing here: no byte of it
    /// is ever read again.
    pub(super) fn seek_of_endpoint_ended(&mut self) {
        if self.is_direct() {
            self.cannot_seek();
        }
    }

    /// Reads into `buffer`, or, if that is empty, into `chunk`.
    pub(super) fn read_directly(&mut self, buffer: &mut [u8], chunk: &mut ReadChunk) -> Directly<()> {
        if self.is_ordinary || self.inbound.has_answer() || self.inbound.is_demanded() {
            return ControlFlow::Continue(());
        }
        if self.endpoint().is_none() {
            // The pump is there: a read that it was asked for now might wait.
            return if self.is_direct() { ControlFlow::Break(None) } else { ControlFlow::Continue(()) };
        }
        let goes_to_chunk = buffer.is_empty();
        let mut bytes = if goes_to_chunk { self.inbound.take_buffer(chunk) } else { AlignedBytes::default() };
        let Some((fd, endpoint)) = self.endpoint() else { return ControlFlow::Continue(()) };
        match endpoint.read(fd, if goes_to_chunk { &mut bytes } else { buffer }) {
            Attempt::Done(count) if goes_to_chunk => {
                *chunk = self.inbound.check_out(bytes, count);
                ControlFlow::Break(Some(Ok(Answer::Done)))
            }
            Attempt::Done(count) => ControlFlow::Break(Some(Ok(Answer::Count(count)))),
            Attempt::Blocked(fd) => {
                self.blocked = Some(fd);
                ControlFlow::Break(None)
            }
            Attempt::Ready(_) => ControlFlow::Continue(()),
            Attempt::Failed(error) => ControlFlow::Break(Some(Err(error))),
        }
    }

    /// Writes as much of `slices` as there is room for. `Continue` has how much may be accepted to
    /// be written by the pump.
    pub(super) fn write_directly(&mut self, slices: &[IoSlice<'_>]) -> Directly<usize> {
        if self.is_ordinary {
            return ControlFlow::Continue(usize::MAX);
        }
        if self.outbound.buffered() > 0 && self.is_direct() {
            return ControlFlow::Break(None);
        }
        let Some((fd, endpoint)) = self.endpoint() else {
            let waits = self.is_direct();
            return if waits { ControlFlow::Break(None) } else { ControlFlow::Continue(usize::MAX) };
        };
        match endpoint.write(fd, slices) {
            Attempt::Done(count) => ControlFlow::Break(Some(Ok(Answer::Count(count)))),
            Attempt::Blocked(fd) => {
                self.blocked = Some(fd);
                ControlFlow::Break(None)
            }
            Attempt::Ready(most) => ControlFlow::Continue(most),
            Attempt::Failed(error) => ControlFlow::Break(Some(Err(error))),
        }
    }

    /// The request has to wait for a descriptor.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    /// The descriptor that the request has to wait for.
    pub(crate) fn take_blocked(&mut self) -> Option<Fd> {
        self.blocked.take()
    }

    /// As [`answer`](Machine::answer), where the descriptor cannot be waited for.
    pub(crate) fn answer_ordinarily(
        &mut self,
        request: &mut Request<'_, T>,
        chunk: &mut ReadChunk,
        after: &mut AfterUnlock,
    ) -> Option<io::Result<Answer>> {
        self.is_ordinary = true;
        let answer = self.answer(request, chunk, after);
        self.is_ordinary = false;
        answer
    }
}
