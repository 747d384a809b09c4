//! Where cells live. A small cell is cut from a chunk of the thread that spawns it, which takes the
//! step of a pointer; the allocator is asked once for a dozen of them. (The idea is that of region
//! allocation: Hanson, "Fast allocation and deallocation of memory based on object lifetimes",
//! 1990.)
//!
//! - **S1** A chunk's count (`live`) is that of its units, less one for each cell cut from it that
//!   has been freed. Letting go of the chunk leaves the cells that have not been freed. Whoever
//!   takes the count to zero frees the chunk.
//! - **S2** A chunk has one thread that cuts from it, the one whose [`Bench`] it lies on; letting
//!   go of it takes what stands for no cell off the count: at least one, for the head, so the count
//!   does not reach zero before that.
//! - **S3** A chunk whose count shows that each of its cells has been freed is its thread's alone,
//!   which may begin anew in it. So where one call follows another, the allocator is not asked at
//!   all.
//! - **S4** What has the place 0 is an allocation of its own and of the layout asked for;
//!   everything else lies in a chunk, and the pointer to it may be used for all of that (T7).
//!
//! The price: a chunk stays as long as any cell in it, so a task that is kept for long keeps a
//! thousand bytes.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ptr::{self, NonNull};

use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Tracked, thread_local_const};

/// Cells begin at multiples of this many bytes.
const UNIT: usize = 16;
/// Units in a chunk, its head among them. That is just below the 1,024 bytes from which on glibc's
/// `malloc` first merges all small blocks that were freed before, and small enough for its cache of
/// freed blocks.
///
/// The models have chunks of two cells.
const UNITS: usize = if cfg!(sidestep_loom) { HEAD + 2 * LARGEST } else { 62 };
/// A cell of more units has an allocation of its own.
const LARGEST: usize = if cfg!(sidestep_loom) { 8 } else { 16 };

/// The head of a chunk, which is before the first cell.
#[repr(C, align(16))]
struct Chunk {
    live: AtomicUsize,
    tracked: Tracked,
}

/// Units in the head.
const HEAD: usize = size_of::<Chunk>().div_ceil(UNIT);

const _: () = assert!(align_of::<Chunk>() == UNIT, "cells are aligned if the head is");
const _: () =
    assert!(HEAD > 0 && HEAD + LARGEST <= UNITS, "a new chunk has room for any small cell, not at place 0");
const _: () = assert!(UNITS <= 1 << 6, "a place fits into its bits of the state word");

const CHUNK: Layout = match Layout::from_size_align(UNITS * UNIT, UNIT) {
    Ok(layout) => layout,
    Err(_) => unreachable!(),
};

/// Which unit of its chunk a cell begins with; zero for a cell with an allocation of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u8);

impl Place {
    pub(super) const fn to_bits(self) -> u8 {
        self.0
    }

    pub(super) const fn from_bits(bits: u8) -> Self {
        Place(bits)
    }
}

/// Memory for a value of `layout`, and where it is. The caller gives both back to [`free`] in the
/// end.
pub(super) fn allocate(layout: Layout) -> (NonNull<u8>, Place) {
    let units = layout.size().div_ceil(UNIT);
    let small = units <= LARGEST && layout.align() <= UNIT;
    // Without a bench, that is while the thread ends, and without memory for a chunk the cell is on
    // its own.
    let cut = if small { BENCH.try_with(|bench| bench.cut(units)).ok().flatten() } else { None };
    cut.unwrap_or_else(|| {
        // SAFETY: S4: a cell has a header, so its size is not zero.
        let memory = unsafe { alloc(layout) };
        match NonNull::new(memory) {
            Some(memory) => (memory, Place(0)),
            None => handle_alloc_error(layout),
        }
    })
}

/// Takes memory back.
///
/// # Safety
///
/// It came from [`allocate`] with this place and layout, and is not used any more.
pub(super) unsafe fn free(memory: NonNull<u8>, place: Place, layout: Layout) {
    if place == Place(0) {
        // SAFETY: S4: it has an allocation of its own, with this layout.
        return unsafe { dealloc(memory.as_ptr(), layout) };
    }
    // SAFETY: S1 and S4: the cell lies so many units behind its chunk's head, which is there as
    // long as the cell.
    let chunk = unsafe { memory.as_ptr().sub(usize::from(place.0) * UNIT) };
    let chunk = chunk.cast::<Chunk>();
    // SAFETY: S1: as above. For the model checker: this comes after every use of the cell.
    unsafe { &(*chunk).tracked }.share();
    // SAFETY: S1: this cell was counted.
    unsafe { discount(chunk, 1) };
}

/// Takes `count` off the chunk's count, and frees it if that was all.
///
/// # Safety
///
/// The caller stands for that much of the count (S1).
unsafe fn discount(chunk: *mut Chunk, count: usize) {
    // SAFETY: S1: the count is not zero yet, so the chunk is there.
    let live = unsafe { &(*chunk).live };
    // ORDERING: Release, so that the uses of the cell come before the free; Acquire, so that
    // the thread that frees the chunk sees those of all other cells.
    if live.fetch_sub(count, Ordering::AcqRel) == count {
        // SAFETY: S1: no other unit stands for any of it, so it is there. For the model checker.
        unsafe { &(*chunk).tracked }.own();
        // SAFETY: S1: no other unit stands for any of it.
        unsafe { ptr::drop_in_place(chunk) };
        // SAFETY: S4: it came from `alloc` with this layout, in `Bench::renew`.
        unsafe { dealloc(chunk.cast(), CHUNK) };
    }
}

thread_local_const! { static BENCH: Bench = Bench::new() }

/// Where a thread cuts cells (S2).
struct Bench {
    /// Null at first.
    chunk: Cell<*mut Chunk>,
    /// The first unit that is free, or `UNITS`.
    next: Cell<usize>,
    /// How many cells have been cut from the chunk.
    cells: Cell<usize>,
}

impl Bench {
    const fn new() -> Self {
        Bench { chunk: Cell::new(ptr::null_mut()), next: Cell::new(UNITS), cells: Cell::new(0) }
    }

    /// Cuts a cell of so many units, or nothing if there is no memory for a chunk.
    fn cut(&self, units: usize) -> Option<(NonNull<u8>, Place)> {
        if self.next.get() + units > UNITS {
            self.renew()?;
        }
        let first = self.next.get();
        self.next.set(first + units);
        self.cells.set(self.cells.get() + 1);
        // SAFETY: S2: unit `first` is inside the chunk.
        let memory = unsafe { self.chunk.get().cast::<u8>().add(first * UNIT) };
        Some((NonNull::new(memory)?, Place(first as u8)))
    }

    /// Has an empty chunk on the bench: the same one if it is empty (S3), or another.
    #[cold]
    fn renew(&self) -> Option<()> {
        if !self.is_empty() {
            self.let_go();
            // SAFETY: S4: the layout's size is not zero.
            let chunk = unsafe { alloc(CHUNK) }.cast::<Chunk>();
            NonNull::new(chunk)?;
            // SAFETY: S2: it is new, valid for a chunk's head, and aligned.
            unsafe { chunk.write(Chunk { live: AtomicUsize::new(UNITS), tracked: Tracked::new() }) };
            self.chunk.set(chunk);
        }
        self.next.set(HEAD);
        self.cells.set(0);
        Some(())
    }

    /// Whether there is a chunk and all its cells have been freed. If so, its count is made that of
    /// a new one.
    fn is_empty(&self) -> bool {
        // SAFETY: S2: what is on the bench is there.
        let Some(chunk) = (unsafe { self.chunk.get().as_ref() }) else { return false };
        // ORDERING: Acquire pairs with the Release in `discount`: the cells' uses come before those
        // of the next.
        let empty = chunk.live.load(Ordering::Acquire) == self.unused();
        if empty {
            chunk.tracked.own();
            // ORDERING: Relaxed, though it ends the chain of releases: those have been acquired,
            // and this thread's own release, in `let_go`, hands them on to the thread that frees
            // the chunk.
            chunk.live.store(UNITS, Ordering::Relaxed);
        }
        empty
    }

    /// What of the chunk's count stands for no cell.
    fn unused(&self) -> usize {
        UNITS - self.cells.get()
    }

    fn let_go(&self) {
        let chunk = self.chunk.replace(ptr::null_mut());
        self.next.set(UNITS);
        if !chunk.is_null() {
            // SAFETY: S2: this thread stands for what was not used up.
            unsafe { discount(chunk, self.unused()) };
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.let_go();
    }
}

#[cfg(all(test, sidestep_loom))]
mod loom_models;

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
