//! Bytes that begin where `O_DIRECT` wants them to.

use std::ops::{Deref, DerefMut};

/// What the addresses of buffers are multiples of: the memory page, which is the most that any
/// device asks for.
pub(crate) const ALIGNMENT: usize = 4096;

/// A vector of bytes whose first byte is at a multiple of [`ALIGNMENT`]. It lies within a larger
/// vector, so that it needs no allocation of another kind: those are slower where they are large,
/// since the system does not zero them.
#[derive(Default)]
pub(crate) struct AlignedBytes {
    bytes: Vec<u8>,
    /// Where in `bytes` it begins. What comes before is of no use.
    start: usize,
}

impl AlignedBytes {
    /// `length` zeros.
    pub(crate) fn zeroed(length: usize) -> Self {
        let mut bytes = vec![0; length.saturating_add(ALIGNMENT - 1)];
        let start = start_of(bytes.as_ptr());
        bytes.truncate(start + length);
        AlignedBytes { bytes, start }
    }

    /// A copy of `bytes`.
    pub(crate) fn copy_of(bytes: &[u8]) -> Self {
        let mut copy = AlignedBytes::default();
        copy.extend(bytes);
        copy
    }

    /// How many bytes fit without another allocation.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity() - self.start
    }

    /// Makes room for `capacity` bytes in all.
    pub(crate) fn reserve(&mut self, capacity: usize) {
        if capacity <= self.capacity() {
            return;
        }
        let mut bytes = Vec::with_capacity(capacity.saturating_add(ALIGNMENT - 1));
        let start = start_of(bytes.as_ptr());
        bytes.resize(start, 0);
        bytes.extend_from_slice(self);
        *self = AlignedBytes { bytes, start };
    }

    pub(crate) fn extend(&mut self, more: &[u8]) {
        self.reserve(self.len() + more.len());
        self.bytes.extend_from_slice(more);
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.truncate(self.start);
    }
}

/// How far from `bytes` the first aligned place is. Where the question has no answer, as in an
/// interpreter, the buffer is as good as any other.
fn start_of(bytes: *const u8) -> usize {
    bytes.align_offset(ALIGNMENT).min(ALIGNMENT - 1)
}

impl Deref for AlignedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

impl DerefMut for AlignedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
