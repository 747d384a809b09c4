//! One thread of a pool: find a task, run it, report; and what it does for the closures that run on
//! it.
//!
//! | file | owns |
//! |---|---|
//! | `run` | one task: claim it, run it, report; or one turn of a lane |
//! | `slot` | what a thread shows to others |
//! | `current` | which task a thread runs, for others to read |
//! | `roster` | the threads of a pool, and all that is counted about tasks |
//! | `account` | what whoever cancels a queued task touches of the pool |
//! | `os` | what the operating system knows of a thread |
//! | `host` | blocking and waiting on a pool's thread |
//! | `rest` | what a thread does that finds nothing: looking on, sleeping, leaving |
//! | `patience` | for how long it pays to look on |
//!
//! What a worker needs from its pool it asks of the trait [`Workplace`], which `pool` implements.
//!
//! # One round
//!
//! ```text
//!     take an entry - none --> linger --> go on the stack, look again, sleep ---- surplus or closed ---> leave
//!         |                      | found            |
//!         v                      v                  v woken, with a searching token
//!     release the token, notify if more is queued
//!         |
//!         v
//!     claim, run the closure, count
//!         |
//!         v
//!     nothing queued in sight? take a delivering token       (idle before deliver)
//!         |
//!         v
//!     deliver: send, wake, call back; a delivering token turns into a searching one
//! ```
//!
//! Idle before deliver: the consumer that the waker wakes often submits its next call at once. It
//! then finds a token out and wakes nobody, and the thread that has just finished takes the call.
//! So one awaited call after another stays on one thread.

mod account;
mod current;
mod host;
#[cfg(all(test, sidestep_loom))]
mod loom_models;
mod patience;
mod rest;
mod roster;
mod run;
mod slot;

use std::cell::{Cell, OnceCell, RefCell};
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::TaskId;
use crate::idle::{Idle, Sleeper};
use crate::lane::{Core, Entry, Waits};
use crate::queue::{Local, Queues, Walk};
use crate::sync::{Parker, thread_local_const};
use crate::task::{TaskRef, with_host};

use self::patience::Patience;

pub(crate) use self::account::PoolAccount;
pub(crate) use self::current::Shown;
pub(crate) use self::roster::{Roster, Totals, thread_number};
pub(crate) use self::slot::{Moment, Note, Slot};

/// What a worker needs from its pool.
pub(crate) trait Workplace: Send + Sync + 'static {
    fn queues(&self) -> &Queues<Entry>;
    fn idle(&self) -> &Idle;
    fn roster(&self) -> &Roster;
    /// Has somebody look into the queues: wakes or starts a thread, or arms the monitor.
    fn notify(&self);
    /// A queued task has been claimed: its place in a limited queue is free.
    fn free_place(&self);
    /// The lane that `task`, which is queued, belongs to.
    fn lane_of(&self, task: &TaskRef) -> Option<Arc<Core>>;
    /// Who waits for what inside tasks.
    fn waits(&self) -> &Waits;
    /// Whether there are more threads than the pool may have by now: those between two tasks leave.
    fn is_over_max(&self) -> bool;
    /// Takes this thread out of the number of those that stay, if there are more than the pool may
    /// have.
    fn resign_if_over_max(&self) -> bool;
    /// A task that carries the time of its spawning is about to run, after this wait.
    fn observe_wait(&self, task: &TaskRef, lane: Option<&Core>, wait: Duration);
    /// Such a task has ended, after this run.
    fn observe_run(&self, task: &TaskRef, lane: Option<&Core>, run: Duration);
    /// Whether admission is closed: threads leave once the queues are empty.
    fn is_closed(&self) -> bool;
    /// Whether this process is a fork of the one the pool was built in.
    fn is_forked(&self) -> bool;
    /// One thread more, or less, has declared that it blocks.
    fn begin_blocking(&self);
    fn end_blocking(&self);
    /// Whether a thread that blocks can count on another being started.
    fn may_grow(&self) -> bool;
    /// Has `parker` woken when `may_grow` turns false.
    fn watch_growth(&self, parker: &Arc<Parker>);
    /// Undoes `watch_growth`.
    fn unwatch_growth(&self, parker: &Arc<Parker>);
    /// Has `parker` woken when something is queued and no thread will look for it. The fence is in
    /// `watch_growth`.
    fn add_helper(&self, parker: &Arc<Parker>);
    /// Undoes `add_helper`.
    fn remove_helper(&self, parker: &Arc<Parker>);
    /// Whether a thread that finds nothing may look on for a while: with one CPU, or where more
    /// threads are at work than core, it would only hold up others.
    fn may_linger(&self) -> bool;
    /// When a thread that goes to sleep now is to leave; `None` if it is to stay.
    fn sleep_deadline(&self) -> Option<Instant>;
    /// Takes this thread out of the number of those that stay, if it is surplus.
    fn resign_if_surplus(&self) -> bool;
    /// A thread is parked in a wait for the pool's end: looks whether that has come.
    fn look_for_end(&self);
    /// Takes this thread out of the number of those that stay.
    fn resign(&self);
    /// Calls the user's hook, on the thread that has started.
    fn on_start(&self);
    /// Calls the user's hook, on the thread that is about to leave.
    fn on_stop(&self);
    /// The thread is gone but for its last instructions: count it, and see to what is queued.
    fn left(&self);
}

/// What `Pool::spawn` needs of the thread it is called on, where that is the pool's own.
pub(crate) struct Station {
    owner: *const (),
    local: OnceCell<Local<Entry>>,
    slot: Arc<Slot>,
}

thread_local_const! { static STATION: Cell<*const Station> = Cell::new(ptr::null()) }

/// Has the thread's slot point to a station, until it is dropped (T6).
struct Manned {
    outer: *const Station,
}

impl Manned {
    fn at(station: &Station) -> Self {
        Manned { outer: STATION.with(|slot| slot.replace(station)) }
    }
}

impl Drop for Manned {
    fn drop(&mut self) {
        STATION.with(|slot| slot.set(self.outer));
    }
}

/// This thread's station, if it is one of `owner`'s threads.
fn this_station<'a>(owner: *const ()) -> Option<&'a Station> {
    // SAFETY: T6: `Worker::main` borrows the station for longer than the slot holds it, and runs
    // the code that uses this.
    let station = unsafe { STATION.with(Cell::get).as_ref() };
    station.filter(|station| ptr::eq(station.owner, owner))
}

/// Counts a submission and enqueues it: in the deque of this thread, if that is on the roster.
pub(crate) fn submit(queues: &Queues<Entry>, roster: &Roster, task: TaskRef) {
    match this_station(roster.owner()) {
        Some(station) => {
            station.slot.tallies.submitted.bump();
            queues.push(station.local.get(), Entry::task(task));
        }
        None => {
            roster.account().count_submitted();
            queues.push(None, Entry::task(task));
        }
    }
}

/// Enqueues a task of `lane`, and an entry for the lane where that is due: it is no task and is not
/// counted. True if somebody must look into the pool's queues.
#[must_use]
pub(crate) fn submit_to_lane(
    owner: *const (),
    queues: &Queues<Entry>,
    lane: &Arc<Core>,
    task: TaskRef,
) -> bool {
    let local = this_station(owner).and_then(|station| station.local.get());
    lane.enqueue(task, || queues.push(local, Entry::lane(Arc::clone(lane))))
}

/// The slot of this thread, if it is one of `owner`'s.
pub(crate) fn this_slot(owner: *const ()) -> Option<Arc<Slot>> {
    this_station(owner).map(|station| Arc::clone(&station.slot))
}

/// A running thread of a pool.
pub(crate) struct Worker<P: Workplace> {
    place: Arc<P>,
    station: Station,
    sleeper: Arc<Sleeper>,
    walk: RefCell<Walk>,
    patience: Patience,
    /// Whether this thread holds a searching token.
    searching: Cell<bool>,
    /// Whether this thread holds a delivering token.
    delivering: Cell<bool>,
    /// The lane of the task whose result is being delivered, while this thread holds a slot of it.
    lane: Cell<Option<Arc<Core>>>,
    /// Tasks of lanes that this thread is inside although their slots have been given away: they
    /// wait for the shutdown.
    forfeited: RefCell<Vec<TaskId>>,
    /// How many tasks below the innermost wait for it in place.
    depth: Cell<u32>,
    /// How many nested declarations of blocking there are.
    blocking: Cell<u32>,
    /// The thread is to end after its task.
    retiring: Cell<bool>,
}

/// Works for `place` until it is time to leave. The caller has a starting token for this thread.
pub(crate) fn work<P: Workplace>(place: Arc<P>) {
    let worker = Worker::new(place);
    with_host(&worker, || worker.main());
    worker.leave();
}

impl<P: Workplace> Worker<P> {
    fn new(place: Arc<P>) -> Self {
        let slot = Arc::new(Slot::for_this_thread());
        place.roster().enlist(Arc::clone(&slot));
        Worker {
            station: Station { owner: place.roster().owner(), local: OnceCell::new(), slot },
            place,
            sleeper: Sleeper::new(),
            walk: RefCell::new(Walk::new(thread_number() as u32)),
            patience: Patience::new(),
            searching: Cell::new(false),
            delivering: Cell::new(false),
            lane: Cell::new(None),
            forfeited: RefCell::new(Vec::new()),
            depth: Cell::new(0),
            blocking: Cell::new(0),
            retiring: Cell::new(false),
        }
    }

    /// The thread's life between its first and its last hook.
    fn main(&self) {
        let _manned = Manned::at(&self.station);
        self.equip();
        // The hook is foreign code and may block, as a waker may.
        self.place.idle().started_delivering();
        self.delivering.set(true);
        self.place.on_start();
        self.end_delivering();
        self.serve();
        if !self.place.is_forked() {
            self.place.on_stop();
        }
    }

    /// Takes a deque, if this thread has none and one is free: at first, and whenever it wakes,
    /// since the threads that leave after a growth may be those that own one.
    fn equip(&self) {
        let Station { local, slot, .. } = &self.station;
        if local.get().is_some() {
            return;
        }
        if let Some(lent) = self.place.queues().lend() {
            let _ = slot.deque.set(lent.index());
            let _ = local.set(lent);
        }
    }

    /// Runs tasks until it is time to leave; then the thread has resigned.
    fn serve(&self) {
        while !self.place.is_forked() {
            if self.is_dismissed() {
                return self.hand_over();
            }
            match self.take() {
                Some(entry) => self.execute(entry),
                None if self.rest() => {}
                None => break,
            }
        }
    }

    /// Whether the thread is to leave with work left; it has resigned then.
    fn is_dismissed(&self) -> bool {
        if self.retiring.get() {
            self.place.resign();
            return true;
        }
        self.place.is_over_max() && self.place.resign_if_over_max()
    }

    /// The next queue entry. After a long task, and where others have waited for long, it is one
    /// that has waited for everybody: what this thread has put into its own deque came later.
    #[inline]
    fn take(&self) -> Option<Entry> {
        let queues = self.place.queues();
        let injected = if self.station.slot.take_overstay() { queues.take_injected() } else { None };
        injected.or_else(|| queues.take(self.station.local.get(), &mut self.walk.borrow_mut()))
    }

    /// Has somebody look after what is queued, before the thread ends with work left.
    fn hand_over(&self) {
        if self.searching.take() {
            self.place.idle().release_searching();
        }
        if !self.place.queues().is_empty() {
            self.place.notify();
        }
    }

    /// The thread's last deeds. After a fork there are none: everything here belongs to the parent.
    fn leave(self) {
        if self.place.is_forked() {
            std::mem::forget(self);
            return;
        }
        let Worker { place, station, .. } = self;
        if let Some(local) = station.local.into_inner() {
            place.queues().give_back(local);
        }
        place.roster().dismiss(&station.slot);
        place.left();
    }
}
