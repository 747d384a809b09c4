//! What one thread of a pool shows to others: counters that it alone writes, the task it runs, and
//! what the system calls it.

use std::sync::OnceLock;
use std::time::Duration;

use crossbeam_utils::CachePadded;

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU64, HintBool, HintUsize, Ordering};

use super::current::{Current, Shown};
use crate::sys::thread_stat::ThreadKey;

/// A counter with one writer, who therefore needs no read-modify-write.
#[derive(Debug)]
pub(crate) struct Tally(AtomicU64);

impl Tally {
    fn new() -> Self {
        Tally(AtomicU64::new(0))
    }

    /// Adds one. Only the owner of the slot may call this.
    pub(super) fn bump(&self) {
        // ORDERING: Release pairs with the Acquire in `get`: whoever sees the count sees what was
        // counted.
        self.0.store(self.0.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    pub(crate) fn get(&self) -> u64 {
        // ORDERING: Acquire pairs with the Release in `bump`.
        self.0.load(Ordering::Acquire)
    }
}

/// One thread's slot in the roster.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) tallies: CachePadded<Tallies>,
    /// The thread has declared that it blocks.
    pub(crate) blocking: AtomicBool,
    /// The monitor has found the thread to be in one task for long, or others to wait for long;
    /// until the thread looks into the queues again.
    pub(crate) overstays: HintBool,
    /// The address of the account of the lane whose task the thread is inside; 0 if it is none's.
    pub(crate) lane: HintUsize,
    /// How many times the thread has been parked in waits for, among others, the pool's shutdown.
    parks: AtomicU64,
    /// Which deque it owns, once it owns one.
    pub(crate) deque: OnceLock<usize>,
    pub(crate) key: ThreadKey,
    /// The task that the thread runs or ran last.
    pub(super) current: Current,
    /// What the monitor remembers of the thread from one look to the next. Only the monitor locks
    /// it.
    pub(crate) note: Mutex<Note>,
}

/// What one thread has counted.
#[derive(Debug)]
pub(crate) struct Tallies {
    /// Tasks that its tasks have spawned.
    pub(crate) submitted: Tally,
    /// Tasks that it has begun to run.
    pub(crate) started: Tally,
    /// Tasks whose closure has returned, counted before the result can be seen.
    pub(crate) completed: Tally,
    /// Tasks whose closure has panicked, likewise.
    pub(crate) panicked: Tally,
    /// Tasks whose result it has delivered. Less than `started`: it is inside a closure or a waker.
    pub(crate) delivered: Tally,
}

/// The monitor's memory of a thread.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Note {
    pub(crate) started: u64,
    pub(crate) delivered: u64,
    /// For how many looks in a row the thread has been inside the same task.
    pub(crate) stalled: u32,
    /// For how long, as far as looks tell.
    pub(crate) held: Duration,
    /// Whether it was asleep when that was asked last in this task.
    pub(crate) asleep: Option<bool>,
    /// It has been there for long, and has computed there as far as the system tells; for long
    /// even.
    pub(crate) occupied: bool,
    pub(crate) long: bool,
    /// Its CPU clock when it was first asked for in this task.
    pub(crate) cpu_since: Option<Duration>,
    /// And at the last look.
    pub(crate) cpu_time: Option<Duration>,
}

impl Note {
    /// The note of a thread that is still inside the same task, `elapsed` later.
    #[must_use]
    pub(crate) fn later(self, elapsed: Duration) -> Self {
        Note { stalled: self.stalled.saturating_add(1), held: self.held.saturating_add(elapsed), ..self }
    }
}

/// See [`Slot::moment`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    started: u64,
    ended: u64,
    parks: u64,
}

impl Slot {
    /// The tasks that the thread is inside, unless it is going on to another one just now.
    pub(crate) fn shown(&self) -> Vec<Shown> {
        let started = self.tallies.started.get();
        if self.running() == 0 {
            return Vec::new();
        }
        let mut shown = self.current.read();
        let running = self.running() as usize;
        if self.tallies.started.get() != started || shown.len() < running {
            return Vec::new();
        }
        // The innermost one has ended, or has not begun.
        shown.truncate(running);
        shown
    }

    /// Tasks on the thread's stack.
    pub(crate) fn running(&self) -> u64 {
        let ended = self.tallies.completed.get() + self.tallies.panicked.get();
        self.tallies.started.get() - ended
    }

    /// Where the thread is in its life: that changes with each task that begins or ends, and when
    /// the thread wakes in a wait for the pool's shutdown. The thread itself is asked, or others of
    /// one that is blocked or has gone on.
    pub(crate) fn moment(&self) -> Moment {
        let Tallies { started, completed, panicked, .. } = &*self.tallies;
        let ended = completed.get() + panicked.get();
        Moment { started: started.get(), ended, parks: self.parks.load(Ordering::Relaxed) }
    }

    pub(super) fn count_park(&self) {
        self.parks.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the thread, which looks into the queues now, is to look first at what has waited for
    /// everybody.
    pub(super) fn take_overstay(&self) -> bool {
        let long = self.overstays.load(Ordering::Relaxed);
        if long {
            self.overstays.store(false, Ordering::Relaxed);
        }
        long
    }

    /// The thread is about to run a task of the lane whose account is at this address. Gives what
    /// to return to.
    pub(super) fn enter_lane(&self, account: *const ()) -> usize {
        let outer = self.lane.load(Ordering::Relaxed);
        self.lane.store(account.addr(), Ordering::Relaxed);
        outer
    }

    pub(super) fn return_to_lane(&self, outer: usize) {
        self.lane.store(outer, Ordering::Relaxed);
    }

    /// The slot of the calling thread.
    pub(crate) fn for_this_thread() -> Self {
        Slot {
            tallies: CachePadded::new(Tallies {
                submitted: Tally::new(),
                started: Tally::new(),
                completed: Tally::new(),
                panicked: Tally::new(),
                delivered: Tally::new(),
            }),
            blocking: AtomicBool::new(false),
            overstays: HintBool::new(false),
            lane: HintUsize::new(0),
            parks: AtomicU64::new(0),
            deque: OnceLock::new(),
            key: ThreadKey::current(),
            note: Mutex::new(Note::default()),
            current: Current::new(),
        }
    }
}
