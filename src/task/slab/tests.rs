//! Tests of `slab`.

use super::*;
use std::thread;

const SMALL: Layout = Layout::new::<[u64; 8]>();

fn chunk_of((memory, place): (NonNull<u8>, Place)) -> usize {
    memory.as_ptr() as usize - usize::from(place.0) * UNIT
}

fn give((memory, place): (NonNull<u8>, Place)) {
    // SAFETY: the tests allocate with this layout, and only they use the memory.
    unsafe { free(memory, place, SMALL) };
}

/// Runs `test` on a thread of its own, with a bench of its own.
fn on_a_fresh_bench(test: impl FnOnce() + Send) {
    thread::scope(|scope| scope.spawn(test).join().expect("the test passes"));
}

#[test]
fn neighbours_share_a_chunk_and_do_not_overlap() {
    on_a_fresh_bench(|| {
        let cells: Vec<_> = (0..100).map(|_| allocate(SMALL)).collect();
        let mut places: Vec<_> = cells.iter().map(|cell| cell.0.as_ptr() as usize).collect();
        places.sort_unstable();
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= SMALL.size()));
        assert_eq!(chunk_of(cells[0]), chunk_of(cells[14]), "fifteen of 64 bytes in one chunk");
        assert_ne!(chunk_of(cells[0]), chunk_of(cells[15]));
        cells.into_iter().for_each(give);
    });
}

#[test]
fn an_empty_chunk_is_used_again() {
    on_a_fresh_bench(|| {
        let first = allocate(SMALL);
        let chunk = chunk_of(first);
        give(first);
        for _ in 0..1000 {
            let cell = allocate(SMALL);
            assert_eq!(chunk_of(cell), chunk, "S3");
            give(cell);
        }
    });
}

#[test]
fn a_chunk_with_a_live_cell_is_left_alone() {
    on_a_fresh_bench(|| {
        let kept = allocate(SMALL);
        // SAFETY: it is this test's, and that large.
        unsafe { kept.0.cast::<u64>().write(0xA5) };
        for _ in 0..1000 {
            let cell = allocate(SMALL);
            assert_ne!(cell.0, kept.0);
            // SAFETY: as above.
            unsafe { cell.0.cast::<u64>().write(0) };
            give(cell);
        }
        // SAFETY: as above.
        assert_eq!(unsafe { kept.0.cast::<u64>().read() }, 0xA5);
        give(kept);
    });
}

/// What is left of the count of the chunk that a cell was cut from.
fn live_beside(cell: (NonNull<u8>, Place)) -> usize {
    let chunk = ptr::with_exposed_provenance::<Chunk>(chunk_of(cell));
    // SAFETY: S1: the cell has not been freed, so its chunk is there.
    unsafe { &(*chunk).live }.load(Ordering::Relaxed)
}

#[test]
fn a_chunk_that_is_let_go_of_counts_its_cells() {
    on_a_fresh_bench(|| {
        let cells: Vec<_> = (0..16).map(|_| allocate(SMALL)).collect();
        assert_eq!(live_beside(cells[0]), 15, "S2: it is full, and another one is on the bench");
        assert_eq!(live_beside(cells[15]), UNITS);
        cells.into_iter().for_each(give);
        assert!(BENCH.with(Bench::is_empty));
    });
    let cell = thread::spawn(|| {
        let (memory, place) = allocate(SMALL);
        (memory.as_ptr().expose_provenance(), place)
    });
    let (address, place) = cell.join().unwrap();
    let cell = (NonNull::new(ptr::with_exposed_provenance_mut(address)).unwrap(), place);
    assert_eq!(live_beside(cell), 1, "the bench went with its thread");
    give(cell);
}

#[test]
fn a_chunk_is_cut_up_to_its_last_unit() {
    on_a_fresh_bench(|| {
        let of = |units: usize| Layout::from_size_align(units * UNIT, UNIT).unwrap();
        let layouts = [of(LARGEST), of(LARGEST), of(LARGEST), of(UNITS - HEAD - 3 * LARGEST)];
        let cells = layouts.map(allocate);
        assert!(cells.iter().all(|&cell| chunk_of(cell) == chunk_of(cells[0])));
        for ((memory, place), layout) in cells.into_iter().zip(layouts) {
            // SAFETY: it came from `allocate`, with this layout.
            unsafe { free(memory, place, layout) };
        }
    });
}

#[test]
fn cells_outlive_the_thread_that_cut_them() {
    let cells: Vec<_> = thread::spawn(|| {
        let cells = (0..40).map(|_| allocate(SMALL)).map(|(memory, place)| (memory.as_ptr() as usize, place));
        cells.collect()
    })
    .join()
    .unwrap();
    for (address, place) in cells {
        let memory = NonNull::new(ptr::with_exposed_provenance_mut::<u8>(address)).unwrap();
        // SAFETY: it is this test's, and that large.
        unsafe { memory.cast::<u64>().write(1) };
        give((memory, place));
    }
}

#[test]
fn large_and_strictly_aligned_values_are_on_their_own() {
    for layout in [Layout::new::<[u8; 257]>(), Layout::from_size_align(64, 64).unwrap()] {
        let (memory, place) = allocate(layout);
        assert_eq!(place, Place(0));
        assert!((memory.as_ptr() as usize).is_multiple_of(layout.align()));
        // SAFETY: it came from `allocate` just now.
        unsafe { free(memory, place, layout) };
    }
}
