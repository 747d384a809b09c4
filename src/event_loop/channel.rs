//! Messages from other threads for a callback that stays on the loop's thread:
//! [`Handle::channel`], and the sender.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::mem::take;
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::handle::Handle;
use super::remote::Closed;
use crate::sync::ProcessMutex;

/// So many messages of one channel go to the callback before the loop runs what else is ready.
const TURN: usize = 32;

impl Handle {
    /// Makes a channel whose messages go to `callback` on this thread, in the order in which they
    /// were sent. The sender goes to other threads; the callback stays here, so it need not be
    /// `Send`, and may own a widget or share state through `Rc` and `RefCell`.
    ///
    /// Use it for what comes more than once: progress of a running closure, or events of a thread
    /// that listens. For one closure [`Remote::post`](super::Remote::post) is enough, and for one
    /// result [`offload`](Handle::offload).
    ///
    /// Up to 32 messages come in a row before the loop runs what else is ready.
    ///
    /// The channel has no bound: a closure that sends faster than the callback runs fills the
    /// memory. It is outstanding until the last sender has been dropped and the callback has had
    /// the last message; [`run`](crate::EventLoop::run) returns only then.
    ///
    /// # Panics
    ///
    /// Not here. A panic of the callback comes out of the loop as that of any other callback, and
    /// costs the one message: the callback gets the next ones in later turns.
    ///
    /// ```
    /// use std::{cell::RefCell, rc::Rc};
    /// use sidestep::EventLoop;
    ///
    /// let mut ev = EventLoop::new();
    /// let shown = Rc::new(RefCell::new(Vec::new()));
    /// let widget = Rc::clone(&shown);
    /// let progress = ev.channel(move |_, percent: u32| widget.borrow_mut().push(percent));
    /// ev.offload(
    ///     move || (0..=100).step_by(50).try_for_each(|percent| progress.send(percent)),
    ///     |_, sent| assert!(sent.unwrap().is_ok()),
    /// );
    /// ev.run();
    /// assert_eq!(*shown.borrow(), [0, 50, 100]);
    /// ```
    pub fn channel<M, C>(&self, mut callback: C) -> ChannelSender<M>
    where
        M: Send + 'static,
        C: FnMut(&Handle, M) + 'static,
    {
        let is_open = !self.is_closed();
        let state = EventChannelState { messages: VecDeque::new(), senders: 1, waker: None, is_open };
        let channel = Arc::new(EventChannel { state: ProcessMutex::new(state) });
        let sender = ChannelSender { channel: Arc::clone(&channel) };
        let (handle, receiver) = (self.clone(), ChannelEnd { channel });
        let mut batch = VecDeque::new();
        self.spawn_local(poll_fn(move |context| {
            for _ in 0..TURN {
                if batch.is_empty() {
                    match receiver.poll(context) {
                        Poll::Ready(Some(messages)) => batch = messages,
                        Poll::Ready(None) => return Poll::Ready(()),
                        Poll::Pending => return Poll::Pending,
                    }
                }
                let Some(message) = batch.pop_front() else { break };
                let call = AssertUnwindSafe(|| callback(&handle, message));
                if let Err(payload) = catch_unwind(call) {
                    // Out of another callback, as a local future that panics is dropped.
                    handle.post(|_| resume_unwind(payload));
                    break;
                }
            }
            context.waker().wake_by_ref();
            Poll::Pending
        }));
        sender
    }
}

/// What the senders share with the loop.
struct EventChannel<M> {
    state: ProcessMutex<EventChannelState<M>>,
}

struct EventChannelState<M> {
    messages: VecDeque<M>,
    senders: usize,
    /// Wakes the loop's end, which has found nothing.
    waker: Option<Waker>,
    /// The loop's end is there.
    is_open: bool,
}

/// The loop's end of a channel.
struct ChannelEnd<M> {
    channel: Arc<EventChannel<M>>,
}

impl<M> ChannelEnd<M> {
    /// What was sent, at least one message; `None` once nothing can come any more. A forked child
    /// gets nothing: what was sent is the parent's.
    fn poll(&self, context: &Context<'_>) -> Poll<Option<VecDeque<M>>> {
        let Some(mut state) = self.channel.state.lock() else { return Poll::Ready(None) };
        if !state.messages.is_empty() {
            return Poll::Ready(Some(take(&mut state.messages)));
        }
        if state.senders == 0 {
            return Poll::Ready(None);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl<M> Drop for ChannelEnd<M> {
    fn drop(&mut self) {
        let Some(mut state) = self.channel.state.lock() else { return };
        state.is_open = false;
        let unseen = (take(&mut state.messages), state.waker.take());
        drop(state);
        drop(unseen);
    }
}

/// Sends messages to a callback on the thread of an [`EventLoop`](crate::EventLoop), from any
/// thread. [`Handle::channel`] makes one; clones send to the one callback.
///
/// The channel ends with its last sender.
pub struct ChannelSender<M> {
    channel: Arc<EventChannel<M>>,
}

impl<M> ChannelSender<M> {
    /// Sends `message` to the callback, after everything that was sent before. This never blocks.
    ///
    /// # Errors
    ///
    /// [`Closed`], with the message, if the loop has been dropped, or if this process is a forked
    /// child of the one that made the channel. If the loop is dropped after this has returned
    /// `Ok`, and before the callback has had the message, the loop's thread drops the message.
    pub fn send(&self, message: M) -> Result<(), Closed<M>> {
        let Some(mut state) = self.channel.state.lock().filter(|state| state.is_open) else {
            return Err(Closed::new(message));
        };
        state.messages.push_back(message);
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Whether [`send`](ChannelSender::send) would fail: a closure that only reports progress may
    /// end.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.channel.state.lock().is_none_or(|state| !state.is_open)
    }
}

impl<M> Clone for ChannelSender<M> {
    fn clone(&self) -> Self {
        if let Some(mut state) = self.channel.state.lock() {
            state.senders += 1;
        }
        ChannelSender { channel: Arc::clone(&self.channel) }
    }
}

impl<M> Drop for ChannelSender<M> {
    fn drop(&mut self) {
        let Some(mut state) = self.channel.state.lock() else { return };
        state.senders -= 1;
        let waker = if state.senders == 0 { state.waker.take() } else { None };
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }
}

// No user code runs under the lock.
impl<M> UnwindSafe for ChannelSender<M> {}
impl<M> RefUnwindSafe for ChannelSender<M> {}

impl<M> fmt::Debug for ChannelSender<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelSender").field("is_closed", &self.is_closed()).finish_non_exhaustive()
    }
}
