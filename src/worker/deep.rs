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
//! ORDERING: the fences of `look_again` and `begin_deep_wait` pair, as above.

use std::sync::Arc;

use super::{Policy, Worker};
use crate::sync::atomic::{Ordering, fence};
use crate::sync::{Parker, ParkerSet, ProcessMutex};

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
    /// This thread is about to park.
    pub(super) fn show_waiting(&self) {
        self.context.record.waiting.store(true, Ordering::Relaxed);
        self.engine().deep_waits.look_again();
    }

    /// This thread is awake.
    pub(super) fn end_waiting(&self) {
        self.context.record.waiting.store(false, Ordering::Relaxed);
    }

    /// This thread is about to park in a deep wait, until `end_deep_wait`. False if no other thread
    /// may come: then it must not park.
    pub(super) fn begin_deep_wait(&self, parker: &Arc<Parker>) -> bool {
        let deep_waits = &self.engine().deep_waits;
        let Some(deciding) = deep_waits.deciding.lock() else { return true };
        deep_waits.waiters.add(parker);
        self.context.record.waiting.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let may_come = self.another_may_come();
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

    /// Whether there is a thread beside this one that is not parked in a wait.
    fn another_may_come(&self) -> bool {
        let records = self.engine().workers.records();
        let mine = &self.context.record;
        let comes = |record| !Arc::ptr_eq(record, mine) && !record.waiting.load(Ordering::Relaxed);
        records.iter().any(comes) || records.len() < self.pool.threads()
    }
}
