//! One turn: waiting for what is ready, running it, and what the driver of the loop is told
//! afterwards.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::action::Action;
use super::handle::Handle;
use super::mailbox::{Event, Standing};
use super::signal::Signal;
use super::slots::{Entry, Key, LocalFuture};
use crate::panic::catch_panic;
use crate::sync::now;

/// What a [`turn`](crate::EventLoop::turn) did, and when the next is due.
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
    standing: Standing,
}

impl Turn {
    /// How many callbacks ran and local futures were polled. A turn can end early with 0: when a
    /// future was woken that has ended.
    #[must_use]
    pub fn ran(&self) -> usize {
        self.ran
    }

    /// When the next timer is due, if there is one that ever is.
    #[must_use]
    pub fn next_timer(&self) -> Option<Instant> {
        self.next_timer
    }

    /// True if more was ready already when the turn ended: the next one will not sleep. Timers do
    /// not count.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.standing.is_ready
    }

    /// True if nothing is outstanding: no callback, no local future, no timer, and nothing that a
    /// [`Remote`](super::Remote) has posted.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.standing.is_done
    }
}

/// The loop's thread inside of a turn, or of several. Its drop ends that, also where a panic comes
/// through.
pub(super) struct Visit<'a>(Option<&'a Handle>);

impl<'a> Visit<'a> {
    pub(super) fn new(handle: &'a Handle) -> Self {
        handle.enter();
        Visit(Some(handle))
    }

    /// Ends it with a report to the driver.
    pub(super) fn report(mut self, ran: usize) -> Turn {
        match self.0.take() {
            Some(handle) => Turn { ran, standing: leave(handle, true), next_timer: handle.next_timer() },
            None => unreachable!("only this takes it out"),
        }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        if let Some(handle) = self.0.take() {
            let _ = leave(handle, false);
        }
    }
}

fn leave(handle: &Handle, reports: bool) -> Standing {
    let mailbox = handle.mailbox();
    handle.left();
    mailbox.leave(handle.baggage(reports))
}

/// What came of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ran {
    Nothing,
    Something,
    /// The future of `run_until` is to be polled.
    Root,
}

impl Handle {
    /// Makes a round of what is ready; where nothing is, after a sleep.
    pub(super) fn gather(&self, timeout: Duration) {
        let mailbox = self.mailbox();
        self.collect(&mailbox);
        if timeout.is_zero() || !self.inner.round.borrow().is_empty() {
            return;
        }
        let limit = now().checked_add(timeout);
        let deadline = [limit, self.next_timer()].into_iter().flatten().min();
        mailbox.sleep(deadline);
        self.collect(&mailbox);
    }

    /// Runs what is in the round, and counts it.
    pub(super) fn run_round(&self) -> usize {
        let mut ran = 0;
        while let Some(done) = self.step() {
            ran += usize::from(done != Ran::Nothing);
        }
        ran
    }

    /// Turns until the future of `run_until` has been woken.
    pub(super) fn run_to_root(&self) {
        loop {
            match self.step() {
                Some(Ran::Root) => return,
                Some(_) => {}
                None => self.gather(Duration::MAX),
            }
        }
    }

    /// Runs the next of the round, if there is one.
    fn step(&self) -> Option<Ran> {
        let event = self.inner.round.borrow_mut().pop_front()?;
        Some(match event {
            Event::Posted(callback) => {
                callback(self);
                Ran::Something
            }
            Event::Ready(key) => self.run_entry(key),
        })
    }

    fn run_entry(&self, key: Key) -> Ran {
        let entry = self.inner.slots.borrow_mut().take(key);
        match entry {
            None => return Ran::Nothing,
            Some(Entry::Post(callback) | Entry::Timer(callback)) => {
                self.free(key);
                callback(self);
            }
            Some(Entry::Action(action, signal)) => return self.run_action(key, action, signal),
            Some(Entry::Future(future, signal)) => self.run_future(key, future, signal),
            Some(Entry::Root(signal)) => {
                self.put(key, Entry::Root(signal));
                return Ran::Root;
            }
        }
        Ran::Something
    }

    fn run_action(&self, key: Key, mut action: Box<dyn Action>, signal: Arc<Signal>) -> Ran {
        signal.begin();
        if action.poll(&mut Context::from_waker(&signal.waker())).is_pending() {
            self.put(key, Entry::Action(action, signal));
            return Ran::Nothing;
        }
        signal.retire();
        self.free(key);
        action.finish(self);
        Ran::Something
    }

    fn run_future(&self, key: Key, mut future: LocalFuture, signal: Arc<Signal>) {
        signal.begin();
        let waker = signal.waker();
        let poll = || future.as_mut().poll(&mut Context::from_waker(&waker));
        let polled = catch_unwind(AssertUnwindSafe(poll));
        if let Ok(Poll::Pending) = polled {
            return self.put(key, Entry::Future(future, signal));
        }
        signal.retire();
        self.free(key);
        if let Err(payload) = polled {
            catch_panic("the destructor of a local future that panicked", || drop(future));
            resume_unwind(payload);
        }
    }

    /// Gives up the place of an entry that has been taken out.
    fn free(&self, key: Key) {
        let entry = self.inner.slots.borrow_mut().remove(key);
        debug_assert!(entry.is_none(), "the entry has been taken out");
    }
}

/// The place of the future of a `run_until`, for as long as that lasts.
pub(super) struct Root<'a> {
    handle: &'a Handle,
    key: Key,
}

impl<'a> Root<'a> {
    pub(super) fn new(handle: &'a Handle) -> Self {
        let (key, signal) = handle.reserve();
        handle.put(key, Entry::Root(signal));
        Root { handle, key }
    }

    pub(super) fn poll<F: Future>(&self, future: Pin<&mut F>) -> Poll<F::Output> {
        // After a fork it has another one.
        let signal =
            self.handle.inner.slots.borrow_mut().get(self.key).and_then(|entry| entry.signal().cloned());
        match signal {
            Some(signal) => {
                signal.begin();
                future.poll(&mut Context::from_waker(&signal.waker()))
            }
            None => unreachable!("the place is this one's until its drop"),
        }
    }
}

impl Drop for Root<'_> {
    fn drop(&mut self) {
        let entry = self.handle.inner.slots.borrow_mut().remove(self.key);
        let Some(Entry::Root(signal)) = entry else { return };
        if signal.retire() {
            // It has woken itself and ended: no reason for a turn, and nothing to pile up where no
            // turn comes.
            self.handle.mailbox().withdraw(self.key);
        }
    }
}
