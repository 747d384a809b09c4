//! tokio's traits for `Unblock`.

use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncBufRead, AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};

use super::Unblock;
use crate::io::CAPACITY;

impl<T: Read + Send + 'static> AsyncRead for Unblock<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Bytes that are not initialised yet cost a turn of their own, however few are read.
        let initialised = buffer.initialized().len() - buffer.filled().len();
        let want = buffer.remaining().min(initialised.max(CAPACITY)).min(this.client.most());
        let count = ready!(this.poll_fill(context, buffer.initialize_unfilled_to(want)))?;
        buffer.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<T: Read + Send + 'static> AsyncBufRead for Unblock<T> {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        futures_io::AsyncBufRead::poll_fill_buf(self, context)
    }

    fn consume(self: Pin<&mut Self>, count: usize) {
        futures_io::AsyncBufRead::consume(self, count);
    }
}

impl<T: Write + Send + 'static> AsyncWrite for Unblock<T> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_accept(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_accept(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_flushed(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_closed(context)
    }
}

impl<T: Seek + Send + 'static> AsyncSeek for Unblock<T> {
    /// # Errors
    ///
    /// If another seek has not ended: poll that to its end first.
    fn start_seek(self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        let this = self.get_mut();
        if this.client.started_seek.is_some_and(|other| other != to) {
            return Err(io::Error::other("another seek has not ended: call poll_complete first"));
        }
        this.client.started_seek = Some(to);
        Ok(())
    }

    /// Without a seek that was started it returns the position of the last one.
    fn poll_complete(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<u64>> {
        let this = self.get_mut();
        let Some(to) = this.client.started_seek else { return Poll::Ready(Ok(this.position)) };
        let result = ready!(this.poll_sought(context, to));
        this.client.started_seek = None;
        if let Ok(position) = &result {
            this.position = *position;
        }
        Poll::Ready(result)
    }
}
