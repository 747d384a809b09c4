//! The queues of this process behind their lock, and the timer thread that makes calls try again.
//!
//! The timer is one thread for all files, and only while calls wait, and [`IDLE`] longer. If the
//! system refuses it, the first call of each file pauses on a thread of the pool between its
//! attempts; all others wait without one.
//!
//! In a forked child the queues are the parent's, and the lock may be held for ever. The child has
//! queues of its own, for the files that it opens.

use std::io;
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::queues::{LockDuty, LockKind, LockOutcome, LockQueues, LockTurn, OpenKey};
use crate::sync::{Condvar, ProcessMutex, now, own_thread};
use crate::sys::file_id::FileId;
use crate::sys::first_use::get_or_make;
use crate::sys::fork;
use crate::task::{discard, wake};
use crate::trace::event;

/// For how long the timer stays when no call waits any more.
const IDLE: Duration = Duration::from_millis(100);

pub(super) struct LockTable {
    queues: ProcessMutex<LockQueues>,
    /// The timer sleeps on it.
    sooner: Condvar,
    /// That of a forked child.
    next: OnceLock<Arc<LockTable>>,
}

/// An open file, which is closed when this is dropped.
pub(super) struct OpenRecord {
    table: Arc<LockTable>,
    key: OpenKey,
}

fn is_forked() -> io::Error {
    io::Error::other("this is the child of a fork: open the file again to lock it")
}

impl LockTable {
    pub(super) fn new() -> Arc<Self> {
        fork::watch();
        Arc::new(LockTable {
            queues: ProcessMutex::new(LockQueues::new()),
            sooner: Condvar::new(),
            next: OnceLock::new(),
        })
    }

    /// That of this process.
    pub(super) fn of_process() -> &'static Arc<Self> {
        static FIRST: OnceLock<Arc<LockTable>> = OnceLock::new();
        let mut table = get_or_make(&FIRST, LockTable::new);
        while table.queues.is_forked() {
            table = get_or_make(&table.next, LockTable::new);
        }
        table
    }

    /// Adds an open file of the file `id`. It may have been locked elsewhere if
    /// `came_from_outside`.
    pub(super) fn open(
        self: &Arc<Self>,
        id: Option<FileId>,
        came_from_outside: bool,
    ) -> io::Result<Arc<OpenRecord>> {
        let mut queues = self.queues.lock().ok_or_else(is_forked)?;
        let key = queues.open(id, came_from_outside, now());
        drop(queues);
        Ok(Arc::new(OpenRecord { table: Arc::clone(self), key }))
    }

    /// Changes the queues and does what follows. Returns whether a lock is to be released. In a
    /// forked child nothing happens.
    fn change(self: &Arc<Self>, change: impl FnOnce(&mut LockQueues) -> LockDuty) -> bool {
        let Some(mut queues) = self.queues.lock() else { return false };
        let duty = change(&mut queues);
        let (starts_timer, is_timer_late) = (queues.starts_timer(now()), queues.is_timer_late());
        drop(queues);
        if is_timer_late {
            self.sooner.notify_one();
        }
        if starts_timer {
            self.start_timer();
        }
        duty.wakes.into_iter().for_each(wake);
        duty.unused.into_iter().for_each(discard);
        duty.releases
    }

    fn start_timer(self: &Arc<Self>) {
        // Under loom time does not pass: a model has a thread that calls `retry`.
        if cfg!(sidestep_loom) {
            return;
        }
        let table = Arc::clone(self);
        if let Err(error) = own_thread::start_alone("sidestep-locks".to_owned(), move || table.run_timer()) {
            event!(WARN, %error, "no timer thread: the first call that waits for a file's lock uses a thread of the pool");
            let _ = error;
            self.change(|queues| queues.timer_refused(now()));
        }
    }

    fn run_timer(self: &Arc<Self>) {
        let mut idle_until = now() + IDLE;
        loop {
            self.change(|queues| queues.retry(now()));
            let Some(mut queues) = self.queues.lock() else { return };
            let Some(until) = queues.timer_sleeps(idle_until, now()) else { return };
            if until != idle_until {
                idle_until = now() + IDLE;
            }
            drop(self.sooner.wait_until(queues, Some(until)));
        }
    }

    /// Whether no file is known.
    #[cfg(all(test, not(sidestep_loom)))]
    pub(super) fn is_empty(&self) -> bool {
        self.queues.lock().is_some_and(|queues| queues.is_empty())
    }

    /// Makes the first call of each file try again whose time has come.
    #[cfg(all(test, sidestep_loom))]
    pub(super) fn retry(self: &Arc<Self>) {
        self.change(|queues| queues.retry(now() + IDLE));
    }
}

impl OpenRecord {
    /// A call joins the queue and has a number then. `None`: it is one that does not wait, and
    /// calls are before it.
    pub(super) fn join(&self, kind: LockKind, tries: bool) -> io::Result<Option<u64>> {
        let mut queues = self.table.queues.lock().ok_or_else(is_forked)?;
        Ok(queues.join(self.key, kind, tries))
    }

    pub(super) fn poll_turn(&self, number: u64, waker: &Waker) -> Poll<io::Result<LockTurn>> {
        if self.table.queues.is_forked() {
            return Poll::Ready(Err(is_forked()));
        }
        // A waker is user code.
        let (waker, mut turn) = (waker.clone(), Poll::Pending);
        self.table.change(|queues| {
            let (polled, duty) = queues.poll_turn(self.key, number, waker, now());
            turn = polled;
            duty
        });
        turn.map(Ok)
    }

    pub(super) fn is_wanted(&self, number: u64) -> bool {
        self.table.queues.lock().is_some_and(|queues| queues.is_wanted(self.key, number))
    }

    /// Ends an attempt. Returns whether a lock is to be released, after which comes
    /// [`released`](OpenRecord::released).
    #[must_use]
    pub(super) fn end(&self, number: u64, outcome: LockOutcome) -> bool {
        self.table.change(|queues| queues.end(self.key, number, outcome, now()))
    }

    pub(super) fn confirm(&self) {
        if let Some(mut queues) = self.table.queues.lock() {
            queues.confirm(self.key);
        }
    }

    /// As [`end`](OpenRecord::end), for a call that goes.
    #[must_use]
    pub(super) fn leave(&self, number: u64) -> bool {
        self.table.change(|queues| queues.leave(self.key, number))
    }

    pub(super) fn released(&self) {
        self.table.change(|queues| queues.released(self.key, now()));
    }

    /// Has `unlock` ask the system to unlock the open file.
    pub(super) fn unlock(&self, unlock: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        if let Some(mut queues) = self.table.queues.lock() {
            queues.unlocking(self.key);
        }
        let result = unlock();
        self.table.change(|queues| queues.unlocked(self.key, result.is_ok(), now()));
        result
    }
}

impl Drop for OpenRecord {
    fn drop(&mut self) {
        self.table.change(|queues| queues.close(self.key, now()));
    }
}
