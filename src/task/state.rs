//! The state word of a task: where it is between queued and ended, and who still refers to it.
//!
//! | bits | meaning | what it does not mean |
//! |---|---|---|
//! | 0-1 | stage: 0 queued, 1 claimed, 2 ended | claimed: the closure need not have begun, it may be being dropped |
//! | 2 | `CANCEL`: the task was asked to stop | that it stopped |
//! | 3 | `COLD_PART`: the cold part is there | that there are hooks in it |
//! | 4-7 | end: 0 with a value, 15 with a reason that the cold part has, else the reason's number | nothing before the sender is gone |
//! | 8-15 | the cell's place in its chunk | |
//! | 16-31 | the fork generation the task was made in | which one, from 65,534 on: see [`ShortGeneration`] |
//! | 32-63 | references: queue entry or runner, handle, cancel handles, hook guards | that the closure is alive |
//!
//! Every change is a method that returns a `#[must_use]` action; no other code reads bits.

use std::fmt;

use super::slab::Place;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sys::fork::ShortGeneration;

const STAGE: u64 = 0b11;
const QUEUED: u64 = 0;
const CLAIMED: u64 = 1;
const ENDED: u64 = 2;
const CANCEL: u64 = 1 << 2;
const COLD_PART: u64 = 1 << 3;
const END_SHIFT: u32 = 4;
const END: u64 = 0b1111 << END_SHIFT;
const PLACE_SHIFT: u32 = 8;
const GENERATION_SHIFT: u32 = 16;
const REF_SHIFT: u32 = 32;
const REF: u64 = 1 << REF_SHIFT;
/// More references than this are a leak in a loop, and the count must not run over.
const REF_LIMIT: u64 = 1 << 31;

/// What the word says of how a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskEnd {
    /// Its value was sent, whether or not a handle was there to receive it.
    Value,
    /// Without a value, for the reason with this number ([`Reason::code`]).
    ///
    /// [`Reason::code`]: crate::error::Reason::code
    Coded(u8),
    /// Without a value, for a reason that the cold part has.
    Stored,
}

impl TaskEnd {
    const STORED: u8 = 15;

    fn from_bits(bits: u64) -> Self {
        match ((bits & END) >> END_SHIFT) as u8 {
            0 => TaskEnd::Value,
            Self::STORED => TaskEnd::Stored,
            code => TaskEnd::Coded(code),
        }
    }

    fn to_bits(self) -> u64 {
        let code = match self {
            TaskEnd::Value => 0,
            TaskEnd::Coded(code) => code,
            TaskEnd::Stored => Self::STORED,
        };
        debug_assert!(code < Self::STORED || self == TaskEnd::Stored, "the word has four bits for it");
        u64::from(code) << END_SHIFT
    }
}

/// The right to run or discard a task.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// The cold part was there already: the spawner has put something into it. So most tasks
    /// are never asked again.
    pub(super) has_metadata: bool,
}

impl Claim {
    fn of(seen: u64) -> Self {
        Claim { has_metadata: seen & COLD_PART != 0 }
    }
}

/// What the caller of [`Word::request_cancel`] has to do.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CancelAction {
    /// The task was queued and is the caller's now: drop the closure and end it.
    End(Claim),
    /// The task is running and the caller is the first to cancel it: run its hooks.
    RunHooks,
    /// The task is running without hooks, has ended, or was cancelled before.
    Nothing,
}

/// What the caller has to do after letting go of a reference.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReleaseAction {
    /// That was the last one: free the cell.
    Free,
    /// Others remain.
    Keep,
}

/// The state word.
pub(crate) struct Word(AtomicU64);

impl Word {
    /// A queued task with `refs` references, made in fork generation `generation`, whose cell is at
    /// `place`, and whose cold part is there if `cold` says so.
    pub(super) fn new(refs: u32, generation: ShortGeneration, place: Place, cold: bool) -> Self {
        let place = u64::from(place.to_bits()) << PLACE_SHIFT;
        let generation = u64::from(generation.to_bits()) << GENERATION_SHIFT;
        let cold = if cold { COLD_PART } else { 0 };
        Word(AtomicU64::new(QUEUED | cold | place | generation | (u64::from(refs) << REF_SHIFT)))
    }

    #[inline]
    fn load(&self) -> u64 {
        // ORDERING: Acquire pairs with the AcqRel changes below, so that what the word shows can be
        // read.
        self.0.load(Ordering::Acquire)
    }

    /// Queued to claimed, for the one caller who now owns closure and sender.
    #[must_use]
    pub(crate) fn claim(&self) -> Option<Claim> {
        let mut seen = self.0.load(Ordering::Relaxed);
        while seen & STAGE == QUEUED {
            // ORDERING: Acquire, so that what the spawner wrote into the cell is visible even where
            // the entry came to this thread by another way than the queue; Release, so that later
            // claims fail with this visible.
            match self.0.compare_exchange_weak(seen, seen | CLAIMED, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some(Claim::of(seen)),
                Err(now) => seen = now,
            }
        }
        None
    }

    /// Asks the task to stop: claims it where it is queued, marks it where it runs.
    pub(crate) fn request_cancel(&self) -> CancelAction {
        let mut seen = self.load();
        loop {
            let (next, action) = match seen & STAGE {
                QUEUED => (seen | CLAIMED | CANCEL, CancelAction::End(Claim::of(seen))),
                CLAIMED if seen & CANCEL == 0 => {
                    let action =
                        if seen & COLD_PART == 0 { CancelAction::Nothing } else { CancelAction::RunHooks };
                    (seen | CANCEL, action)
                }
                _ => return CancelAction::Nothing,
            };
            // ORDERING: AcqRel. Pairs with `announce_cold_part`: one of the two sees the other's
            // bit.
            match self.0.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return action,
                Err(now) => seen = now,
            }
        }
    }

    /// Says that the cold part is in place. True if the task had been cancelled already: then
    /// that canceller did not see the bit and will not come to the hooks.
    #[must_use]
    pub(crate) fn announce_cold_part(&self) -> bool {
        // ORDERING: AcqRel. Pairs with `request_cancel`.
        self.0.fetch_or(COLD_PART, Ordering::AcqRel) & CANCEL != 0
    }

    /// Writes down how the task ends, which is not with a value. The claimer does so before it
    /// drops the sender.
    pub(crate) fn set_end(&self, end: TaskEnd) {
        // ORDERING: Release pairs with the Acquire of `end`, by a reader that has seen the sender
        // gone.
        self.0.fetch_or(end.to_bits(), Ordering::Release);
    }

    /// Claimed to ended, and lets go of the runner's reference.
    pub(crate) fn end_and_release(&self) -> ReleaseAction {
        // ORDERING: AcqRel, as in `release`.
        let before = self.0.fetch_sub(REF - (ENDED - CLAIMED), Ordering::AcqRel);
        debug_assert_eq!(before & STAGE, CLAIMED, "only a claimed task ends");
        release_action(before)
    }

    /// One reference more.
    pub(crate) fn retain(&self) {
        // ORDERING: Relaxed: the caller holds a reference, so the count cannot reach zero
        // meanwhile.
        let before = self.0.fetch_add(REF, Ordering::Relaxed);
        if before >> REF_SHIFT >= REF_LIMIT {
            std::process::abort();
        }
    }

    /// One reference less.
    pub(crate) fn release(&self) -> ReleaseAction {
        // ORDERING: Release, so that the uses of this reference come before the free; Acquire, so
        // that the one that frees sees the uses of all the others.
        release_action(self.0.fetch_sub(REF, Ordering::AcqRel))
    }

    pub(crate) fn is_queued(&self) -> bool {
        self.load() & STAGE == QUEUED
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.load() & STAGE == ENDED
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.load() & CANCEL != 0
    }

    #[inline]
    pub(crate) fn has_cold_part(&self) -> bool {
        self.load() & COLD_PART != 0
    }

    pub(crate) fn end(&self) -> TaskEnd {
        TaskEnd::from_bits(self.load())
    }

    /// Where the cell is.
    pub(super) fn place(&self) -> Place {
        Place::from_bits((self.0.load(Ordering::Relaxed) >> PLACE_SHIFT) as u8)
    }

    /// The fork generation the task was made in.
    pub(crate) fn generation(&self) -> ShortGeneration {
        ShortGeneration::from_bits(((self.0.load(Ordering::Relaxed) >> GENERATION_SHIFT) & 0xFFFF) as u16)
    }
}

fn release_action(before: u64) -> ReleaseAction {
    if before >> REF_SHIFT == 1 { ReleaseAction::Free } else { ReleaseAction::Keep }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.load();
        let stage = match bits & STAGE {
            QUEUED => "queued",
            CLAIMED => "claimed",
            _ => "ended",
        };
        f.debug_struct("Word")
            .field("stage", &stage)
            .field("cancel", &(bits & CANCEL != 0))
            .field("cold", &(bits & COLD_PART != 0))
            .field("end", &TaskEnd::from_bits(bits))
            .field("refs", &(bits >> REF_SHIFT))
            .finish()
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
