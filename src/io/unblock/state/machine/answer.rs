//! The handle's side of the machine: what answers a request, and what the request leaves for the
//! pump to do if there is no answer yet.

use std::io::{self, IoSlice, SeekFrom};
use std::ops::ControlFlow;

use super::Machine;
use crate::io::aligned::AlignedBytes;
use crate::io::unblock::buffers::inbound::{ReadChunk, ReadEnd};
use crate::io::unblock::buffers::items::ItemBuffer;
use crate::io::unblock::buffers::sizes::Sizes;
use crate::io::unblock::state::capability::{PageCacheFn, PullFn, SeekFn};
use crate::io::unblock::state::request::{Answer, CallRequest, ItemsRequest, Request};
use crate::io::unblock::state::step::{AfterUnlock, Plan, SeekState, ValueCall, ValueState};
use crate::sys::pread::Cached;

/// A caller that asks for less gets the bytes of a file by way of a chunk.
const SMALL: usize = 8 << 10;

impl<T: 'static> Machine<T> {
    /// The answer to `request`, if there is one. If not, what it asks is noted, and the next answer
    /// to the same request may be another. `chunk` is the handle's.
    ///
    /// First come errors of what went before, then the end of a seek that is on its way, then the
    /// answer itself. A value that was closed answers everything with an error, but what has been
    /// done by closing it. Four requests are exceptions:
    ///
    /// | request | |
    /// |---|---|
    /// | `Call` | that the closure has run comes before errors, which are for the next call |
    /// | `Items` | items that are there come before errors; iterators do not seek |
    /// | `Unwritten` | is about the error |
    /// | `Written` | is shared: it leaves alone what other callers have asked |
    pub(crate) fn answer(
        &mut self,
        request: &mut Request<'_, T>,
        chunk: &mut ReadChunk,
        after: &mut AfterUnlock,
    ) -> Option<io::Result<Answer>> {
        self.blocked = None;
        if matches!(self.value, ValueState::Closed(_)) {
            *chunk = ReadChunk::default();
            return Some(Self::answer_closed(request));
        }
        if matches!(self.value, ValueState::Closing) {
            // Bytes that were accepted now would be lost.
            return None;
        }
        match request {
            Request::Items(items) => self.answer_items(items),
            Request::Unwritten { bytes } => self.answer_unwritten(bytes, after),
            Request::Written => self.answer_written(),
            Request::Call(call) if call.number.is_some_and(|number| number <= self.calls_ended) => {
                Some(Ok(Answer::Done))
            }
            _ => self.answer_in_turn(request, chunk, after),
        }
    }

    /// The answer to a request that errors and seeks come before.
    fn answer_in_turn(
        &mut self,
        request: &mut Request<'_, T>,
        chunk: &mut ReadChunk,
        after: &mut AfterUnlock,
    ) -> Option<io::Result<Answer>> {
        self.quiesce = false;
        // A read, of the other half of the handle perhaps, does not hold up a close, and neither
        // does a caller that asks for it again.
        self.closing &= matches!(request, Request::Read { .. } | Request::Close { .. });
        if let Some(error) = self.failure() {
            self.closing &= matches!(request, Request::Read { .. });
            if let Request::Seek { to, .. } = request {
                // It has failed, so it must not take place later.
                self.seek.withdraw(*to);
                self.drop_seek_guess();
            }
            return Some(Err(error));
        }
        if let Request::Seek { to, .. } = request {
            if let Some(result) = self.seek.take(*to) {
                return Some(result.map(Answer::Position));
            }
        }
        if self.seek.is_due() {
            return None;
        }
        if !matches!(request, Request::AtRest) {
            self.seek.discard_result(&mut after.seek);
        }
        match request {
            Request::Read { read, page_cache, want, buffer } => {
                self.capabilities.read = Some(*read);
                self.answer_read(*page_cache, *want, buffer, chunk)
            }
            Request::Write { write, slices, flushes } => {
                self.capabilities.write = Some(*write);
                if *flushes {
                    self.outbound.request_flush();
                }
                match self.write_directly(slices) {
                    ControlFlow::Break(answer) => answer,
                    ControlFlow::Continue(most) => self.answer_write(slices, most, chunk, after),
                }
            }
            Request::Close { write, drops_in_place } => {
                self.capabilities.write = Some(*write);
                self.answer_close(*drops_in_place, chunk, after)
            }
            Request::Flush { write } => {
                self.capabilities.write = Some(*write);
                self.answer_flush()
            }
            Request::Seek { seek, to } => {
                if self.capabilities.seek.is_none() {
                    self.capabilities.seek = Some(*seek);
                    self.seek_is_guess = true;
                }
                self.seek = SeekState::Wanted(*to);
                after.wakes.and(self.stop_reading(chunk));
                None
            }
            Request::Quiesce | Request::AtRest => {
                after.wakes.and(self.stop_reading(chunk));
                self.quiesce = true;
                let at_rest = matches!(self.value, ValueState::Idle(_)) && self.plan() == Plan::Rest;
                at_rest.then_some(Ok(Answer::Done))
            }
            Request::Call(request) => {
                self.take_call(request);
                after.wakes.and(self.stop_reading(chunk));
                self.quiesce = true;
                None
            }
            // They do not wait for their turn.
            Request::Items(_) | Request::Unwritten { .. } | Request::Written => None,
        }
    }

    /// An error of what went before. Once reported it is over, unless the value is.
    fn failure(&mut self) -> Option<io::Error> {
        if let ValueState::Poisoned(poison) = &self.value {
            return Some(io::Error::other(format!("the value has panicked: {}", poison.message)));
        }
        self.deferred_error.take().or_else(|| self.refusal.take())
    }

    fn answer_read(
        &mut self,
        page_cache: PageCacheFn<T>,
        want: usize,
        buffer: &mut [u8],
        chunk: &mut ReadChunk,
    ) -> Option<io::Result<Answer>> {
        if self.is_writing() {
            return None;
        }
        if let ControlFlow::Break(answer) = self.read_directly(buffer, chunk) {
            return answer;
        }
        if let Some(answer) = self.read_page_cache(page_cache, buffer, chunk) {
            return Some(Ok(answer));
        }
        if let Some(next) = self.inbound.take(chunk) {
            *chunk = next;
            return Some(Ok(Answer::Done));
        }
        match self.inbound.take_end() {
            Some(ReadEnd::Eof) => Some(Ok(Answer::Done)),
            Some(ReadEnd::Error(error)) => Some(Err(error)),
            None => {
                self.inbound.demand(want);
                None
            }
        }
    }

    /// Bytes that were accepted are to be written before anything is read; unless what is there
    /// already was read from a value that cannot seek.
    fn is_writing(&self) -> bool {
        let independent = self.capabilities.seek.is_none() && self.inbound.has_answer();
        let is_idle = matches!(self.value, ValueState::Idle(_));
        let rewinds = self.rewind && (self.inbound.unread() > 0 || !is_idle);
        rewinds || self.rewinding || (self.outbound.buffered() > 0 && !independent)
    }

    /// Reads without the pump, if that is not needed: the value is idle, nothing is buffered, and
    /// the page cache has the bytes. They go into `buffer`, or, if that is small, into `chunk`.
    fn read_page_cache(
        &mut self,
        read: PageCacheFn<T>,
        buffer: &mut [u8],
        chunk: &mut ReadChunk,
    ) -> Option<Answer> {
        let ValueState::Idle(value) = &self.value else { return None };
        let is_next = self.capabilities.page_cache && !self.inbound.has_answer();
        if !is_next || self.inbound.is_demanded() {
            return None;
        }
        if self.capabilities.bypasses_cache.take().is_some_and(|bypasses_cache| bypasses_cache(value)) {
            self.capabilities.page_cache = false;
            return None;
        }
        let goes_to_chunk = buffer.len() < SMALL;
        let mut bytes = if goes_to_chunk { self.inbound.take_buffer(chunk) } else { AlignedBytes::default() };
        match read(value, if goes_to_chunk { &mut bytes } else { buffer }) {
            Cached::Read(count) if goes_to_chunk => {
                *chunk = self.inbound.check_out(bytes, count);
                return Some(Answer::Done);
            }
            Cached::Read(count) => return Some(Answer::Count(count)),
            Cached::NotNow => self.inbound.set_begun(),
            Cached::Never => self.capabilities.page_cache = false,
        }
        if goes_to_chunk {
            *chunk = ReadChunk::new(bytes, 0);
        }
        None
    }

    /// The next chunk, if it is there. `used` is the one before.
    pub(crate) fn next_chunk(&mut self, used: &mut ReadChunk) -> Option<ReadChunk> {
        if self.is_writing() { None } else { self.inbound.take(used) }
    }

    fn answer_write(
        &mut self,
        slices: &[IoSlice<'_>],
        most: usize,
        chunk: &mut ReadChunk,
        after: &mut AfterUnlock,
    ) -> Option<io::Result<Answer>> {
        let wanted: usize = slices.iter().map(|slice| slice.len()).sum();
        let room = self.outbound.room(wanted.min(most));
        if room == 0 {
            return None;
        }
        after.wakes.and(self.stop_reading(chunk));
        self.discard_read_ahead();
        Some(Ok(Answer::Count(self.outbound.accept(slices, room))))
    }

    fn answer_flush(&mut self) -> Option<io::Result<Answer>> {
        if self.outbound.buffered() == 0 && !self.needs_flush() {
            self.outbound.flushed(true);
            return Some(Ok(Answer::Done));
        }
        self.outbound.request_flush();
        None
    }

    fn answer_items(&mut self, request: &mut ItemsRequest<'_, T>) -> Option<io::Result<Answer>> {
        self.quiesce = false;
        self.capabilities.pull.get_or_insert(request.pull);
        let buffer = self.items.get_or_insert_with(|| (request.buffer)(request.capacity, request.batch));
        if buffer.exchange(request.into) {
            return Some(Ok(Answer::Done));
        }
        let is_done = buffer.is_done();
        if let ValueState::Poisoned(poison) = &mut self.value {
            return Some(Ok(poison.payload.take().map_or(Answer::End, Answer::Panic)));
        }
        let failure = self.deferred_error.take().or_else(|| self.refusal.take());
        failure.map(Err).or_else(|| is_done.then_some(Ok(Answer::End)))
    }

    fn answer_unwritten(
        &mut self,
        bytes: &mut Vec<u8>,
        after: &mut AfterUnlock,
    ) -> Option<io::Result<Answer>> {
        match &self.value {
            ValueState::Poisoned(_) => {
                self.quiesce = false;
                self.failure().map(Err)
            }
            ValueState::Idle(_) if self.deferred_error.is_some() || self.outbound.buffered() == 0 => {
                self.rewind = false;
                *bytes = self.outbound.give_up();
                if !bytes.is_empty() {
                    after.unneeded = self.deferred_error.take();
                }
                Some(Ok(Answer::Done))
            }
            _ => None,
        }
    }

    fn answer_written(&mut self) -> Option<io::Result<Answer>> {
        if self.outbound.buffered() == 0 && self.deferred_error.is_none() && !self.seek.is_due() {
            return Some(Ok(Answer::Done));
        }
        self.failure().map(Err)
    }

    /// How many bytes the value has been read ahead, if there is nothing else to be done or said.
    pub(crate) fn unread_at_rest(&self) -> Option<usize> {
        // A pump that pauses has found nothing more to do, or will.
        let is_here = matches!(self.value, ValueState::Idle(_) | ValueState::Paused(_));
        let is_idle = is_here && self.plan() == Plan::Rest;
        let is_said = self.deferred_error.is_none() && self.refusal.is_none() && !self.seek.is_due();
        (is_idle && is_said && self.outbound.buffered() == 0).then(|| self.inbound.unread())
    }

    /// Takes the closure of a call, once.
    fn take_call(&mut self, request: &mut CallRequest<T>) {
        if let Some(call) = request.call.take() {
            debug_assert!(self.call.is_none(), "one call at a time");
            self.call = Some(call);
            request.number = Some(self.calls_begun + 1);
        }
    }

    /// Hands the closure of a call back that has not begun.
    #[must_use]
    pub(crate) fn withdraw_call(&mut self) -> Option<ValueCall<T>> {
        self.call.take()
    }

    /// The value can seek.
    pub(crate) fn set_seekable(&mut self, seek: SeekFn<T>) {
        self.capabilities.seek = Some(seek);
        self.seek_is_guess = false;
        self.seek_is_doubtful = false;
        self.reads_ahead = true;
    }

    /// What is buffered stays; what comes keeps to these limits.
    pub(crate) fn set_sizes(&mut self, sizes: Sizes) {
        self.inbound.set_sizes(sizes);
        self.outbound.set_sizes(sizes);
    }

    pub(crate) fn set_read_ahead(&mut self, ahead: bool) {
        self.reads_ahead = ahead;
    }

    /// The value can be iterated, and `buffer` has its first items.
    pub(crate) fn set_items(&mut self, pull: PullFn<T>, buffer: ItemBuffer) {
        self.capabilities.pull = Some(pull);
        self.items = Some(buffer);
    }

    /// The value, while no pump works with it.
    pub(crate) fn idle_value(&mut self) -> Option<&mut T> {
        if let ValueState::Idle(value) = &mut self.value { Some(value) } else { None }
    }

    /// Hands the value to the handle, if it is at rest and nothing is buffered.
    #[must_use]
    pub(crate) fn check_out(&mut self) -> Option<T> {
        match std::mem::replace(&mut self.value, ValueState::CheckedOut) {
            ValueState::Idle(value) => {
                self.forget_endpoint();
                self.forget_end();
                Some(value)
            }
            other => {
                self.value = other;
                None
            }
        }
    }

    /// Takes the value back from the handle, which may have written to it.
    pub(crate) fn put_back(&mut self, value: T) {
        self.value = ValueState::Idle(value);
        self.used_otherwise();
    }

    /// What was read ahead, be it in `chunk`, is not what the value has any more.
    pub(crate) fn discard_stale(&mut self, chunk: &mut ReadChunk) {
        if self.capabilities.seek.is_some() {
            self.inbound.put_back(chunk);
            self.discard_read_ahead();
        }
        if matches!(self.seek, SeekState::Done(SeekFrom::End(_), _)) {
            self.seek = SeekState::None;
        }
    }
}
