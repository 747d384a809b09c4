//! tokio's I/O traits as those of `futures-io`: [`Compat`].

use std::io::{self, IoSlice, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncBufRead, AsyncRead, AsyncSeek, AsyncWrite};
use tokio::io as tokio_io;

/// A value with tokio's I/O traits, which has those of `futures-io` in here: what
/// [`SyncReader`](super::SyncReader) and [`SyncWriter`](super::SyncWriter) take.
///
/// Values that are not `Unpin` go into a `Box::pin`.
///
/// ```
/// use std::io::Read;
///
/// use sidestep::io::{SyncReader, Compat};
///
/// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// let text = runtime.block_on(async {
///     let input: &[u8] = b"any reader of tokio's";
///     let mut reader = SyncReader::new(Compat::new(input));
///     sidestep::unblock(move || std::io::read_to_string(&mut reader)).await
/// })?;
/// assert_eq!(text, "any reader of tokio's");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Compat<T> {
    value: T,
    /// Where to, while a seek that has been started is not complete.
    seeking: Option<SeekFrom>,
}

impl<T> Compat<T> {
    /// Wraps a value.
    pub fn new(value: T) -> Self {
        Compat { value, seeking: None }
    }

    /// The value.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.value
    }

    /// The value.
    #[must_use]
    pub fn get_ref(&self) -> &T {
        &self.value
    }

    /// The value.
    #[must_use]
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: Unpin> Compat<T> {
    fn value(self: Pin<&mut Self>) -> Pin<&mut T> {
        Pin::new(&mut self.get_mut().value)
    }
}

impl<T: tokio_io::AsyncRead + Unpin> AsyncRead for Compat<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = tokio_io::ReadBuf::new(into);
        ready!(self.value().poll_read(context, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl<T: tokio_io::AsyncBufRead + Unpin> AsyncBufRead for Compat<T> {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        self.value().poll_fill_buf(context)
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        self.value().consume(amount);
    }
}

impl<T: tokio_io::AsyncWrite + Unpin> AsyncWrite for Compat<T> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.value().poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.value().poll_write_vectored(context, slices)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.value().poll_flush(context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.value().poll_shutdown(context)
    }
}

impl<T: tokio_io::AsyncSeek + Unpin> AsyncSeek for Compat<T> {
    fn poll_seek(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: SeekFrom) -> Poll<io::Result<u64>> {
        if self.seeking != Some(to) {
            // tokio refuses to start a seek while an operation is under way, be it another seek
            // that its caller has dropped.
            ready!(self.as_mut().value().poll_complete(context))?;
            self.as_mut().value().start_seek(to)?;
            self.seeking = Some(to);
        }
        let position = ready!(self.as_mut().value().poll_complete(context));
        self.seeking = None;
        Poll::Ready(position)
    }
}
