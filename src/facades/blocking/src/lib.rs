//! The public API of the crate `blocking`, over sidestep: a program that uses `blocking` is ported
//! by one line of its `Cargo.toml`, which names this package in place of that. The page
//! `MIGRATING` of sidestep says what behaves differently and why.
//!
//! ```
//! # use sidestep_blocking as blocking;
//! # sidestep::block_on(async {
//! let text = blocking::unblock(|| std::fs::read_to_string("Cargo.toml")).await?;
//! assert!(!text.is_empty());
//! # std::io::Result::Ok(()) }).unwrap();
//! ```

use std::fmt;
use std::future::Future;
use std::io::{Read, Result, Seek, SeekFrom, Write};
use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_io::{AsyncRead, AsyncSeek, AsyncWrite};
use sidestep::{Pool, TaskError};

/// The most threads that a pool can be given.
const MOST_THREADS: usize = 32767;

/// Runs a blocking closure on the global pool.
#[track_caller]
pub fn unblock<T, F>(f: F) -> Task<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Task(sidestep::spawn(f))
}

/// Limits the threads of the global pool from now on.
pub fn set_max_blocking_threads(threads: NonZeroUsize) {
    let possible = threads.get().min(MOST_THREADS);
    let _ = Pool::global().set_max_threads(possible);
}

/// A closure on its way; a future of its plain result, which resumes a panic of it. Dropping it
/// cancels.
#[must_use = "dropping a Task cancels it; `detach` it to let it run by itself"]
pub struct Task<T>(sidestep::Task<T>);

impl<T> Task<T> {
    /// Lets the closure run to its end without a handle.
    pub fn detach(self) {
        self.0.detach();
    }

    /// Cancels, and waits for the end: the value if there is one all the same, `None` if the
    /// closure never ran.
    pub async fn cancel(self) -> Option<T> {
        value(self.0.cancel().await).ok()
    }

    /// True once the result is there.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// The same task as a future that gives `None`, rather than panic, if the closure never ran.
    pub fn fallible(self) -> FallibleTask<T> {
        FallibleTask(self)
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Task").field(&self.0).finish()
    }
}

impl<T> Future for Task<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let result = ready!(Pin::new(&mut self.0).poll(context));
        Poll::Ready(value(result).unwrap_or_else(|error| panic!("{error}")))
    }
}

/// What [`Task::fallible`] gives.
#[must_use = "dropping a FallibleTask cancels it; `detach` it to let it run by itself"]
pub struct FallibleTask<T>(Task<T>);

impl<T> FallibleTask<T> {
    /// As [`Task::detach`].
    pub fn detach(self) {
        self.0.detach();
    }

    /// As [`Task::cancel`].
    pub async fn cancel(self) -> Option<T> {
        self.0.cancel().await
    }

    /// As [`Task::is_finished`].
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl<T> fmt::Debug for FallibleTask<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FallibleTask").field(&self.0).finish()
    }
}

impl<T> Future for FallibleTask<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let result = ready!(Pin::new(&mut self.0.0).poll(context));
        Poll::Ready(value(result).ok())
    }
}

/// Passes a panic of the closure on.
fn value<T>(result: std::result::Result<T, TaskError>) -> std::result::Result<T, TaskError> {
    result.or_else(|error| error.try_into_panic().map_or_else(Err, |payload| resume_unwind(payload)))
}

/// A blocking reader, writer or iterator as an asynchronous one. There is no value in it any more
/// once it is closed.
#[derive(Debug)]
pub struct Unblock<T: Send + 'static>(Option<sidestep::Unblock<T>>);

impl<T: Send + 'static> Unblock<T> {
    /// Wraps a value.
    pub fn new(io: T) -> Self {
        Unblock(Some(sidestep::Unblock::new(io)))
    }

    /// Wraps a value, with room for so many bytes or items.
    pub fn with_capacity(cap: usize, io: T) -> Self {
        Unblock(Some(sidestep::Unblock::with_capacity(cap, io)))
    }

    /// The value, at rest.
    ///
    /// # Panics
    ///
    /// If the value has panicked, or is closed.
    pub async fn get_mut(&mut self) -> &mut T {
        self.settled().await.get_mut().await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// What `op` makes of the value, on the pool.
    ///
    /// # Panics
    ///
    /// If `op` does, or the value has panicked, or is closed.
    pub async fn with_mut<R, F>(&mut self, op: F) -> R
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        self.settled().await.with_mut(op).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The value, at rest.
    ///
    /// # Panics
    ///
    /// If the value has panicked, or is closed.
    pub async fn into_inner(mut self) -> T {
        self.settled().await;
        let io = self.0.take().expect("`settled` has looked");
        io.into_inner().await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// With nothing left to write. The methods that call this cannot report a failed write, so they
    /// give its bytes up.
    async fn settled(&mut self) -> &mut sidestep::Unblock<T> {
        let io = self.io();
        if io.get_mut().await.is_err() {
            let _ = io.unwritten().await;
        }
        io
    }

    fn io(&mut self) -> &mut sidestep::Unblock<T> {
        self.0.as_mut().expect("the value is closed")
    }
}

impl<T: Read + Send + 'static> AsyncRead for Unblock<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<Result<usize>> {
        Pin::new(self.io()).poll_read(cx, into)
    }
}

impl<T: Write + Send + 'static> AsyncWrite for Unblock<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(self.io()).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.0.as_mut().map_or(Poll::Ready(Ok(())), |io| Pin::new(io).poll_flush(cx))
    }

    /// Drops the value once all is written: that is what ends a pipe.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        self.0 = None;
        Poll::Ready(Ok(()))
    }
}

impl<T: Seek + Send + 'static> AsyncSeek for Unblock<T> {
    fn poll_seek(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: SeekFrom) -> Poll<Result<u64>> {
        Pin::new(self.io()).poll_seek(cx, to)
    }
}

impl<T> Stream for Unblock<T>
where
    T: Iterator + Send + 'static,
    T::Item: Send + 'static,
{
    type Item = T::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T::Item>> {
        Pin::new(self.io()).poll_next(cx)
    }
}
