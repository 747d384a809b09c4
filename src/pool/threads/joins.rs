//! The threads of a pool that can be joined: the pool keeps their handles until they have ended.
//!
//! # Which threads are joined
//!
//! A thread that runs tasks is joined once it has *left*: it marks itself before it counts itself
//! out, so that a thread which finds it counted out finds the mark too. A thread that has not left
//! is not joined: it may be in a task that waits for the pool's end itself. A helper leaves at its
//! end, and is joined before that only where the pool has no other thread left; by then it has been
//! told to end.
//!
//! A handle comes into the list after its thread has begun, and perhaps after it has ended. So the
//! maker counts itself in `making` before, and puts the handle there as it counts itself out, under
//! one lock: a waiter that finds nothing to join and no maker has missed none. The handles that one
//! waiter takes to join them without the lock are counted in `joining`, for which every other
//! waiter waits; so each waiter returns after the last join, whichever of them makes it.
//!
//! # Why no wait is for itself
//!
//! A thread that others may be joining, a helper or one that has left, joins none: what runs there
//! (a subscriber, a recorder, a destructor of a thread-local variable) may wait for the end of the
//! pool, and returns when the tasks have ended. So joins form no circle: a thread that joins is not
//! joined before its wait has ended. No lock is held during a join.
//!
//! # Threads that leave early
//!
//! The system keeps a thread that has ended and is not joined, and what that one held of the heap
//! stays with it (A5 of `threads`). Each thread that leaves, and each that makes another, joins
//! those that are gone, which takes no time. Each that leaves also wakes the monitor, if there is
//! one, which joins those that leave last. The monitor is a helper, and so joins only what is
//! certainly gone: such a join is no wait.

use std::io;
use std::time::Instant;

use crate::sync::own_thread::{self, OwnThread, ThreadMain, ThreadRole};
use crate::sync::{Condvar, ProcessMutex, thread};
use crate::sys::attributes::Inherit;

/// The threads of one pool that can be joined.
#[derive(Debug)]
pub(in crate::pool) struct Joins {
    list: ProcessMutex<JoinList>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct JoinList {
    threads: Vec<OwnThread>,
    /// Threads that are being made.
    making: usize,
    /// Threads that are being joined.
    joining: usize,
    /// The pool has ended, and needs no helper any more.
    closed: bool,
}

impl JoinList {
    fn take(&mut self, which: &dyn Fn(&OwnThread) -> bool) -> Vec<OwnThread> {
        let mut kept = 0;
        for index in 0..self.threads.len() {
            if !which(&self.threads[index]) {
                self.threads.swap(kept, index);
                kept += 1;
            }
        }
        let taken: Vec<_> = self.threads.drain(kept..).collect();
        self.joining += taken.len();
        taken
    }
}

impl Joins {
    pub(in crate::pool) fn new() -> Self {
        Joins { list: ProcessMutex::default(), changed: Condvar::new() }
    }

    /// Makes room for `threads` threads, so that none of them has to (A2 of `pool::threads`).
    pub(in crate::pool) fn reserve(&self, threads: usize) {
        if let Some(mut list) = self.list.lock() {
            let more = threads.saturating_sub(list.threads.len());
            list.threads.reserve(more);
        }
    }

    /// Makes a thread of the pool that runs `f`. A helper is not made once the pool has ended:
    /// there is nothing left for it to do.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub(in crate::pool) fn start(
        &self,
        builder: thread::Builder,
        (role, inherit): (ThreadRole, Inherit),
        f: ThreadMain,
    ) -> io::Result<()> {
        let Some(mut list) = self.list.lock() else { return Ok(()) };
        if list.closed && role == ThreadRole::Helper {
            return Ok(());
        }
        list.making += 1;
        drop(list);
        let result = own_thread::start(builder, (role, inherit), f);
        let Some(mut list) = self.list.lock() else { return Ok(()) };
        list.making -= 1;
        let result = result.map(|thread| list.threads.push(thread));
        drop(list);
        self.changed.notify_all();
        self.reap();
        result
    }

    /// [`start`](Joins::start) of a helper called `name`.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub(in crate::pool) fn start_helper(
        &self,
        name: String,
        f: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        self.start(thread::Builder::new().name(name), (ThreadRole::Helper, Inherit::default()), Box::new(f))
    }

    /// The pool has ended, and its helpers have been told to end.
    pub(in crate::pool) fn close(&self) {
        if let Some(mut list) = self.list.lock() {
            list.closed = true;
        }
    }

    /// The calling thread, which runs tasks, is about to leave the pool.
    pub(in crate::pool) fn leave(&self) {
        self.reap();
        own_thread::leave();
    }

    /// For a helper: joins the threads that are certainly gone. True if others have left, and are
    /// about to be gone.
    pub(in crate::pool) fn look_after_leavers(&self) -> bool {
        let state = |thread: &OwnThread| thread.is_known_gone().filter(|_| thread.has_left());
        let Some(mut list) = self.list.lock() else { return false };
        let gone = list.take(&|thread| state(thread) == Some(true));
        let others = list.threads.iter().any(|thread| state(thread) == Some(false));
        drop(list);
        self.join(gone, None);
        others
    }

    /// Joins the threads that are gone, unless this thread may be one of those that are joined.
    fn reap(&self) {
        if !own_thread::may_join() {
            return;
        }
        let Some(mut list) = self.list.lock() else { return };
        let gone = list.take(&|thread| thread.has_left() && thread.is_gone());
        drop(list);
        self.join(gone, None);
    }

    /// Waits until the threads that have left have ended, and the helpers too if that is wanted, or
    /// until `deadline`.
    pub(in crate::pool) fn join_all(&self, with_helpers: bool, deadline: Option<Instant>) {
        if !own_thread::may_join() {
            return;
        }
        while let Some(mut list) = self.list.lock() {
            let ready =
                list.take(&|thread| thread.has_left() || with_helpers && thread.role() == ThreadRole::Helper);
            if !ready.is_empty() {
                drop(list);
                if !self.join(ready, deadline) {
                    return;
                }
            } else if list.making + list.joining == 0 {
                return;
            } else {
                drop(self.changed.wait_until(list, deadline));
                if deadline.is_some_and(|deadline| crate::sync::now() >= deadline) {
                    return;
                }
            }
        }
    }

    /// Joins `threads`, which have been taken from the list. False if the deadline came first: then
    /// the others are in the list again.
    fn join(&self, threads: Vec<OwnThread>, deadline: Option<Instant>) -> bool {
        if threads.is_empty() {
            return true;
        }
        let count = threads.len();
        let mut left = Vec::new();
        for thread in threads {
            left.extend(thread.join(deadline));
        }
        let is_done = left.is_empty();
        if let Some(mut list) = self.list.lock() {
            list.joining -= count;
            list.threads.extend(left);
            drop(list);
            self.changed.notify_all();
        }
        is_done
    }
}

#[cfg(all(test, sidestep_loom))]
mod loom_models;
#[cfg(all(test, not(any(sidestep_loom, sidestep_shuttle))))]
mod tests;
