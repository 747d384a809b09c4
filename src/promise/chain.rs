//! A source and the steps that follow it, with their types erased: [`Chain`].
//!
//! A chain is of one of two kinds: [`SendKind`] for promises that may change threads, [`LocalKind`]
//! for those that stay on one.
//!
//! # No deep stack, no growing memory
//!
//! The steps lie in a queue, not in each other: adding a step pushes it, polling pops the steps one
//! by one in a loop, and dropping drops them one by one. A step makes another chain, whose source
//! replaces the source of this chain and whose steps go in front of the steps of this one. So a
//! function that ends in `resolve(n).then(|n| itself(n + 1))` leaves one source and no steps behind
//! each time, and may go on for ever. The shorter queue is moved into the longer one, so that
//! joining costs no more than the steps that are joined. A poll by an event loop stops after so
//! many steps, so that callbacks run in between.
//!
//! A step of a chain may also capture a second chain, and a step of the second chain a third.
//! Running them takes no deep stack either. Their drops nest, and `sync::trampoline` defers them
//! when they are deep.
//!
//! # Panics
//!
//! `steps` and `source` guard the closures of the user, and turn a panic into an error of the
//! promise. What a chain drops unused is user code too: a panic of its destructor is reported, and
//! the remainder is dropped all the same.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::mem::{replace, swap, take};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::awaited;
use crate::error::{Reason, TaskError};
use crate::panic::catch_panic;
use crate::sync::trampoline;
use crate::task::TaskRef;

/// A kind of chain: what its values, sources and steps are erased to. The trait is private to
/// `promise`, so there are only the two kinds below.
pub(super) trait Kind: Sized + 'static {
    /// A `Result<T, E>`.
    type Value: 'static;
    /// A future of one.
    type Source: Future<Output = Self::Value> + Unpin + 'static;
    /// A function of the `Result` of the step before. It makes the chain that this one goes on
    /// with.
    type Step: FnOnce(Self::Value) -> Chain<Self> + 'static;
}

/// A kind whose values can be of the type `V`.
pub(super) trait Carries<V>: Kind {
    fn erase(value: V) -> Self::Value;
    fn downcast(value: Self::Value) -> V;
}

/// The kind of chains in which everything is `Send`.
#[derive(Debug)]
pub(super) enum SendKind {}

pub(super) type SendValue = <SendKind as Kind>::Value;

impl Kind for SendKind {
    type Value = Box<dyn Any + Send>;
    type Source = Pin<Box<dyn Future<Output = Self::Value> + Send>>;
    type Step = Box<dyn FnOnce(Self::Value) -> Chain<Self> + Send>;
}

impl<V: Send + 'static> Carries<V> for SendKind {
    fn erase(value: V) -> Self::Value {
        Box::new(value)
    }

    fn downcast(value: Self::Value) -> V {
        downcast_box(value)
    }
}

/// The kind of chains in which nothing needs to be `Send`.
#[derive(Debug)]
pub(super) enum LocalKind {}

pub(super) type LocalValue = <LocalKind as Kind>::Value;
pub(super) type LocalStep = <LocalKind as Kind>::Step;

impl Kind for LocalKind {
    type Value = Box<dyn Any>;
    type Source = Pin<Box<dyn Future<Output = Self::Value>>>;
    type Step = Box<dyn FnOnce(Self::Value) -> Chain<Self>>;
}

impl<V: 'static> Carries<V> for LocalKind {
    fn erase(value: V) -> Self::Value {
        Box::new(value)
    }

    fn downcast(value: Self::Value) -> V {
        downcast_box(value)
    }
}

fn downcast_box<V: 'static>(value: Box<dyn Any>) -> V {
    match value.downcast() {
        Ok(value) => *value,
        Err(_) => unreachable!("the methods of a promise add each step for the result of the one before"),
    }
}

/// What the next value comes from.
enum Head<K: Kind> {
    Value(K::Value),
    /// With the task that the source waits for, if that is known.
    Source(K::Source, Option<AwaitedTask<K>>),
    /// The value has been taken, by a step or by the caller of `poll`.
    Taken,
}

/// A task that a chain waits for: a thread that waits for the chain may have to run the task.
pub(super) struct AwaitedTask<K: Kind> {
    task: TaskRef,
    fail: fn(TaskError) -> K::Value,
}

impl<K: Kind> AwaitedTask<K> {
    /// The value of the task is a `Result<T, E>`.
    pub(super) fn new<T, E>(task: TaskRef) -> Self
    where
        K: Carries<Result<T, E>>,
        E: From<TaskError>,
    {
        AwaitedTask { task, fail: |error| K::erase(Err(E::from(error))) }
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

    /// A chain that has its value.
    pub(super) fn settled<V>(value: V) -> Self
    where
        K: Carries<V>,
    {
        Chain::new(Head::Value(K::erase(value)))
    }

    /// A chain that has the value of another one.
    pub(super) fn given(value: K::Value) -> Self {
        Chain::new(Head::Value(value))
    }

    /// A chain of steps that will not be called: it drops them.
    pub(super) fn uncalled(steps: VecDeque<K::Step>) -> Self {
        Chain { head: Head::Taken, steps }
    }

    /// A chain whose value is that of `source`.
    pub(super) fn pending(source: K::Source) -> Self {
        Chain::new(Head::Source(source, None))
    }

    /// A chain whose value is that of `source`, which waits for `target`.
    pub(super) fn waiting_for(target: Option<AwaitedTask<K>>, source: K::Source) -> Self {
        Chain::new(Head::Source(source, target))
    }

    /// Whether the value has been taken and no step is left.
    pub(super) fn is_taken(&self) -> bool {
        matches!(self.head, Head::Taken) && self.steps.is_empty()
    }

    /// The task that the chain waits for now, if that is known.
    pub(super) fn target(&self) -> Option<&TaskRef> {
        match &self.head {
            Head::Source(_, Some(target)) => Some(&target.task),
            _ => None,
        }
    }

    /// Goes on as if the task that the chain waits for had ended with `reason`, and cancels the
    /// task.
    pub(super) fn give_up(&mut self, reason: Reason) {
        let Head::Source(_, Some(AwaitedTask { task, fail })) = &self.head else { return };
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
    /// If an earlier poll has returned the value, or has panicked.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<K::Value> {
        self.poll_some(usize::MAX, context)
    }

    /// [`poll`](Chain::poll) that stops after `limit` steps, and then wakes its own waker.
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
                    awaited::record(&target.task);
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

    /// Goes on with `next`, and then with the steps of this chain.
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
        if self.is_taken() {
            return;
        }
        let remainder =
            Remainder { head: replace(&mut self.head, Head::Taken), steps: take(&mut self.steps) };
        trampoline::bounce(move || drop(remainder));
    }
}

/// What is left of a chain that is dropped before its end.
struct Remainder<K: Kind> {
    head: Head<K>,
    steps: VecDeque<K::Step>,
}

impl<K: Kind> Drop for Remainder<K> {
    fn drop(&mut self) {
        // The source is dropped first, which cancels what it waits for.
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
            Head::Taken => "taken",
        };
        f.debug_struct("Chain").field("head", &head).field("steps", &self.steps.len()).finish()
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
