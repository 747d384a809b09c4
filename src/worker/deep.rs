//! Waits of threads whose stacks have no room to run what they wait for.
//!
//! Such a *deep* wait needs another thread of the pool. It goes on as an ordinary wait while there
//! is one that may come, and is refused once there is none: once the pool cannot grow, and every
//! other thread of the pool is parked in a wait of this crate without a deadline. A wait in a task
//! for something outside (`block_on` of a socket) looks the same and counts too, since a wait that
//! is refused beats one that never ends; a closure that blocks by any other means
//! (`will_block` included), a wait with a deadline, and a thread that starts or leaves do not:
//! these threads come back, or show that they will not.
//!
//! # Why no deep wait is left alone, and one error is enough
//!
//! A thread shows in its record that it is parked in a wait (`waiting`), from before it parks until
//! it is awake again. A deep wait is decided under one lock: the thread joins `waiters`, shows
//! itself as waiting, fences, and looks at the records of all others.
//!
//! - A thread that parks in any other wait shows that, fences, and wakes `waiters`. Of the two
//!   fences one comes first: either the deep thread sees the other wait, or the other sees the deep
//!   thread in `waiters` and wakes it, which looks again. A thread that leaves, or that turns out
//!   not to start, wakes them after the pool has counted that.
//! - A deep thread that joins wakes none. Under the lock it sees each deep thread that was decided
//!   before it as waiting, unless that one has been woken; and that one will look again, after it.
//!   So of threads that have all come to wait the last one to look sees all others waiting, and is
//!   refused.
//! - One that is refused shows itself as running again before it releases the lock. So no second
//!   one is refused for the sake of the first; the thread of the first goes on, and comes for what
//!   is queued once its closures have returned.
//!
//! A thread whose record is not listed yet is one that starts: there are fewer records than the
//! pool has threads then, which counts as a thread that may come.
//!
//! # With reserves
//!
//! What a thread is parked in is one word, so that a look never finds half of a change. Two kinds
//! of parked threads may come:
//!
//! - An idle thread of the reserve of the target's own lane, as long as a slot of that lane is
//!   pending; and one that the reserve may still make. The number of these is read under the
//!   reserve's lock together with the records: so each thread of the reserve is among those that
//!   may be made, counted as one that starts, or in a record. A slot that becomes pending later is
//!   released by a thread that did not wait during the look.
//! - A thread that *helps*: a general one that waits, has room, and has registered to run what is
//!   wanted (`wanted`), if the target is. Whether it is wanted is read first, and a helper takes it
//!   off only when it is awake.
//!
//! A general thread without room that waits for something else refuses, by the rule above, what is
//! wanted, as it would have to run that.
//!
//! ORDERING: the fences of `look_again` and `begin_deep_wait` pair, as above.

use std::sync::Arc;

use super::{Engine, Policy, Worker};
use crate::lane::LaneCore;
use crate::sync::atomic::{AtomicUsize, Ordering, fence};
use crate::sync::{Parker, ParkerSet, ProcessMutex};
use crate::task::TaskRef;

/// What a thread is parked in, shown to others.
#[derive(Debug, Default)]
pub(super) struct Rest(AtomicUsize);

impl Rest {
    /// Nothing: it runs, or is parked in something that this crate does not know.
    const NONE: usize = 0;
    /// A wait of this crate without a deadline.
    const WAITS: usize = 1;
    /// Such a wait, in which it also runs what is wanted.
    const HELPS: usize = 2;

    // Any other value: it is idle in the reserve of the lane whose account has this address.

    fn show(&self, value: usize) {
        self.0.store(value, Ordering::Relaxed);
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// The deep waits of a pool.
#[derive(Debug, Default)]
pub(super) struct DeepWaits {
    waiters: ParkerSet,
    /// Held while one of them is decided.
    deciding: ProcessMutex<()>,
}

impl DeepWaits {
    /// One thread more cannot come for what is queued: deep waits look again. The caller has shown
    /// that by now.
    #[inline]
    pub(super) fn look_again(&self) {
        fence(Ordering::SeqCst);
        self.waiters.wake();
    }
}

impl<P: Policy> Worker<P> {
    /// This thread is about to park in a wait.
    pub(super) fn show_waiting(&self) {
        self.show_rest(if self.helps.get() { Rest::HELPS } else { Rest::WAITS });
    }

    /// This thread is about to park, idle in the reserve of `lane`, if that is there still.
    pub(super) fn show_idle_in_reserve(&self, lane: Option<&LaneCore>) {
        self.show_rest(lane.map_or(Rest::WAITS, |lane| lane.owner().addr()));
    }

    fn show_rest(&self, rest: usize) {
        self.context.record.rest.show(rest);
        self.engine().deep_waits.look_again();
    }

    /// This thread is awake.
    pub(super) fn end_waiting(&self) {
        self.context.record.rest.show(Rest::NONE);
    }

    /// This thread is about to park in a deep wait for `target`, or for room in a queue, until
    /// `end_deep_wait`. False if no other thread may come: then it must not park.
    pub(super) fn begin_deep_wait(&self, parker: &Arc<Parker>, target: Option<&TaskRef>) -> bool {
        // Found before: its last reference must not be dropped under a lock.
        let lane = target.and_then(|target| self.lane_of(target));
        let deep_waits = &self.engine().deep_waits;
        let Some(deciding) = deep_waits.deciding.lock() else { return true };
        deep_waits.waiters.add(parker);
        self.context.record.rest.show(Rest::WAITS);
        fence(Ordering::SeqCst);
        let may_come = self.another_may_come(target, lane.as_deref());
        if !may_come {
            self.end_deep_wait(parker);
        }
        drop(deciding);
        may_come
    }

    pub(super) fn end_deep_wait(&self, parker: &Arc<Parker>) {
        self.end_waiting();
        self.engine().deep_waits.waiters.remove(parker);
    }

    /// Whether there is a thread beside this one that may come for `target`, of `lane` if of any.
    fn another_may_come(&self, target: Option<&TaskRef>, lane: Option<&LaneCore>) -> bool {
        let is_wanted = target.is_some_and(|target| self.engine().wanted.contains(target));
        let reserve = lane.filter(|lane| lane.has_pending()).and_then(|lane| Some((lane, lane.reserve()?)));
        let Some((lane, reserve)) = reserve else { return self.other_comes(is_wanted, Rest::NONE) };
        reserve.with_free(|free| free > 0 || self.other_comes(is_wanted, lane.owner().addr()))
    }

    /// Whether there is a thread beside this one that is not parked in a wait, or that helps if
    /// `is_wanted`, or is idle in the reserve of `lane`.
    fn other_comes(&self, is_wanted: bool, lane: usize) -> bool {
        // Read before the records: a thread that is in neither has come since, and is none that any
        // wait relies on, or has left, and wakes this one.
        let threads = self.pool.threads();
        let records = self.engine().workers.records();
        let mine = &self.context.record;
        let comes = |rest| rest == Rest::NONE || is_wanted && rest == Rest::HELPS || rest == lane;
        records.iter().any(|record| !Arc::ptr_eq(record, mine) && comes(record.rest.get()))
            || records.len() < threads
    }
}

impl Engine {
    /// The pool has a thread less than it has counted: deep waits look again.
    pub(crate) fn look_at_deep_waits(&self) {
        self.deep_waits.look_again();
    }
}
