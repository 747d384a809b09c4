//! Who waits for a pool's end, and when that has come.
//!
//! The end has come when every thread has left but those that wait for the end themselves: their
//! tasks count as ended. Which those are is asked each time under one lock, and whoever finds that
//! the end has come tells everybody in the list.
//!
//! # Which threads wait
//!
//! A thread of the pool that polls its shutdown is in the list, but that alone does not say that it
//! waits: it may have got something else from a `select`, kept the shutdown, and gone on.
//!
//! - The one who looks waits, since it is about to park, or to tell its executor that it has
//!   nothing to do.
//! - In `Shutdown::wait` a thread waits as long as it is parked, which its parker shows, up to the
//!   wake-up.
//! - In `block_on` it waits as long as it is parked, and has polled the shutdown since it was
//!   parked before.
//! - Any other executor parks unseen. Its thread waits if it has polled, and has begun and ended no
//!   task since.
//!
//! The last two answer a *roll call* as well: when somebody new waits, and when a thread has left,
//! their wakers are called, and they do not wait before they have polled again. Of two threads
//! whose executors park unseen, one may go on between its answer and that of the other, and yet be
//! counted as waiting.
//!
//! ORDERING: the lock orders who looks. Whoever changes what is looked at (a thread has left,
//! nothing is being sorted any more, a thread is parked) takes it afterwards: one of the two sees
//! the other.

use std::sync::{Arc, OnceLock};
use std::task::Waker;

use crate::counts::TaskCounts;
use crate::pool::expiry::TaskList;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Parker, ProcessMutex};
use crate::task::{discard, wake};
use crate::worker::{Moment, ThreadRecord};

/// What waits for a pool's end.
#[derive(Debug)]
pub(in crate::pool) struct Ending {
    /// `Pool` handles.
    handles: AtomicUsize,
    /// Queued tasks that any shutdown drops.
    discardable: TaskList,
    /// How many threads are moving entries that stay from the queues and back, while they discard
    /// others.
    sorting: AtomicUsize,
    /// Tasks that had ended by running when admission closed.
    baseline: OnceLock<u64>,
    discarded: AtomicU64,
    waiting: ProcessMutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    last_id: u64,
    waiters: Vec<Waiter>,
}

/// One shutdown that has been polled, or is waited for.
#[derive(Debug)]
struct Waiter {
    id: u64,
    /// `None` once it has been called.
    waker: Option<Waker>,
    thread: Option<WaitingThread>,
    /// The end has come, with these threads waiting for it. By the time that the one who is told
    /// looks, they may have gone on.
    end: Option<Crew>,
}

/// The thread of the pool that has polled.
#[derive(Debug)]
pub(in crate::pool) struct WaitingThread {
    slot: Arc<ThreadRecord>,
    blocked: Blocked,
    /// It has polled since the last roll call, and this was when.
    polled: Option<Moment>,
}

/// How it shows that a thread is blocked.
#[derive(Debug)]
pub(in crate::pool) enum Blocked {
    /// It waits for nothing else, with this parker.
    Solely(Arc<Parker>),
    /// It awaits the shutdown, perhaps beside other things, and parks with this parker.
    Seen(Arc<Parker>),
    /// It awaits the shutdown in an executor that parks on its own.
    Unseen,
}

/// The threads of the pool that wait for its end, and the tasks on their stacks.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::pool) struct Crew {
    pub(in crate::pool) threads: usize,
    pub(in crate::pool) tasks: u64,
}

impl WaitingThread {
    /// The thread with this slot, which polls now.
    pub(in crate::pool) fn new(slot: Arc<ThreadRecord>, blocked: Blocked) -> Self {
        let polled = Some(slot.moment());
        WaitingThread { slot, blocked, polled }
    }

    fn waits(&self) -> bool {
        let has_polled = || self.polled == Some(self.slot.moment());
        match &self.blocked {
            Blocked::Solely(parker) => parker.is_parked(),
            Blocked::Seen(parker) => parker.is_parked() && has_polled(),
            Blocked::Unseen => has_polled(),
        }
    }
}

impl Waiting {
    fn find(&mut self, id: u64) -> Option<&mut Waiter> {
        self.waiters.iter_mut().find(|waiter| waiter.id == id)
    }

    /// The threads that wait, that of `looker` among them.
    fn crew(&self, looker: Option<u64>) -> Crew {
        let mut slots: Vec<&Arc<ThreadRecord>> = Vec::new();
        for waiter in &self.waiters {
            let thread = waiter.thread.as_ref();
            let thread = thread.filter(|thread| Some(waiter.id) == looker || thread.waits());
            let thread = thread.filter(|thread| !slots.iter().any(|slot| Arc::ptr_eq(slot, &thread.slot)));
            slots.extend(thread.map(|thread| &thread.slot));
        }
        Crew { threads: slots.len(), tasks: slots.iter().map(|slot| slot.running()).sum() }
    }

    /// Those who may have gone on are to poll again. Returns the wakers to be called for that.
    fn call_roll(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for waiter in &mut self.waiters {
            let asked = waiter.thread.as_mut().filter(|thread| !matches!(thread.blocked, Blocked::Solely(_)));
            if let Some(thread) = asked {
                thread.polled = None;
                wakers.extend(waiter.waker.take());
            }
        }
        wakers
    }

    /// Looks whether the end has come, with so many threads left, and who waits then. Adds the
    /// wakers of those who do not know yet to `woken`.
    fn look(&mut self, looker: Option<u64>, left: Option<usize>, woken: &mut Vec<Waker>) -> Option<Crew> {
        let crew = self.crew(looker);
        if left.is_none_or(|left| left > crew.threads) {
            return None;
        }
        for waiter in self.waiters.iter_mut().filter(|waiter| Some(waiter.id) != looker) {
            // Without threads in between there is nothing that could have changed when they look
            // themselves, but for one that is on its way for nothing: they wait for that.
            if crew.threads > 0 {
                waiter.end.get_or_insert(crew);
            }
            woken.extend(waiter.waker.take());
        }
        Some(crew)
    }
}

impl Ending {
    /// That of a pool with one handle.
    pub(in crate::pool) fn new() -> Self {
        Ending {
            handles: AtomicUsize::new(1),
            discardable: TaskList::new(),
            sorting: AtomicUsize::new(0),
            baseline: OnceLock::new(),
            discarded: AtomicU64::new(0),
            waiting: ProcessMutex::default(),
        }
    }

    pub(in crate::pool) fn add_handle(&self) {
        // ORDERING: Relaxed: the caller's handle counts, so the count is not zero meanwhile.
        self.handles.fetch_add(1, Ordering::Relaxed);
    }

    /// One handle less. True if that was the last one.
    pub(in crate::pool) fn remove_handle(&self) -> bool {
        // ORDERING: Release pairs with the Acquire of the last one: what was submitted through any
        // handle comes before the end.
        self.handles.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Queued tasks that any shutdown drops.
    pub(in crate::pool) fn discardable(&self) -> &TaskList {
        &self.discardable
    }

    /// Entries are on their way from the queues and back, until
    /// [`end_sorting`](Ending::end_sorting).
    pub(in crate::pool) fn begin_sorting(&self) {
        self.sorting.fetch_add(1, Ordering::SeqCst);
    }

    pub(in crate::pool) fn end_sorting(&self) {
        self.sorting.fetch_sub(1, Ordering::SeqCst);
    }

    pub(in crate::pool) fn is_sorting(&self) -> bool {
        self.sorting.load(Ordering::SeqCst) > 0
    }

    /// Admission is about to close. Who closes it again changes nothing.
    pub(in crate::pool) fn begin(&self, totals: &TaskCounts) {
        let _ = self.baseline.set(totals.ended());
    }

    /// Tasks that had ended by running when admission closed.
    pub(in crate::pool) fn baseline(&self) -> u64 {
        self.baseline.get().copied().unwrap_or(0)
    }

    pub(in crate::pool) fn count_discarded(&self, discarded: u64) {
        // ORDERING: Release pairs with the Acquire in `discarded`.
        self.discarded.fetch_add(discarded, Ordering::Release);
    }

    pub(in crate::pool) fn discarded(&self) -> u64 {
        // ORDERING: Acquire pairs with the Release in `count_discarded`.
        self.discarded.load(Ordering::Acquire)
    }

    pub(in crate::pool) fn new_id(&self) -> u64 {
        let Some(mut waiting) = self.waiting.lock() else { return 0 };
        waiting.last_id += 1;
        waiting.last_id
    }

    /// Waits as `id`, on this thread of the pool if it is one: `waker` is called when there is
    /// reason to look again. Returns who waited at the end, if that has come. `left` says how many
    /// threads have not left, if that is certain.
    pub(in crate::pool) fn wait(
        &self,
        id: u64,
        waker: &Waker,
        thread: Option<WaitingThread>,
        left: impl FnOnce() -> Option<usize>,
    ) -> Option<Crew> {
        let waker = waker.clone();
        // In a forked child the pool has ended.
        let Some(mut waiting) = self.waiting.lock() else { return Some(Crew::default()) };
        let mut woken = Vec::new();
        if waiting.find(id).is_none() {
            woken = waiting.call_roll();
            waiting.waiters.push(Waiter { id, waker: None, thread: None, end: None });
        }
        let mut old = None;
        if let Some(waiter) = waiting.find(id) {
            old = waiter.waker.replace(waker);
            waiter.thread = thread;
        }
        let came = waiting.look(Some(id), left(), &mut woken);
        let end = came.or_else(|| waiting.find(id).and_then(|waiter| waiter.end));
        drop(waiting);
        old.into_iter().for_each(discard);
        wake_all(woken);
        end
    }

    /// A thread is parked: looks whether that was the last that did not wait.
    pub(in crate::pool) fn look(&self, left: impl FnOnce() -> Option<usize>) {
        let Some(mut waiting) = self.waiting.lock() else { return };
        let mut woken = Vec::new();
        let _ = waiting.look(None, left(), &mut woken);
        drop(waiting);
        wake_all(woken);
    }

    /// A thread has left, or something else has changed: everybody is to look again.
    pub(in crate::pool) fn announce(&self, left: impl FnOnce() -> Option<usize>) {
        let Some(mut waiting) = self.waiting.lock() else { return };
        let mut woken = waiting.call_roll();
        let _ = waiting.look(None, left(), &mut woken);
        woken.extend(waiting.waiters.iter_mut().filter_map(|waiter| waiter.waker.take()));
        drop(waiting);
        wake_all(woken);
    }

    /// The threads that wait now, that of `id` among them.
    pub(in crate::pool) fn crew(&self, id: u64) -> Crew {
        self.waiting.lock().map(|waiting| waiting.crew(Some(id))).unwrap_or_default()
    }

    /// `id` waits no longer.
    pub(in crate::pool) fn leave(&self, id: u64) {
        let Some(mut waiting) = self.waiting.lock() else { return };
        let place = waiting.waiters.iter().position(|waiter| waiter.id == id);
        let gone = place.map(|place| waiting.waiters.swap_remove(place));
        drop(waiting);
        gone.and_then(|waiter| waiter.waker).into_iter().for_each(discard);
    }
}

fn wake_all(wakers: Vec<Waker>) {
    for waker in wakers {
        wake(waker);
    }
}
