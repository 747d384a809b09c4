//! Where tasks wait: one injector that every thread feeds and takes from, a queue of what threads
//! have taken and could not get to, and a few worker deques
//! that every thread of the pool may steal from. This is the only module that knows
//! `crossbeam_deque`.
//!
//! - **Q1** There are as many deques as core threads, made once. A thread that starts or wakes
//!   takes a free one; the threads above core go without and use the injector alone, so that
//!   scanning costs a pool of 512 what it costs one of 2.
//! - **Q2** A deque has one owner at a time: the [`LocalQueue`] is moved out of the free list and
//!   back.
//! - **Q3** A thread takes several items from the injector at once where the tasks are short
//!   (`worker::batch` says how many), but about half of what is there at most: it returns the first
//!   and has the others in its deque, from where other threads steal them one at a time. Those
//!   others have been in no queue for an instant, so their taker must notify as for a push. A
//!   thread without a deque takes one.
//! - **Q4** [`Queues::is_empty`] looks at every queue. Together with a `SeqCst` fence before it, it
//!   sees every push that came before a `SeqCst` fence which came before that one; the protocol of
//!   `idle` rests on it.
//!
//! # Order
//!
//! A thread looks into its own deque first, then into the queue of what has been given back, then
//! into the injector, then into the deques of others from a
//! random one on. Each of them is first-in first-out, and the item of a lane waits among the
//! tasks, behind what was there before it. Nothing starves in a queue that others outrank, since:
//!
//! - Every 61st look goes another way round (the prime is that of Go's scheduler): the deques of
//!   others first, and every second time, for a thread with a deque, the injector first, which
//!   would otherwise starve where all deques are busy. What the thread has taken from the injector
//!   in a batch comes before that: so a thread alone runs what others submit in their order.
//! - A thread that has been in one task for some milliseconds looks into the injector first
//!   ([`StealCursor::look_into_injector`]): what is there has waited for all threads, and what the
//!   long task has put into the thread's own deque is younger. So do all threads that are inside
//!   tasks, at every look of the monitor, once something has been queued for some milliseconds
//!   without a break and no thread is idle.
//! - The monitor gives back the deque of a thread that is long in one task
//!   ([`Queues::give_back`]), so nothing waits for that thread. What is given back comes before the
//!   injector, since a batch of that thread is older than what is there. At every look that goes
//!   another way round it comes behind, but for every fourth look of a thread with a deque, where
//!   it is the first: it would otherwise starve where all deques are busy. Where a pool may have
//!   one thread, it keeps its deque: no other thread waits for that, and a move beside its owner
//!   might change the order.
//!
//! So whatever waits in the injector is overtaken by what is in the deques for 122 tasks of a
//! thread at most, and where that takes longer, for some milliseconds; and what was given back, for
//! 244 tasks.

use std::fmt;

#[cfg(any(sidestep_loom, sidestep_shuttle, sidestep_tsan, miri))]
use crate::sync::stand_in::deque::{Injector, Steal, Stealer, Worker};
#[cfg(not(any(sidestep_loom, sidestep_shuttle, sidestep_tsan, miri)))]
use crossbeam_deque::{Injector, Steal, Stealer, Worker};

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// After so many looks one is in another order.
const FAIRNESS: u32 = 61;

/// All queues of one pool.
pub(crate) struct Queues<T> {
    injector: Injector<T>,
    /// What threads have taken and could not get to.
    given_back: Injector<T>,
    stealers: Box<[Stealer<T>]>,
    free: Mutex<Vec<LocalQueue<T>>>,
    /// How many deques are free, to be read without the lock. A hint.
    free_count: AtomicUsize,
}

/// The owner's end of one deque.
pub(crate) struct LocalQueue<T> {
    deque: Worker<T>,
    index: usize,
}

/// What a thread has taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken<T> {
    pub(crate) item: T,
    /// Whether others are in the deque now that were in no queue for an instant (Q3).
    pub(crate) moved: bool,
}

impl<T> Taken<T> {
    fn one(item: T) -> Self {
        Taken { item, moved: false }
    }
}

/// Where a thread begins to steal: at another deque with each look.
#[derive(Debug)]
pub(crate) struct StealCursor {
    looks: u32,
    /// A look in another order is due.
    is_due: bool,
    /// The next of those looks into the injector first.
    injector_is_next: bool,
    /// The next of the others into what was given back first.
    given_back_is_next: bool,
    /// A look into the injector first is due.
    injector_is_due: bool,
    /// So many items at most, at the head of the thread's deque, came from the injector in a batch.
    moved: usize,
    random: u32,
}

impl StealCursor {
    /// A cursor; `seed` sets threads apart.
    pub(crate) fn new(seed: u32) -> Self {
        StealCursor {
            looks: 0,
            is_due: false,
            injector_is_next: false,
            given_back_is_next: true,
            injector_is_due: false,
            moved: 0,
            random: seed.wrapping_mul(0x9E37_79B9) | 1,
        }
    }

    /// Has the next look go into the injector first, behind what the thread has taken from there.
    pub(crate) fn look_into_injector(&mut self) {
        self.injector_is_due = true;
    }

    /// Xorshift (Marsaglia, "Xorshift RNGs", 2003): a start that differs from thread to thread is
    /// all it is for.
    fn start(&mut self, count: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.random as usize % count.max(1)
    }
}

impl<T> Queues<T> {
    /// Queues with `deques` worker deques.
    pub(crate) fn new(deques: usize) -> Self {
        let locals: Vec<_> =
            (0..deques).map(|index| LocalQueue { deque: Worker::new_fifo(), index }).rev().collect();
        Queues {
            injector: Injector::new(),
            given_back: Injector::new(),
            stealers: locals.iter().rev().map(|local| local.deque.stealer()).collect(),
            free_count: AtomicUsize::new(locals.len()),
            free: Mutex::new(locals),
        }
    }

    /// Takes a deque for a thread that has none, if one is free (Q1). The deque is that thread's
    /// alone until it is released (Q2).
    pub(crate) fn acquire(&self) -> Option<LocalQueue<T>> {
        if self.free_count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut free = self.free.lock();
        let local = free.pop();
        self.free_count.store(free.len(), Ordering::Relaxed);
        local
    }

    /// Takes a deque back from a thread that ends, with what is in it.
    pub(crate) fn release(&self, local: LocalQueue<T>) {
        while let Some(item) = local.deque.pop() {
            self.given_back.push(item);
        }
        let mut free = self.free.lock();
        free.push(local);
        self.free_count.store(free.len(), Ordering::Relaxed);
    }

    /// Enqueues in the deque that the caller owns, or else in the injector.
    pub(crate) fn push(&self, local: Option<&LocalQueue<T>>, item: T) {
        match local {
            Some(local) => local.deque.push(item),
            None => self.injector.push(item),
        }
    }

    /// The next item for a thread that owns `local`, and at most `batch` items altogether.
    #[inline]
    pub(crate) fn take(
        &self,
        local: Option<&LocalQueue<T>>,
        cursor: &mut StealCursor,
        batch: usize,
    ) -> Option<Taken<T>> {
        cursor.looks = cursor.looks.wrapping_add(1);
        cursor.is_due |= cursor.looks % FAIRNESS == 0;
        if (cursor.is_due || cursor.injector_is_due) && cursor.moved == 0 {
            let turned = self.take_turned(local, cursor);
            if turned.is_some() {
                return turned.map(Taken::one);
            }
        }
        if let Some(item) = local.and_then(|local| local.deque.pop()) {
            cursor.moved = cursor.moved.saturating_sub(1);
            return Some(Taken::one(item));
        }
        cursor.moved = 0;
        let injected = match local {
            Some(local) if batch > 1 && self.given_back.is_empty() => self.take_batch(local, cursor, batch),
            _ => self.take_injected().map(Taken::one),
        };
        injected.or_else(|| self.take_stolen(local, cursor).map(Taken::one))
    }

    /// The oldest items of the injector: the first of them, and the others in the deque (Q3), which
    /// is empty.
    fn take_batch(&self, local: &LocalQueue<T>, cursor: &mut StealCursor, batch: usize) -> Option<Taken<T>> {
        let item = steal(|| self.injector.steal_batch_with_limit_and_pop(&local.deque, batch))?;
        let moved = !local.deque.is_empty();
        cursor.moved = if moved { batch - 1 } else { 0 };
        Some(Taken { item, moved })
    }

    /// Looks first where other looks come last. A thread without a deque looks into the injector
    /// first at all other times.
    fn take_turned(&self, local: Option<&LocalQueue<T>>, cursor: &mut StealCursor) -> Option<T> {
        let is_due = std::mem::take(&mut cursor.is_due);
        if is_due && local.is_some() {
            cursor.injector_is_next = !cursor.injector_is_next;
        }
        let injector_first = is_due && local.is_some() && !cursor.injector_is_next;
        let injector = || steal(|| self.injector.steal());
        if std::mem::take(&mut cursor.injector_is_due) || injector_first {
            return injector().or_else(|| self.take_stolen(local, cursor));
        }
        if local.is_some() {
            let given_back_first = cursor.given_back_is_next;
            cursor.given_back_is_next = !given_back_first;
            if given_back_first {
                if let Some(item) = self.take_given_back() {
                    return Some(item);
                }
            }
        }
        self.take_stolen(local, cursor).or_else(injector)
    }

    /// The oldest item of those that were given back, or of the injector, and no more (Q3).
    pub(crate) fn take_injected(&self) -> Option<T> {
        self.take_given_back().or_else(|| steal(|| self.injector.steal()))
    }

    fn take_given_back(&self) -> Option<T> {
        if self.given_back.is_empty() { None } else { steal(|| self.given_back.steal()) }
    }

    fn take_stolen(&self, local: Option<&LocalQueue<T>>, cursor: &mut StealCursor) -> Option<T> {
        let count = self.stealers.len();
        let start = cursor.start(count);
        (0..count)
            .map(|step| (start + step) % count)
            .filter(|&victim| local.is_none_or(|local| local.index != victim))
            .map(|victim| &self.stealers[victim])
            // The probe is cheaper than a steal, which pins an epoch.
            .filter(|stealer| !stealer.is_empty())
            .find_map(|stealer| steal(|| stealer.steal()))
    }

    /// Any item at all, for a caller that empties the queues.
    pub(crate) fn take_any(&self) -> Option<T> {
        self.take_injected().or_else(|| self.stealers.iter().find_map(|stealer| steal(|| stealer.steal())))
    }

    /// Moves what waits in deque `index` to where every thread looks early. True if anything was
    /// moved: it was in no queue for an instant, so the caller must notify as for a push.
    #[must_use]
    pub(crate) fn give_back(&self, index: usize) -> bool {
        let mut moved = false;
        if let Some(stealer) = self.stealers.get(index) {
            while let Some(item) = steal(|| stealer.steal()) {
                self.given_back.push(item);
                moved = true;
            }
        }
        moved
    }

    /// How many worker deques there are.
    pub(crate) fn deques(&self) -> usize {
        self.stealers.len()
    }

    /// Whether no queue holds anything (Q4).
    pub(crate) fn is_empty(&self) -> bool {
        self.injector.is_empty() && self.given_back.is_empty() && self.stealers.iter().all(Stealer::is_empty)
    }

    /// Whether a thread that owns `local` would find nothing in the queues it looks into first.
    pub(crate) fn looks_empty(&self, local: Option<&LocalQueue<T>>) -> bool {
        local.is_none_or(|local| local.deque.is_empty())
            && self.injector.is_empty()
            && self.given_back.is_empty()
    }
}

impl<T> LocalQueue<T> {
    /// Which deque this is.
    pub(crate) fn index(&self) -> usize {
        self.index
    }
}

impl<T> fmt::Debug for Queues<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queues").field("deques", &self.stealers.len()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for LocalQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("index", &self.index).finish_non_exhaustive()
    }
}

/// Steals until the answer is certain. A retry means that another thread got something, so a thread
/// advances.
fn steal<T>(mut attempt: impl FnMut() -> Steal<T>) -> Option<T> {
    loop {
        match attempt() {
            Steal::Success(item) => return Some(item),
            Steal::Empty => return None,
            Steal::Retry => std::hint::spin_loop(),
        }
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
