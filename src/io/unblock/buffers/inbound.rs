//! The bytes that were read and not yet taken, in chunks that grow with use.

use std::collections::VecDeque;
use std::io;

use super::sizes::{Sizes, whole_pages};
use crate::io::aligned::{ALIGNMENT, AlignedBytes};

/// The smallest read, where the capacity allows it.
const SMALLEST: usize = 4 << 10;

/// The largest read that no caller has asked for.
const LARGEST: usize = 2 << 20;

/// Bytes of a buffer, of which the caller has taken those before `start`.
#[derive(Default)]
pub(crate) struct ReadChunk {
    bytes: AlignedBytes,
    start: usize,
    end: usize,
}

impl ReadChunk {
    /// The first `end` of `bytes`.
    pub(crate) fn new(bytes: AlignedBytes, end: usize) -> Self {
        assert!(end <= bytes.len(), "the reader claims {end} bytes of a buffer of {}", bytes.len());
        ReadChunk { bytes, start: 0, end }
    }

    pub(crate) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The unread bytes, once more.
    pub(crate) fn copy(&self) -> Self {
        ReadChunk::new(AlignedBytes::copy_of(self.unread()), self.unread().len())
    }

    pub(crate) fn consume(&mut self, count: usize) {
        assert!(count <= self.end - self.start, "{count} bytes are consumed of {}", self.end - self.start);
        self.start += count;
    }

    /// Moves as many bytes as fit to the front of `to`. Returns how many.
    pub(crate) fn move_into(&mut self, to: &mut [u8]) -> usize {
        let count = self.unread().len().min(to.len());
        to[..count].copy_from_slice(&self.unread()[..count]);
        self.start += count;
        count
    }
}

/// How the reader ended, or failed, where it had no more bytes.
#[derive(Debug)]
pub(crate) enum ReadEnd {
    Eof,
    Error(io::Error),
}

/// The bytes that were read and not yet taken, and how many more to read.
pub(crate) struct Inbound {
    ready: VecDeque<ReadChunk>,
    /// Bytes in `ready`.
    unread: usize,
    /// The size of the chunk that is checked out: the handle takes bytes from it.
    checked_out: usize,
    /// Buffers for reads to come.
    spare: Vec<AlignedBytes>,
    sizes: Sizes,
    /// The readahead window: how much may be buffered by now. Nothing is read ahead before the
    /// second read in sequence.
    window: usize,
    /// There has been a read since the start or the last seek.
    begun: bool,
    /// Reading ahead is of no use until the caller asks for bytes again: the last read was short.
    paused: bool,
    /// How many bytes the caller waits for; 0 if it does not wait.
    demand: usize,
    /// The read in flight was begun for a caller that waited.
    in_flight_demanded: bool,
    /// The reader always answers soon: so the caller waits until its buffer is full, or the reader
    /// has no more for now.
    fill_fully: bool,
    /// What comes after the bytes.
    end: Option<ReadEnd>,
}

impl Inbound {
    pub(crate) fn new(sizes: Sizes) -> Self {
        Inbound {
            ready: VecDeque::new(),
            unread: 0,
            checked_out: 0,
            spare: Vec::new(),
            sizes,
            window: 0,
            begun: false,
            paused: false,
            demand: 0,
            in_flight_demanded: false,
            fill_fully: false,
            end: None,
        }
    }

    /// How many bytes the value is ahead of the caller.
    pub(crate) fn unread(&self) -> usize {
        self.unread
    }

    pub(crate) fn is_demanded(&self) -> bool {
        self.demand > 0
    }

    /// There are bytes, or an end, for the caller to have at once.
    pub(crate) fn has_answer(&self) -> bool {
        self.unread > 0 || self.end.is_some()
    }

    /// Whether the caller waits until its buffer is full.
    pub(crate) fn set_fill_fully(&mut self, fill_fully: bool) {
        self.fill_fully = fill_fully;
    }

    /// Checks the next chunk out. `used` is the one before, whose buffer serves again.
    pub(crate) fn take(&mut self, used: &mut ReadChunk) -> Option<ReadChunk> {
        debug_assert!(used.is_empty(), "bytes would be lost");
        self.recycle(std::mem::take(used).bytes);
        self.checked_out = 0;
        let chunk = self.ready.pop_front()?;
        self.unread -= chunk.unread().len();
        self.checked_out = chunk.unread().len();
        self.widen();
        Some(chunk)
    }

    /// Takes unread bytes back from the handle.
    pub(crate) fn put_back(&mut self, chunk: &mut ReadChunk) {
        let chunk = std::mem::take(chunk);
        self.checked_out = 0;
        if chunk.is_empty() {
            self.recycle(chunk.bytes);
        } else {
            self.unread += chunk.unread().len();
            self.ready.push_front(chunk);
        }
    }

    pub(crate) fn take_end(&mut self) -> Option<ReadEnd> {
        let end = self.end.take()?;
        self.spare = Vec::new();
        Some(end)
    }

    /// The caller waits for bytes, and has room for `want` of them.
    pub(crate) fn demand(&mut self, want: usize) {
        if self.demand == 0 {
            if self.begun {
                self.widen();
            }
            self.begun = true;
            self.paused = false;
        }
        self.demand = want.max(1);
    }

    /// The caller does not wait any more.
    pub(crate) fn forget_demand(&mut self) {
        self.demand = 0;
    }

    /// The caller reads in sequence: more may be read ahead of it.
    fn widen(&mut self) {
        self.window = self.window.saturating_mul(2).max(4 * SMALLEST).min(self.sizes.ahead());
    }

    /// Whether a read now would be of use: the caller waits for it, or, if reading `ahead` is
    /// allowed, the window has room.
    pub(crate) fn wants_read(&self, ahead: bool) -> bool {
        if self.end.is_some() {
            return false;
        }
        // A quarter of the window is free: so the reader is not started for a few bytes.
        let room = self.unread + self.checked_out + self.chunk() <= self.window;
        self.is_demanded() || (ahead && !self.paused && room)
    }

    /// The size of a read in a sequence: four fill the window.
    fn chunk(&self) -> usize {
        whole_pages((self.window / 4).clamp(SMALLEST, LARGEST)).min(self.sizes.ahead())
    }

    /// A buffer for the next read, if there is one to reuse, and its size.
    pub(crate) fn begin_read(&mut self) -> (Option<AlignedBytes>, usize) {
        self.in_flight_demanded = self.is_demanded();
        // One read should satisfy the caller. In whole pages, as `O_DIRECT` wants it.
        let missing = self.demand.saturating_sub(self.unread);
        let demanded = missing.checked_next_multiple_of(ALIGNMENT).unwrap_or(missing);
        let size = self.chunk().max(demanded.min(whole_pages(self.sizes.most())));
        let reusable = self.spare.iter().position(|spare| spare.len() == size);
        (reusable.map(|index| self.spare.swap_remove(index)), size)
    }

    /// A read has brought the first `count` bytes of `bytes`.
    pub(crate) fn read(&mut self, bytes: AlignedBytes, count: usize) {
        let demanded = self.demand > 0;
        self.paused = count < bytes.len();
        if count > 0 {
            self.unread += count;
            self.ready.push_back(ReadChunk::new(bytes, count));
        } else if (demanded || (self.in_flight_demanded && !self.fill_fully)) && self.unread == 0 {
            // A terminal reports its end once, and the caller that the read was begun for may have
            // gone elsewhere; a file reports it again.
            self.end = Some(ReadEnd::Eof);
        }
        if !self.fill_fully || self.paused || self.unread >= self.demand {
            self.demand = 0;
        }
    }

    /// A buffer for a page-cache read; that of `used` again, if it has the right size.
    pub(crate) fn take_buffer(&mut self, used: &mut ReadChunk) -> AlignedBytes {
        self.begun = true;
        self.checked_out = 0;
        let old = std::mem::take(used).bytes;
        if old.len() == self.chunk() { old } else { AlignedBytes::zeroed(self.chunk()) }
    }

    /// There has been a page-cache read, if in vain.
    pub(crate) fn set_begun(&mut self) {
        self.begun = true;
    }

    /// Checks out what a page-cache read has brought.
    pub(crate) fn check_out(&mut self, bytes: AlignedBytes, count: usize) -> ReadChunk {
        if count == bytes.len() {
            self.widen();
        }
        self.checked_out = count;
        ReadChunk::new(bytes, count)
    }

    /// A read has failed.
    pub(crate) fn failed(&mut self, error: io::Error) {
        self.demand = 0;
        self.paused = true;
        self.end = Some(ReadEnd::Error(error));
    }

    /// There may be more after the end by now.
    pub(crate) fn forget_eof(&mut self) {
        if matches!(self.end, Some(ReadEnd::Eof)) {
            self.end = None;
        }
    }

    /// The value has been moved to another position: what was read from the old one is of no use.
    /// Returns the error that a read ahead has met, if it has.
    #[must_use]
    pub(crate) fn forget(&mut self) -> Option<io::Error> {
        let end = self.end.take();
        *self = Inbound {
            checked_out: self.checked_out,
            fill_fully: self.fill_fully,
            ..Inbound::new(self.sizes)
        };
        match end {
            Some(ReadEnd::Error(error)) => Some(error),
            Some(ReadEnd::Eof) | None => None,
        }
    }

    /// Keeps a few buffers of the usual size, and one of those that callers have asked for.
    fn recycle(&mut self, buffer: AlignedBytes) {
        let usual = self.chunk();
        if buffer.len() == usual {
            if self.spare.iter().filter(|spare| spare.len() == usual).count() < 4 {
                self.spare.push(buffer);
            }
        } else if buffer.len() > usual {
            self.spare.retain(|spare| spare.len() == usual);
            self.spare.push(buffer);
        }
    }

    /// What is there stays; reads to come keep to these limits.
    pub(crate) fn set_sizes(&mut self, sizes: Sizes) {
        self.sizes = sizes;
        self.window = self.window.min(sizes.ahead());
        self.spare = Vec::new();
    }
}
