//! The budget of a turn: how much a task may read, write or take from a stream, without having to
//! wait, before it yields its thread.
//!
//! # The problem
//!
//! A file in the page cache, a pump that reads ahead, a buffer with room: all answer at once, and a
//! loop such as `tokio::io::copy` goes on as long as it is answered. Its task holds the thread of
//! the runtime until the file ends, and all other tasks, timers and sockets of that thread wait. So
//! now and then a call that could be answered returns `Pending` instead, and wakes its task.
//!
//! # When
//!
//! Calls are counted ([`spend`]), on each thread for all tasks together. A turn ends when
//!
//! - it has lasted for [`TURN`]. The clock is read after each [`LOOK`] bytes, or 32 small calls:
//!   for a thirtieth of the time that copying as much takes at least. Bytes alone would not do: a
//!   read into memory that is touched for the first time takes ten times as long as one into memory
//!   that is not, and what the caller does with the bytes takes its time, too;
//! - or it has moved [`MOST`] bytes, or 4,096 items: a limit for tests to rely on, which fast
//!   memory comes to as soon.
//!
//! [`poll_turn`] then yields, once, and the next call begins a turn. The beginning of a turn is its
//! first look at the clock, so a task that moves little pays for none. A call that waits does not
//! begin a turn: its task may be polled again before any other. So a slow consumer yields as well,
//! but at most once in [`TURN`], which is a hundred times what a yield takes.
//!
//! # How
//!
//! Waking the own task is right for most executors, but not enough for tokio's. Its schedulers look
//! at timers and sockets when no task is ready, or after 61 polls of tasks, so a task that wakes
//! itself makes them wait for 61 turns. `tokio::task::yield_now` leaves the waker with the
//! scheduler, which calls it after it has looked at them. It does so for any waker, and a scheduler
//! looks at nothing while it polls a task: were the waker that of an executor that blocks inside of
//! a task, such as [`block_on`](crate::block_on), it would never be called. So this way is for
//! wakers of tokio's tasks only, which `budget::tokio` recognises. All others are woken at
//! once, that of tokio's own `block_on` among them, which looks at timers before it polls again.
//!
//! # Why no wake-up is lost
//!
//! A call that yields has done nothing and left no waker anywhere else. It returns `Pending` after
//! it has either called the waker, or left it with the scheduler that is polling the waker's task
//! on this thread. That scheduler calls it when the poll has returned and no other task is ready,
//! or, if the runtime ends first, drops the task.
//!
//! A call that has bytes left in the chunk of its handle never yields: callers of `poll_fill_buf`
//! rely on a second call that is ready if the first was.

#[cfg(feature = "tokio")]
mod tokio;

use std::cell::Cell;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::sync::{now, thread_local_const};

/// How long a turn lasts, and by how much it can last longer: the time for [`LOOK`] bytes.
const TURN: Duration = Duration::from_micros(500);

/// How many bytes are moved before the clock is read again.
const LOOK: usize = 256 << 10;

/// What the smallest call counts towards the next look at the clock.
const LOOK_LEAST: usize = LOOK / 32;

/// How many bytes a turn moves.
const MOST: usize = 4 << 20;

/// What the smallest call counts of these.
const LEAST: usize = 1 << 10;

/// The turn of the tasks of a thread.
struct ReadyTurn {
    /// When the clock was first read.
    since: Cell<Option<Instant>>,
    /// What is left until the clock is read again.
    look: Cell<usize>,
    /// What is left of the turn.
    left: Cell<usize>,
}

impl ReadyTurn {
    const fn new() -> Self {
        ReadyTurn { since: Cell::new(None), look: Cell::new(LOOK), left: Cell::new(MOST) }
    }

    fn spend(&self, count: usize) {
        self.left.set(self.left.get().saturating_sub(count.max(LEAST)));
        let look = self.look.get().saturating_sub(count.max(LOOK_LEAST));
        self.look.set(if look == 0 { LOOK } else { look });
        if look == 0 && self.has_lasted(now()) {
            self.left.set(0);
        }
    }

    fn has_lasted(&self, now: Instant) -> bool {
        match self.since.get() {
            Some(since) => now.saturating_duration_since(since) >= TURN,
            None => {
                self.since.set(Some(now));
                false
            }
        }
    }

    fn begin(&self) {
        self.since.set(None);
        self.look.set(LOOK);
        self.left.set(MOST);
    }
}

thread_local_const! { static CURRENT: ReadyTurn = ReadyTurn::new() }

/// A call has moved `count` bytes; 0 for an item of a stream.
pub(crate) fn spend(count: usize) {
    CURRENT.with(|turn| turn.spend(count));
}

/// Whether the turn goes on. Where it does not, the next [`poll_turn`] yields.
pub(crate) fn goes_on() -> bool {
    CURRENT.with(|turn| turn.left.get() > 0)
}

/// Yields if the turn is over, and begins the next one.
pub(crate) fn poll_turn(context: &mut Context<'_>) -> Poll<()> {
    if goes_on() {
        return Poll::Ready(());
    }
    CURRENT.with(ReadyTurn::begin);
    wake_later(context);
    Poll::Pending
}

/// Wakes the task once others have had their turn.
#[cold]
fn wake_later(context: &mut Context<'_>) {
    #[cfg(feature = "tokio")]
    if self::tokio::wake_later(context) {
        return;
    }
    context.waker().wake_by_ref();
}

#[cfg(all(test, not(any(sidestep_loom, sidestep_shuttle))))]
mod tests;
