//! What becomes of a read ahead of the caller when that turns elsewhere: it is undone, if the value
//! can seek.

use std::io;

use super::core::Core;
use super::inbound::{Chunk, End};
use super::step::{Left, Place};
use super::wakers::{Side, Wakes};

impl<T> Core<T> {
    pub(super) fn must_rewind(&self) -> bool {
        self.rewind && self.inbound.unread() > 0 && self.able.seek.is_some()
    }

    /// What was read ahead is of no use any more: it is undone.
    pub(super) fn turn_back(&mut self) {
        if self.able.seek.is_none() {
            return;
        }
        if self.inbound.unread() == 0 && matches!(self.place, Place::Home(_)) {
            self.forget_end();
        } else {
            self.rewind = true;
        }
    }

    /// The value is not where a read ahead of the caller has met the end or an error.
    pub(super) fn forget_end(&mut self) {
        if self.able.seek.is_some()
            && let Some(End::Error(error)) = self.inbound.take_end()
        {
            self.untold = Some(error);
        }
    }

    /// The value has been in other hands: it may have been written to, and have more to read.
    pub(super) fn used_otherwise(&mut self) {
        self.outbound.set_dirty();
        self.forget_end();
        self.inbound.forget_eof();
    }

    pub(super) fn rewound(&mut self, result: io::Result<()>, left: &mut Left) {
        self.rewinding = false;
        match result {
            Ok(()) => {
                self.rewind = false;
                left.tell(self.inbound.forget());
            }
            Err(error) if error.kind() == io::ErrorKind::NotSeekable => {
                self.rewind = false;
                left.useless = Some(error);
                self.cannot_seek();
            }
            // If writes wait for it, they still do.
            Err(error) => self.hold(Err(error)),
        }
    }

    pub(super) fn end_probe(&mut self, result: io::Result<u64>, left: &mut Left) -> &'static [Side] {
        match result {
            Ok(_) => self.inbound.patient = true,
            Err(error) if says_cannot_seek(&error) => {
                left.useless = Some(error);
                self.cannot_seek();
            }
            Err(error) => {
                self.inbound.failed(error);
                return &[Side::Read];
            }
        }
        self.probed = true;
        Side::none()
    }

    /// A pipe or a terminal behind a `File`: what was read stays here, as with a socket.
    fn cannot_seek(&mut self) {
        self.able.seek = None;
        self.reads_ahead = false;
        self.inbound.patient = false;
    }

    /// The caller turns from reading to other things: nobody waits for bytes, and what `chunk`
    /// still has is unread, if the value can be moved back by that. Who still waits for them,
    /// through another half of the handle, is to be woken to ask again.
    pub(super) fn stop_reading(&mut self, chunk: &mut Chunk) -> Wakes {
        if self.able.seek.is_some() {
            self.inbound.put_back(chunk);
        }
        if self.inbound.is_demanded() {
            self.inbound.forget_demand();
            return self.wakers.take(&[Side::Read]);
        }
        Wakes::default()
    }
}

/// The error of a value that never can, such as a pipe behind a `File`; others may pass.
fn says_cannot_seek(error: &io::Error) -> bool {
    let is_unclear = cfg!(not(unix)) && error.raw_os_error().is_some();
    is_unclear || matches!(error.kind(), io::ErrorKind::NotSeekable | io::ErrorKind::Unsupported)
}
