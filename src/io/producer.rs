//! Blocking code that yields items, as a stream: [`producer`].

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::mem::take;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use futures_core::Stream;
use futures_core::stream::FusedStream;

use super::bounded::{BoundedChannel, TrySendError};
use super::budget;
use crate::error::TaskError;
use crate::panic::catch_panic;
use crate::pool::{Pool, SpawnTarget, Spawner};
use crate::task::block_on;
use crate::task::current::will_block;
use crate::task::{Task, raise};

/// How many items a [`producer`] may be ahead of its stream.
pub const PRODUCER_CAPACITY: usize = 64;

/// Runs `f` on the global pool, at once, and makes a stream of what it sends.
///
/// It is for blocking code that finds one thing after another: the rows of a query, the entries of
/// a directory tree, the lines of a log. The stream buffers up to [`PRODUCER_CAPACITY`] items ahead
/// of its consumer; after that [`ItemSender::send`] blocks, so a slow consumer slows the
/// producer down. [`producer_with`] takes another capacity, another pool or a lane.
///
/// The stream ends when `f` returns. Errors are items: send a `Result`.
///
/// # Panics
///
/// Not here, but polling the stream does: see [`Producer`].
///
/// ```
/// use futures_util::StreamExt;
///
/// # sidestep::block_on(async {
/// let mut names = sidestep::io::producer(|sink| {
///     for entry in std::fs::read_dir("src").into_iter().flatten().flatten() {
///         if sink.send(entry.file_name()).is_err() {
///             return; // the stream has been dropped
///         }
///     }
/// });
/// while let Some(name) = names.next().await {
///     println!("{}", name.display());
/// }
/// # });
/// ```
#[track_caller]
pub fn producer<F, T>(f: F) -> Producer<T>
where
    F: FnOnce(&ItemSender<T>) + Send + 'static,
    T: Send + 'static,
{
    producer_with(Pool::global(), PRODUCER_CAPACITY, f)
}

/// [`producer`] with a capacity, and on a spawner, of your choice: a pool, a lane, which then
/// limits how many producers run at a time, or either with options.
///
/// # Panics
///
/// If `capacity` is 0.
///
/// ```
/// let pool = sidestep::Pool::new()?;
/// let walks = pool.lane("walks", 4);
/// let options = walks.options().name("count to ten");
/// let mut numbers = sidestep::io::producer_with(options, 2, |sink| {
///     let _ = (1..=10).try_for_each(|number| sink.send(number));
/// });
/// assert_eq!(numbers.wait_next(), Some(1));
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn producer_with<F, T>(spawner: impl Spawner, capacity: usize, f: F) -> Producer<T>
where
    F: FnOnce(&ItemSender<T>) + Send + 'static,
    T: Send + 'static,
{
    assert!(capacity > 0, "capacity (0) must be at least 1");
    let channel = Arc::new(BoundedChannel::new(capacity));
    let sink = ItemSender { channel: Arc::clone(&channel) };
    let task = SpawnTarget::of(&spawner).options().spawn(move || f(&sink));
    Producer { task: Some(task), failure: None, over: false, channel, taken: VecDeque::new(), given: 0 }
}

/// The stream of what a closure sends: see [`producer`].
///
/// # Cancellation
///
/// **Dropping it cancels the producer**, as dropping a [`Task`] does: while that is queued its
/// closure never runs; if it runs, [`current::is_cancelled`](crate::current::is_cancelled) turns
/// true and hooks run, an [`ItemSender::send`] that waits returns at once, and items that were not
/// taken are dropped. Dropping the future of a `next()` loses nothing.
///
/// # Panics
///
/// Polling it resumes a panic of the closure, after the items that were sent before. Where the pool
/// has refused the closure or could not run it, polling panics with the sentence of the
/// [`TaskError`]. Either happens once; after that the stream has ended.
///
/// # Threads
///
/// A producer that waits for room keeps its thread. On a pool all of whose threads are held by
/// producers that wait, a consumer that waits for another producer of the same pool waits for ever:
/// give such a pool enough [`max_threads`](crate::PoolBuilder::max_threads), or consume its
/// producers independently of each other.
#[must_use = "dropping a Producer cancels it"]
pub struct Producer<T> {
    /// `None` once it has ended.
    task: Option<Task<()>>,
    /// Why there was no good end, until that has been reported.
    failure: Option<TaskError>,
    over: bool,
    channel: Arc<BoundedChannel<T>>,
    /// Items that were taken from the channel and not yet given out.
    taken: VecDeque<T>,
    /// How many of them have been given out and not been acknowledged.
    given: usize,
}

impl<T> Producer<T> {
    /// Blocks this thread until there is an item, and returns it; `None` at the end. For plain
    /// threads: in a future, poll the stream.
    ///
    /// On a thread of the producer's own pool this counts as blocking, so the pool may grow; a pool
    /// that cannot (see *Threads* above) may never come to run the producer.
    ///
    /// # Panics
    ///
    /// Resumes a panic of the closure, as polling the stream does: see [`Producer`].
    ///
    /// ```
    /// let mut squares = sidestep::io::producer(|sink| {
    ///     let _ = (1..=3).try_for_each(|n| sink.send(n * n));
    /// });
    /// let all: Vec<i32> = std::iter::from_fn(|| squares.wait_next()).collect();
    /// assert_eq!(all, [1, 4, 9]);
    /// ```
    pub fn wait_next(&mut self) -> Option<T> {
        match self.pop() {
            Some(item) => Some(item),
            None => block_on(poll_fn(|context| self.poll_more(context))),
        }
    }

    /// An item that has been taken from the channel before.
    fn pop(&mut self) -> Option<T> {
        let item = self.taken.pop_front()?;
        self.given += 1;
        if self.channel.should_acknowledge(self.given) {
            self.channel.acknowledge(take(&mut self.given));
        }
        Some(item)
    }

    /// An item from the channel, or the end.
    fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        if self.over {
            return Poll::Ready(None);
        }
        // The end before the items: once it has come no more of those will.
        self.poll_end(context);
        let waker = self.task.is_some().then(|| context.waker());
        match self.fetch(waker) {
            Some(item) => Poll::Ready(Some(item)),
            None if self.task.is_some() => Poll::Pending,
            None => Poll::Ready(self.finish()),
        }
    }

    fn poll_end(&mut self, context: &mut Context<'_>) {
        let Some(task) = &mut self.task else { return };
        if let Poll::Ready(end) = Pin::new(task).poll(context) {
            self.task = None;
            self.failure = end.err();
        }
    }

    fn fetch(&mut self, waker: Option<&Waker>) -> Option<T> {
        if let Some(rest) = BoundedChannel::remainder(&mut self.channel) {
            self.taken.extend(rest);
            return self.taken.pop_front();
        }
        self.channel.take(&mut self.taken, take(&mut self.given), waker)
    }

    fn finish(&mut self) -> Option<T> {
        self.over = true;
        match self.failure.take() {
            Some(failure) => raise(failure),
            None => None,
        }
    }
}

impl<T> Stream for Producer<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        ready!(budget::poll_turn(context));
        budget::spend(0);
        match self.pop() {
            Some(item) => Poll::Ready(Some(item)),
            None => self.poll_more(context),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.taken.len(), self.over.then_some(0))
    }
}

impl<T> FusedStream for Producer<T> {
    fn is_terminated(&self) -> bool {
        self.over
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        // The task first: a closure that finds its sink closed finds itself cancelled too.
        drop(self.task.take());
        let rest = self.channel.close();
        for item in take(&mut self.taken).into_iter().chain(rest) {
            catch_panic("the destructor of an item that was not taken", || drop(item));
        }
    }
}

// Items are never pinned, and are handed over whole: a panic leaves none half changed.
impl<T> Unpin for Producer<T> {}
impl<T> UnwindSafe for Producer<T> {}
impl<T> RefUnwindSafe for Producer<T> {}

impl<T> fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("task", &self.task)
            .field("capacity", &self.channel.capacity())
            .finish_non_exhaustive()
    }
}

/// The sending half of a [`producer`]. It can be shared with the threads of a
/// `std::thread::scope`, all of which may send.
///
/// ```
/// use std::thread;
///
/// let mut both = sidestep::io::producer(|sink| {
///     thread::scope(|scope| {
///         scope.spawn(|| sink.send("left"));
///         scope.spawn(|| sink.send("right"));
///     });
/// });
/// let mut words: Vec<&str> = std::iter::from_fn(|| both.wait_next()).collect();
/// words.sort();
/// assert_eq!(words, ["left", "right"]);
/// ```
pub struct ItemSender<T> {
    channel: Arc<BoundedChannel<T>>,
}

impl<T> ItemSender<T> {
    /// Sends `item` to the stream. Blocks while [`capacity`](producer_with) items are there that
    /// the consumer has not taken; only then does the thread count as blocked, so that the pool may
    /// grow by one thread.
    ///
    /// Once it has waited it goes on when half of the capacity is free, so that it does not wait
    /// again for each item.
    ///
    /// # Errors
    ///
    /// [`Closed`], with the item, if the stream has been dropped.
    ///
    /// # Cancellation
    ///
    /// Dropping the stream ends a wait at once.
    pub fn send(&self, item: T) -> Result<(), Closed<T>> {
        match self.channel.try_send(item) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(item)) => Err(Closed(item)),
            Err(TrySendError::Full(item)) => will_block(|| self.channel.send_blocking(item)).map_err(Closed),
        }
    }

    /// True once the stream has been dropped: every send fails.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.channel.is_closed()
    }
}

impl<T> UnwindSafe for ItemSender<T> {}
impl<T> RefUnwindSafe for ItemSender<T> {}

impl<T> fmt::Debug for ItemSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ItemSender").field("capacity", &self.channel.capacity()).finish_non_exhaustive()
    }
}

/// The error of [`ItemSender::send`] after the stream has been dropped. It has the item that was
/// not sent.
///
/// It converts into an [`io::Error`] of the kind [`BrokenPipe`](io::ErrorKind::BrokenPipe).
///
/// ```
/// let (sender, receiver) = std::sync::mpsc::channel();
/// let mut stream = sidestep::io::producer(move |sink| {
///     let closed = (0_u64..).find_map(|number| sink.send(number).err());
///     sender.send(closed).unwrap();
/// });
/// assert_eq!(stream.wait_next(), Some(0));
/// drop(stream);
/// let closed = receiver.recv()?.unwrap();
/// assert!(closed.into_inner() > 0);
/// # Ok::<(), std::sync::mpsc::RecvError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Closed<T>(T);

impl<T> Closed<T> {
    /// The item.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for Closed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closed").finish_non_exhaustive()
    }
}

impl<T> fmt::Display for Closed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the stream has been dropped")
    }
}

impl<T> Error for Closed<T> {}

impl<T> From<Closed<T>> for io::Error {
    fn from(closed: Closed<T>) -> Self {
        io::Error::new(io::ErrorKind::BrokenPipe, closed.to_string())
    }
}

#[cfg(all(test, not(any(sidestep_loom, sidestep_shuttle))))]
mod tests;
