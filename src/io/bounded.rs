//! The bounded channel from a producer to its stream: threads that may block fill it, and a future
//! empties it.
//!
//! # Few locks and fewer wake-ups
//!
//! An item costs its sender one lock, which is free most of the time: the stream takes all items
//! that are there in one go, and acknowledges only when it has given out half of the capacity. A
//! sender that has found the channel full sleeps until at least half of it is free, so it wakes
//! once for many items. The item that ends the emptiness in which the stream waits calls the
//! stream's waker; no other item does.
//!
//! # Why neither side sleeps for ever
//!
//! `outstanding` counts the items in the channel and those that the stream has taken but not given
//! out, as far as it has acknowledged. A sender sleeps only while that is at least the capacity,
//! and the acknowledgement that lowers it to half or less notifies the senders. The stream waits
//! only after it has acknowledged everything and found the channel empty, under one lock:
//! `outstanding` is 0 then, so no sender sleeps, and the waker lies ready for the next item.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use crate::sync::{Condvar, MutexGuard, ProcessMutex, trampoline};
use crate::task::{discard, wake};

/// Why an item was not sent, and the item.
#[derive(Debug)]
pub(super) enum TrySendError<T> {
    Full(T),
    Closed(T),
}

struct ChannelState<T> {
    queue: VecDeque<T>,
    outstanding: usize,
    /// How many senders sleep.
    asleep: usize,
    closed: bool,
    /// The stream's, while it waits for an item.
    waker: Option<Waker>,
}

/// The channel between senders and one stream. In a forked child it is closed, and empty but for
/// [`remainder`](BoundedChannel::remainder).
pub(super) struct BoundedChannel<T> {
    state: ProcessMutex<ChannelState<T>>,
    room: Condvar,
    capacity: usize,
}

impl<T> BoundedChannel<T> {
    pub(super) fn new(capacity: usize) -> Self {
        let queue = VecDeque::new();
        let state = ChannelState { queue, outstanding: 0, asleep: 0, closed: false, waker: None };
        BoundedChannel { state: ProcessMutex::new(state), room: Condvar::new(), capacity }
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Sends `item` if there is room.
    pub(super) fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        let Some(state) = self.state.lock() else { return Err(TrySendError::Closed(item)) };
        if state.closed {
            return Err(TrySendError::Closed(item));
        }
        if state.outstanding >= self.capacity {
            return Err(TrySendError::Full(item));
        }
        push(state, item);
        Ok(())
    }

    /// Sends `item`, blocking until there is room.
    ///
    /// # Errors
    ///
    /// The item, once the stream is gone.
    pub(super) fn send_blocking(&self, item: T) -> Result<(), T> {
        trampoline::settle(None);
        let Some(mut state) = self.state.lock() else { return Err(item) };
        while !state.closed && state.outstanding >= self.capacity {
            state.asleep += 1;
            state = self.room.wait(state);
            state.asleep -= 1;
        }
        if state.closed {
            return Err(item);
        }
        push(state, item);
        Ok(())
    }

    /// Whether the stream, after `given` items, should acknowledge them.
    pub(super) fn should_acknowledge(&self, given: usize) -> bool {
        given >= self.capacity - self.capacity / 2
    }

    /// The stream has given out `given` items more.
    pub(super) fn acknowledge(&self, given: usize) {
        if let Some(state) = self.state.lock() {
            self.free(state, given);
        }
    }

    /// Moves all items into `taken`, which is empty, and returns the first. If there is none
    /// `waker` is kept, to be called when there is. `given` items have been given out since the
    /// last call of this or of `acknowledge`.
    pub(super) fn take(&self, taken: &mut VecDeque<T>, given: usize, waker: Option<&Waker>) -> Option<T> {
        // Cloned and dropped outside the lock: it is user code.
        let waker = waker.cloned();
        let mut state = self.state.lock()?;
        std::mem::swap(&mut state.queue, taken);
        let first = taken.pop_front();
        let (kept, unused) = if first.is_none() { (waker, None) } else { (None, waker) };
        let old = std::mem::replace(&mut state.waker, kept);
        self.free(state, given + usize::from(first.is_some()));
        old.into_iter().chain(unused).for_each(discard);
        first
    }

    fn free(&self, mut state: MutexGuard<'_, ChannelState<T>>, given: usize) {
        state.outstanding -= given;
        let ring = state.asleep > 0 && state.outstanding <= self.capacity / 2;
        drop(state);
        if ring {
            self.room.notify_all();
        }
    }

    /// The stream is gone: senders that sleep wake, and no item is sent any more. Returns those
    /// that were sent and not taken.
    pub(super) fn close(&self) -> VecDeque<T> {
        let Some(mut state) = self.state.lock() else { return VecDeque::new() };
        state.closed = true;
        let rest = std::mem::take(&mut state.queue);
        let waker = state.waker.take();
        drop(state);
        self.room.notify_all();
        drop(waker);
        rest
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().is_none_or(|state| state.closed)
    }

    /// In a forked child: what was sent before the fork, if there was no sender left by then.
    pub(super) fn remainder(this: &mut Arc<Self>) -> Option<VecDeque<T>> {
        if !this.state.is_forked() {
            return None;
        }
        let channel = Arc::get_mut(this)?;
        channel.state.get_mut_unshared().map(|state| std::mem::take(&mut state.queue))
    }
}

fn push<T>(mut state: MutexGuard<'_, ChannelState<T>>, item: T) {
    state.queue.push_back(item);
    state.outstanding += 1;
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        wake(waker);
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
