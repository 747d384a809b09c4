//! What a thread that cancels a queued task touches of the task's pool: the counts, and the places
//! of the queue.
//!
//! A task knows its account by the address alone (rule T4 of `task`): what the pool holds besides
//! may be on its way out meanwhile. So the account has an allocation of its own. The pool's drop
//! has its state to itself, by `&mut`, and waits until every task is counted before it lets go of
//! the account.

use std::fmt;
use std::sync::Arc;
use std::task::Waker;

use crossbeam_utils::CachePadded;

use super::roster::thread_number;
use crate::semaphore::Semaphore;
use crate::sync::Tracked;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sys::fork::Generation;
use crate::task::{Owner, wake};

const SHARDS: usize = if cfg!(sidestep_loom) { 1 } else { 16 };

/// What threads count that are not the pool's.
#[derive(Debug)]
struct Shard {
    submitted: AtomicU64,
    cancelled: AtomicU64,
}

/// The part of a pool that the tasks of its own queues refer to.
pub(crate) struct PoolAccount {
    shards: [CachePadded<Shard>; SHARDS],
    places: Option<Semaphore>,
    generation: Generation,
    freed: Tracked,
}

impl PoolAccount {
    /// The account of a pool whose queue has these places, if it is limited.
    pub(super) fn new(places: Option<Semaphore>) -> Arc<Self> {
        let shard =
            |_| CachePadded::new(Shard { submitted: AtomicU64::new(0), cancelled: AtomicU64::new(0) });
        Arc::new(PoolAccount {
            shards: std::array::from_fn(shard),
            places,
            generation: Generation::current(),
            freed: Tracked::new(),
        })
    }

    /// The places of the pool's queue, if it is limited.
    pub(crate) fn places(&self) -> Option<&Semaphore> {
        self.places.as_ref()
    }

    /// A task is about to be queued by a thread that is not the pool's.
    pub(super) fn count_submitted(&self) {
        // ORDERING: Release pairs with the Acquire in `submitted`. For the monitor the fence in
        // `Idle::notify`, which comes after, does.
        self.shards[thread_number() % SHARDS].submitted.fetch_add(1, Ordering::Release);
    }

    pub(super) fn submitted(&self) -> u64 {
        // ORDERING: Acquire pairs with the Release in `count_submitted`: see `Roster::totals`.
        self.shards.iter().map(|shard| shard.submitted.load(Ordering::Acquire)).sum()
    }

    pub(super) fn cancelled(&self) -> u64 {
        // ORDERING: Acquire pairs with the Release in `count_cancelled`: see `Roster::totals`.
        self.shards.iter().map(|shard| shard.cancelled.load(Ordering::Acquire)).sum()
    }

    /// Frees the place of a task that will not run, without a call of the waker of the one who gets
    /// it.
    fn free_place_quietly(&self) -> Option<Waker> {
        // In a forked child nobody waits for a place, and the lock may be held for ever.
        let places = self.places.as_ref().filter(|_| !self.generation.is_past());
        places.and_then(Semaphore::free_quietly)
    }
}

impl Owner for PoolAccount {
    unsafe fn count_cancelled(this: *const Self) {
        // SAFETY: T4: the count below has not been made yet. The reference ends with the call.
        let waker = unsafe { (*this).free_place_quietly() };
        // SAFETY: T4: as above. For the model checker.
        unsafe { (*this).freed.share() };
        // SAFETY: T4: as above. No function is given this reference but `deref`, which returns
        // before the count.
        let shard = unsafe { &(*this).shards[thread_number() % SHARDS] };
        // ORDERING: Release pairs with the Acquire in `cancelled`: a thread that sees the count may
        // free the account.
        shard.cancelled.fetch_add(1, Ordering::Release);
        // The waker may let go of the pool's last handle.
        waker.into_iter().for_each(wake);
    }
}

impl Drop for PoolAccount {
    fn drop(&mut self) {
        self.freed.own();
    }
}

impl fmt::Debug for PoolAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolAccount").field("places", &self.places).finish_non_exhaustive()
    }
}
