//! The mailbox: a queue of what has become ready, in order, and how a push to it wakes the loop.
//!
//! # The protocol
//!
//! The entries of a loop (callbacks, futures, timers) lie in slots on the loop's thread and need
//! not be `Send`. Other threads see only the mailbox: one lock around a queue, of the keys of
//! entries and of the closures that a `Remote` has posted, and around a state, which says where the
//! loop's thread is.
//!
//! ```text
//!     AWAKE ----- park: the queue is empty -----> PARKED     a push makes it AWAKE and unparks
//!       |  <---- a push, or the deadline -----------'
//!       |
//!       '-- leave --> AWAY --- a push, or an earlier timer ---> NOTIFIED   the push calls `notify`
//!       ^               '------------- enter ----------------------'|
//!       '-----------------------------------------------------------'
//! ```
//!
//! **No event is left lying.** In each state, the loop's thread will look into the queue, or has no
//! reason to:
//!
//! - AWAKE: the loop's thread looks. It parks, or leaves, only in a critical section that looks at
//!   the queue.
//! - PARKED: the queue is empty. It was empty when the loop's thread set the state, under the lock;
//!   and the first push since then has changed the state in the critical section in which it filled
//!   the queue.
//! - AWAY: the queue and the round are empty, or else `leave` would have made the state NOTIFIED at
//!   once; and a push changes the state, as above. (The queue of a loop that is done may hold keys
//!   of entries that have ended; these need not be run.)
//! - NOTIFIED: the thread that set the state calls `notify`, after it has released the lock, and
//!   the host loop then owes the loop a turn.
//! - CLOSED: the mailbox takes no more events.
//!
//! A pusher that has changed PARKED into AWAKE has yet to unpark. That unpark cannot be lost: the
//! parker keeps the token. It can be late: if the deadline has ended the park meanwhile, the token
//! ends a later park. That park finds the state still PARKED and parks again. So the late token is
//! never taken for the token of a later pusher; and if both tokens come together, the state has
//! changed.
//!
//! **One wake-up per change.** A thread wakes only after it has changed PARKED to AWAKE or AWAY to
//! NOTIFIED under the lock; no thread does so again before the loop's thread has been in the lock
//! itself. A push to a loop that is AWAKE wakes no thread.
//!
//! **Once each.** A key is in the queue at most once between two polls: a wake sets the flag of the
//! entry's waker before it pushes the key, and the loop clears the flag before the poll. A wake
//! that finds the flag set comes before the clearing, so the poll sees what the wake was for: both
//! are changes of one atomic. A callback leaves its slot before it runs, and a key is never used
//! again, so a second event with its key finds no entry.
//!
//! **Order.** There is one queue, and each push is one critical section. A task that ends pushes
//! from its waker, on the thread that ended it. A task that had ended before it was registered is
//! pushed by its registration.
//!
//! **No user code under a lock or a borrow.** The loop moves entries out of their slots to run,
//! cancel or drop them; and what a push has to wake leaves the lock as a value ([`WakeTarget`]).
//!
//! **Fork.** In a forked child, another thread of the parent may have held the lock, and the state
//! may be half changed. So the lock yields no state there ([`ProcessMutex`]): wakers do nothing and
//! a `Remote` returns the closure. The loop makes another mailbox and schedules all entries except
//! timers: a task that is polled in the child ends with the error that there is no thread.

#[cfg(all(test, sidestep_loom))]
mod loom_models;

use std::collections::VecDeque;
use std::fmt;
use std::mem::{swap, take};
use std::sync::Arc;
use std::time::Instant;

use super::slots::Key;
use crate::panic::catch_panic;
use crate::sync::{MutexGuard, Parker, ProcessMutex, trampoline};
use crate::task::current::will_block;

/// Something that is ready to be run on the loop's thread. `P` is a posted closure.
pub(super) enum Event<P> {
    /// The entry in this slot. If the entry has ended meanwhile, there is nothing to run.
    Ready(Key),
    /// What a `Remote` has posted.
    Posted(P),
}

/// Makes the host loop, which drives this one, call for a turn.
pub(super) type NotifyFn = Arc<dyn Fn() + Send + Sync>;

/// Where the loop's thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LoopState {
    /// In a turn: the thread looks into the queue before it parks or leaves.
    Awake,
    /// In a turn and parked. The queue is empty.
    Parked,
    /// Outside of a turn. Nothing is ready.
    Away,
    /// Outside of a turn. The host loop has been notified that there is a reason for one.
    Notified,
    /// The loop has been dropped.
    Closed,
}

/// What a push has to wake, once it has released the lock.
#[must_use]
pub(super) enum WakeTarget {
    None,
    /// The loop's thread, which is parked.
    Parker,
    /// The host loop.
    Host(NotifyFn),
}

/// The loop at the end of a turn, apart from its mailbox.
#[derive(Clone, Copy, Debug)]
pub(super) struct TurnEnd {
    /// Callbacks, futures or timers are outstanding.
    pub(super) outstanding: bool,
    /// Some of what was taken out of the queue has not been run.
    pub(super) unfinished: bool,
    /// There is a timer that the host loop does not know of.
    pub(super) unreported_timer: bool,
}

/// What the host loop learns at the end of a turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct TurnStatus {
    pub(super) is_ready: bool,
    pub(super) is_done: bool,
}

struct Inbox<P> {
    queue: VecDeque<Event<P>>,
    /// How many events of the queue are `Posted`.
    posted: usize,
    state: LoopState,
    notify: Option<NotifyFn>,
}

impl<P> Inbox<P> {
    fn push(&mut self, event: Event<P>) -> WakeTarget {
        self.posted += usize::from(matches!(event, Event::Posted(_)));
        self.queue.push_back(event);
        self.wake()
    }

    /// The one caller that gets a target is the only one until the loop's thread has had the lock.
    fn wake(&mut self) -> WakeTarget {
        match self.state {
            LoopState::Parked => {
                self.state = LoopState::Awake;
                WakeTarget::Parker
            }
            LoopState::Away => {
                self.state = LoopState::Notified;
                self.notify.clone().map_or(WakeTarget::None, WakeTarget::Host)
            }
            LoopState::Awake | LoopState::Notified | LoopState::Closed => WakeTarget::None,
        }
    }

    /// From awake to parked, unless something is ready.
    fn begin_park(&mut self) -> bool {
        let is_empty = self.queue.is_empty();
        if is_empty {
            self.state = LoopState::Parked;
        }
        is_empty
    }

    /// From parked to awake, after a park that ended before the deadline or by it. False if there
    /// was no reason to end the park: its token came too late for an earlier one.
    fn end_park(&mut self, in_time: bool) -> bool {
        let woken = self.state == LoopState::Awake;
        if !in_time {
            self.state = LoopState::Awake;
        }
        woken || !in_time
    }

    fn set_notify(&mut self, notify: NotifyFn) -> (Option<NotifyFn>, WakeTarget) {
        let before = self.notify.replace(notify);
        // It was the host loop of `before` that was notified.
        let was_notified = self.state == LoopState::Notified;
        let target = if was_notified { self.go_away(true) } else { WakeTarget::None };
        (before, target)
    }

    fn withdraw(&mut self, key: Key) {
        let is_its = |event: &Event<P>| matches!(event, Event::Ready(pushed) if *pushed == key);
        if let Some(index) = self.queue.iter().rposition(is_its) {
            self.queue.remove(index);
        }
    }

    fn go_away(&mut self, has_reason: bool) -> WakeTarget {
        self.state = LoopState::Away;
        if has_reason { self.wake() } else { WakeTarget::None }
    }

    fn leave(&mut self, end: TurnEnd) -> (TurnStatus, WakeTarget) {
        let is_done = !end.outstanding && self.posted == 0;
        let is_ready = !is_done && (end.unfinished || !self.queue.is_empty());
        let target = self.go_away(is_ready || end.unreported_timer);
        (TurnStatus { is_ready, is_done }, target)
    }
}

/// What the loop's thread shares with all other threads.
pub(super) struct Mailbox<P> {
    inbox: ProcessMutex<Inbox<P>>,
    parker: Parker,
}

impl<P> Mailbox<P> {
    /// A mailbox for a loop that is in a turn, or not.
    pub(super) fn new(notify: Option<NotifyFn>, in_turn: bool) -> Arc<Self> {
        let state = if in_turn { LoopState::Awake } else { LoopState::Away };
        let inbox = Inbox { queue: VecDeque::new(), posted: 0, state, notify };
        Arc::new(Mailbox { inbox: ProcessMutex::new(inbox), parker: Parker::new() })
    }

    /// Whether this process is a forked child of the one that made the mailbox.
    pub(super) fn is_forked(&self) -> bool {
        self.inbox.is_forked()
    }

    /// The inbox, unless the loop has been dropped.
    fn open(&self) -> Option<MutexGuard<'_, Inbox<P>>> {
        self.inbox.lock().filter(|inbox| inbox.state != LoopState::Closed)
    }

    fn act(&self, target: WakeTarget) {
        match target {
            WakeTarget::None => {}
            WakeTarget::Parker => self.parker.unpark(),
            WakeTarget::Host(notify) => {
                // By value: this may be the last reference, if the loop has been dropped meanwhile.
                catch_panic("the notify function of an event loop", move || notify());
            }
        }
    }

    /// Appends a key to the queue.
    pub(super) fn push(&self, key: Key) {
        let target = self.open().map_or(WakeTarget::None, |mut inbox| inbox.push(Event::Ready(key)));
        self.act(target);
    }

    /// Removes the last event with this key from the queue.
    pub(super) fn withdraw(&self, key: Key) {
        if let Some(mut inbox) = self.open() {
            inbox.withdraw(key);
        }
    }

    /// Appends what `erase` makes of `closure` to the queue. Returns the closure if the loop has
    /// been dropped, or if this process is a forked child.
    pub(super) fn post<F>(&self, closure: F, erase: impl FnOnce(F) -> P) -> Result<(), F> {
        let Some(mut inbox) = self.open() else { return Err(closure) };
        let target = inbox.push(Event::Posted(erase(closure)));
        drop(inbox);
        self.act(target);
        Ok(())
    }

    /// Notifies a host loop of a reason for a turn which is not in the queue.
    pub(super) fn request_turn(&self) {
        let target = self.open().map_or(WakeTarget::None, |mut inbox| inbox.wake());
        self.act(target);
    }

    /// Calls `notify` from now on, and at once if there is a reason already.
    pub(super) fn set_notify(&self, notify: NotifyFn) {
        let Some(mut inbox) = self.inbox.lock() else { return };
        let (before, target) = inbox.set_notify(notify);
        drop(inbox);
        drop(before);
        self.act(target);
    }

    /// The loop's thread begins a turn.
    pub(super) fn enter(&self) {
        if let Some(mut inbox) = self.inbox.lock() {
            inbox.state = LoopState::Awake;
        }
    }

    /// Moves the queue to the end of `round`.
    pub(super) fn take(&self, round: &mut VecDeque<Event<P>>) {
        let Some(mut inbox) = self.inbox.lock() else { return };
        inbox.posted = 0;
        if round.is_empty() {
            swap(&mut inbox.queue, round);
        } else {
            round.append(&mut inbox.queue);
        }
    }

    /// How many posted closures are in the queue.
    pub(super) fn posted(&self) -> usize {
        self.inbox.lock().map_or(0, |inbox| inbox.posted)
    }

    /// Parks the loop's thread until something is ready or the deadline has come. Returns at once
    /// if something is ready.
    pub(super) fn park(&self, deadline: Option<Instant>) {
        trampoline::settle(deadline);
        if self.inbox.lock().is_some_and(|mut inbox| inbox.begin_park()) {
            will_block(|| while !self.park_once(deadline) {});
        }
    }

    fn park_once(&self, deadline: Option<Instant>) -> bool {
        let in_time = self.parker.park(deadline);
        self.inbox.lock().is_none_or(|mut inbox| inbox.end_park(in_time))
    }

    /// The loop's thread ends a turn.
    pub(super) fn leave(&self, end: TurnEnd) -> TurnStatus {
        let Some(mut inbox) = self.inbox.lock() else {
            return TurnStatus { is_ready: end.unfinished, is_done: !end.outstanding };
        };
        let (status, target) = inbox.leave(end);
        drop(inbox);
        self.act(target);
        status
    }

    /// Takes no more events. Returns what is left, for the caller to drop.
    #[must_use]
    pub(super) fn close(&self) -> (VecDeque<Event<P>>, Option<NotifyFn>) {
        let Some(mut inbox) = self.inbox.lock() else { return (VecDeque::new(), None) };
        inbox.state = LoopState::Closed;
        inbox.posted = 0;
        (take(&mut inbox.queue), inbox.notify.take())
    }
}

impl<P> fmt::Debug for Mailbox<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("inbox", &self.inbox).finish_non_exhaustive()
    }
}
