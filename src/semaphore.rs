//! A fair semaphore that can be closed: a count of permits with a limit, and the wait queue of
//! those that want one. A queue of a pool or lane that may hold only so many tasks has one.
//!
//! # The word
//!
//! | part | meaning | what it does not mean |
//! |---|---|---|
//! | count | permits taken | that a task has each: a granted permit may not have been fetched |
//! | `WAITERS` | all permits are taken, and a waiter waits | that the waiter is awake to take the next |
//! | `CLOSED` | no waiter waits any more | that no permit is taken from here on |
//!
//! # The protocol
//!
//! ```text
//! acquire:  WAITERS          -> fail, or wait          release:  not WAITERS -> count - 1
//!           count < limit    -> count + 1                        WAITERS     -> lock; hand off
//!           full             -> fail, or wait
//!
//! wait:     lock; acquire, once more; still full: set WAITERS where it is not set, join the wait queue;    CLOSED -> fail
//! hand off: grant the permit to the first live waiter, the count as it is;    none is live, or count > limit -> count - 1
//! give up:  lock; waiting -> gone;     granted -> unlock; release
//! close:    lock; set CLOSED; every wait is over
//!
//! whenever a waiter has left the wait queue, before the unlock: none is live -> clear WAITERS
//! ```
//!
//! `WAITERS` is set and cleared under the lock only, and so is `CLOSED`. The fast paths, each of
//! which is one compare-exchange, change the count alone, and nothing where `WAITERS` is set. A
//! wait ends once, under the lock, as granted or as over; only its waker changes without, under the
//! waiter's own lock, which is always taken last.
//!
//! # Why no permit is lost and no limit passed
//!
//! **Invariant W**: whenever the lock is free, `WAITERS` is set if and only if a live waiter is in
//! the wait queue; and while it is set, every permit is taken. For it is set by a compare-exchange
//! from `limit` or more, by a waiter that joins before the unlock. From then on the fast paths
//! change nothing, and the holders of the lock leave the count alone as long as a live waiter is in
//! the wait queue, but for what is above `limit`, and clear the bit when none is. So a holder of
//! the lock that finds no live waiter knows that the bit is clear, and stays so until the unlock:
//! the permit can be subtracted in one step.
//!
//! *The limit.* The count grows only by a compare-exchange from below `limit`, but for
//! `acquire_beyond`, which is for queues that are at their end and for the tasks of a session. What
//! is above the limit is subtracted again and handed to no waiter. A permit that is handed off is
//! counted all the while, whether its new owner fetches it or gives it up.
//!
//! *No permit is lost to a waiter.* A waiter that joins where the bit is set finds all permits
//! taken, by W. A waiter that has to set the bit changes the same word as a release does. Either
//! the release comes first: then the exchange from `limit` fails, and the next look finds the
//! permit. Or the bit comes first: then the release sees the bit, and goes through the lock, which
//! it gets after the waiter has joined. There it ends the longest wait, or finds no live waiter. So
//! while a waiter waits all permits are taken, and each of their owners will come through the lock
//! or has gone before the bit was set.
//!
//! *Giving up.* An [`Acquire`] is borrowed by the caller that polls it or gives it up, so these two
//! never meet. Under the lock its wait goes on or has ended. If the wait goes on it ends there, and
//! no grant can reach it any more. If the wait has ended with a permit, that is released like any
//! other. The waker of another waiter is called in the one case and not needed in the other.
//!
//! *Closing.* A waiter that joined before is in the wait queue, and its wait is over; a waiter that
//! comes later sees `CLOSED` under the lock. The wait queue stays empty, so by W the bit is clear
//! for good, and every release subtracts.
//!
//! *Order.* Grants are made under the lock from the front of the wait queue, and no acquisition
//! passes it, by W.
//!
//! # What giving up costs
//!
//! A waiter that gives up is only marked, and the wait queue is swept when more than half of it is
//! gone. A sweep looks at fewer than twice as many waiters as it removes, and each is removed once:
//! that makes two looks for each.

#[cfg(all(test, sidestep_loom))]
mod loom_models;
#[cfg(all(test, not(sidestep_loom)))]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::mem::{replace, swap};
use std::sync::Arc;
use std::task::{Poll, Waker};

use crossbeam_utils::CachePadded;

use crate::sync::ProcessMutex;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::task::{discard, wake};

const WAITERS: usize = 1 << (usize::BITS - 1);
const CLOSED: usize = WAITERS >> 1;
const COUNT: usize = CLOSED - 1;

/// For how many waiters the wait queue keeps room when it has grown shorter.
const ROOM: usize = 64;

/// The permits of a queue that may hold only so many tasks. In a forked child no wait goes on: each
/// is over, as if the semaphore were closed.
pub(crate) struct Semaphore {
    word: CachePadded<AtomicUsize>,
    limit: usize,
    queue: ProcessMutex<WaitQueue>,
}

/// The semaphore is closed: waiting is in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SemaphoreClosed;

/// One acquisition, which joins the wait queue where it must. After `Ready` it may be polled again,
/// and starts anew at the end of the wait queue. An owner that drops it after `Pending` must give
/// it up first, or the permit that it may be granted is lost: it does not know its semaphore.
#[derive(Debug, Default)]
pub(crate) struct Acquire(Option<Arc<PermitWaiter>>);

/// The waiters, the longest wait first, those that have given up among them.
#[derive(Default)]
struct WaitQueue {
    waiters: VecDeque<Arc<PermitWaiter>>,
    /// How many of them have not given up.
    live: usize,
}

/// One waiter, as the wait queue and its [`Acquire`] know it.
#[derive(Debug)]
struct PermitWaiter(ProcessMutex<WaitState>);

/// The state of a waiter. The first is the only one that changes, and the only one with a waker: so
/// a waiter that has left the wait queue, or is marked as gone there, can be dropped under the
/// lock.
enum WaitState {
    Waiting(Waker),
    /// It has a permit, and has left the wait queue.
    Granted,
    /// It has given up, or the semaphore has been closed.
    Over,
}

impl Semaphore {
    /// A semaphore with `limit` permits, all of them free. What is more than the word can count is
    /// as good as no limit.
    pub(crate) fn new(limit: usize) -> Self {
        Semaphore {
            word: CachePadded::new(AtomicUsize::new(0)),
            limit: limit.min(COUNT),
            queue: ProcessMutex::default(),
        }
    }

    /// Takes a permit if one is free and no waiter waits for one.
    #[must_use]
    pub(crate) fn try_acquire(&self) -> bool {
        let one_more = |seen: usize| (seen & WAITERS == 0 && seen & COUNT < self.limit).then(|| seen + 1);
        // ORDERING: Acquire pairs with the Release in `release_deferred`: what the former owner did
        // is visible to the next.
        self.word.fetch_update(Ordering::Acquire, Ordering::Relaxed, one_more).is_ok()
    }

    /// Takes a permit whether one is free or not: for what enters the queue of a pool that is shut
    /// down, or is a task of the session for whose end the owners of all permits may wait. W holds
    /// as before, since the permits that are taken do not become fewer.
    pub(crate) fn acquire_beyond(&self) {
        // ORDERING: Relaxed: no former owner has handed this permit on. A read-modify-write does
        // not break the chain of `release_deferred`.
        self.word.fetch_add(1, Ordering::Relaxed);
    }

    /// Releases a permit, to the waiter that has waited longest, if there is one. The waiter's
    /// waker is called here, with no lock held.
    pub(crate) fn release(&self) {
        if let Some(waker) = self.release_deferred() {
            wake(waker);
        }
    }

    /// As `release`, but leaves it to the caller to [`wake`] the waiter that has the permit now.
    #[must_use]
    pub(crate) fn release_deferred(&self) -> Option<Waker> {
        let one_less = |seen: usize| {
            debug_assert!(seen & COUNT > 0, "no permit is taken");
            (seen & WAITERS == 0).then(|| seen - 1)
        };
        // ORDERING: Release pairs with the Acquire of the thread that takes the permit. The changes
        // in between are read-modify-writes, which do not break the chain.
        match self.word.fetch_update(Ordering::Release, Ordering::Relaxed, one_less) {
            Ok(_) => None,
            Err(_) => self.hand_off(),
        }
    }

    /// The rest of `release_deferred`, where a waiter waits or did a moment ago.
    #[cold]
    fn hand_off(&self) -> Option<Waker> {
        let mut queue = self.queue.lock()?;
        // What is above the limit is no permit that a waiter could have. While a waiter is in the
        // queue only `acquire_beyond` changes the count besides holders of the lock.
        let is_beyond = self.word.load(Ordering::Relaxed) & COUNT > self.limit;
        let granted = if is_beyond { None } else { queue.grant() };
        let Some(waker) = granted else {
            // No waiter can join now, so none is passed over; or all permits are taken still.
            // ORDERING: Release as in `release_deferred`.
            self.word.fetch_sub(1, Ordering::Release);
            return None;
        };
        self.update_waiters(&mut queue);
        Some(waker)
    }

    /// Takes a permit for `acquire`, or calls `waker` when there may be one. `Ok` means that the
    /// caller has a permit.
    pub(crate) fn poll_acquire(
        &self,
        acquire: &mut Acquire,
        waker: &Waker,
    ) -> Poll<Result<(), SemaphoreClosed>> {
        let answer = match &acquire.0 {
            Some(waiter) => waiter.poll(waker),
            None => self.look(false).map_or_else(|| self.join(acquire, waker), Poll::Ready),
        };
        if answer.is_ready() {
            acquire.0 = None;
        }
        answer
    }

    /// The answer without waiting, for an acquisition that is not in the wait queue. `None`: it has
    /// to wait. With `waits`, for which the caller holds the lock, `WAITERS` is set then, and the
    /// caller must join the wait queue.
    fn look(&self, waits: bool) -> Option<Result<(), SemaphoreClosed>> {
        // ORDERING: Acquire, here and where the exchange fails, pairs with the Release in `close`.
        let mut seen = self.word.load(Ordering::Acquire);
        loop {
            let next = match seen {
                _ if seen & CLOSED != 0 => return Some(Err(SemaphoreClosed)),
                // With `WAITERS` the word is above any limit, and without it is the count.
                _ if seen < self.limit => seen + 1,
                _ if waits => seen | WAITERS,
                _ => return None,
            };
            // ORDERING: Acquire as in `try_acquire`.
            match self.word.compare_exchange_weak(seen, next, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return (next & WAITERS == 0).then_some(Ok(())),
                Err(now) => seen = now,
            }
        }
    }

    /// Goes to the end of the wait queue, unless there is an answer now.
    #[cold]
    fn join(&self, acquire: &mut Acquire, waker: &Waker) -> Poll<Result<(), SemaphoreClosed>> {
        let waiter = Arc::new(PermitWaiter(ProcessMutex::new(WaitState::Waiting(waker.clone()))));
        let Some(mut queue) = self.queue.lock() else { return Poll::Ready(Err(SemaphoreClosed)) };
        if let Some(answer) = self.look(true) {
            drop(queue);
            if let Some(spare) = waiter.end(WaitState::Over) {
                discard(spare);
            }
            return Poll::Ready(answer);
        }
        queue.waiters.push_back(Arc::clone(&waiter));
        queue.live += 1;
        drop(queue);
        acquire.0 = Some(waiter);
        Poll::Pending
    }

    /// The owner of `acquire` gives up: the wait is over, and a permit that has been granted and
    /// not fetched is released.
    pub(crate) fn give_up(&self, acquire: &mut Acquire) {
        let Some(waiter) = acquire.0.take() else { return };
        let Some(mut queue) = self.queue.lock() else { return };
        if let Some(waker) = waiter.end(WaitState::Over) {
            queue.live -= 1;
            self.update_waiters(&mut queue);
            drop(queue);
            discard(waker);
            return;
        }
        drop(queue);
        if waiter.is_granted() {
            self.release();
        }
    }

    /// Ends every wait, now and later. A waiter that has been granted a permit keeps it, and
    /// `try_acquire` goes on as before.
    pub(crate) fn close(&self) {
        let Some(mut queue) = self.queue.lock() else { return };
        // ORDERING: Release pairs with the Acquire in `look`: a waiter whose wait is
        // over sees why.
        self.word.fetch_or(CLOSED, Ordering::Release);
        let mut wakers = Vec::new();
        for waiter in &queue.waiters {
            if let Some(waker) = waiter.end(WaitState::Over) {
                wakers.push(waker);
            }
        }
        queue.live = 0;
        self.update_waiters(&mut queue);
        drop(queue);
        wakers.into_iter().for_each(wake);
    }

    /// Calls the waker of every waiter: what they look at besides the permits has changed. The
    /// waits go on.
    pub(crate) fn look_again(&self) {
        let Some(queue) = self.queue.lock() else { return };
        let wakers: Vec<_> = queue.waiters.iter().filter_map(|waiter| waiter.take_waker()).collect();
        drop(queue);
        wakers.into_iter().for_each(wake);
    }

    /// To be called when a wait has ended, before the unlock: keeps W, and sweeps the wait queue
    /// where it consists mostly of waiters that have gone.
    fn update_waiters(&self, queue: &mut WaitQueue) {
        if queue.live == 0 {
            queue.waiters.clear();
            // ORDERING: the lock orders what matters, and a read-modify-write does not break the
            // chain of `release_deferred`.
            self.word.fetch_and(!WAITERS, Ordering::Relaxed);
        } else if queue.waiters.len() - queue.live > queue.live {
            queue.waiters.retain(|waiter| waiter.is_waiting());
        }
        if queue.live < ROOM && queue.waiters.capacity() > 4 * ROOM {
            queue.waiters.shrink_to(ROOM);
        }
    }

    /// How many permits are taken, granted ones included.
    #[cfg(test)]
    pub(crate) fn taken(&self) -> usize {
        self.word.load(Ordering::Relaxed) & COUNT
    }
}

impl WaitQueue {
    /// Ends the longest wait with a permit; the caller calls the waker.
    fn grant(&mut self) -> Option<Waker> {
        while let Some(waiter) = self.waiters.pop_front() {
            if let Some(waker) = waiter.end(WaitState::Granted) {
                self.live -= 1;
                return Some(waker);
            }
        }
        None
    }
}

impl Acquire {
    pub(crate) fn new() -> Self {
        Acquire::default()
    }
}

impl PermitWaiter {
    /// Ends the wait as `end` and returns the waker, for the caller to call or drop without a lock.
    /// `None`: the wait had ended. The caller holds the lock of the wait queue, unless the waiter
    /// has never been in it.
    fn end(&self, end: WaitState) -> Option<Waker> {
        let mut wait = self.0.lock()?;
        match replace(&mut *wait, end) {
            WaitState::Waiting(waker) => Some(waker),
            ended => {
                *wait = ended;
                None
            }
        }
    }

    /// The waker, which the caller calls without a lock. So a wait that ends without one has been
    /// woken, or is about to be.
    fn take_waker(&self) -> Option<Waker> {
        match &mut *self.0.lock()? {
            WaitState::Waiting(waker) => Some(replace(waker, Waker::noop().clone())),
            _ => None,
        }
    }

    /// The answer; if there is none, `waker` takes the place of the one before.
    fn poll(&self, waker: &Waker) -> Poll<Result<(), SemaphoreClosed>> {
        let Some(wait) = self.0.lock() else { return Poll::Ready(Err(SemaphoreClosed)) };
        match &*wait {
            WaitState::Waiting(known) if !known.will_wake(waker) => {}
            state => return state.answer(),
        }
        drop(wait);
        // Without the lock: the clone is user code. The wait may end meanwhile, and then this waker
        // is not called.
        let mut other = waker.clone();
        let Some(mut wait) = self.0.lock() else { return Poll::Ready(Err(SemaphoreClosed)) };
        if let WaitState::Waiting(known) = &mut *wait {
            swap(known, &mut other);
        }
        let answer = wait.answer();
        drop(wait);
        discard(other);
        answer
    }

    fn is_waiting(&self) -> bool {
        self.0.lock().is_some_and(|wait| matches!(*wait, WaitState::Waiting(_)))
    }

    fn is_granted(&self) -> bool {
        self.0.lock().is_some_and(|wait| matches!(*wait, WaitState::Granted))
    }
}

impl WaitState {
    fn answer(&self) -> Poll<Result<(), SemaphoreClosed>> {
        match self {
            WaitState::Waiting(_) => Poll::Pending,
            WaitState::Granted => Poll::Ready(Ok(())),
            WaitState::Over => Poll::Ready(Err(SemaphoreClosed)),
        }
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = self.word.load(Ordering::Relaxed);
        f.debug_struct("Semaphore")
            .field("taken", &(seen & COUNT))
            .field("limit", &self.limit)
            .field("waiters", &(seen & WAITERS != 0))
            .field("closed", &(seen & CLOSED != 0))
            .finish()
    }
}
