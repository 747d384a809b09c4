//! Who waits for a pool's end, and when that has come.
//!
//! The end has come when every thread has left but those that wait for the end themselves: their tasks count as ended.
//! Which those are is asked each time under one lock, and whoever finds that the end has come tells everybody in the list.
//!
//! # Which threads wait
//!
//! A thread of the pool that polls its shutdown is in the list, but that alone does not say that it waits: it may have got
//! something else from a `select`, kept the shutdown, and gone on.
//!
//! - The one who looks waits, since it is about to park, or to tell its executor that it has nothing to do.
//! - In a wait of this crate ([`BlockingWait`](crate::task::BlockingWait)) a thread waits as long as its slot shows that it is parked there.
//! - Any other executor parks unseen. Its thread waits if it has polled since the last *roll call*: when somebody new waits,
//!   and when a thread has left, these wakers are called, and those who still wait poll again. So of two such threads one
//!   may go on between its answer and that of the other, and yet be counted as waiting.
//!
//! ORDERING: the lock orders who looks. Whoever changes what is looked at (a thread has left, nothing is being sorted any
//! more, a thread is parked) takes it afterwards: one of the two sees the other.

use std::sync::{Arc, OnceLock};
use std::task::Waker;

use crate::report::shield;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::task::WaitName;
use crate::worker::{Slot, Totals};

/// What waits for a pool's end.
#[derive(Debug)]
pub(super) struct Ending {
    /// Tasks that had ended by running when admission closed.
    baseline: OnceLock<u64>,
    discarded: AtomicU64,
    waiting: Mutex<Waiting>,
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
    /// The end has come, with these threads waiting for it. By the time that the one who is told looks, they may have gone on.
    end: Option<Crew>,
}

/// The thread of the pool that has polled.
#[derive(Debug)]
pub(super) struct WaitingThread {
    pub(super) slot: Arc<Slot>,
    pub(super) wait: WaitName,
    /// It has polled since the last roll call.
    pub(super) is_present: bool,
}

/// The threads of the pool that wait for its end, and the tasks on their stacks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Crew {
    pub(super) threads: usize,
    pub(super) tasks: u64,
}

impl WaitingThread {
    fn waits(&self) -> bool {
        if self.wait == WaitName::NONE {
            self.is_present
        } else {
            self.slot.parked_in() == self.wait.to_bits()
        }
    }
}

impl Waiting {
    fn find(&mut self, id: u64) -> Option<&mut Waiter> {
        self.waiters.iter_mut().find(|waiter| waiter.id == id)
    }

    /// The threads that wait, that of `looker` among them.
    fn crew(&self, looker: Option<u64>) -> Crew {
        let mut slots: Vec<&Arc<Slot>> = Vec::new();
        for waiter in &self.waiters {
            let thread = waiter.thread.as_ref();
            let thread = thread.filter(|thread| Some(waiter.id) == looker || thread.waits());
            let thread = thread.filter(|thread| !slots.iter().any(|slot| Arc::ptr_eq(slot, &thread.slot)));
            slots.extend(thread.map(|thread| &thread.slot));
        }
        Crew { threads: slots.len(), tasks: slots.iter().map(|slot| slot.running()).sum() }
    }

    /// Whoever parks unseen is to poll again. Returns the wakers to be called for that.
    fn call_roll(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for waiter in &mut self.waiters {
            let unseen = waiter.thread.as_mut().filter(|thread| thread.wait == WaitName::NONE);
            if let Some(thread) = unseen {
                thread.is_present = false;
                wakers.extend(waiter.waker.take());
            }
        }
        wakers
    }

    /// Looks whether the end has come, with so many threads left, and who waits then. Adds the wakers of those who do not know
    /// yet to `woken`.
    fn look(&mut self, looker: Option<u64>, left: Option<usize>, woken: &mut Vec<Waker>) -> Option<Crew> {
        let crew = self.crew(looker);
        if left.is_none_or(|left| left > crew.threads) {
            return None;
        }
        for waiter in self.waiters.iter_mut().filter(|waiter| Some(waiter.id) != looker) {
            // Without threads in between there is nothing that could have changed when they look themselves, but for one that
            // is on its way for nothing: they wait for that.
            if crew.threads > 0 {
                waiter.end.get_or_insert(crew);
            }
            woken.extend(waiter.waker.take());
        }
        Some(crew)
    }
}

impl Ending {
    pub(super) fn new() -> Self {
        Ending {
            baseline: OnceLock::new(),
            discarded: AtomicU64::new(0),
            waiting: Mutex::new(Waiting::default()),
        }
    }

    /// Admission is about to close. Who closes it again changes nothing.
    pub(super) fn begin(&self, totals: &Totals) {
        let _ = self.baseline.set(totals.completed + totals.panicked);
    }

    /// Tasks that had ended by running when admission closed.
    pub(super) fn baseline(&self) -> u64 {
        self.baseline.get().copied().unwrap_or(0)
    }

    pub(super) fn count_discarded(&self, discarded: u64) {
        // ORDERING: Release pairs with the Acquire in `discarded`.
        self.discarded.fetch_add(discarded, Ordering::Release);
    }

    pub(super) fn discarded(&self) -> u64 {
        // ORDERING: Acquire pairs with the Release in `count_discarded`.
        self.discarded.load(Ordering::Acquire)
    }

    pub(super) fn new_id(&self) -> u64 {
        let mut waiting = self.waiting.lock();
        waiting.last_id += 1;
        waiting.last_id
    }

    /// Waits as `id`, on this thread of the pool if it is one: `waker` is called when there is reason to look again. Returns
    /// who waited at the end, if that has come. `left` says how many threads have not left, if that is certain.
    pub(super) fn wait(
        &self,
        id: u64,
        waker: &Waker,
        thread: Option<WaitingThread>,
        left: impl FnOnce() -> Option<usize>,
    ) -> Option<Crew> {
        let waker = waker.clone();
        let mut waiting = self.waiting.lock();
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
        shield("the destructor of a waker", || drop(old));
        wake_all(woken);
        end
    }

    /// The thread of `id` does something else for a while.
    pub(super) fn step_out(&self, id: u64) {
        if let Some(thread) = self.waiting.lock().find(id).and_then(|waiter| waiter.thread.as_mut()) {
            thread.is_present = false;
        }
    }

    /// A thread is parked: looks whether that was the last that did not wait.
    pub(super) fn look(&self, left: impl FnOnce() -> Option<usize>) {
        let mut waiting = self.waiting.lock();
        let mut woken = Vec::new();
        let _ = waiting.look(None, left(), &mut woken);
        drop(waiting);
        wake_all(woken);
    }

    /// A thread has left, or something else has changed: everybody is to look again.
    pub(super) fn announce(&self, left: impl FnOnce() -> Option<usize>) {
        let mut waiting = self.waiting.lock();
        let mut woken = waiting.call_roll();
        let _ = waiting.look(None, left(), &mut woken);
        woken.extend(waiting.waiters.iter_mut().filter_map(|waiter| waiter.waker.take()));
        drop(waiting);
        wake_all(woken);
    }

    /// The threads that wait now, that of `id` among them.
    pub(super) fn crew(&self, id: u64) -> Crew {
        self.waiting.lock().crew(Some(id))
    }

    /// `id` waits no longer.
    pub(super) fn leave(&self, id: u64) {
        let mut waiting = self.waiting.lock();
        let place = waiting.waiters.iter().position(|waiter| waiter.id == id);
        let gone = place.map(|place| waiting.waiters.swap_remove(place));
        drop(waiting);
        shield("the destructor of a waker", || drop(gone));
    }
}

fn wake_all(wakers: Vec<Waker>) {
    for waker in wakers {
        shield("a waker", || waker.wake());
    }
}
