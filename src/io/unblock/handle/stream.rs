//! Iterators as streams.

use std::io;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::Unblock;
use crate::io::budget;
use crate::io::unblock::buffers::items::{self, ItemBuffer, Items};
use crate::io::unblock::state::request::{Answer, ItemsRequest, Request};

impl<T> Stream for Unblock<T>
where
    T: Iterator + Send + 'static,
    T::Item: Send + 'static,
{
    type Item = T::Item;

    /// # Panics
    ///
    /// Resumes a panic of the iterator, once; panics if the pool would not run it.
    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T::Item>> {
        let item = ready!(self.get_mut().poll_item(context));
        Poll::Ready(item.map(|item| item.unwrap_or_else(|error| panic!("{error}"))))
    }
}

impl<T> Unblock<T>
where
    T: Iterator + Send + 'static,
    T::Item: Send + 'static,
{
    /// The next item, or why the pool would not fetch it.
    pub(crate) fn poll_item(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<T::Item>>> {
        ready!(budget::poll_turn(context));
        budget::spend(0);
        let capacity = self.item_capacity();
        let items = self.items.get_mut().get_or_insert_with(items::none::<T::Item>);
        if let Some(item) = items::typed::<T::Item>(items).pop_front() {
            return Poll::Ready(Some(Ok(item)));
        }
        let request = ItemsRequest {
            pull: pull::<T>,
            buffer: ItemBuffer::new::<T::Item>,
            capacity,
            batch: self.client.setup().batch,
            into: items,
        };
        Poll::Ready(match ready!(self.client.drive(context, &mut Request::Items(request))) {
            Ok(Answer::End) => None,
            Ok(Answer::Panic(payload)) => resume_unwind(payload),
            Ok(_) => {
                let items = self.items.get_mut().as_mut();
                items.and_then(|items| items::typed(items).pop_front()).map(Ok)
            }
            Err(error) => Some(Err(error)),
        })
    }

    fn item_capacity(&self) -> usize {
        self.capacity.map_or_else(items::default_capacity::<T::Item>, |items| items.get() as usize)
    }

    /// With the first batch of items, taken on this thread.
    pub(crate) fn prefetched(self) -> Self {
        let mut buffer = ItemBuffer::new::<T::Item>(self.item_capacity(), self.client.setup().batch);
        if let Some(mut machine) = self.client.lock() {
            if let (Some(value), Some((mut items, most))) = (machine.idle_value(), buffer.begin()) {
                let (count, done) = pull(value, &mut items, most);
                buffer.add(items, count, done);
            }
            machine.set_items(pull::<T>, buffer);
        }
        self
    }
}

/// Takes up to `most` items. Returns how many there were, and whether the iterator has ended.
fn pull<T>(iterator: &mut T, items: &mut Items, most: usize) -> (usize, bool)
where
    T: Iterator,
    T::Item: Send + 'static,
{
    let items = items::typed::<T::Item>(items);
    for count in 0..most {
        match iterator.next() {
            Some(item) => items.push_back(item),
            None => return (count, true),
        }
    }
    (most, false)
}
