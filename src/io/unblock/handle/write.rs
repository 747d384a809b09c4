//! Writing: the trait of `futures-io`.

use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::AsyncWrite;

use super::Unblock;
use crate::io::budget;
use crate::io::unblock::state::capability::WriteFns;
use crate::io::unblock::state::request::{Answer, Request};

impl<T: Write + Send + 'static> Unblock<T> {
    const WRITE: WriteFns<T> = WriteFns { write: T::write, flush: T::flush };

    /// Takes as much of `slices` as there is room for.
    pub(super) fn poll_accept(
        &mut self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        if self.has_written {
            ready!(budget::poll_turn(context));
        }
        let flushes = self.client.setup().flushes;
        let request = &mut Request::Write { write: Self::WRITE, slices, flushes };
        match ready!(self.client.drive(context, request))? {
            Answer::Count(count) => {
                budget::spend(count);
                self.has_written = true;
                Poll::Ready(Ok(count))
            }
            _ => unreachable!("a write is answered by how much was accepted"),
        }
    }

    pub(super) fn poll_flushed(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.client.drive(context, &mut Request::Flush { write: Self::WRITE }).map_ok(drop)
    }

    pub(super) fn poll_closed(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let drops_in_place = self.client.setup().drops_in_place;
        let request = &mut Request::Close { write: Self::WRITE, drops_in_place };
        self.client.drive(context, request).map_ok(drop)
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

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_flushed(context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_closed(context)
    }
}
