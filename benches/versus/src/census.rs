//! Counts the distinct threads that run closures, at the price of a comparison for each closure.

use std::cell::Cell;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

/// Which count this is, from 1.
static ROUND: AtomicUsize = AtomicUsize::new(1);
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The last round in which this thread was counted.
    static COUNTED: Cell<usize> = const { Cell::new(0) };
}

/// Called on a thread that runs a closure.
pub(crate) fn mark() {
    let round = ROUND.load(Relaxed);
    if COUNTED.replace(round) != round {
        THREADS.fetch_add(1, Relaxed);
    }
}

/// Begins to count anew, while no closure runs.
pub(crate) fn restart() {
    THREADS.store(0, Relaxed);
    ROUND.fetch_add(1, Relaxed);
}

/// How many threads have run closures since.
pub(crate) fn threads() -> usize {
    THREADS.load(Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_counts_once_a_round() {
        let crowd = || {
            for _ in 0..3 {
                std::thread::spawn(|| (mark(), mark())).join().unwrap();
            }
            mark();
            threads()
        };
        restart();
        assert_eq!(crowd(), 4);
        restart();
        assert_eq!(crowd(), 4);
    }
}
