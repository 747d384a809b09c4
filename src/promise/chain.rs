//! A source and the steps that follow it.
//!
//! # No deep stack, no growing memory
//!
//! The steps lie in a queue, not in each other: adding one pushes it, polling pops them one by one
//! in a loop, dropping drops them one by one. A step makes another chain, whose source becomes ours
//! and whose steps go in front of ours; so a function that ends in `resolve(n).then(|n| itself(n +
//! 1))` leaves one source and no steps behind each time, and may go on for ever. The shorter queue
//! is moved into the longer one, so that joining costs no more than the steps that are joined.
//! Where that must not hold up others, a poll stops after so many steps.
//!
//! A chain may also be captured by a step of another, and that by a third. Running them is as flat
//! as above. Their drops nest, and are put off by `sync::trampoline` when they are deep.
//!
//! # Panics
//!
//! The closures of the user are guarded by `steps` and `source`, which turn a panic into an error
//! of the promise. What a chain drops unused is foreign too: a panic of its destructor is reported,
//! and the rest is dropped all the same.

use std::collections::VecDeque;
use std::fmt;
use std::mem::{replace, swap, take};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::kind::{Carries, Kind};
use super::seen;
use crate::error::{Reason, TaskError};
use crate::panic::catch_panic;
use crate::sync::trampoline;
use crate::task::TaskRef;

/// Where the next value comes from.
enum Head<K: Kind> {
    Value(K::Value),
    /// And the task that is behind the source, where that is known.
    Source(K::Source, Option<Target<K>>),
    /// The value has been taken, by a step or by whoever polls.
    Taken,
}

/// A task that a chain waits for: a thread that waits for the chain may have to run it.
pub(super) struct Target<K: Kind> {
    task: TaskRef,
    fail: fn(TaskError) -> K::Value,
}

impl<K: Kind> Target<K> {
    /// The task gives a `Result<T, E>`.
    pub(super) fn new<T, E>(task: TaskRef) -> Self
    where
        K: Carries<Result<T, E>>,
        E: From<TaskError>,
    {
        Target { task, fail: |error| K::seal(Err(E::from(error))) }
    }
}

/// A source and the steps that follow it.
pub(super) struct Chain<K: Kind> {
    head: Head<K>,
    steps: VecDeque<K::Step>,
}

impl<K: Kind> Chain<K> {
    fn new(head: Head<K>) -> Self {
        Chain { head, steps: VecDeque::new() }
    }

    /// A chain whose value is there.
    pub(super) fn settled<V>(value: V) -> Self
    where
        K: Carries<V>,
    {
        Chain::new(Head::Value(K::seal(value)))
    }

    /// A chain whose value has come out of another.
    pub(super) fn given(value: K::Value) -> Self {
        Chain::new(Head::Value(value))
    }

    /// Steps that will not be called: to be dropped.
    pub(super) fn uncalled(steps: VecDeque<K::Step>) -> Self {
        Chain { head: Head::Taken, steps }
    }

    /// A chain whose value is that of `source`.
    pub(super) fn pending(source: K::Source) -> Self {
        Chain::new(Head::Source(source, None))
    }

    /// A chain whose value is that of `source`, which waits for `target`.
    pub(super) fn waiting_for(target: Option<Target<K>>, source: K::Source) -> Self {
        Chain::new(Head::Source(source, target))
    }

    /// The task that it waits for now, where that is known.
    pub(super) fn target(&self) -> Option<&TaskRef> {
        match &self.head {
            Head::Source(_, Some(target)) => Some(&target.task),
            _ => None,
        }
    }

    /// Goes on as if the target had ended with `reason`, and cancels it.
    pub(super) fn give_up(&mut self, reason: Reason) {
        let Head::Source(_, Some(Target { task, fail })) = &self.head else { return };
        let value = fail(TaskError::new(task.origin(), reason));
        let spent = replace(&mut self.head, Head::Value(value));
        drop_head(spent);
    }

    /// Adds a step at the end.
    pub(super) fn push(&mut self, step: K::Step) {
        self.steps.push_back(step);
    }

    /// Runs steps until one has to wait or none is left.
    ///
    /// # Panics
    ///
    /// If the value has been given, or an earlier poll has panicked.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<K::Value> {
        self.poll_some(usize::MAX, context)
    }

    /// As `poll`, but after `limit` steps it has itself polled again.
    pub(super) fn poll_some(&mut self, limit: usize, context: &mut Context<'_>) -> Poll<K::Value> {
        for _ in 0..limit {
            let value = ready!(self.poll_head(context));
            let Some(step) = self.steps.pop_front() else { return Poll::Ready(value) };
            self.join(step(value));
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<K::Value> {
        let polled = match &mut self.head {
            Head::Source(source, target) => {
                let polled = Pin::new(source).poll(context);
                if let (Poll::Pending, Some(target)) = (&polled, target) {
                    seen::note(&target.task);
                }
                Some(ready!(polled))
            }
            Head::Value(_) | Head::Taken => None,
        };
        match (polled, replace(&mut self.head, Head::Taken)) {
            (Some(value), spent) => {
                drop_head(spent);
                Poll::Ready(value)
            }
            (None, Head::Value(value)) => Poll::Ready(value),
            (None, _) => panic!("a sidestep promise was polled after it had given its result"),
        }
    }

    /// Goes on with `next`, and then with our own steps.
    fn join(&mut self, mut next: Chain<K>) {
        self.head = replace(&mut next.head, Head::Taken);
        if next.steps.len() > self.steps.len() {
            next.steps.append(&mut self.steps);
            swap(&mut self.steps, &mut next.steps);
        } else {
            while let Some(step) = next.steps.pop_back() {
                self.steps.push_front(step);
            }
        }
    }
}

fn drop_head<K: Kind>(head: Head<K>) {
    catch_panic("the destructor of what a promise was made of", || drop(head));
}

impl<K: Kind> Drop for Chain<K> {
    fn drop(&mut self) {
        if matches!(self.head, Head::Taken) && self.steps.is_empty() {
            return;
        }
        let rest = Rest { head: replace(&mut self.head, Head::Taken), steps: take(&mut self.steps) };
        trampoline::bounce(move || drop(rest));
    }
}

/// What a chain leaves when it is dropped before its end.
struct Rest<K: Kind> {
    head: Head<K>,
    steps: VecDeque<K::Step>,
}

impl<K: Kind> Drop for Rest<K> {
    fn drop(&mut self) {
        // The source goes first: nobody waits for it any more, so it is called off.
        let head = replace(&mut self.head, Head::Taken);
        drop_head(head);
        while let Some(step) = self.steps.pop_front() {
            catch_panic("the destructor of a continuation that was not called", || drop(step));
        }
    }
}

impl<K: Kind> fmt::Debug for Chain<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = match &self.head {
            Head::Value(_) => "settled",
            Head::Source(..) => "pending",
            Head::Taken => "given",
        };
        f.debug_struct("Chain").field("head", &head).field("steps", &self.steps.len()).finish()
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
