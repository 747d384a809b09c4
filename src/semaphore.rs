//! The places of a queue that may hold only so many tasks: a count with a limit, and the line of
//! those who wait.
//!
//! # The word
//!
//! | part | meaning | what it does not mean |
//! |---|---|---|
//! | count | places taken | that a task is in each: a granted place may not have been fetched |
//! | `WAITERS` | all places are taken, and somebody waits | that the waiter is awake to take the next |
//! | `CLOSED` | nobody waits any more | that no place is taken from here on |
//!
//! # The protocol
//!
//! ```text
//! take:    WAITERS          -> fail, or wait          free:    not WAITERS -> count - 1
//!          count < limit    -> count + 1                       WAITERS     -> lock; hand on
//!          full             -> fail, or wait
//!
//! wait:    lock; take, once more; still full: set WAITERS where it is not set, join the line;    CLOSED -> go away
//! hand on: grant the place to the first who lives, the count as it is;    nobody lives -> count - 1
//! give up: lock; waiting -> gone;     granted -> unlock; free
//! close:   lock; set CLOSED; everybody in line is told
//!
//! whenever a waiter has left the line, before the unlock: nobody lives -> clear WAITERS
//! ```
//!
//! `WAITERS` is set and cleared under the lock only, and so is `CLOSED`. The fast paths, each of
//! which is one compare-exchange, change the count alone, and nothing where `WAITERS` is set. A
//! wait ends once, under the lock, as granted or as over; only its waker changes without, under the
//! waiter's own lock, which is always taken last.
//!
//! # Why no place is lost and no limit passed
//!
//! **Invariant W**: whenever the lock is free, `WAITERS` is set if and only if a live waiter is in
//! line; and while it is set, every place is taken. For it is set by a compare-exchange from
//! exactly `limit`, by one who joins the line before the unlock. From then on the fast paths change
//! nothing, and those who hold the lock leave the count alone as long as anybody lives in the line,
//! and clear the bit when nobody does. So whoever holds the lock and finds nobody alive knows that
//! the bit is clear, and stays so until the unlock: the place can be subtracted in one step.
//!
//! *The limit.* The count grows only by a compare-exchange from below `limit`. A place that is
//! handed on is counted all the while, whether its new owner fetches it or gives it up.
//!
//! *No place is lost to a waiter.* Whoever joins where the bit is set finds all places taken, by W.
//! Whoever has to set the bit changes the same word as a free does. Either the free comes first:
//! then the exchange from `limit` fails, and the next look finds the place. Or the bit comes first:
//! then the free sees it, and goes through the lock, which it gets after the waiter has joined.
//! There it ends the longest wait, or finds nobody alive. So while somebody waits all places are
//! taken, and each of their owners will come through the lock or has gone before the bit was set.
//!
//! *Giving up.* A turn is borrowed by whoever polls it or gives it up, so these two never meet.
//! Under the lock its wait goes on or has ended. If it goes on it ends there, and no grant can
//! reach it any more. If it has ended with a place, that is freed like any other. The waker of
//! another is called in the one case and not needed in the other.
//!
//! *Closing.* Whoever joined before is in line and is told; whoever comes to join later sees
//! `CLOSED` under the lock. The line stays empty, so W has the bit cleared for good, and every free
//! subtracts.
//!
//! *Order.* Grants are made under the lock from the front of the line, and nobody takes a place
//! past it, by W.
//!
//! # What giving up costs
//!
//! Whoever gives up is only marked, and the line is swept when more than half of it is gone. A
//! sweep looks at fewer than twice as many waiters as it removes, and each is removed once: that
//! makes two looks for each.

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

/// The line keeps room for so many when it has grown shorter.
const ROOM: usize = 64;

/// The places of a queue that may hold only so many tasks. In a forked child nobody waits: a wait
/// is over, as if the queue were closed.
pub(crate) struct Semaphore {
    word: CachePadded<AtomicUsize>,
    limit: usize,
    line: ProcessMutex<Line>,
}

/// The queue takes nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

/// One wait in line; a new one is not in line yet. After `Ready` it may be polled again, and starts
/// anew at the end of the line. Whoever drops it after `Pending` must give it up first, or the
/// place it may be granted is lost: a turn does not know its places.
#[derive(Debug, Default)]
pub(crate) struct Acquire(Option<Arc<Waiter>>);

/// Those who wait, the longest first, and among them those who waited and have given up.
#[derive(Default)]
struct Line {
    waiters: VecDeque<Arc<Waiter>>,
    /// How many of them have not given up.
    live: usize,
}

#[derive(Debug)]
struct Waiter(ProcessMutex<Wait>);

/// How it stands with a waiter. The first is the only one that changes, and the only one with a
/// waker: so a waiter that is in line no more, or marked as gone there, can be dropped under the
/// lock.
enum Wait {
    Waiting(Waker),
    /// It has a place, and is not in line.
    Granted,
    /// It has given up, or the queue has been closed.
    Over,
}

impl Semaphore {
    /// So many places, all of them free. What is more than the word can count is as good as no
    /// limit.
    pub(crate) fn new(limit: usize) -> Self {
        Semaphore {
            word: CachePadded::new(AtomicUsize::new(0)),
            limit: limit.min(COUNT),
            line: ProcessMutex::default(),
        }
    }

    /// Takes a place if one is free and nobody waits for one.
    #[must_use]
    pub(crate) fn try_acquire(&self) -> bool {
        let one_more = |seen: usize| (seen & WAITERS == 0 && seen & COUNT < self.limit).then(|| seen + 1);
        // ORDERING: Acquire pairs with the Release in `free`: what the former owner did is visible
        // to the next.
        self.word.fetch_update(Ordering::Acquire, Ordering::Relaxed, one_more).is_ok()
    }

    /// A place is free again: it goes to whoever has waited longest. That one's waker is called
    /// here, with no lock held.
    pub(crate) fn release(&self) {
        if let Some(waker) = self.release_deferred() {
            wake(waker);
        }
    }

    /// As `free`, but leaves it to the caller to [`wake`] whoever has the place now.
    #[must_use]
    pub(crate) fn release_deferred(&self) -> Option<Waker> {
        let one_less = |seen: usize| {
            debug_assert!(seen & COUNT > 0, "nobody has a place");
            (seen & WAITERS == 0).then(|| seen - 1)
        };
        // ORDERING: Release pairs with the Acquire of whoever takes the place. The changes in
        // between are read-modify-writes, which do not break the chain.
        match self.word.fetch_update(Ordering::Release, Ordering::Relaxed, one_less) {
            Ok(_) => None,
            Err(_) => self.hand_on(),
        }
    }

    /// The rest of `free`, where somebody waits or did a moment ago.
    #[cold]
    fn hand_on(&self) -> Option<Waker> {
        let mut line = self.line.lock()?;
        let Some(waker) = line.grant() else {
            // Nobody can join the line now, so nobody is passed over.
            // ORDERING: as in `free`.
            self.word.fetch_sub(1, Ordering::Release);
            return None;
        };
        self.settle(&mut line);
        Some(waker)
    }

    /// Takes a place for `turn`, or has `waker` called when there may be one. `Ok` means that the
    /// caller has a place.
    pub(crate) fn poll_acquire(&self, turn: &mut Acquire, waker: &Waker) -> Poll<Result<(), Closed>> {
        let answer = match &turn.0 {
            Some(waiter) => waiter.poll(waker),
            None => self.look(false).map_or_else(|| self.join(turn, waker), Poll::Ready),
        };
        if answer.is_ready() {
            turn.0 = None;
        }
        answer
    }

    /// What a turn that is not in line gets without waiting. `None`: it has to wait. With `waits`,
    /// for which the caller holds the lock, `WAITERS` is set then, and the caller must join the
    /// line.
    fn look(&self, waits: bool) -> Option<Result<(), Closed>> {
        // ORDERING: Acquire, here and where the exchange fails, pairs with the Release in `close`.
        let mut seen = self.word.load(Ordering::Acquire);
        loop {
            let next = match seen {
                _ if seen & CLOSED != 0 => return Some(Err(Closed)),
                // With `WAITERS` it is above any limit, and without it is the count.
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

    /// Goes to the end of the line, unless there is an answer now.
    #[cold]
    fn join(&self, turn: &mut Acquire, waker: &Waker) -> Poll<Result<(), Closed>> {
        let waiter = Arc::new(Waiter(ProcessMutex::new(Wait::Waiting(waker.clone()))));
        let Some(mut line) = self.line.lock() else { return Poll::Ready(Err(Closed)) };
        if let Some(answer) = self.look(true) {
            drop(line);
            if let Some(spare) = waiter.end(Wait::Over) {
                discard(spare);
            }
            return Poll::Ready(answer);
        }
        line.waiters.push_back(Arc::clone(&waiter));
        line.live += 1;
        drop(line);
        turn.0 = Some(waiter);
        Poll::Pending
    }

    /// The owner of `turn` gives up: its wait is over, and a place that it has been granted and has
    /// not fetched goes on.
    pub(crate) fn give_up(&self, turn: &mut Acquire) {
        let Some(waiter) = turn.0.take() else { return };
        let Some(mut line) = self.line.lock() else { return };
        if let Some(waker) = waiter.end(Wait::Over) {
            line.live -= 1;
            self.settle(&mut line);
            drop(line);
            discard(waker);
            return;
        }
        drop(line);
        if waiter.is_granted() {
            self.release();
        }
    }

    /// Everybody who waits, now or later, is told. Whoever has been granted a place keeps it, and
    /// `try_acquire` goes on as before.
    pub(crate) fn close(&self) {
        let Some(mut line) = self.line.lock() else { return };
        // ORDERING: Release pairs with the Acquire in `look`: whoever is told sees why.
        self.word.fetch_or(CLOSED, Ordering::Release);
        let wakers: Vec<Waker> = line.waiters.iter().filter_map(|waiter| waiter.end(Wait::Over)).collect();
        line.live = 0;
        self.settle(&mut line);
        drop(line);
        wakers.into_iter().for_each(wake);
    }

    /// To be called when a wait has ended, before the unlock: keeps W, and the line from consisting
    /// mostly of those who have gone.
    fn settle(&self, line: &mut Line) {
        if line.live == 0 {
            line.waiters.clear();
            // ORDERING: the lock orders what matters, and a read-modify-write does not break the
            // chain of `free`.
            self.word.fetch_and(!WAITERS, Ordering::Relaxed);
        } else if line.waiters.len() - line.live > line.live {
            line.waiters.retain(|waiter| waiter.is_waiting());
        }
        if line.live < ROOM && line.waiters.capacity() > 4 * ROOM {
            line.waiters.shrink_to(ROOM);
        }
    }

    /// How many places are taken, granted ones included.
    #[cfg(test)]
    pub(crate) fn taken(&self) -> usize {
        self.word.load(Ordering::Relaxed) & COUNT
    }
}

impl Line {
    /// Ends the longest wait with a place; the caller calls the waker.
    fn grant(&mut self) -> Option<Waker> {
        while let Some(waiter) = self.waiters.pop_front() {
            if let Some(waker) = waiter.end(Wait::Granted) {
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

impl Waiter {
    /// Ends the wait as `end` and gives the waker, for the caller to call or drop without a lock.
    /// `None`: it had ended. The caller holds the lock of the line, unless the waiter has never
    /// been in it.
    fn end(&self, end: Wait) -> Option<Waker> {
        let mut wait = self.0.lock()?;
        match replace(&mut *wait, end) {
            Wait::Waiting(waker) => Some(waker),
            ended => {
                *wait = ended;
                None
            }
        }
    }

    /// The answer, or `waker` in the place of the one before.
    fn poll(&self, waker: &Waker) -> Poll<Result<(), Closed>> {
        let Some(wait) = self.0.lock() else { return Poll::Ready(Err(Closed)) };
        match &*wait {
            Wait::Waiting(known) if !known.will_wake(waker) => {}
            settled => return settled.answer(),
        }
        drop(wait);
        // Without the lock: it is foreign code. The wait may end meanwhile, and then nobody calls
        // this one.
        let mut other = waker.clone();
        let Some(mut wait) = self.0.lock() else { return Poll::Ready(Err(Closed)) };
        if let Wait::Waiting(known) = &mut *wait {
            swap(known, &mut other);
        }
        let answer = wait.answer();
        drop(wait);
        discard(other);
        answer
    }

    fn is_waiting(&self) -> bool {
        self.0.lock().is_some_and(|wait| matches!(*wait, Wait::Waiting(_)))
    }

    fn is_granted(&self) -> bool {
        self.0.lock().is_some_and(|wait| matches!(*wait, Wait::Granted))
    }
}

impl Wait {
    fn answer(&self) -> Poll<Result<(), Closed>> {
        match self {
            Wait::Waiting(_) => Poll::Pending,
            Wait::Granted => Poll::Ready(Ok(())),
            Wait::Over => Poll::Ready(Err(Closed)),
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
