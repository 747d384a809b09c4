//! How much a stream buffers, and moves at a time.

use crate::io::aligned::ALIGNMENT;

/// The limits of a stream, the same in both directions.
///
/// One word, since every stream has it three times: the most that one call moves, and a bit for a
/// file, which buffers less than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes(usize);

const OF_FILE: usize = 1 << (usize::BITS - 1);

impl Sizes {
    /// The most that is read ahead of a file.
    const AHEAD: usize = 256 << 10;
    /// What is collected of small writes to a file. While one piece is written the next is
    /// collected, and then the caller waits: to wake it takes as long as writing 64 KiB or more, so
    /// a piece is a multiple of that.
    const PIECE: usize = 1 << 20;

    /// Of a stream that buffers at most `capacity` bytes in each direction.
    pub(crate) fn of_capacity(capacity: usize) -> Self {
        Sizes(capacity.min(OF_FILE - 1))
    }

    /// Of a file that moves at most `most` bytes with one call.
    pub(crate) fn of_file(most: usize) -> Self {
        Sizes(most.min(OF_FILE - 1) | OF_FILE)
    }

    /// The most that one call moves.
    pub(crate) fn most(self) -> usize {
        self.0 & !OF_FILE
    }

    pub(crate) fn is_file(self) -> bool {
        self.0 & OF_FILE != 0
    }

    /// The most that is read ahead of the caller.
    pub(crate) fn ahead(self) -> usize {
        if self.is_file() { self.most().min(Self::AHEAD) } else { self.most() }
    }

    /// Small writes are collected up to here while others are written.
    pub(crate) fn piece(self) -> usize {
        whole_pages(if self.is_file() { self.most().min(Self::PIECE) } else { self.most().div_ceil(2) })
    }

    /// The most that is accepted and not written.
    pub(crate) fn total(self) -> usize {
        if self.is_file() { self.most().saturating_mul(2) } else { self.most() }
    }
}

/// `size`, or the largest multiple of a page in it: where writes are cut, they go on in whole
/// pages.
pub(crate) fn whole_pages(size: usize) -> usize {
    if size < ALIGNMENT { size } else { size - size % ALIGNMENT }
}
