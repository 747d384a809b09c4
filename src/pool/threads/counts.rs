//! How many threads a pool has: reserved, active, alive; and how many the reserves of its lanes
//! have.
//!
//! ORDERING: `word` is `SeqCst` throughout. Its changes pair with its loads (a thread that sees
//! that another has exited sees what that one counted); against the queues, the limit and the
//! waiters the fences of the functions that change it order them: `set_max`, `growth_ended`,
//! `on_exit`. `alive` and `peak` are for the metrics.

use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The numbers of threads: those reserved, and those of the reserved that are on their way out.
#[derive(Debug)]
pub(in crate::pool) struct ThreadCounts {
    /// From the lowest bit: 20 bits of threads that are reserved, 20 bits of threads of lanes'
    /// reserves, and those of the reserved that have retired but are not gone yet.
    word: AtomicU64,
    alive: AtomicUsize,
    peak: AtomicUsize,
}

const IN_RESERVE: u64 = 1 << 20;
const RETIRED: u64 = 1 << 40;

impl ThreadCounts {
    pub(in crate::pool) fn new() -> Self {
        ThreadCounts { word: AtomicU64::new(0), alive: AtomicUsize::new(0), peak: AtomicUsize::new(0) }
    }

    fn split(word: u64) -> (usize, usize) {
        let reserved = (word % IN_RESERVE) as usize;
        (reserved, reserved - (word / RETIRED) as usize)
    }

    /// Threads reserved (P1): running, starting, or on their way out.
    pub(in crate::pool) fn reserved(&self) -> usize {
        Self::split(self.word.load(Ordering::SeqCst)).0
    }

    /// Threads that are reserved and have not retired.
    pub(in crate::pool) fn active(&self) -> usize {
        Self::split(self.word.load(Ordering::SeqCst)).1
    }

    /// Threads of lanes' reserves: at work, idle, starting, or on their way out.
    pub(in crate::pool) fn in_reserves(&self) -> usize {
        (self.word.load(Ordering::SeqCst) % RETIRED / IN_RESERVE) as usize
    }

    /// All threads, those of reserves included.
    pub(in crate::pool) fn all(&self) -> usize {
        let word = self.word.load(Ordering::SeqCst) % RETIRED;
        (word % IN_RESERVE + word / IN_RESERVE) as usize
    }

    /// A thread of a reserve is about to be made. The reserve bounds their number.
    pub(in crate::pool) fn enter_reserve(&self) {
        self.word.fetch_add(IN_RESERVE, Ordering::SeqCst);
    }

    /// A thread of a reserve is gone, or was not made.
    pub(in crate::pool) fn leave_reserve(&self) {
        self.word.fetch_sub(IN_RESERVE, Ordering::SeqCst);
    }

    /// Threads that have started and not exited.
    pub(in crate::pool) fn alive(&self) -> usize {
        self.alive.load(Ordering::Acquire)
    }

    pub(in crate::pool) fn peak(&self) -> usize {
        self.peak.load(Ordering::Acquire)
    }

    fn update(&self, change: impl Fn(usize, usize) -> Option<u64>) -> Option<u64> {
        let change = |word| {
            let (reserved, active) = Self::split(word);
            change(reserved, active).map(|units| word.wrapping_add(units))
        };
        self.word.fetch_update(Ordering::SeqCst, Ordering::SeqCst, change).ok()
    }

    /// Reserves one thread if fewer than `entitled` are active and fewer than `max` are reserved.
    pub(in crate::pool) fn reserve(&self, entitled: usize, max: usize) -> bool {
        self.update(|reserved, active| (active < entitled && reserved < max).then_some(1)).is_some()
    }

    /// Reserves up to `wanted` threads beside those that there are, and returns how many: none
    /// where there is none, so that a pool that has ended stays without.
    pub(in crate::pool) fn reserve_many(&self, wanted: usize, max: usize) -> usize {
        let room = |reserved: usize| wanted.min(max.saturating_sub(reserved));
        let granted = |reserved: usize| if reserved == 0 { 0 } else { room(reserved) };
        match self.update(|reserved, _| Some(granted(reserved) as u64)) {
            Some(before) => granted(Self::split(before).0),
            None => 0,
        }
    }

    /// Releases the reservations of `count` threads that were not started. Returns how many remain.
    pub(in crate::pool) fn release(&self, count: usize) -> usize {
        Self::split(self.word.fetch_sub(count as u64, Ordering::SeqCst)).0 - count
    }

    pub(in crate::pool) fn arrive(&self) {
        let alive = self.alive.fetch_add(1, Ordering::AcqRel) + 1;
        self.peak.fetch_max(alive, Ordering::AcqRel);
    }

    /// Retires one thread, if more than `core` are active.
    pub(in crate::pool) fn retire_above(&self, core: usize) -> bool {
        self.update(|_, active| (active > core).then_some(RETIRED)).is_some()
    }

    pub(in crate::pool) fn retire(&self) {
        self.word.fetch_add(RETIRED, Ordering::SeqCst);
    }

    /// A thread that has retired is gone, and its reservation goes to another one.
    pub(in crate::pool) fn hand_off(&self) {
        self.alive.fetch_sub(1, Ordering::AcqRel);
        self.word.fetch_sub(RETIRED, Ordering::SeqCst);
    }

    /// A thread that has retired is gone, and its reservation ends.
    pub(in crate::pool) fn exit(&self) {
        self.alive.fetch_sub(1, Ordering::AcqRel);
        self.word.fetch_sub(RETIRED + 1, Ordering::SeqCst);
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
