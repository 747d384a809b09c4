//! Those that wait until nothing is queued or runs, in a pool or in a lane.
//!
//! # When the wait is over
//!
//! The counts decide: a pool or lane is *idle* at an instant at which every task that was submitted
//! has been counted as ended or cancelled. A look reads the ends first and the submissions last.
//! Both only grow, and no end is counted before its submission. So if the sums are equal, they were
//! equal at each instant between the two halves of the look.
//!
//! A wait is over once such a look has been made since it began; that work has come since does not
//! matter. So a look that finds the pool idle takes all waiters off the list, and a waiter that is
//! not on the list any more is done.
//!
//! # Why no wait is missed
//!
//! A waiter joins the list, shows that a look is wanted, and then looks itself. A thread that
//! counts the last end or cancellation looks afterwards, if it finds that a look is wanted. Between
//! the two steps of either side lies one of these:
//!
//! - **I1** a `SeqCst` fence: of a canceller, of a thread that has run tasks and is about to sleep
//!   or leave, and of each waiter.
//! - **I2** the lock of the lane: of a thread that has run a task of the lane, which comes to the
//!   lock for its next turn, or to release its slot; and of each waiter for a lane.
//!
//! Of two fences one comes first, and so of two times that a lock is held. If the waiter's is
//! first, the other thread finds that a look is wanted, and looks. If it is second, the waiter's
//! look finds the count. Let several threads count an end each, and all of them find that a look is
//! wanted: the one whose fence or lock is the last one finds the counts of all.
//!
//! A thread that has counted an end and takes another task need not look: while that runs nothing
//! is idle, and the thread comes to a look after that one. Looks call wakers, so they are made
//! where the thread holds no searching token. A thread that runs tasks in the middle of such a wait
//! looks with its next poll, for all who wait.
//!
//! A thread looks before it goes on the stack of sleepers, and again if a wait has begun since:
//! what shows that a look is wanted also counts the waits, in one word. Two words could be seen in
//! the wrong order, the count without the want.
//!
//! # Why no wait is over too early
//!
//! Another thread makes its look with the lock of the list held. So it comes after the registration
//! of each waiter that it takes off, and sees what that waiter has submitted before. That the
//! thread has found a look to be wanted would not be enough: that orders nothing.
//!
//! ORDERING: the fences are those of I1. The Release in `show` pairs with the Acquire in `signal`,
//! for hints; the lock of the list and the fences order what matters.

use std::sync::{Arc, OnceLock, Weak};
use std::task::{Poll, Waker};

use crate::numbers::NumberMap;
use crate::sync::ProcessMutex;
use crate::sync::atomic::{AtomicUsize, Ordering, fence};
use crate::task::{discard, wake};

/// A look is wanted.
const WANTED: usize = 1;
/// One wait more has begun.
const WAIT: usize = 2;

/// Whose idleness is waited for.
pub(crate) trait IdleSource: Send + Sync {
    /// Whether every task has ended that had been submitted at some instant during the call.
    fn is_idle(&self) -> bool;
    /// Takes and releases the lock that orders this thread with those that count ends, if that is
    /// how they are ordered (I2).
    fn pass(&self) {}
}

/// The waiters of one pool or lane. In a forked child each wait is over.
pub(crate) struct IdleWaiters {
    /// [`WANTED`] while the list is not empty, and [`WAIT`] times how many waits have begun.
    word: AtomicUsize,
    list: ProcessMutex<IdleList>,
    source: OnceLock<Weak<dyn IdleSource>>,
}

#[derive(Debug, Default)]
struct IdleList {
    last: u64,
    wakers: NumberMap<Waker>,
}

/// What a thread that goes to sleep remembers of the waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdleSignal(usize);

impl IdleSignal {
    pub(crate) fn is_wanted(self) -> bool {
        self.0 & WANTED != 0
    }

    /// Whether a wait has begun between the two.
    pub(crate) fn is_before(self, later: IdleSignal) -> bool {
        self.0 & !WANTED != later.0 & !WANTED
    }
}

/// One wait, which has to be [left](IdleWaiters::leave) unless it has come to its end.
#[derive(Debug, Default)]
pub(crate) struct IdleTicket(Option<u64>);

/// The waiters whose wait is over: to be called where user code may run. The reference is that by
/// which the look was made, which may be the last one.
#[must_use]
pub(crate) struct Woken {
    wakers: Vec<Waker>,
    source: Option<Arc<dyn IdleSource>>,
}

impl IdleWaiters {
    pub(crate) fn new() -> Self {
        IdleWaiters { word: AtomicUsize::new(0), list: ProcessMutex::default(), source: OnceLock::new() }
    }

    /// Says once whose waiters these are.
    pub(crate) fn set_source(&self, source: Weak<dyn IdleSource>) {
        let _ = self.source.set(source);
    }

    /// Whether a look is wanted.
    #[inline]
    pub(crate) fn is_wanted(&self) -> bool {
        self.signal().is_wanted()
    }

    /// Whether a look is wanted, and which waits have begun.
    #[inline]
    pub(crate) fn signal(&self) -> IdleSignal {
        IdleSignal(self.word.load(Ordering::Acquire))
    }

    /// Shows what the list has become, under its lock; `begun` waits have been added.
    fn show(&self, list: &IdleList, begun: usize) {
        let waits = (self.word.load(Ordering::Relaxed) & !WANTED).wrapping_add(begun * WAIT);
        let wanted = if list.wakers.is_empty() { 0 } else { WANTED };
        self.word.store(waits | wanted, Ordering::Release);
    }

    /// Looks, and takes the waiters off the list if nothing is queued or runs.
    #[cold]
    pub(crate) fn look(&self) -> Woken {
        let mut woken = Woken { wakers: Vec::new(), source: self.source.get().and_then(Weak::upgrade) };
        let Some(source) = &woken.source else { return woken };
        let Some(mut list) = self.list.lock() else { return woken };
        if !list.wakers.is_empty() && source.is_idle() {
            woken.wakers = list.wakers.take_values();
            self.show(&list, 0);
        }
        drop(list);
        woken
    }

    /// Whether the wait of `ticket` is over; if not, `waker` is called when it is. The caller has
    /// kept the source alive.
    pub(crate) fn poll(&self, ticket: &mut IdleTicket, waker: &Waker) -> Poll<()> {
        let Some(source) = self.source.get().and_then(Weak::upgrade) else { return Poll::Ready(()) };
        // User code, without the lock.
        let waker = waker.clone();
        let Some(mut list) = self.list.lock() else { return Poll::Ready(()) };
        let old = if let Some(number) = ticket.0 {
            let Some(known) = list.wakers.get_mut(number) else {
                drop(list);
                ticket.0 = None;
                discard(waker);
                return Poll::Ready(());
            };
            Some(std::mem::replace(known, waker))
        } else {
            list.last += 1;
            let number = list.last;
            ticket.0 = Some(number);
            list.wakers.insert(number, waker);
            self.show(&list, 1);
            None
        };
        drop(list);
        old.into_iter().for_each(discard);
        // A thread of the pool may have run the last task in the middle of this wait.
        fence(Ordering::SeqCst);
        source.pass();
        if !source.is_idle() {
            return Poll::Pending;
        }
        self.leave(ticket);
        self.look().wake();
        Poll::Ready(())
    }

    /// The wait of `ticket` is given up.
    pub(crate) fn leave(&self, ticket: &mut IdleTicket) {
        let Some(number) = ticket.0.take() else { return };
        let Some(mut list) = self.list.lock() else { return };
        let waker = list.wakers.remove(number);
        self.show(&list, 0);
        drop(list);
        waker.into_iter().for_each(discard);
    }
}

impl Woken {
    /// Calls the wakers, and lets go of the source.
    pub(crate) fn wake(self) {
        let Woken { wakers, source } = self;
        wakers.into_iter().for_each(wake);
        drop(source);
    }
}

impl std::fmt::Debug for IdleWaiters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdleWaiters").field("signal", &self.signal()).finish_non_exhaustive()
    }
}
