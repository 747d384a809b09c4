//! Where tasks wait: one injector that everybody feeds and takes from, and a few worker deques that everybody may
//! steal from. This is the only module that knows `crossbeam_deque`.
//!
//! - **Q1** There are as many deques as core threads, made once. A thread that starts or wakes takes a free one; the threads
//!   above core go without and use the injector alone, so that scanning costs a pool of 512 what it costs one of 2.
//! - **Q2** A deque has one owner at a time: the [`Local`] is moved out of `spare` and back.
//! - **Q3** Items are taken one at a time. A batch would put tasks behind one that may block for seconds.
//! - **Q4** [`Queues::is_empty`] looks at every queue. Together with a `SeqCst` fence before it, it sees every push
//!   that came before a `SeqCst` fence which came before that one; the protocol of `idle` rests on it.
//!
//! # Order
//!
//! A thread looks into its own deque first, then the injector, then the deques of others from a random one on. Each of
//! them is first-in first-out, and an entry for a lane waits among the tasks, behind what was there before it. What follows
//! has nothing starve in a queue that others outrank:
//!
//! - Every 61st look goes another way round (the prime is that of Go's scheduler): the deques of others first, and every
//!   second time, for a thread with a deque, the injector first, which would otherwise starve where all deques are busy.
//! - A thread that has been in one task for some milliseconds looks into the injector first ([`Queues::take_injected`]):
//!   what is there has waited for all threads, and what the long task has put into the thread's own deque is younger. So do all
//!   threads that are inside tasks, at every look of the monitor, once something has been queued for some milliseconds without
//!   a break and nobody is idle.
//! - The monitor moves the deque of a thread that is long in one task to the end of the injector
//!   ([`Queues::evacuate`]), so nothing waits for that thread.
//!
//! So whatever waits in the injector is overtaken by what is in the deques for 122 tasks of a thread at most, and where
//! that takes longer, for some milliseconds.

mod places;
mod wake;

use std::fmt;

pub(crate) use self::places::{Places, Turn};
pub(crate) use self::wake::{discard, wake};

#[cfg(any(sidestep_loom, sidestep_shuttle, sidestep_tsan, miri))]
use crate::sync::stand_in::deque::{Injector, Steal, Stealer, Worker};
#[cfg(not(any(sidestep_loom, sidestep_shuttle, sidestep_tsan, miri)))]
use crossbeam_deque::{Injector, Steal, Stealer, Worker};

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// Every how many looks the order is another.
const FAIRNESS: u32 = 61;

/// All queues of one pool.
pub(crate) struct Queues<T> {
    injector: Injector<T>,
    stealers: Box<[Stealer<T>]>,
    spare: Mutex<Vec<Local<T>>>,
    /// How many are spare, to be asked without the lock. A hint.
    spares: AtomicUsize,
}

/// The owner's end of one deque, and the place of its owner's random walk.
pub(crate) struct Local<T> {
    deque: Worker<T>,
    index: usize,
}

/// What makes each look of a thread begin elsewhere.
#[derive(Debug)]
pub(crate) struct Walk {
    looks: u32,
    random: u32,
}

impl Walk {
    /// `seed` sets threads apart.
    pub(crate) fn new(seed: u32) -> Self {
        Walk { looks: 0, random: seed.wrapping_mul(0x9E37_79B9) | 1 }
    }

    /// Xorshift (Marsaglia, "Xorshift RNGs", 2003): a start that differs from thread to thread is all it is for.
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
            (0..deques).map(|index| Local { deque: Worker::new_fifo(), index }).rev().collect();
        Queues {
            injector: Injector::new(),
            stealers: locals.iter().rev().map(|local| local.deque.stealer()).collect(),
            spares: AtomicUsize::new(locals.len()),
            spare: Mutex::new(locals),
        }
    }

    /// A deque for a thread that has none, if one is free (Q1). It is that thread's alone until given back (Q2).
    pub(crate) fn lend(&self) -> Option<Local<T>> {
        if self.spares.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut spare = self.spare.lock();
        let local = spare.pop();
        self.spares.store(spare.len(), Ordering::Relaxed);
        local
    }

    /// Takes a deque back from a thread that ends, and moves what is in it to the injector.
    pub(crate) fn give_back(&self, local: Local<T>) {
        while let Some(item) = local.deque.pop() {
            self.injector.push(item);
        }
        let mut spare = self.spare.lock();
        spare.push(local);
        self.spares.store(spare.len(), Ordering::Relaxed);
    }

    /// Enqueues for everybody, or, where the caller owns a deque, there.
    pub(crate) fn push(&self, local: Option<&Local<T>>, item: T) {
        match local {
            Some(local) => local.deque.push(item),
            None => self.injector.push(item),
        }
    }

    /// The next item for a thread that owns `local`.
    #[inline]
    pub(crate) fn take(&self, local: Option<&Local<T>>, walk: &mut Walk) -> Option<T> {
        walk.looks = walk.looks.wrapping_add(1);
        if walk.looks.is_multiple_of(FAIRNESS) {
            let turned = self.take_turned(local, walk);
            if turned.is_some() {
                return turned;
            }
        }
        local
            .and_then(|local| local.deque.pop())
            .or_else(|| self.take_injected())
            .or_else(|| self.take_stolen(local, walk))
    }

    /// What comes last otherwise. A thread without a deque looks into the injector first at all other times.
    fn take_turned(&self, local: Option<&Local<T>>, walk: &mut Walk) -> Option<T> {
        if local.is_some() && walk.looks.is_multiple_of(2 * FAIRNESS) {
            return self.take_injected().or_else(|| self.take_stolen(local, walk));
        }
        self.take_stolen(local, walk).or_else(|| self.take_injected())
    }

    /// The oldest item that was enqueued for everybody, and no more (Q3).
    pub(crate) fn take_injected(&self) -> Option<T> {
        steal(|| self.injector.steal())
    }

    fn take_stolen(&self, local: Option<&Local<T>>, walk: &mut Walk) -> Option<T> {
        let count = self.stealers.len();
        let start = walk.start(count);
        (0..count)
            .map(|step| (start + step) % count)
            .filter(|&victim| local.is_none_or(|local| local.index != victim))
            .map(|victim| &self.stealers[victim])
            // The probe is cheaper than a steal, which pins an epoch.
            .filter(|stealer| !stealer.is_empty())
            .find_map(|stealer| steal(|| stealer.steal()))
    }

    /// Any item at all, for whoever empties the queues.
    pub(crate) fn take_any(&self) -> Option<T> {
        self.take_injected().or_else(|| self.stealers.iter().find_map(|stealer| steal(|| stealer.steal())))
    }

    /// Moves what waits in deque `index` to the injector, where every thread looks early. True if anything was moved: it
    /// was in no queue for an instant, so the caller must notify as for a push.
    #[must_use]
    pub(crate) fn evacuate(&self, index: usize) -> bool {
        let mut moved = false;
        if let Some(stealer) = self.stealers.get(index) {
            while let Some(item) = steal(|| stealer.steal()) {
                self.injector.push(item);
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
        self.injector.is_empty() && self.stealers.iter().all(Stealer::is_empty)
    }

    /// Whether a thread that owns `local` would find nothing in the two queues it looks into first.
    pub(crate) fn looks_empty(&self, local: Option<&Local<T>>) -> bool {
        local.is_none_or(|local| local.deque.is_empty()) && self.injector.is_empty()
    }
}

impl<T> Local<T> {
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

impl<T> fmt::Debug for Local<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("index", &self.index).finish_non_exhaustive()
    }
}

/// Steals until the answer is certain. A retry means that another thread got something, so somebody advances.
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
mod tests {
    use super::*;

    #[test]
    fn own_deque_then_injector_then_others() {
        let queues = Queues::new(2);
        let mine = queues.lend().unwrap();
        let other = queues.lend().unwrap();
        assert!(queues.lend().is_none(), "Q1: there are two");
        queues.push(Some(&other), 3);
        queues.push(None, 2);
        queues.push(Some(&mine), 1);
        let mut walk = Walk::new(0);
        let order: Vec<i32> = std::iter::from_fn(|| queues.take(Some(&mine), &mut walk)).collect();
        assert_eq!(order, [1, 2, 3]);
        assert!(queues.is_empty());
    }

    #[test]
    fn a_busy_injector_does_not_starve_the_deques() {
        let queues = Queues::new(1);
        let local = queues.lend().unwrap();
        queues.push(Some(&local), usize::MAX);
        let mut walk = Walk::new(0);
        let looks = (0..).find(|&look| {
            queues.push(None, look);
            queues.take(None, &mut walk) == Some(usize::MAX)
        });
        assert!(looks.unwrap() < FAIRNESS as usize);
    }

    #[test]
    fn a_busy_deque_does_not_starve_the_injector() {
        let queues = Queues::new(1);
        let local = queues.lend().unwrap();
        queues.push(None, usize::MAX);
        let mut walk = Walk::new(0);
        let looks = (0..).find(|&look| {
            queues.push(Some(&local), look);
            queues.take(Some(&local), &mut walk) == Some(usize::MAX)
        });
        assert!(looks.unwrap() < FAIRNESS as usize);
    }

    /// How many looks a thread with a deque takes to find what `hide` has enqueued, where `refill` keeps queues busy.
    fn looks_until_found(
        queues: &Queues<usize>,
        local: &Local<usize>,
        hide: impl Fn(usize),
        refill: impl Fn(usize),
    ) -> usize {
        hide(usize::MAX);
        let mut walk = Walk::new(0);
        let found = (0..10_000).find(|&look| {
            refill(look);
            queues.take(Some(local), &mut walk) == Some(usize::MAX)
        });
        found.expect("it starves")
    }

    #[test]
    fn busy_deques_do_not_starve_the_injector() {
        let queues = Queues::new(2);
        let (mine, other) = (queues.lend().unwrap(), queues.lend().unwrap());
        let refill = |look| [&mine, &other].into_iter().for_each(|local| queues.push(Some(local), look));
        let looks = looks_until_found(&queues, &mine, |item| queues.push(None, item), refill);
        assert!(looks < 2 * FAIRNESS as usize);
    }

    #[test]
    fn a_busy_deque_and_injector_do_not_starve_the_other_deque() {
        let queues = Queues::new(2);
        let (mine, other) = (queues.lend().unwrap(), queues.lend().unwrap());
        let refill = |look| [Some(&mine), None].into_iter().for_each(|local| queues.push(local, look));
        let looks = looks_until_found(&queues, &mine, |item| queues.push(Some(&other), item), refill);
        assert!(looks < 2 * FAIRNESS as usize);
    }

    #[test]
    fn a_deque_is_emptied_into_the_injector() {
        let queues = Queues::new(2);
        let stalled = queues.lend().unwrap();
        for item in 0..100 {
            queues.push(Some(&stalled), item);
        }
        assert!(queues.evacuate(stalled.index()));
        let order: Vec<i32> = std::iter::from_fn(|| queues.take_injected()).collect();
        assert_eq!(order, (0..100).collect::<Vec<_>>(), "all of them, in order");
        assert!(!queues.evacuate(usize::MAX));
        queues.push(Some(&stalled), 7);
        queues.give_back(stalled);
        assert_eq!(queues.take_any(), Some(7), "a thread that ends leaves nothing behind");
    }

    #[test]
    fn every_deque_but_ones_own_is_stolen_from_wherever_the_walk_begins() {
        let queues = Queues::new(5);
        let locals: Vec<_> = (0..5).map(|_| queues.lend().unwrap()).collect();
        let mut walk = Walk::new(1);
        for round in 0..100 {
            let thief = &locals[round % 5];
            let others = || (0..5).filter(|&index| index != thief.index());
            others().for_each(|index| queues.push(Some(&locals[index]), index));
            queues.push(Some(thief), 5);
            let mut stolen: Vec<_> =
                (0..4).filter_map(|_| queues.take_stolen(Some(thief), &mut walk)).collect();
            stolen.sort_unstable();
            assert!(stolen.iter().copied().eq(others()), "{stolen:?} by {}", thief.index());
            assert_eq!(queues.take_stolen(Some(thief), &mut walk), None, "its own is not a victim");
            assert_eq!(thief.deque.pop(), Some(5));
        }
        assert_eq!(queues.deques(), 5);
    }

    #[test]
    fn empty_means_that_no_queue_holds_anything() {
        let queues = Queues::new(2);
        let (mine, other) = (queues.lend().unwrap(), queues.lend().unwrap());
        // Where the item is; whether any queue holds it; whether the owner of `mine`, or who has none, looks there first.
        let table = [(Some(&mine), false, true), (Some(&other), true, true), (None, false, false)];
        for (place, mine_empty, injector_empty) in table {
            assert!(queues.is_empty() && queues.looks_empty(Some(&mine)) && queues.looks_empty(None));
            queues.push(place, ());
            assert!(!queues.is_empty());
            assert_eq!(
                (queues.looks_empty(Some(&mine)), queues.looks_empty(None)),
                (mine_empty, injector_empty)
            );
            assert!(queues.take_any().is_some());
        }
    }

    #[test]
    fn a_deque_given_back_is_lent_again() {
        let queues = Queues::<()>::new(2);
        let (first, second) = (queues.lend().unwrap(), queues.lend().unwrap());
        assert_eq!((first.index(), second.index()), (0, 1));
        assert_eq!(format!("{queues:?}"), "Queues { deques: 2, .. }");
        assert_eq!(format!("{second:?}"), "Local { index: 1, .. }");
        queues.give_back(second);
        assert_eq!(queues.lend().map(|local| local.index()), Some(1));
        assert!(queues.lend().is_none());
    }

    /// The first numbers that the author of the generator gives for this start.
    #[test]
    fn the_walk_is_that_of_its_source() {
        let mut walk = Walk { looks: 0, random: 2_463_534_242 };
        let numbers: Vec<_> = (0..4).map(|_| walk.start(usize::MAX)).collect();
        assert_eq!(numbers, [723_471_715, 2_497_366_906, 2_064_144_800, 2_008_045_182]);
        let mut firsts = [0; 8];
        (0..1000).for_each(|_| firsts[walk.start(firsts.len())] += 1);
        assert!(firsts.iter().all(|&count| count > 50), "scans begin everywhere: {firsts:?}");
        assert_eq!(walk.start(0), 0);
    }
}
