//! What becomes of a read ahead of the caller when that turns elsewhere: it is discarded, if the
//! value can seek.

use std::io;

use super::Machine;
use crate::io::unblock::buffers::inbound::{ReadChunk, ReadEnd};
use crate::io::unblock::buffers::wakers::{Interest, Wakes};
use crate::io::unblock::state::step::{AfterUnlock, SeekState, ValueState};

impl<T: 'static> Machine<T> {
    /// What was read ahead is of no use any more: the pump discards it.
    pub(super) fn discard_read_ahead(&mut self) {
        if self.capabilities.seek.is_none() {
            return;
        }
        if self.inbound.unread() == 0 && matches!(self.value, ValueState::Idle(_)) {
            self.forget_end();
        } else {
            self.rewind = true;
        }
    }

    /// The value is not where a read ahead of the caller has met the end or an error.
    pub(super) fn forget_end(&mut self) {
        if self.capabilities.seek.is_some() {
            if let Some(ReadEnd::Error(error)) = self.inbound.take_end() {
                self.unreported_error = Some(error);
            }
        }
    }

    /// The value has been in other hands: it may have been written to, and have more to read.
    pub(super) fn used_otherwise(&mut self) {
        self.outbound.set_dirty();
        self.forget_endpoint();
        self.forget_end();
        self.inbound.forget_eof();
    }

    /// Ends a step that moves the value back.
    pub(super) fn rewound(&mut self, result: io::Result<()>, may_pass: bool, after: &mut AfterUnlock) {
        self.rewinding = false;
        match result {
            Ok(()) => {
                self.rewind = false;
                self.seek_works();
                after.report(self.inbound.forget());
            }
            Err(error) if says_cannot_seek(&error) || (self.seek_is_doubtful && !may_pass) => {
                self.rewind = false;
                after.unneeded = Some(error);
                self.cannot_seek();
            }
            // If writes wait for it, they still do. No byte is lost: once the caller has given the
            // writes up, what was read is there to be taken.
            Err(error) => self.defer(Err(error)),
        }
    }

    /// A pipe or a terminal behind a `File`: what was read stays here, as with a socket. A seek
    /// that is wanted takes place all the same: its result is the answer.
    pub(super) fn cannot_seek(&mut self) {
        if matches!(self.seek, SeekState::Wanted(_)) {
            self.seek_is_guess = true;
        } else {
            self.capabilities.seek = None;
        }
        self.seek_is_doubtful = false;
        self.reads_ahead = false;
        self.inbound.set_fill_fully(false);
    }

    /// The value has been moved: it can seek.
    pub(super) fn seek_works(&mut self) {
        self.seek_is_guess = false;
        if std::mem::take(&mut self.seek_is_doubtful) {
            self.inbound.set_fill_fully(true);
        }
    }

    /// A seek that was to show that the value can seek has failed, or never takes place.
    pub(super) fn drop_seek_guess(&mut self) {
        if std::mem::take(&mut self.seek_is_guess) {
            self.capabilities.seek = None;
        }
    }

    /// The caller turns from reading to other things: it does not wait for bytes any more, and what
    /// `chunk` still has is unread, if the value can be moved back by that. A caller that still
    /// waits for bytes, through another half of the handle, is to be woken to ask again.
    pub(super) fn stop_reading(&mut self, chunk: &mut ReadChunk) -> Wakes {
        if self.capabilities.seek.is_some() {
            self.inbound.put_back(chunk);
        }
        if self.inbound.is_demanded() {
            self.inbound.forget_demand();
            return self.wakers.take(&[Interest::Read]);
        }
        Wakes::default()
    }
}

/// The error of a value that never can, such as a pipe behind a `File`.
pub(super) fn says_cannot_seek(error: &io::Error) -> bool {
    let is_unclear = cfg!(not(unix)) && error.raw_os_error().is_some();
    is_unclear || matches!(error.kind(), io::ErrorKind::NotSeekable | io::ErrorKind::Unsupported)
}
