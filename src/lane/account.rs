//! What a thread that cancels a queued task touches of the task's lane, and what a lane counts.
//!
//! A task knows the account by its address alone (rule T4 of `task`): the lane itself may be on its
//! way out meanwhile. So the account has an allocation of its own. The lane's drop has the lane to
//! itself, by `&mut`, and waits until every task is counted before it lets go of the account.

use std::fmt;
use std::sync::Arc;
use std::task::Waker;

use crossbeam_utils::CachePadded;

use crate::semaphore::Semaphore;
use crate::sync::Tracked;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sys::fork::Generation;
use crate::task::{Owner, wake};

/// What one lane or all of them have counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) submitted: u64,
    pub(crate) started: u64,
    pub(crate) completed: u64,
    pub(crate) panicked: u64,
    pub(crate) cancelled: u64,
    /// Slots for which an entry waits in the pool's queues.
    pub(crate) pending: u64,
}

impl Counts {
    pub(crate) fn queued(&self) -> u64 {
        self.submitted - self.started - self.cancelled
    }

    pub(crate) fn running(&self) -> u64 {
        self.started - self.completed - self.panicked
    }

    /// Whether every task has ended.
    pub(crate) fn balanced(&self) -> bool {
        self.submitted == self.completed + self.panicked + self.cancelled
    }

    pub(super) fn add(&mut self, other: Counts) {
        self.submitted += other.submitted;
        self.started += other.started;
        self.completed += other.completed;
        self.panicked += other.panicked;
        self.cancelled += other.cancelled;
        self.pending += other.pending;
    }
}

/// The part of a lane that its tasks refer to. Each step is counted before the next can happen.
pub(crate) struct LaneAccount {
    submitted: AtomicU64,
    cancelled: AtomicU64,
    pending: AtomicUsize,
    /// Apart, since submitters and threads that run are on different CPUs.
    runs: CachePadded<Runs>,
    places: Option<Semaphore>,
    generation: Generation,
    freed: Tracked,
}

/// What is counted by the threads that run a lane.
#[derive(Debug, Default)]
struct Runs {
    started: AtomicU64,
    completed: AtomicU64,
    panicked: AtomicU64,
}

impl LaneAccount {
    /// The account of a lane that was made in fork generation `generation`, and whose queue has
    /// these places, if it is limited.
    pub(super) fn new(places: Option<Semaphore>, generation: Generation) -> Arc<Self> {
        Arc::new(LaneAccount {
            submitted: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            pending: AtomicUsize::new(0),
            runs: CachePadded::default(),
            places,
            generation,
            freed: Tracked::new(),
        })
    }

    /// The places of the lane's queue, if it is limited.
    pub(super) fn places(&self) -> Option<&Semaphore> {
        self.places.as_ref()
    }

    pub(super) fn is_forked(&self) -> bool {
        self.generation.is_past()
    }

    /// How many tasks have been cancelled, to be compared with later.
    pub(super) fn cancelled_so_far(&self) -> u64 {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// A task taken from the queue has begun.
    pub(super) fn count_started(&self) {
        // ORDERING: Release pairs with the Acquire in `counts`: who sees the start sees the
        // submission.
        self.runs.started.fetch_add(1, Ordering::Release);
    }

    /// Its closure has ended.
    pub(super) fn count_ended(&self, panicked: bool) {
        let count = if panicked { &self.runs.panicked } else { &self.runs.completed };
        // ORDERING: Release pairs with the Acquire in `counts`: who sees the end sees the start.
        count.fetch_add(1, Ordering::Release);
    }

    /// Frees the place of a task that will not run, without a call of the waker of the one who gets
    /// it.
    fn free_place_quietly(&self) -> Option<Waker> {
        // In a forked child nobody waits for a place, and the lock may be held for ever.
        let places = self.places.as_ref().filter(|_| !self.is_forked());
        places.and_then(Semaphore::free_quietly)
    }

    /// Counts a submission; under the lane's lock.
    pub(super) fn count_submitted(&self) {
        // ORDERING: Release pairs with the Acquire in `counts`. One thread writes at a time, so a
        // store will do.
        self.submitted.store(self.submitted.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// How many slots are pending now; told under the lane's lock.
    pub(super) fn show_pending(&self, pending: usize) {
        // ORDERING: Release pairs with the Acquire in `counts`; one thread writes at a time, as
        // above.
        self.pending.store(pending, Ordering::Release);
    }

    /// What has been counted: ends first, then starts, then submissions, so that the differences
    /// are never negative.
    pub(crate) fn counts(&self) -> Counts {
        // ORDERING: Acquire pairs with the Release of each count: who sees an end sees the start.
        let cancelled = self.cancelled.load(Ordering::Acquire);
        let panicked = self.runs.panicked.load(Ordering::Acquire);
        let completed = self.runs.completed.load(Ordering::Acquire);
        let started = self.runs.started.load(Ordering::Acquire);
        let submitted = self.submitted.load(Ordering::Acquire);
        let pending = self.pending.load(Ordering::Acquire) as u64;
        Counts { submitted, started, completed, panicked, cancelled, pending }
    }
}

impl Owner for LaneAccount {
    unsafe fn count_cancelled(this: *const Self) {
        // SAFETY: T4: the count below has not been made yet. The reference ends with the call.
        let waker = unsafe { (*this).free_place_quietly() };
        // SAFETY: T4: as above. For the model checker.
        unsafe { (*this).freed.share() };
        // SAFETY: T4: as above. The reference covers the atomic alone, as all that is passed on.
        let cancelled = unsafe { &(*this).cancelled };
        // ORDERING: Release pairs with the Acquire in `counts`: a thread that sees the count may
        // free the account.
        cancelled.fetch_add(1, Ordering::Release);
        // The waker may let go of the lane's last handle.
        waker.into_iter().for_each(wake);
    }
}

impl Drop for LaneAccount {
    fn drop(&mut self) {
        self.freed.own();
    }
}

impl fmt::Debug for LaneAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneAccount").field("counts", &self.counts()).finish_non_exhaustive()
    }
}
