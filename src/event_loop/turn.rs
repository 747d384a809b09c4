//! A turn of the loop: it waits for what is ready, runs it, and reports to the host loop.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::entry::{Action, LocalFuture, LoopEntry, LoopWaker};
use super::handle::Handle;
use super::mailbox::{Event, TurnStatus};
use super::slots::Key;
use crate::panic::catch_panic;
use crate::sync::now;

/// What a [`turn`](crate::EventLoop::turn) has run, and when the next turn is due.
///
/// ```
/// use std::time::Duration;
/// use sidestep::EventLoop;
///
/// let mut ev = EventLoop::new();
/// ev.post(|ev| {
///     ev.after(Duration::from_secs(60), |_| println!("a minute"));
/// });
/// let turn = ev.turn(Duration::ZERO);
/// assert_eq!(turn.ran(), 1);
/// assert!(turn.next_timer().is_some() && !turn.is_ready() && !turn.is_done());
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "it says when the next turn is due"]
pub struct Turn {
    ran: usize,
    next_timer: Option<Instant>,
    status: TurnStatus,
}

impl Turn {
    /// How many callbacks have run and local futures have been polled. It may be 0 although the
    /// turn has not waited for its whole timeout, for example after a wake-up of a future that has
    /// ended.
    #[must_use]
    pub fn ran(&self) -> usize {
        self.ran
    }

    /// When the next timer is due, if there is one that ever is.
    #[must_use]
    pub fn next_timer(&self) -> Option<Instant> {
        self.next_timer
    }

    /// Whether something was ready when the turn ended, so that the next turn will not wait. Timers
    /// do not count.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.status.is_ready
    }

    /// Whether nothing is outstanding: no callback, no local future, no timer, and no closure that
    /// a [`Remote`](super::Remote) has posted.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.status.is_done
    }
}

/// A guard: the loop's thread is in a turn, or in several, until this is dropped.
pub(super) struct TurnGuard<'a>(Option<&'a Handle>);

impl<'a> TurnGuard<'a> {
    pub(super) fn new(handle: &'a Handle) -> Self {
        handle.enter();
        TurnGuard(Some(handle))
    }

    /// Ends the turn with a report to the host loop.
    pub(super) fn report(mut self, ran: usize) -> Turn {
        match self.0.take() {
            Some(handle) => Turn { ran, status: leave(handle, true), next_timer: handle.next_timer() },
            None => unreachable!("only this and the drop take the handle out"),
        }
    }
}

impl Drop for TurnGuard<'_> {
    fn drop(&mut self) {
        if let Some(handle) = self.0.take() {
            let _ = leave(handle, false);
        }
    }
}

fn leave(handle: &Handle, reports: bool) -> TurnStatus {
    let mailbox = handle.mailbox();
    mailbox.leave(handle.leave(reports))
}

/// What an event made the loop do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ran {
    Nothing,
    Something,
    /// The future of `run_until` is to be polled.
    Root,
}

impl Handle {
    /// Makes a round of what is ready. If nothing is ready, it first waits, for `timeout` at most.
    pub(super) fn gather(&self, timeout: Duration) {
        let mailbox = self.mailbox();
        self.collect(&mailbox);
        if timeout.is_zero() || self.has_round() {
            return;
        }
        let limit = now().checked_add(timeout);
        let deadline = [limit, self.next_timer()].into_iter().flatten().min();
        mailbox.park(deadline);
        self.collect(&mailbox);
    }

    /// Runs the round. Returns how many callbacks have run and futures have been polled.
    pub(super) fn run_round(&self) -> usize {
        let mut ran = 0;
        while let Some(done) = self.step() {
            ran += usize::from(done != Ran::Nothing);
        }
        ran
    }

    /// Makes turns until the future of `run_until` has been woken.
    pub(super) fn run_to_root(&self) {
        loop {
            match self.step() {
                Some(Ran::Root) => return,
                Some(_) => {}
                None => self.gather(Duration::MAX),
            }
        }
    }

    /// Runs the next event of the round, if there is one.
    fn step(&self) -> Option<Ran> {
        Some(match self.next_event()? {
            Event::Posted(callback) => {
                callback(self);
                Ran::Something
            }
            Event::Ready(key) => self.run_entry(key),
        })
    }

    fn run_entry(&self, key: Key) -> Ran {
        match self.take(key) {
            None => return Ran::Nothing,
            Some(LoopEntry::Post(callback) | LoopEntry::Timer(callback)) => {
                self.free(key);
                callback(self);
            }
            Some(LoopEntry::Action(action, waker)) => return self.run_action(key, action, waker),
            Some(LoopEntry::Future(future, waker)) => self.run_future(key, future, waker),
            Some(LoopEntry::Root(waker)) => {
                self.put(key, LoopEntry::Root(waker));
                return Ran::Root;
            }
        }
        Ran::Something
    }

    fn run_action(&self, key: Key, mut action: Box<dyn Action>, waker: Arc<LoopWaker>) -> Ran {
        waker.begin();
        if action.poll(&mut Context::from_waker(&waker.waker())).is_pending() {
            self.put(key, LoopEntry::Action(action, waker));
            return Ran::Nothing;
        }
        waker.retire();
        self.free(key);
        action.finish(self);
        Ran::Something
    }

    fn run_future(&self, key: Key, mut future: LocalFuture, waker: Arc<LoopWaker>) {
        waker.begin();
        let std_waker = waker.waker();
        let poll = || future.as_mut().poll(&mut Context::from_waker(&std_waker));
        let polled = catch_unwind(AssertUnwindSafe(poll));
        if let Ok(Poll::Pending) = polled {
            return self.put(key, LoopEntry::Future(future, waker));
        }
        waker.retire();
        self.free(key);
        if let Err(payload) = polled {
            catch_panic("the destructor of a local future that panicked", || drop(future));
            resume_unwind(payload);
        }
    }

    /// Frees the slot of an entry that has been taken out.
    fn free(&self, key: Key) {
        let entry = self.remove(key);
        debug_assert!(entry.is_none(), "the entry has been taken out");
    }
}

/// The slot of the future of a `run_until`, until that call returns.
pub(super) struct Root<'a> {
    handle: &'a Handle,
    key: Key,
}

impl<'a> Root<'a> {
    pub(super) fn new(handle: &'a Handle) -> Self {
        let (key, waker) = handle.reserve();
        handle.put(key, LoopEntry::Root(waker));
        Root { handle, key }
    }

    pub(super) fn poll<F: Future>(&self, future: Pin<&mut F>) -> Poll<F::Output> {
        // The waker is that of the entry, since a fork renews it.
        match self.handle.with_entry(self.key, |entry| entry.waker().cloned()).flatten() {
            Some(waker) => {
                waker.begin();
                future.poll(&mut Context::from_waker(&waker.waker()))
            }
            None => unreachable!("the slot is reserved for this key until the drop"),
        }
    }
}

impl Drop for Root<'_> {
    fn drop(&mut self) {
        let Some(LoopEntry::Root(waker)) = self.handle.remove(self.key) else { return };
        if waker.retire() {
            // The future has woken itself and then ended. Its key is no reason for a turn, and such
            // keys would pile up in a loop that makes no turn.
            self.handle.mailbox().withdraw(self.key);
        }
    }
}
