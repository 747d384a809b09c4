//! Asynchronous readers and writers as those of `std`, for blocking code: [`SyncReader`] and
//! [`SyncWriter`].

use std::fmt;
use std::io::{self, BufRead, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_io::{AsyncBufRead, AsyncRead, AsyncSeek, AsyncWrite};

use crate::sync::Parker;
use crate::task::current::{check, on_cancel, will_block};

/// A value, and what it takes to wait for it on this thread.
struct Bridge<T> {
    value: T,
    parker: Arc<Parker>,
    waker: Waker,
    /// The runtime that this was made in, if any: tokio's timers and sockets want to be polled
    /// inside it.
    #[cfg(feature = "tokio")]
    runtime: Option<tokio::runtime::Handle>,
}

impl<T> Bridge<T> {
    fn new(value: T) -> Self {
        let parker = Arc::new(Parker::new());
        Bridge {
            value,
            waker: parker.waker(),
            parker,
            #[cfg(feature = "tokio")]
            runtime: tokio::runtime::Handle::try_current().ok(),
        }
    }
}

impl<T: Unpin> Bridge<T> {
    /// Polls until there is a result, and blocks the thread in between.
    fn call<R>(
        &mut self,
        mut poll: impl FnMut(Pin<&mut T>, &mut Context<'_>) -> Poll<io::Result<R>>,
    ) -> io::Result<R> {
        if let Poll::Ready(result) = self.poll(&mut poll) {
            return result;
        }
        will_block(|| {
            let parker = Arc::clone(&self.parker);
            let _guard = on_cancel(move || parker.unpark());
            loop {
                check()?;
                self.parker.park(None);
                if let Poll::Ready(result) = self.poll(&mut poll) {
                    return result;
                }
            }
        })
    }

    fn poll<R>(&mut self, poll: impl FnOnce(Pin<&mut T>, &mut Context<'_>) -> R) -> R {
        #[cfg(feature = "tokio")]
        let _inside = self.runtime.as_ref().map(tokio::runtime::Handle::enter);
        poll(Pin::new(&mut self.value), &mut Context::from_waker(&self.waker))
    }

    fn seek(&mut self, to: SeekFrom) -> io::Result<u64>
    where
        T: AsyncSeek,
    {
        self.call(|value, context| value.poll_seek(context, to))
    }
}

/// An asynchronous reader as a [`std::io::Read`], to be used by blocking code: a parser or decoder
/// that wants a `Read` and gets the body of a request.
///
/// It is [`BufRead`] and [`Seek`] too where the reader has the asynchronous counterparts. It takes
/// readers with the traits of `futures-io`; a reader with those of tokio goes into an `io::Compat`
/// first (feature `tokio`). Readers that are not `Unpin` go into a `Box::pin`.
///
/// A call polls the reader on the calling thread and blocks that thread while the reader has
/// nothing. The thread then counts as blocked, so its pool may grow. What drives the reader, such
/// as the thread of an event loop, must be free meanwhile: so use a `SyncReader` inside
/// [`spawn`](crate::spawn()) and *await* that. On the event loop's own thread it may wait for ever.
///
/// With the feature `tokio` it remembers the runtime that it was made in and polls inside that, on
/// every thread that it is used on. So make it in the future, not in the closure.
///
/// # Cancellation
///
/// When the task it is used in is cancelled, a call that waits, or would have to, ends with an
/// error that wraps [`current::Cancelled`](crate::current::Cancelled): otherwise the peer alone
/// would decide how long the closure keeps its thread. Calls that need not wait go on as before. No
/// byte is lost: the reader is as it was before the call.
///
/// ```
/// use std::io::BufRead;
///
/// use sidestep::io::SyncReader;
///
/// # sidestep::block_on(async {
/// let body: &[u8] = b"one\ntwo\nthree\n"; // any `AsyncRead`
/// let body = SyncReader::new(body);
/// let lines = sidestep::unblock(move || body.lines().count()).await;
/// assert_eq!(lines, 3);
/// # });
/// ```
pub struct SyncReader<R> {
    bridge: Bridge<R>,
}

impl<R> SyncReader<R> {
    /// Wraps a reader.
    pub fn new(reader: R) -> Self {
        SyncReader { bridge: Bridge::new(reader) }
    }

    /// The reader. Nothing has been read from it but what was asked for.
    #[must_use]
    pub fn into_inner(self) -> R {
        self.bridge.value
    }

    /// The reader.
    #[must_use]
    pub fn get_ref(&self) -> &R {
        &self.bridge.value
    }

    /// The reader.
    #[must_use]
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.bridge.value
    }
}

impl<R: AsyncRead + Unpin> Read for SyncReader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.bridge.call(|reader, context| reader.poll_read(context, into))
    }

    fn read_vectored(&mut self, into: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.bridge.call(|reader, context| reader.poll_read_vectored(context, into))
    }
}

impl<R: AsyncBufRead + Unpin> BufRead for SyncReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        // Waits first and borrows then: what a turn of a loop may return cannot be borrowed in the
        // next.
        let length = self.bridge.call(|reader, context| reader.poll_fill_buf(context).map_ok(<[u8]>::len))?;
        if length == 0 {
            return Ok(&[]);
        }
        let Bridge { value, waker, .. } = &mut self.bridge;
        match Pin::new(value).poll_fill_buf(&mut Context::from_waker(waker)) {
            Poll::Ready(filled) => filled,
            Poll::Pending => Err(io::Error::other("the reader has lost what it had in its buffer")),
        }
    }

    fn consume(&mut self, amount: usize) {
        Pin::new(&mut self.bridge.value).consume(amount);
    }
}

impl<R: AsyncSeek + Unpin> Seek for SyncReader<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.bridge.seek(to)
    }
}

impl<R: fmt::Debug> fmt::Debug for SyncReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SyncReader").field(&self.bridge.value).finish()
    }
}

/// An asynchronous writer as a [`std::io::Write`], to be used by blocking code: an encoder that
/// wants a `Write` and gets the body of a response.
///
/// It is [`Seek`] too where the writer is [`AsyncSeek`]. Like a [`SyncReader`] it blocks the
/// calling thread, needs the thread that drives the writer to be free, and polls inside the tokio
/// runtime that it was made in.
///
/// **Dropping it neither flushes nor closes**: call [`flush`](Write::flush) or
/// [`close`](SyncWriter::close) in the closure, which may block, as a drop should not.
///
/// # Cancellation
///
/// When the task that it is used in is cancelled, a call that waits, or would have to, ends with an
/// error that wraps [`current::Cancelled`](crate::current::Cancelled). A `write` that fails so has
/// written nothing; what an earlier one has left in the writer's buffer is still there.
///
/// ```
/// use std::io::Write;
///
/// use sidestep::io::SyncWriter;
///
/// # sidestep::block_on(async {
/// let mut writer = SyncWriter::new(Vec::new()); // any `AsyncWrite`
/// let written = sidestep::unblock(move || {
///     writeln!(writer, "{:>5}", 42)?;
///     writer.close()?;
///     Ok::<_, std::io::Error>(writer.into_inner())
/// });
/// assert_eq!(written.await?, b"   42\n");
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
pub struct SyncWriter<W> {
    bridge: Bridge<W>,
}

impl<W> SyncWriter<W> {
    /// Wraps a writer.
    pub fn new(writer: W) -> Self {
        SyncWriter { bridge: Bridge::new(writer) }
    }

    /// The writer, unflushed.
    #[must_use]
    pub fn into_inner(self) -> W {
        self.bridge.value
    }

    /// The writer.
    #[must_use]
    pub fn get_ref(&self) -> &W {
        &self.bridge.value
    }

    /// The writer.
    #[must_use]
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.bridge.value
    }
}

impl<W: AsyncWrite + Unpin> SyncWriter<W> {
    /// Flushes the writer and closes it: a socket sends its end, a compressor its last block. tokio
    /// calls this `shutdown`.
    ///
    /// # Errors
    ///
    /// That of the writer, or of a cancellation: see [`SyncWriter`].
    pub fn close(&mut self) -> io::Result<()> {
        self.bridge.call(|writer, context| writer.poll_close(context))
    }
}

impl<W: AsyncWrite + Unpin> Write for SyncWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bridge.call(|writer, context| writer.poll_write(context, bytes))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.bridge.call(|writer, context| writer.poll_write_vectored(context, slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.bridge.call(|writer, context| writer.poll_flush(context))
    }
}

impl<W: AsyncSeek + Unpin> Seek for SyncWriter<W> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.bridge.seek(to)
    }
}

impl<W: fmt::Debug> fmt::Debug for SyncWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SyncWriter").field(&self.bridge.value).finish()
    }
}
