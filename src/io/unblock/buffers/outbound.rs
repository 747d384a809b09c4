//! What has been accepted from the caller and not yet been written: two buffers, one that is filled
//! and one that is written.

use std::io::IoSlice;

use super::sizes::Sizes;
use crate::io::aligned::AlignedBytes;

/// The bytes that were accepted and not yet written.
pub(crate) struct Outbound {
    /// Is written next, from `written` on; the pump has it while it writes.
    front: AlignedBytes,
    written: usize,
    /// Bytes of `front` while the pump has it.
    in_flight: usize,
    /// Is filled.
    back: AlignedBytes,
    sizes: Sizes,
    /// Something has been written since the last flush.
    dirty: bool,
    /// The last flush has failed, and nothing has been written since.
    flush_failed: bool,
    /// A flush has been requested.
    flush: bool,
}

impl Outbound {
    pub(crate) fn new(sizes: Sizes) -> Self {
        Outbound {
            front: AlignedBytes::default(),
            written: 0,
            in_flight: 0,
            back: AlignedBytes::default(),
            sizes,
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

    /// Room for `wanted` bytes of the caller: for all of them, up to the most that a call moves, or
    /// for none as yet. So what the value is given to write ends where a call of the caller ended.
    /// Small writes are collected while others are written, so that caller and pump work side by
    /// side.
    pub(crate) fn room(&self, wanted: usize) -> usize {
        let (piece, most, total) = (self.sizes.piece(), self.sizes.most(), self.sizes.total());
        let whole = wanted.min(most);
        let joins = self.back.is_empty() || whole <= piece.saturating_sub(self.back.len());
        if joins && whole <= total.saturating_sub(self.buffered()) { whole } else { 0 }
    }

    /// What is there stays; what comes keeps to these limits.
    pub(crate) fn set_sizes(&mut self, sizes: Sizes) {
        self.sizes = sizes;
    }

    /// Takes up to `room` bytes. Returns how many.
    pub(crate) fn accept(&mut self, slices: &[IoSlice<'_>], room: usize) -> usize {
        let before = self.back.len();
        let mut left = room;
        for slice in slices {
            let count = slice.len().min(left);
            self.grow(count);
            self.back.extend(&slice[..count]);
            left -= count;
        }
        self.back.len() - before
    }

    /// Makes room for `count` bytes, by doubling, but not beyond what may be buffered.
    fn grow(&mut self, count: usize) {
        let needed = self.back.len() + count;
        if needed > self.back.capacity() {
            let doubled = self.back.capacity().saturating_mul(2).min(self.sizes.piece());
            self.back.reserve(needed.max(doubled));
        }
    }

    /// The bytes to write, and where in them to begin.
    pub(crate) fn begin_write(&mut self) -> (AlignedBytes, usize) {
        if self.written == self.front.len() {
            self.front.clear();
            self.written = 0;
            std::mem::swap(&mut self.front, &mut self.back);
        }
        self.in_flight = self.front.len() - self.written;
        (std::mem::take(&mut self.front), std::mem::take(&mut self.written))
    }

    /// The bytes up to `written` have been written.
    pub(crate) fn end_write(&mut self, mut bytes: AlignedBytes, written: usize) {
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
                self.front = AlignedBytes::default();
                self.back = AlignedBytes::default();
            }
        }
    }

    /// Everything that was not written. A flush that failed is not tried again: else nothing could
    /// ever follow it.
    pub(crate) fn give_up(&mut self) -> Vec<u8> {
        self.dirty &= !std::mem::take(&mut self.flush_failed);
        let mut rest = std::mem::take(&mut self.front)[std::mem::take(&mut self.written)..].to_vec();
        rest.extend_from_slice(&std::mem::take(&mut self.back));
        rest
    }
}
