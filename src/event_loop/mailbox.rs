//! The mailbox: what has become ready, in order, and whether the loop has to be told. The module's
//! page proves it right.

#[cfg(all(test, sidestep_loom))]
mod loom_models;

use std::collections::VecDeque;
use std::fmt;
use std::mem::{swap, take};
use std::sync::Arc;
use std::time::Instant;

use super::handle::Handle;
use super::slots::Key;
use crate::panic::catch_panic;
use crate::sync::{Mutex, MutexGuard, Parker, trampoline};
use crate::sys::fork::Generation;
use crate::task::current::will_block;

/// Something that is ready to be run on the loop's thread.
pub(super) enum Event {
    /// The entry of this slot. Where it has gone meanwhile, nothing.
    Ready(Key),
    /// What a `Remote` has posted.
    Posted(Box<dyn FnOnce(&Handle) + Send>),
}

/// What brings the program that drives the loop to its next turn.
pub(super) type Notify = Arc<dyn Fn() + Send + Sync>;

/// Where the loop's thread is, as whoever pushes has to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Posture {
    /// Inside of a turn: it looks into the queue before it sleeps or leaves.
    Awake,
    /// Inside of a turn and parked, with the queue empty.
    Asleep,
    /// Outside, and nothing that is ready has been left behind.
    Away,
    /// Outside, and told that there is a reason for a turn.
    Told,
    /// Gone for good.
    Closed,
}

/// Whom a push has to wake, once the lock has been released.
#[must_use]
pub(super) enum Wake {
    Nobody,
    Sleeper,
    Embedder(Notify),
}

/// What the loop has besides its mailbox when it ends a turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Baggage {
    /// Callbacks, futures or timers are outstanding.
    pub(super) outstanding: bool,
    /// Some of what was taken out has not been run.
    pub(super) unfinished: bool,
    /// There is a timer that nobody will be told of otherwise.
    pub(super) untold_timer: bool,
}

/// How things stand at the end of a turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) is_ready: bool,
    pub(super) is_done: bool,
}

struct State {
    queue: VecDeque<Event>,
    /// How many of the queue are `Posted`.
    posted: usize,
    posture: Posture,
    notify: Option<Notify>,
}

impl State {
    fn push(&mut self, event: Event) -> Wake {
        self.posted += usize::from(matches!(event, Event::Posted(_)));
        self.queue.push_back(event);
        self.rouse()
    }

    /// Whoever gets something else than `Nobody` here is the only one until the loop has been up
    /// again.
    fn rouse(&mut self) -> Wake {
        match self.posture {
            Posture::Asleep => {
                self.posture = Posture::Awake;
                Wake::Sleeper
            }
            Posture::Away => {
                self.posture = Posture::Told;
                self.notify.clone().map_or(Wake::Nobody, Wake::Embedder)
            }
            Posture::Awake | Posture::Told | Posture::Closed => Wake::Nobody,
        }
    }

    /// Awake to asleep, unless there is something to be done.
    fn lie_down(&mut self) -> bool {
        let sleeps = self.queue.is_empty();
        if sleeps {
            self.posture = Posture::Asleep;
        }
        sleeps
    }

    /// Asleep to awake, after a park that ended in time or did not. False if there was no reason to
    /// end it: the token was one that came too late for an earlier sleep.
    fn get_up(&mut self, in_time: bool) -> bool {
        let roused = self.posture == Posture::Awake;
        if !in_time {
            self.posture = Posture::Awake;
        }
        roused || !in_time
    }

    fn set_notify(&mut self, notify: Notify) -> (Option<Notify>, Wake) {
        let before = self.notify.replace(notify);
        // Whoever was told is not the one who drives the loop from here on.
        let wake = if self.posture == Posture::Told { self.depart(true) } else { Wake::Nobody };
        (before, wake)
    }

    fn withdraw(&mut self, key: Key) {
        let is_its = |event: &Event| matches!(event, Event::Ready(pushed) if *pushed == key);
        if let Some(place) = self.queue.iter().rposition(is_its) {
            self.queue.remove(place);
        }
    }

    fn depart(&mut self, has_reason: bool) -> Wake {
        self.posture = Posture::Away;
        if has_reason { self.rouse() } else { Wake::Nobody }
    }

    fn leave(&mut self, baggage: Baggage) -> (Standing, Wake) {
        let is_done = !baggage.outstanding && self.posted == 0;
        let is_ready = !is_done && (baggage.unfinished || !self.queue.is_empty());
        let wake = self.depart(is_ready || baggage.untold_timer);
        (Standing { is_ready, is_done }, wake)
    }
}

/// What the loop's thread shares with all others.
pub(super) struct Mailbox {
    /// The fork generation it was made in. In another one the lock may be held for ever.
    generation: Generation,
    state: Mutex<State>,
    parker: Parker,
}

impl Mailbox {
    /// A mailbox of a loop that is inside of a turn already, or is not.
    pub(super) fn new(notify: Option<Notify>, inside: bool) -> Arc<Self> {
        let posture = if inside { Posture::Awake } else { Posture::Away };
        let state = State { queue: VecDeque::new(), posted: 0, posture, notify };
        let (generation, parker) = (Generation::current(), Parker::new());
        Arc::new(Mailbox { generation, state: Mutex::new(state), parker })
    }

    /// Whether this process is a forked child of the one that made it.
    pub(super) fn is_forked(&self) -> bool {
        self.generation.is_past()
    }

    /// The state, while there is a loop behind it.
    fn open(&self) -> Option<MutexGuard<'_, State>> {
        if self.is_forked() {
            return None;
        }
        let state = self.state.lock();
        (state.posture != Posture::Closed).then_some(state)
    }

    fn act(&self, wake: Wake) {
        match wake {
            Wake::Nobody => {}
            Wake::Sleeper => self.parker.unpark(),
            Wake::Embedder(notify) => {
                // By value: where the loop has gone meanwhile this is the last of it.
                catch_panic("the notify function of an event loop", move || notify());
            }
        }
    }

    /// Puts what is in a slot into the line.
    pub(super) fn push(&self, key: Key) {
        let wake = self.open().map_or(Wake::Nobody, |mut state| state.push(Event::Ready(key)));
        self.act(wake);
    }

    /// Takes the last thing out of the line again that was put there for this slot.
    pub(super) fn withdraw(&self, key: Key) {
        if let Some(mut state) = self.open() {
            state.withdraw(key);
        }
    }

    /// Puts a closure into the line, or hands it back where nobody would run it.
    pub(super) fn post<F: FnOnce(&Handle) + Send + 'static>(&self, f: F) -> Result<(), F> {
        let Some(mut state) = self.open() else { return Err(f) };
        let wake = state.push(Event::Posted(Box::new(f)));
        drop(state);
        self.act(wake);
        Ok(())
    }

    /// Tells a driver that is away of a new reason for a turn which is not in the queue.
    pub(super) fn tell(&self) {
        let wake = self.open().map_or(Wake::Nobody, |mut state| state.rouse());
        self.act(wake);
    }

    /// Has `notify` called from now on, and at once if there is a reason already.
    pub(super) fn set_notify(&self, notify: Notify) {
        let (before, wake) = self.state.lock().set_notify(notify);
        drop(before);
        self.act(wake);
    }

    /// The loop's thread begins a turn.
    pub(super) fn enter(&self) {
        self.state.lock().posture = Posture::Awake;
    }

    /// Appends what is ready to `round`.
    pub(super) fn take(&self, round: &mut VecDeque<Event>) {
        let mut state = self.state.lock();
        state.posted = 0;
        if round.is_empty() {
            swap(&mut state.queue, round);
        } else {
            round.append(&mut state.queue);
        }
    }

    /// How many closures wait that came from elsewhere.
    pub(super) fn posted(&self) -> usize {
        self.state.lock().posted
    }

    /// Sleeps until something is ready or the deadline has come. Returns at once where something
    /// is.
    pub(super) fn sleep(&self, deadline: Option<Instant>) {
        trampoline::settle(deadline);
        if self.state.lock().lie_down() {
            will_block(|| while !self.park(deadline) {});
        }
    }

    fn park(&self, deadline: Option<Instant>) -> bool {
        let in_time = self.parker.park(deadline);
        self.state.lock().get_up(in_time)
    }

    /// The loop's thread ends a turn.
    pub(super) fn leave(&self, baggage: Baggage) -> Standing {
        let (standing, wake) = self.state.lock().leave(baggage);
        self.act(wake);
        standing
    }

    /// Lets nothing in any more; gives what was left, to be dropped by the caller.
    #[must_use]
    pub(super) fn close(&self) -> (VecDeque<Event>, Option<Notify>) {
        let mut state = self.state.lock();
        state.posture = Posture::Closed;
        state.posted = 0;
        (take(&mut state.queue), state.notify.take())
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("generation", &self.generation).finish_non_exhaustive()
    }
}
