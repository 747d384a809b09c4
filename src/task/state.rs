//! The state word of a task: where it is between queued and ended, who wants its result and how
//! that one is reached, and who still refers to it.
//!
//! | bits | meaning | what it does not mean |
//! |---|---|---|
//! | 0-1 | stage: 0 queued, 1 claimed, 2 ended | claimed: the closure need not have begun, it may be being dropped |
//! | 2 | `CANCEL`: the task was asked to stop | that it stopped |
//! | 3 | `COLD_PART`: the cold part is there | that there are hooks in it |
//! | 4-7 | end: 0 with a value, 15 with a reason that the cold part has, else the reason's number | nothing before the stage is ended |
//! | 8-13 | the cell's place in its chunk | |
//! | 14 | `WANTED`: there is a handle that can take the result | that a thread waits for it |
//! | 15 | `BELL`: the handle has left a bell in the cell | that the one who waits is still there |
//! | 16-31 | the fork generation the task was made in | which one, from 65,534 on: see [`ShortGeneration`] |
//! | 32 | `GROUP`: the bell is a group's | |
//! | 33-63 | references: queue entry or runner, handle, cancel handles, hook guards | that the closure is alive |
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
const PLACE: u64 = 0b11_1111 << PLACE_SHIFT;
const WANTED: u64 = 1 << 14;
const BELL: u64 = 1 << 15;
const GENERATION_SHIFT: u32 = 16;
const GROUP: u64 = 1 << 32;
const REF_SHIFT: u32 = 33;
const REF: u64 = 1 << REF_SHIFT;
/// More references than this are a leak in a loop, and the count must not run over.
const REF_LIMIT: u64 = 1 << 30;

/// What the word says of how a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskEnd {
    /// Its closure has returned a value, whether or not a handle was there to take it.
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

/// What the handle has to do that has let go of the result.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LetGoAction {
    /// The task had ended before: its value, or what it has failed with, is the handle's to drop.
    TakeResult,
    /// The task has yet to end: the claimer drops what comes of it.
    Nothing,
}

/// What the claimer has to do that ends the task.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndAction {
    /// The task has not ended: there is a bell of this kind to be taken out of the cell first.
    TakeBell(BellKind),
    /// The task has not ended: there is no handle, so the result is the claimer's to drop first.
    DropResult,
    /// The task has ended.
    Done(ReleaseAction),
}

/// What a handle has left in the cell to learn of the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BellKind {
    /// The sender of a oneshot.
    Channel,
    /// The group of a batch.
    Group,
}

/// What the claimer that ends a task has done already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    /// The claimer has taken the bell out of the cell.
    pub(super) bell: bool,
    /// The claimer has dropped the result, or there is nothing to drop.
    pub(super) result: bool,
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
        let place = (u64::from(place.to_bits()) << PLACE_SHIFT) & PLACE;
        let generation = u64::from(generation.to_bits()) << GENERATION_SHIFT;
        let cold = if cold { COLD_PART } else { 0 };
        Word(AtomicU64::new(QUEUED | WANTED | cold | place | generation | (u64::from(refs) << REF_SHIFT)))
    }

    #[inline]
    fn load(&self) -> u64 {
        // ORDERING: Acquire pairs with the AcqRel changes below, so that what the word shows can be
        // read.
        self.0.load(Ordering::Acquire)
    }

    /// Queued to claimed, for the one caller who now owns the closure.
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
        self.cancel_and_clear(0)
    }

    /// As `request_cancel`, by the handle, which lets go of the result in the same step.
    pub(crate) fn cancel_and_let_go(&self) -> (CancelAction, LetGoAction) {
        let cancel = self.cancel_and_clear(WANTED);
        // An ended task is left as it was: the handle still has the right to its result.
        let let_go = if self.load() & (STAGE | WANTED) == ENDED | WANTED {
            LetGoAction::TakeResult
        } else {
            LetGoAction::Nothing
        };
        (cancel, let_go)
    }

    #[inline]
    fn cancel_and_clear(&self, cleared: u64) -> CancelAction {
        let mut seen = self.load();
        loop {
            let (next, action) = match seen & STAGE {
                QUEUED => (seen | CLAIMED | CANCEL, CancelAction::End(Claim::of(seen))),
                CLAIMED if seen & CANCEL == 0 => {
                    let action =
                        if seen & COLD_PART == 0 { CancelAction::Nothing } else { CancelAction::RunHooks };
                    (seen | CANCEL, action)
                }
                CLAIMED if seen & cleared != 0 => (seen, CancelAction::Nothing),
                _ => return CancelAction::Nothing,
            };
            // ORDERING: AcqRel. Pairs with `announce_cold_part`: one of the two sees the other's
            // bit.
            match self.0.compare_exchange_weak(seen, next & !cleared, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return action,
                Err(now) => seen = now,
            }
        }
    }

    /// The handle lets go of the result.
    pub(crate) fn let_go(&self) -> LetGoAction {
        // ORDERING: AcqRel. Pairs with `finish`: the second of the two has the result, and sees
        // what the first has written.
        let before = self.0.fetch_and(!WANTED, Ordering::AcqRel);
        if before & STAGE == ENDED { LetGoAction::TakeResult } else { LetGoAction::Nothing }
    }

    /// Lets go of the result and of the handle's reference, unless the task has ended: then
    /// nothing changes, and the handle has to take the result. False if so.
    #[must_use]
    pub(crate) fn detach(&self) -> bool {
        let mut seen = self.load();
        while seen & STAGE != ENDED {
            debug_assert!(seen >> REF_SHIFT > 1, "the queue or the claimer has a reference");
            // ORDERING: AcqRel, as in `let_go` and `release`.
            match self.0.compare_exchange_weak(
                seen,
                (seen & !WANTED) - REF,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Says that the handle has left a bell in the cell. False if the task had ended already: then
    /// the bell is the handle's still.
    #[must_use]
    pub(crate) fn announce_bell(&self, kind: BellKind) -> bool {
        let bits = match kind {
            BellKind::Channel => BELL,
            BellKind::Group => BELL | GROUP,
        };
        // ORDERING: AcqRel. Pairs with `finish`: either the claimer sees the bell, or this sees the
        // end, with the result.
        self.0.fetch_or(bits, Ordering::AcqRel) & STAGE != ENDED
    }

    /// Says that the cold part is in place. True if the task had been cancelled already: then
    /// that canceller did not see the bit and will not come to the hooks.
    #[must_use]
    pub(crate) fn announce_cold_part(&self) -> bool {
        // ORDERING: AcqRel. Pairs with `request_cancel`.
        self.0.fetch_or(COLD_PART, Ordering::AcqRel) & CANCEL != 0
    }

    /// Writes down how the task ends, which is not with a value. The claimer does so before
    /// `finish`.
    pub(crate) fn set_end(&self, end: TaskEnd) {
        // ORDERING: Relaxed: `finish` comes next, and whoever has seen that sees this.
        self.0.fetch_or(end.to_bits(), Ordering::Relaxed);
    }

    /// Claimed to ended, and with `release` one reference less, where the claimer has settled all
    /// there is to settle before; otherwise nothing changes.
    #[inline]
    pub(crate) fn finish(&self, settled: Settled, release: bool) -> EndAction {
        let mut seen = self.load();
        loop {
            debug_assert_eq!(seen & STAGE, CLAIMED, "only a claimed task ends");
            if seen & BELL != 0 && !settled.bell {
                let kind = if seen & GROUP == 0 { BellKind::Channel } else { BellKind::Group };
                return EndAction::TakeBell(kind);
            }
            if seen & WANTED == 0 && !settled.result {
                return EndAction::DropResult;
            }
            let released = if release { REF } else { 0 };
            let next = seen + (ENDED - CLAIMED) - released;
            // ORDERING: Release, so that who sees the end sees the result, and as in `release`;
            // Acquire, so that a bell that is seen can be taken, and as in `release`.
            match self.0.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) if release => return EndAction::Done(release_action(seen)),
                Ok(_) => return EndAction::Done(ReleaseAction::Keep),
                Err(now) => seen = now,
            }
        }
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
        // What is the last reference stays so: new ones are made of others. Most tasks end so, and
        // are spared the change.
        if self.load() >> REF_SHIFT == 1 {
            return ReleaseAction::Free;
        }
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
        Place::from_bits(((self.0.load(Ordering::Relaxed) & PLACE) >> PLACE_SHIFT) as u8)
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
            .field("wanted", &(bits & WANTED != 0))
            .field("bell", &(bits & BELL != 0))
            .field("refs", &(bits >> REF_SHIFT))
            .finish()
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
