//! `futures_channel::oneshot` as far as `task` uses it, on a mutex.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::sync::Mutex;

struct Inner<T> {
    value: Option<T>,
    waker: Option<Waker>,
    sender_gone: bool,
    receiver_gone: bool,
}

/// The sender was dropped without a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Canceled;

/// The end that sends one value.
#[derive(Debug)]
pub(crate) struct Sender<T>(Arc<Mutex<Inner<T>>>);

/// The end that receives it.
#[derive(Debug)]
pub(crate) struct Receiver<T>(Arc<Mutex<Inner<T>>>);

/// A channel for one value.
pub(crate) fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let inner = Inner { value: None, waker: None, sender_gone: false, receiver_gone: false };
    let inner = Arc::new(Mutex::new(inner));
    (Sender(Arc::clone(&inner)), Receiver(inner))
}

impl<T> Sender<T> {
    /// Sends; `Err` hands the value back where the receiver is gone already. After `Ok` the value
    /// may still be dropped unread, with the receiver.
    pub(crate) fn send(self, value: T) -> Result<(), T> {
        let mut inner = self.0.lock();
        if inner.receiver_gone {
            return Err(value);
        }
        inner.value = Some(value);
        Ok(())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let waker = {
            let mut inner = self.0.lock();
            inner.sender_gone = true;
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Receiver<T> {
    /// The value if it is there, `None` if it may still come.
    pub(crate) fn try_recv(&mut self) -> Result<Option<T>, Canceled> {
        let mut inner = self.0.lock();
        match inner.value.take() {
            Some(value) => Ok(Some(value)),
            None if inner.sender_gone => Err(Canceled),
            None => Ok(None),
        }
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, Canceled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut inner = self.0.lock();
        // As in the real one, a value shows only once the sender has let go.
        if !inner.sender_gone {
            inner.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(inner.value.take().ok_or(Canceled))
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        inner.receiver_gone = true;
        let waker = inner.waker.take();
        drop(inner);
        drop(waker);
    }
}
