//! How many threads a pool has: reserved, staying, present.
//!
//! ORDERING: `word` is `SeqCst` throughout. Its changes pair with its loads (who sees that a thread
//! has left sees what it counted); against the queues, the limit and the waiters they are ordered
//! by the fences of whoever changes it: `set_max`, `growth_ended`, `left`. `present` and `peak` are
//! for the metrics.

use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The number of threads: reserved ones, and those of them that are on their way out.
#[derive(Debug)]
pub(in crate::pool) struct ThreadCounts {
    /// Low half: reserved. High half: resigned but not gone yet.
    word: AtomicU64,
    present: AtomicUsize,
    peak: AtomicUsize,
}

const RESIGNED: u64 = 1 << 32;

impl ThreadCounts {
    pub(in crate::pool) fn new() -> Self {
        ThreadCounts { word: AtomicU64::new(0), present: AtomicUsize::new(0), peak: AtomicUsize::new(0) }
    }

    fn split(word: u64) -> (usize, usize) {
        let reserved = (word % RESIGNED) as usize;
        (reserved, reserved - (word / RESIGNED) as usize)
    }

    /// Threads reserved (P1): running, starting, or on their way out.
    pub(in crate::pool) fn reserved(&self) -> usize {
        Self::split(self.word.load(Ordering::SeqCst)).0
    }

    /// Those of the reserved that have not resigned.
    pub(in crate::pool) fn staying(&self) -> usize {
        Self::split(self.word.load(Ordering::SeqCst)).1
    }

    /// Threads that have started and not left.
    pub(in crate::pool) fn present(&self) -> usize {
        self.present.load(Ordering::Acquire)
    }

    pub(in crate::pool) fn peak(&self) -> usize {
        self.peak.load(Ordering::Acquire)
    }

    fn update(&self, change: impl Fn(usize, usize) -> Option<u64>) -> Option<u64> {
        let change = |word| {
            let (reserved, staying) = Self::split(word);
            change(reserved, staying).map(|units| word.wrapping_add(units))
        };
        self.word.fetch_update(Ordering::SeqCst, Ordering::SeqCst, change).ok()
    }

    /// Reserves one thread if fewer than `entitled` stay and fewer than `max` are reserved.
    pub(in crate::pool) fn reserve(&self, entitled: usize, max: usize) -> bool {
        self.update(|reserved, staying| (staying < entitled && reserved < max).then_some(1)).is_some()
    }

    /// Reserves up to `wanted` threads, and says how many.
    pub(in crate::pool) fn reserve_many(&self, wanted: usize, max: usize) -> usize {
        let granted = |reserved: usize| wanted.min(max.saturating_sub(reserved));
        match self.update(|reserved, _| Some(granted(reserved) as u64)) {
            Some(before) => granted(Self::split(before).0),
            None => 0,
        }
    }

    /// Gives `count` reserved threads up that were not started. Returns how many remain.
    pub(in crate::pool) fn release(&self, count: usize) -> usize {
        Self::split(self.word.fetch_sub(count as u64, Ordering::SeqCst)).0 - count
    }

    pub(in crate::pool) fn arrive(&self) {
        let present = self.present.fetch_add(1, Ordering::AcqRel) + 1;
        self.peak.fetch_max(present, Ordering::AcqRel);
    }

    /// One thread resigns, if more than `core` stay.
    pub(in crate::pool) fn resign_above(&self, core: usize) -> bool {
        self.update(|_, staying| (staying > core).then_some(RESIGNED)).is_some()
    }

    pub(in crate::pool) fn resign(&self) {
        self.word.fetch_add(RESIGNED, Ordering::SeqCst);
    }

    /// A thread that has resigned is gone, and its reservation goes to another one.
    pub(in crate::pool) fn hand_over(&self) {
        self.present.fetch_sub(1, Ordering::AcqRel);
        self.word.fetch_sub(RESIGNED, Ordering::SeqCst);
    }

    /// A thread that has resigned is gone.
    pub(in crate::pool) fn leave(&self) {
        self.present.fetch_sub(1, Ordering::AcqRel);
        self.word.fetch_sub(RESIGNED + 1, Ordering::SeqCst);
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
