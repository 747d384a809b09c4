//! The items of an iterator, without their type: an `Unblock<T>` does not know whether its `T` is
//! an iterator until it is polled as a stream.

use std::any::Any;
use std::collections::VecDeque;

/// A `VecDeque` of items.
pub(super) type Items = Box<dyn Any + Send>;

/// The most items that are buffered by default.
const MOST: usize = 1024;

/// How many items of type `I` are buffered by default: what fits into the bytes that a reader may
/// buffer.
pub(super) fn default_capacity<I>() -> usize {
    (crate::io::CAPACITY / size_of::<I>().max(1)).clamp(1, MOST)
}

/// How to handle the items of the iterator `T`.
pub(super) struct ItemsOf<T> {
    /// Takes up to so many, and says how many there were and whether the iterator has ended.
    pub(super) pull: fn(&mut T, &mut Items, usize) -> (usize, bool),
    /// Moves the second items behind the first.
    append: fn(&mut Items, &mut Items),
}

impl<T> Clone for ItemsOf<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ItemsOf<T> {}

impl<T> ItemsOf<T>
where
    T: Iterator,
    T::Item: Send + 'static,
{
    pub(super) fn new() -> Self {
        ItemsOf { pull: pull::<T>, append: append::<T::Item> }
    }
}

/// The items as what they are.
pub(super) fn typed<I: 'static>(items: &mut Items) -> &mut VecDeque<I> {
    match items.downcast_mut() {
        Some(items) => items,
        None => unreachable!("a type has one type of items"),
    }
}

/// No items, for items of type `I`.
pub(super) fn none<I: Send + 'static>() -> Items {
    Box::new(VecDeque::<I>::new())
}

fn pull<T>(iterator: &mut T, items: &mut Items, most: usize) -> (usize, bool)
where
    T: Iterator,
    T::Item: Send + 'static,
{
    let items = typed::<T::Item>(items);
    for count in 0..most {
        match iterator.next() {
            Some(item) => items.push_back(item),
            None => return (count, true),
        }
    }
    (most, false)
}

fn append<I: Send + 'static>(to: &mut Items, from: &mut Items) {
    typed::<I>(to).append(typed::<I>(from));
}

/// The items that were taken from the iterator and not yet asked for, and how many more there may
/// be.
pub(super) struct Ready {
    items: Items,
    count: usize,
    /// Items that the handle gives out one by one.
    lent: usize,
    /// Where the pump puts items before the others can see them; it has it while it pulls.
    scratch: Option<Items>,
    capacity: usize,
    batch: usize,
    done: bool,
}

impl Ready {
    /// At most `capacity` items, taken in batches of `batch`.
    pub(super) fn new<I: Send + 'static>(capacity: usize, batch: usize) -> Self {
        let batch = batch.min(capacity);
        Ready {
            items: none::<I>(),
            count: 0,
            lent: 0,
            scratch: Some(none::<I>()),
            capacity,
            batch,
            done: false,
        }
    }

    /// Whether the iterator should be asked for more.
    pub(super) fn wants_more(&self) -> bool {
        !self.done && self.count + self.lent + self.batch <= self.capacity.max(self.batch + self.lent)
    }

    /// Where to put the next items, and how many.
    pub(super) fn begin(&mut self) -> Option<(Items, usize)> {
        Some((self.scratch.take()?, self.batch))
    }

    /// `count` items have been taken, and that was all if it is `done`.
    pub(super) fn add<T>(&mut self, items_of: ItemsOf<T>, mut items: Items, count: usize, done: bool) {
        (items_of.append)(&mut self.items, &mut items);
        self.scratch = Some(items);
        self.count += count;
        self.done = done;
    }

    /// Exchanges the handle's items, which are used up, for all that are ready. Says whether there
    /// were any.
    pub(super) fn exchange(&mut self, used: &mut Items) -> bool {
        std::mem::swap(&mut self.items, used);
        self.lent = std::mem::take(&mut self.count);
        self.lent > 0
    }

    pub(super) fn is_done(&self) -> bool {
        self.done && self.count == 0
    }
}
