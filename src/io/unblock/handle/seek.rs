//! Seeking: the trait of `futures-io`.

use std::io::{self, Seek, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::AsyncSeek;

use super::Unblock;
use crate::io::unblock::state::request::{Answer, Request};

impl<T: Seek + Send + 'static> Unblock<T> {
    pub(super) fn poll_sought(&mut self, context: &mut Context<'_>, to: SeekFrom) -> Poll<io::Result<u64>> {
        match ready!(self.client.drive(context, &mut Request::Seek { seek: T::seek, to }))? {
            Answer::Position(position) => Poll::Ready(Ok(position)),
            _ => unreachable!("a seek is answered by where it got"),
        }
    }
}

impl<T: Seek + Send + 'static> AsyncSeek for Unblock<T> {
    fn poll_seek(self: Pin<&mut Self>, context: &mut Context<'_>, to: SeekFrom) -> Poll<io::Result<u64>> {
        let this = self.get_mut();
        this.client.discard_stale();
        this.poll_sought(context, to)
    }
}
