//! The items of an iterator, without their type: an `Unblock<T>` does not know whether its `T` is
//! an iterator until it is polled as a stream.

use std::any::Any;
use std::collections::VecDeque;

/// A `VecDeque` of items.
pub(crate) type Items = Box<dyn Any + Send>;

/// The most items that are buffered by default.
const MOST: usize = 1024;

/// How many items of type `I` are buffered by default: what fits into the bytes that a reader may
/// buffer.
pub(crate) fn default_capacity<I>() -> usize {
    (crate::io::CAPACITY / size_of::<I>().max(1)).clamp(1, MOST)
}

/// The items as a queue of their type.
pub(crate) fn typed<I: 'static>(items: &mut Items) -> &mut VecDeque<I> {
    match items.downcast_mut() {
        Some(items) => items,
        None => unreachable!("a type has one type of items"),
    }
}

/// No items, for items of type `I`.
pub(crate) fn none<I: Send + 'static>() -> Items {
    Box::new(VecDeque::<I>::new())
}

fn append<I: Send + 'static>(to: &mut Items, from: &mut Items) {
    typed::<I>(to).append(typed::<I>(from));
}

/// The items that were taken from the iterator and not yet given out, and how many more there may
/// be.
pub(crate) struct ItemBuffer {
    items: Items,
    count: usize,
    /// How many items are checked out: the handle gives them out one by one.
    checked_out: usize,
    /// Where the pump puts items before they are ready; it has this while it pulls.
    scratch: Option<Items>,
    /// Moves the second items behind the first.
    append: fn(&mut Items, &mut Items),
    capacity: usize,
    batch: usize,
    done: bool,
}

impl ItemBuffer {
    /// At most `capacity` items, taken in batches of `batch`.
    pub(crate) fn new<I: Send + 'static>(capacity: usize, batch: usize) -> Self {
        let batch = batch.min(capacity);
        ItemBuffer {
            items: none::<I>(),
            count: 0,
            checked_out: 0,
            scratch: Some(none::<I>()),
            append: append::<I>,
            capacity,
            batch,
            done: false,
        }
    }

    /// Whether more should be taken from the iterator.
    pub(crate) fn wants_more(&self) -> bool {
        !self.done
            && self.count + self.checked_out + self.batch <= self.capacity.max(self.batch + self.checked_out)
    }

    /// Where to put the next items, and how many.
    pub(crate) fn begin(&mut self) -> Option<(Items, usize)> {
        Some((self.scratch.take()?, self.batch))
    }

    /// `count` items have been taken, and that was all if it is `done`.
    pub(crate) fn add(&mut self, mut items: Items, count: usize, done: bool) {
        (self.append)(&mut self.items, &mut items);
        self.scratch = Some(items);
        self.count += count;
        self.done = done;
    }

    /// Exchanges the handle's items, which are used up, for all that are ready. Returns whether
    /// there were any.
    pub(crate) fn exchange(&mut self, used: &mut Items) -> bool {
        std::mem::swap(&mut self.items, used);
        self.checked_out = std::mem::take(&mut self.count);
        self.checked_out > 0
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done && self.count == 0
    }
}
