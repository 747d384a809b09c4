//! Models of a chunk for the model checker: the thread that cuts cells from it against those that
//! free them. Chunks have room for two cells, so the third has the thread begin anew or let go.
//!
//! In each of them the checker also sees that every chunk is freed, and that both that and
//! beginning anew come after every use of its cells.

use loom::thread;

use super::*;
use crate::sync::stand_in::model::check;

const LAYOUT: Layout = Layout::new::<[u64; LARGEST * UNIT / size_of::<u64>()]>();

/// A cell whose memory is given back when this is dropped.
struct Piece(NonNull<u8>, Place);

// SAFETY: it is memory, which belongs to no thread.
unsafe impl Send for Piece {}

impl Piece {
    fn new() -> Self {
        let (memory, place) = allocate(LAYOUT);
        assert_ne!(place, Place(0), "it is cut from a chunk");
        Piece(memory, place)
    }

    fn is_at(&self, address: usize) -> bool {
        self.0.as_ptr() as usize == address
    }

    fn address(&self) -> usize {
        self.0.as_ptr() as usize
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        // SAFETY: it came from `allocate`, and is nobody else's.
        unsafe { free(self.0, self.1, LAYOUT) };
    }
}

/// Frees `piece` on a thread of its own.
fn free_elsewhere(piece: Piece) -> thread::JoinHandle<()> {
    thread::spawn(move || drop(piece))
}

/// One cell is freed elsewhere while its thread begins anew in the chunk or lets go of it.
#[test]
fn free_against_the_next_cell() {
    check(None, || {
        let (first, second) = (Piece::new(), Piece::new());
        let elsewhere = free_elsewhere(first);
        drop(second);
        drop(Piece::new());
        elsewhere.join().unwrap();
    });
}

/// Both cells are freed by threads of their own while the thread that cut them begins anew or lets
/// go.
#[test]
fn two_frees_against_the_next_cell() {
    check(None, || {
        let pieces = [Piece::new(), Piece::new()];
        let elsewhere = pieces.map(free_elsewhere);
        drop(Piece::new());
        for thread in elsewhere {
            thread.join().unwrap();
        }
    });
}

/// A chunk is begun anew while the free that emptied it may be under way still, and again: a free
/// of the first round is not taken for one of the second.
#[test]
fn free_against_beginning_anew_twice() {
    check(Some(3), || {
        let mut frees = Vec::new();
        for _ in 0..2 {
            let (first, second) = (Piece::new(), Piece::new());
            frees.push(free_elsewhere(first));
            drop(second);
        }
        let last = Piece::new();
        for free in frees {
            free.join().unwrap();
        }
        drop(last);
    });
}

/// A thread ends, and with it its bench, while its cells are freed on two others.
#[test]
fn free_against_the_end_of_the_thread() {
    check(Some(3), || {
        let cutter = thread::spawn(|| {
            let (first, second) = (Piece::new(), Piece::new());
            (free_elsewhere(first), second)
        });
        let (elsewhere, second) = cutter.join().unwrap();
        drop(second);
        elsewhere.join().unwrap();
    });
}

/// A chunk that has been emptied elsewhere, and seen to be, is used again; one with a cell left is
/// not.
#[test]
fn an_emptied_chunk_is_used_again_and_no_other() {
    check(None, || {
        let (first, second) = (Piece::new(), Piece::new());
        let addresses = [first.address(), second.address()];
        free_elsewhere(first).join().unwrap();
        let third = Piece::new();
        assert!(!addresses.iter().any(|&address| third.is_at(address)), "the second is still there");
        let fourth = Piece::new();
        let addresses = [third.address(), fourth.address()];
        free_elsewhere(third).join().unwrap();
        drop(fourth);
        assert!(Piece::new().is_at(addresses[0]), "S3");
        drop(second);
    });
}
