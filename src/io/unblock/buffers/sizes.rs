//! How much a stream buffers, and moves at a time.

use crate::io::aligned::ALIGNMENT;

/// The limits of a stream, the same in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// The most that is read ahead of the caller.
    pub(crate) ahead: usize,
    /// Small writes are collected up to here while others are written.
    pub(crate) piece: usize,
    /// The most that one call moves.
    pub(crate) most: usize,
    /// The most that is accepted and not written.
    pub(crate) total: usize,
}

impl Sizes {
    /// The most that is read ahead of a file.
    const AHEAD: usize = 256 << 10;
    /// What is collected of small writes to a file.
    const PIECE: usize = 128 << 10;

    /// Of a stream that buffers at most `capacity` bytes in each direction.
    pub(crate) fn of_capacity(capacity: usize) -> Self {
        let piece = whole_pages(capacity.div_ceil(2));
        Sizes { ahead: capacity, piece, most: capacity, total: capacity }
    }

    /// Of a file that moves at most `most` bytes with one call.
    pub(crate) fn of_file(most: usize) -> Self {
        let piece = whole_pages(most.min(Self::PIECE));
        Sizes { ahead: most.min(Self::AHEAD), piece, most, total: most.saturating_mul(2) }
    }
}

/// `size`, or the largest multiple of a page in it: where writes are cut, they go on in whole
/// pages.
pub(crate) fn whole_pages(size: usize) -> usize {
    if size < ALIGNMENT { size } else { size - size % ALIGNMENT }
}
