//! Which threads wait for a pool's end, and when that end has come.
//!
//! The end has come when every thread has exited but those that wait for the end themselves, the
//! *crew*: their tasks count as ended. Each look at the wait list finds out under one lock which
//! threads those are, and a look that finds that the end has come wakes all waiters in the list.
//!
//! # Which threads wait
//!
//! A thread of the pool that polls its shutdown is in the list, but that alone does not mean that
//! it waits: its `select` may have resolved with something else, and the thread has kept the
//! shutdown and gone on.
//!
//! - The thread that looks waits, since it is about to park, or to return `Pending` to its
//!   executor.
//! - In `Shutdown::wait` a thread waits as long as it is parked, which its parker shows, up to the
//!   wake-up.
//! - In `block_on` it waits as long as it is parked, and has polled the shutdown since it was
//!   parked before.
//! - Any other executor parks unseen. Its thread waits if it has polled, and has begun and ended no
//!   task since.
//!
//! The last two kinds answer a *roll call* as well: when a new waiter joins, and when a thread has
//! exited, the look calls their wakers, and they do not count as waiting before they have polled
//! again. Of two threads whose executors park unseen, one may go on between its answer and that of
//! the other, and yet count as waiting.
//!
//! ORDERING: the lock orders the looks. A thread that changes what a look reads (a thread has
//! exited, no entries are being sorted any more, a thread is parked) takes the lock afterwards: one
//! of the two sees the other.

use std::sync::{Arc, OnceLock};
use std::task::Waker;

use crate::counts::TaskCounts;
use crate::pool::expiry::TaskList;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Parker, ProcessMutex};
use crate::task::{discard, wake};
use crate::worker::{Moment, ThreadRecord};

/// The end of one pool: its handles, what the shutdown discards, and the waiters.
#[derive(Debug)]
pub(in crate::pool) struct Ending {
    /// `Pool` handles.
    handles: AtomicUsize,
    /// Queued tasks that any shutdown drops.
    discardable: TaskList,
    /// How many threads are discarding entries, and meanwhile hold entries that they will put back
    /// into the queues; and how many holds there are (`HoldOpen`).
    sorting: AtomicUsize,
    /// Tasks that had ended by running when admission closed.
    baseline: OnceLock<u64>,
    discarded: AtomicU64,
    waiting: ProcessMutex<WaitList>,
}

#[derive(Debug, Default)]
struct WaitList {
    last_id: u64,
    waiters: Vec<EndWaiter>,
}

/// One `Shutdown` that has been polled, or that a thread waits for.
#[derive(Debug)]
struct EndWaiter {
    id: u64,
    /// `None` once a look has called it.
    waker: Option<Waker>,
    thread: Option<WaitingThread>,
    /// The end has come, with these threads waiting for it. By the time that this waiter looks,
    /// they may have gone on.
    end: Option<Crew>,
}

/// A thread of the pool that has polled the shutdown.
#[derive(Debug)]
pub(in crate::pool) struct WaitingThread {
    record: Arc<ThreadRecord>,
    blocked: Blocked,
    /// When the thread polled; `None` if it has not polled since the last roll call.
    polled: Option<Moment>,
}

/// How a thread shows that it is blocked.
#[derive(Debug)]
pub(in crate::pool) enum Blocked {
    /// The thread waits for nothing but the shutdown, with this parker.
    Solely(Arc<Parker>),
    /// The thread awaits the shutdown, perhaps beside other futures, and parks with this parker.
    Seen(Arc<Parker>),
    /// The thread awaits the shutdown in an executor that parks by means of its own.
    Unseen,
}

/// The threads of the pool that wait for its end, and the tasks on their stacks.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::pool) struct Crew {
    pub(in crate::pool) threads: usize,
    pub(in crate::pool) tasks: u64,
}

impl WaitingThread {
    /// The thread with this record, which polls now.
    pub(in crate::pool) fn new(record: Arc<ThreadRecord>, blocked: Blocked) -> Self {
        let polled = Some(record.moment());
        WaitingThread { record, blocked, polled }
    }

    fn waits(&self) -> bool {
        let has_polled = || self.polled == Some(self.record.moment());
        match &self.blocked {
            Blocked::Solely(parker) => parker.is_parked(),
            Blocked::Seen(parker) => parker.is_parked() && has_polled(),
            Blocked::Unseen => has_polled(),
        }
    }
}

impl WaitList {
    fn find(&mut self, id: u64) -> Option<&mut EndWaiter> {
        self.waiters.iter_mut().find(|waiter| waiter.id == id)
    }

    /// The threads that wait, that of `looker` among them.
    fn crew(&self, looker: Option<u64>) -> Crew {
        let mut records: Vec<&Arc<ThreadRecord>> = Vec::new();
        for waiter in &self.waiters {
            let thread = waiter.thread.as_ref();
            let thread = thread.filter(|thread| Some(waiter.id) == looker || thread.waits());
            let thread =
                thread.filter(|thread| !records.iter().any(|record| Arc::ptr_eq(record, &thread.record)));
            records.extend(thread.map(|thread| &thread.record));
        }
        Crew { threads: records.len(), tasks: records.iter().map(|record| record.running()).sum() }
    }

    /// Makes the waiters that may have gone on poll again before they count as waiting. Returns the
    /// wakers to be called for that.
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

    /// Looks whether the end has come, with `left` threads left, and returns the threads that wait
    /// then. Adds to `woken` the wakers of the waiters that do not know yet.
    fn look(&mut self, looker: Option<u64>, left: Option<usize>, woken: &mut Vec<Waker>) -> Option<Crew> {
        let crew = self.crew(looker);
        if left.is_none_or(|left| left > crew.threads) {
            return None;
        }
        for waiter in self.waiters.iter_mut().filter(|waiter| Some(waiter.id) != looker) {
            // Without waiting threads nothing can have changed by the time that the waiters look
            // themselves, but for a reserved thread that finds nothing to do: they wait for that
            // one.
            if crew.threads > 0 {
                waiter.end.get_or_insert(crew);
            }
            woken.extend(waiter.waker.take());
        }
        Some(crew)
    }
}

impl Ending {
    /// The state of a pool with one handle.
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
    /// [`end_sorting`](Ending::end_sorting). True if others were already.
    pub(in crate::pool) fn begin_sorting(&self) -> bool {
        self.sorting.fetch_add(1, Ordering::SeqCst) > 0
    }

    pub(in crate::pool) fn end_sorting(&self) {
        self.sorting.fetch_sub(1, Ordering::SeqCst);
    }

    pub(in crate::pool) fn is_sorting(&self) -> bool {
        self.sorting.load(Ordering::SeqCst) > 0
    }

    /// Admission is about to close. A second close changes nothing.
    pub(in crate::pool) fn begin(&self, totals: &TaskCounts) {
        let _ = self.baseline.set(totals.ran());
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

    /// Waits as `id`, with `thread` if the caller is a thread of the pool: a look calls `waker`
    /// when there is reason to poll again. Returns which threads waited at the end, if that has
    /// come. `left` returns how many threads have not exited, if that is certain.
    pub(in crate::pool) fn wait(
        &self,
        id: u64,
        waker: &Waker,
        thread: Option<WaitingThread>,
        left: &dyn Fn() -> Option<usize>,
    ) -> Option<Crew> {
        let waker = waker.clone();
        // In a forked child the pool has ended.
        let Some(mut waiting) = self.waiting.lock() else { return Some(Crew::default()) };
        let mut woken = Vec::new();
        if waiting.find(id).is_none() {
            woken = waiting.call_roll();
            waiting.waiters.push(EndWaiter { id, waker: None, thread: None, end: None });
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

    /// A thread is parked: looks whether it was the last that did not wait.
    pub(in crate::pool) fn look(&self, left: &dyn Fn() -> Option<usize>) {
        let Some(mut waiting) = self.waiting.lock() else { return };
        let mut woken = Vec::new();
        let _ = waiting.look(None, left(), &mut woken);
        drop(waiting);
        wake_all(woken);
    }

    /// A thread has exited, or something else has changed: makes all waiters look again.
    pub(in crate::pool) fn announce(&self, left: &dyn Fn() -> Option<usize>) {
        let Some(mut waiting) = self.waiting.lock() else { return };
        let mut woken = waiting.call_roll();
        let _ = waiting.look(None, left(), &mut woken);
        for waiter in &mut waiting.waiters {
            woken.extend(waiter.waker.take());
        }
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
