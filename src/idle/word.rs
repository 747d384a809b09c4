//! The four counts in one atomic word.
//!
//! ORDERING: every change is AcqRel and pairs with the next one, and with the load: so who is given
//! a token, or sees that one has been released, sees what its holder did before. What the counts
//! say of the queues rests on the fences of the protocol.

use std::fmt;

use crate::sync::atomic::{AtomicU64, Ordering};

pub(super) const IDLE: u64 = 1;
pub(super) const SEARCHING: u64 = 1 << 16;
pub(super) const STARTING: u64 = 1 << 32;
pub(super) const DELIVERING: u64 = 1 << 48;
const FIELD: u64 = 0xFFFF;

/// The counts at one instant. See the module's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct IdleCounts {
    pub(crate) idle: usize,
    pub(crate) searching: usize,
    pub(crate) starting: usize,
    pub(crate) delivering: usize,
}

impl From<u64> for IdleCounts {
    fn from(bits: u64) -> Self {
        let field = |unit: u64| ((bits / unit) & FIELD) as usize;
        IdleCounts {
            idle: field(IDLE),
            searching: field(SEARCHING),
            starting: field(STARTING),
            delivering: field(DELIVERING),
        }
    }
}

pub(super) struct Word(AtomicU64);

impl Word {
    pub(super) fn new() -> Self {
        Word(AtomicU64::new(0))
    }

    pub(super) fn load(&self) -> IdleCounts {
        self.0.load(Ordering::Acquire).into()
    }

    /// Adds and takes units in one step. Units taken are there: their holder is the caller, or the
    /// lock is held.
    pub(super) fn change(&self, plus: u64, minus: u64) {
        let before = self.0.fetch_add(plus.wrapping_sub(minus), Ordering::AcqRel);
        debug_assert!(
            [IDLE, SEARCHING, STARTING, DELIVERING]
                .iter()
                .all(|unit| (before / unit) & FIELD >= (minus / unit) & FIELD),
            "a count below zero: {:?} less {:?}",
            IdleCounts::from(before),
            IdleCounts::from(minus)
        );
    }

    /// One searching unit more, if there is none.
    pub(super) fn try_begin_searching(&self) -> bool {
        let one_more = |bits| (IdleCounts::from(bits).searching == 0).then_some(bits + SEARCHING);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, one_more).is_ok()
    }

    /// One starting unit more, if all counts are zero.
    pub(super) fn try_begin_starting(&self) -> bool {
        self.0.compare_exchange(0, STARTING, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.load().fmt(f)
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
