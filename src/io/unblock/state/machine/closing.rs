//! Closing: what was accepted is written and flushed, and then the value is dropped, so that a peer
//! sees the end. A regular file has no peer: it is flushed, and can still be used.

use std::io;

use super::Machine;
use super::direct::Direct;
use crate::io::unblock::buffers::inbound::ReadChunk;
use crate::io::unblock::buffers::wakers::{Interest, Wakes};
use crate::io::unblock::state::capability::is_file;
use crate::io::unblock::state::request::{Answer, Request};
use crate::io::unblock::state::step::{AfterUnlock, ValueState};

impl<T: 'static> Machine<T> {
    /// Closes the value. It is dropped here, for the handle to take by [`take_closed`], if that
    /// takes no time; else the pump drops it.
    ///
    /// [`take_closed`]: Machine::take_closed
    pub(super) fn answer_close(
        &mut self,
        drops_in_place: bool,
        chunk: &mut ReadChunk,
        after: &mut AfterUnlock,
    ) -> Option<io::Result<Answer>> {
        after.wakes.and(self.stop_reading(chunk));
        if self.outbound.buffered() > 0 || self.needs_flush() {
            self.outbound.request_flush();
            return None;
        }
        let ValueState::Idle(_) = &self.value else { return None };
        let closes_at_once = match self.endpoint() {
            Some((fd, endpoint)) => {
                endpoint.end_output(fd);
                endpoint.closes_at_once(fd)
            }
            None if is_file::<T>() => {
                self.outbound.flushed(true);
                return Some(Ok(Answer::Done));
            }
            None => false,
        };
        if !closes_at_once && !drops_in_place && std::mem::needs_drop::<T>() {
            self.closing = true;
            return None;
        }
        let value = match std::mem::replace(&mut self.value, ValueState::Closed(None)) {
            ValueState::Idle(value) => Some(value),
            _ => unreachable!("it is at rest"),
        };
        *chunk = ReadChunk::default();
        after.wakes.and(self.closed(value));
        Some(Ok(Answer::Done))
    }

    /// The value has been dropped, or is to be dropped outside of the lock. All that wait are to
    /// look again.
    pub(crate) fn closed(&mut self, value: Option<T>) -> Wakes {
        self.value = ValueState::Closed(value);
        self.closing = false;
        self.unfinished = None;
        self.forget_endpoint();
        // An error of a read ahead: the caller has gone elsewhere.
        self.unreported_error = self.inbound.forget();
        self.wakers.take(Interest::all())
    }

    /// The value that was closed, to be dropped outside of the lock.
    #[must_use]
    pub(crate) fn take_closed(&mut self) -> Option<T> {
        if let ValueState::Closed(value) = &mut self.value { value.take() } else { None }
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.value, ValueState::Closed(_))
    }

    /// What a value that was closed answers.
    pub(super) fn answer_closed(request: &Request<'_, T>) -> io::Result<Answer> {
        match request {
            Request::Close { .. } | Request::Flush { .. } => Ok(Answer::Done),
            Request::Items(_) => Ok(Answer::End),
            _ => Err(io::Error::new(
                io::ErrorKind::NotConnected,
                "the value was closed, and dropped: there is nothing left to read, write or take out",
            )),
        }
    }

    /// Whether the value is behind a descriptor that is closed without delay.
    pub(super) fn closes_at_once(&self) -> bool {
        let (ValueState::Idle(value), Direct::Yes(endpoint)) = (&self.value, &self.direct) else {
            return false;
        };
        self.capabilities.descriptor.is_some_and(|how| endpoint.closes_at_once(how.find(value)))
    }
}
