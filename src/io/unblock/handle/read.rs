//! Reading: the traits of `futures-io`.

use std::io::{self, IoSliceMut, Read};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncBufRead, AsyncRead};

use super::Unblock;
use crate::io::budget;
use crate::io::unblock::state::capability::as_file;
use crate::io::unblock::state::request::{Answer, Request};
use crate::sys::pread::{self, Cached};

impl<T: Read + Send + 'static> Unblock<T> {
    /// Fills `buffer` with what is there, and waits only if there is nothing.
    pub(super) fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let want = buffer.len().min(self.client.most());
        let buffer = &mut buffer[..want];
        if let Answer::Count(count) = ready!(self.poll_bytes(context, want, buffer))? {
            return Poll::Ready(Ok(count));
        }
        let mut filled = self.client.chunk.move_into(buffer);
        while filled > 0 && filled < want && budget::goes_on() && self.client.next_chunk() {
            budget::spend(self.client.chunk.unread().len());
            filled += self.client.chunk.move_into(&mut buffer[filled..]);
        }
        Poll::Ready(Ok(filled))
    }

    /// Has bytes to give out, unless the reader has none. The caller has room for `want`.
    fn poll_chunk(&mut self, context: &mut Context<'_>, want: usize) -> Poll<io::Result<()>> {
        self.poll_bytes(context, want, &mut []).map_ok(drop)
    }

    /// Has bytes to give out, or puts some straight into `direct`.
    fn poll_bytes(
        &mut self,
        context: &mut Context<'_>,
        want: usize,
        direct: &mut [u8],
    ) -> Poll<io::Result<Answer>> {
        self.client.begin_reading();
        if !self.client.chunk.is_empty() {
            return Poll::Ready(Ok(Answer::Done));
        }
        ready!(budget::poll_turn(context));
        let page_cache = read_page_cache::<T>;
        let request = &mut Request::Read { read: T::read, page_cache, want, buffer: direct };
        let answer = ready!(self.client.drive(context, request))?;
        budget::spend(match answer {
            Answer::Count(count) => count,
            _ => self.client.chunk.unread().len(),
        });
        Poll::Ready(Ok(answer))
    }
}

/// Reads what the page cache has of a value that is a file. It does not block.
fn read_page_cache<T: 'static>(value: &T, buffer: &mut [u8]) -> Cached {
    as_file(value).map_or(Cached::Never, |file| pread::read(file, buffer, None))
}

impl<T: Read + Send + 'static> AsyncRead for Unblock<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_fill(context, buffer)
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let want: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        let want = want.min(this.client.most());
        if want == 0 {
            return Poll::Ready(Ok(0));
        }
        ready!(this.poll_chunk(context, want))?;
        let mut filled = 0;
        for buffer in buffers {
            let room = buffer.len().min(want - filled);
            filled += this.client.chunk.move_into(&mut buffer[..room]);
        }
        Poll::Ready(Ok(filled))
    }
}

impl<T: Read + Send + 'static> AsyncBufRead for Unblock<T> {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        ready!(this.poll_chunk(context, 1))?;
        Poll::Ready(Ok(this.client.chunk.unread()))
    }

    fn consume(self: Pin<&mut Self>, count: usize) {
        self.get_mut().client.chunk.consume(count);
    }
}
