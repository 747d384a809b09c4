//! Futures that one task polls side by side.
//!
//! Each future has a waker of its own, which puts the future's index into a list and wakes the
//! task. A poll asks the futures in that list and no others: so a thousand futures cost a thousand
//! polls, not a million. At first all are in the list, in their order.
//!
//! # No wake-up is lost
//!
//! A poll leaves the task's waker in the list before it takes the first index out. A future that is
//! woken afterwards finds the waker there and calls it, or another one has taken it out to call it
//! since; then the task is polled again either way. An index is in the list at most once: it may be
//! entered again as soon as a poll has taken it out, which is before its future is polled.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::sync::Mutex;
use crate::task::{discard, wake};

/// Futures, each of which leaves when it is ready.
#[derive(Debug)]
pub(super) struct SideBySide<F> {
    futures: Vec<Option<F>>,
    wakers: Vec<Waker>,
    /// How many futures have not left.
    left: usize,
    due: Arc<Mutex<Due>>,
}

/// What is to be polled next.
#[derive(Debug)]
struct Due {
    order: VecDeque<usize>,
    /// By index: whether `order` has it.
    listed: Vec<bool>,
    /// The waker of the task, unless it has been called since the last poll.
    waker: Option<Waker>,
}

/// The waker of one future.
#[derive(Debug)]
struct MemberWaker {
    index: usize,
    due: Arc<Mutex<Due>>,
}

impl Wake for MemberWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut due = self.due.lock();
        if std::mem::replace(&mut due.listed[self.index], true) {
            return;
        }
        due.order.push_back(self.index);
        let waker = due.waker.take();
        drop(due);
        waker.into_iter().for_each(wake);
    }
}

impl<F: Future + Unpin> SideBySide<F> {
    pub(super) fn new(futures: Vec<F>) -> Self {
        let left = futures.len();
        let due = Due { order: (0..left).collect(), listed: vec![true; left], waker: None };
        let due = Arc::new(Mutex::new(due));
        let waker = |index| Waker::from(Arc::new(MemberWaker { index, due: Arc::clone(&due) }));
        let wakers = (0..left).map(waker).collect();
        SideBySide { futures: futures.into_iter().map(Some).collect(), wakers, left, due }
    }

    /// The next output, with the index of its future; `None` once all futures have left.
    pub(super) async fn next(&mut self) -> Option<(usize, F::Output)> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<(usize, F::Output)>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let waker = context.waker().clone();
        let old = self.due.lock().waker.replace(waker);
        old.into_iter().for_each(discard);
        // Futures that wake themselves do not keep the task from others.
        for _ in 0..self.futures.len() {
            let Some(index) = self.take_due() else { return Poll::Pending };
            let Some(future) = &mut self.futures[index] else { continue };
            let polled = Pin::new(future).poll(&mut Context::from_waker(&self.wakers[index]));
            if let Poll::Ready(output) = polled {
                self.left -= 1;
                self.futures[index] = None;
                return Poll::Ready(Some((index, output)));
            }
        }
        let is_done = self.due.lock().order.is_empty();
        if !is_done {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn take_due(&self) -> Option<usize> {
        let mut due = self.due.lock();
        let index = due.order.pop_front()?;
        due.listed[index] = false;
        Some(index)
    }
}

/// The wakers of the futures may live on: they do not keep that of the task.
impl<F> Drop for SideBySide<F> {
    fn drop(&mut self) {
        let waker = self.due.lock().waker.take();
        waker.into_iter().for_each(discard);
    }
}

#[cfg(all(test, not(any(sidestep_loom, sidestep_shuttle))))]
mod tests;
