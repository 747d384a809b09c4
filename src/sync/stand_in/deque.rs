//! `crossbeam_deque` as far as `queue` uses it, on a mutex each.
//!
//! Whether one is empty is asked without the lock: the lock would order the question against every
//! push, which the real ones do not, and hide a missing fence from the model checker.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// What a steal found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Steal<T> {
    Empty,
    Success(T),
    #[cfg_attr(
        any(sidestep_loom, sidestep_shuttle),
        expect(dead_code, reason = "a mutex never has to try again")
    )]
    #[cfg_attr(
        not(any(sidestep_loom, sidestep_shuttle)),
        allow(dead_code, clippy::allow_attributes, reason = "as above")
    )]
    Retry,
}

impl<T> From<Option<T>> for Steal<T> {
    fn from(item: Option<T>) -> Self {
        item.map_or(Steal::Empty, Steal::Success)
    }
}

#[derive(Debug)]
struct Shared<T> {
    items: Mutex<VecDeque<T>>,
    /// The length of `items`, changed under its lock and read without.
    length: AtomicUsize,
}

impl<T> Shared<T> {
    fn new() -> Self {
        Shared { items: Mutex::new(VecDeque::new()), length: AtomicUsize::new(0) }
    }
    fn push(&self, item: T) {
        let mut items = self.items.lock();
        items.push_back(item);
        self.length.store(items.len(), Ordering::Relaxed);
    }
    fn pop(&self) -> Option<T> {
        let mut items = self.items.lock();
        let item = items.pop_front()?;
        self.length.store(items.len(), Ordering::Relaxed);
        Some(item)
    }
    fn is_empty(&self) -> bool {
        self.length.load(Ordering::Relaxed) == 0
    }
}

/// A first-in first-out queue for all threads.
#[derive(Debug)]
pub(crate) struct Injector<T>(Shared<T>);

impl<T> Injector<T> {
    pub(crate) fn new() -> Self {
        Injector(Shared::new())
    }
    pub(crate) fn push(&self, item: T) {
        self.0.push(item);
    }
    pub(crate) fn steal(&self) -> Steal<T> {
        self.0.pop().into()
    }
    /// Takes the oldest item, and moves the next into `dest`: half of what is here altogether, and
    /// at most `limit`. For an instant those are in neither.
    pub(crate) fn steal_batch_with_limit_and_pop(&self, dest: &Worker<T>, limit: usize) -> Steal<T> {
        let mut items = self.0.items.lock();
        let count = items.len().div_ceil(2).min(limit);
        let mut batch: VecDeque<T> = items.drain(..count).collect();
        self.0.length.store(items.len(), Ordering::Relaxed);
        drop(items);
        let first = batch.pop_front();
        batch.into_iter().for_each(|item| dest.push(item));
        first.into()
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The owner's end of a deque.
#[derive(Debug)]
pub(crate) struct Worker<T>(Arc<Shared<T>>);

impl<T> Worker<T> {
    pub(crate) fn new_fifo() -> Self {
        Worker(Arc::new(Shared::new()))
    }
    pub(crate) fn stealer(&self) -> Stealer<T> {
        Stealer(Arc::clone(&self.0))
    }
    pub(crate) fn push(&self, item: T) {
        self.0.push(item);
    }
    pub(crate) fn pop(&self) -> Option<T> {
        self.0.pop()
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The thieves' end of a deque.
#[derive(Debug)]
pub(crate) struct Stealer<T>(Arc<Shared<T>>);

impl<T> Stealer<T> {
    pub(crate) fn steal(&self) -> Steal<T> {
        self.0.pop().into()
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
