//! What has been accepted from the caller and not yet been written: two buffers, one that is filled
//! and one that is written.

use std::io::IoSlice;

/// The bytes that were accepted and not yet written.
pub(crate) struct Outbound {
    /// Is written next, from `written` on; the pump has it while it writes.
    front: Vec<u8>,
    written: usize,
    /// Bytes of `front` while the pump has it.
    in_flight: usize,
    /// Is filled.
    back: Vec<u8>,
    capacity: usize,
    /// Something has been written since the last flush.
    dirty: bool,
    /// The last flush has failed, and nothing has been written since.
    flush_failed: bool,
    /// A flush has been requested.
    flush: bool,
}

impl Outbound {
    pub(crate) fn new(capacity: usize) -> Self {
        Outbound {
            front: Vec::new(),
            written: 0,
            in_flight: 0,
            back: Vec::new(),
            capacity,
            dirty: false,
            flush_failed: false,
            flush: false,
        }
    }

    /// Bytes that are not known to be written.
    pub(crate) fn buffered(&self) -> usize {
        self.waiting() + self.in_flight
    }

    /// Bytes that no step is writing.
    pub(crate) fn waiting(&self) -> usize {
        self.front.len() - self.written + self.back.len()
    }

    pub(crate) fn request_flush(&mut self) {
        self.flush = true;
    }

    pub(crate) fn is_flush_requested(&self) -> bool {
        self.flush
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// The value may have been written to by other means.
    pub(crate) fn set_dirty(&mut self) {
        self.dirty = true;
        self.flush_failed = false;
    }

    /// Room for the caller's bytes. At most half of the capacity is filled while the other half is
    /// written, so that caller and pump work side by side.
    pub(crate) fn room(&self) -> usize {
        let half = self.capacity.div_ceil(2);
        half.saturating_sub(self.back.len()).min(self.capacity.saturating_sub(self.buffered()))
    }

    /// Takes up to `room` bytes. Returns how many.
    pub(crate) fn accept(&mut self, slices: &[IoSlice<'_>], room: usize) -> usize {
        let before = self.back.len();
        let mut left = room;
        for slice in slices {
            let count = slice.len().min(left);
            self.grow(count);
            self.back.extend_from_slice(&slice[..count]);
            left -= count;
        }
        self.back.len() - before
    }

    /// Makes room for `count` bytes, by doubling, but not beyond what may be buffered.
    fn grow(&mut self, count: usize) {
        let needed = self.back.len() + count;
        if needed > self.back.capacity() {
            let size = needed.max(self.back.capacity() * 2).min(needed.max(self.capacity.div_ceil(2)));
            self.back.reserve_exact(size - self.back.len());
        }
    }

    /// The bytes to write, and where in them to begin.
    pub(crate) fn begin_write(&mut self) -> (Vec<u8>, usize) {
        if self.written == self.front.len() {
            self.front.clear();
            self.written = 0;
            std::mem::swap(&mut self.front, &mut self.back);
        }
        self.in_flight = self.front.len() - self.written;
        (std::mem::take(&mut self.front), std::mem::take(&mut self.written))
    }

    /// The bytes up to `written` have been written.
    pub(crate) fn end_write(&mut self, mut bytes: Vec<u8>, written: usize) {
        self.set_dirty();
        self.in_flight = 0;
        if written < bytes.len() {
            (self.front, self.written) = (bytes, written);
            return;
        }
        bytes.clear();
        // The buffer is used again: it is the next to be filled, if there is none.
        let next = if self.back.capacity() == 0 { &mut self.back } else { &mut self.front };
        *next = bytes;
    }

    /// A flush has ended. What was accepted meanwhile needs another, if one was
    /// requested.
    pub(crate) fn flushed(&mut self, success: bool) {
        self.flush &= self.waiting() > 0;
        self.flush_failed = !success;
        if success {
            self.dirty = false;
            if self.buffered() == 0 {
                self.front = Vec::new();
                self.back = Vec::new();
            }
        }
    }

    /// Everything that was not written. A flush that failed is not tried again: else nothing could
    /// ever follow it.
    pub(crate) fn give_up(&mut self) -> Vec<u8> {
        self.dirty &= !std::mem::take(&mut self.flush_failed);
        let mut rest = std::mem::take(&mut self.front);
        rest.drain(..std::mem::take(&mut self.written));
        rest.append(&mut self.back);
        rest
    }
}
