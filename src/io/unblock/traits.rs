//! The traits of `futures-io`, and `Stream`.

use std::io::{self, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_io::{AsyncBufRead, AsyncRead, AsyncSeek, AsyncWrite};

use super::handle::Unblock;
use super::items::{self, ItemsOf, Ready};
use super::step::{Place, Seeking, Writing};
use super::wakers::Side;
use crate::io::budget;

/// A caller who asks for less is served from a buffer.
const SMALL: usize = 8 << 10;

impl<T: Read + Send + 'static> Unblock<T> {
    /// Has bytes to give out, unless the reader has none. The caller has room for `want`.
    pub(super) fn poll_chunk(&mut self, context: &mut Context<'_>, want: usize) -> Poll<io::Result<()>> {
        ready!(self.poll_turn(context));
        self.poll_chunk_now(context, want)
    }

    /// The same for a caller who has had its turn.
    fn poll_chunk_now(&mut self, context: &mut Context<'_>, want: usize) -> Poll<io::Result<()>> {
        if !self.chunk.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.poll_core(Side::Read, context, |core, chunk, _| {
            core.able.read = Some(T::read);
            if core.is_writing() {
                return None;
            }
            if let Some(next) = core.inbound.take(chunk) {
                *chunk = next;
                return Some(Ok(()));
            }
            if let Some(next) = core.chunk_cached(chunk) {
                *chunk = next;
                return Some(Ok(()));
            }
            let end = core.take_end();
            if end.is_none() {
                core.inbound.demand(want);
            }
            end
        })
    }

    /// Fills `buffer` with what is there, and waits only if there is nothing.
    pub(super) fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(self.poll_turn(context));
        if let Some(count) = self.read_cached(buffer) {
            return Poll::Ready(Ok(count));
        }
        ready!(self.poll_chunk_now(context, buffer.len()))?;
        let mut filled = self.chunk.move_into(buffer);
        while filled > 0 && filled < buffer.len() && budget::may_go_on() && self.next_chunk() {
            filled += self.chunk.move_into(&mut buffer[filled..]);
        }
        Poll::Ready(Ok(filled))
    }

    /// Now and then lets others have the thread before more is fetched, since a loop of reads of
    /// what is in memory, or ahead of the caller, need not wait, and would never do so.
    fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.begin_reading();
        if self.chunk.is_empty() && !budget::is_my_turn() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Reads what the system has in memory, straight into the caller's buffer, if that is not too
    /// small to be worth it.
    fn read_cached(&mut self, buffer: &mut [u8]) -> Option<usize> {
        self.restore();
        if !self.chunk.is_empty() || buffer.len() < SMALL || self.shared.is_forked() {
            return None;
        }
        self.shared.lock().read_cached(buffer)
    }

    /// Has more bytes to give out, if they are there.
    fn next_chunk(&mut self) -> bool {
        let mut core = self.shared.lock();
        let next = if core.is_writing() { None } else { core.inbound.take(&mut self.chunk) };
        self.shared.release(core);
        next.map(|next| self.chunk = next).is_some()
    }
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
        let want = buffers.iter().map(|buffer| buffer.len()).sum();
        if want == 0 {
            return Poll::Ready(Ok(0));
        }
        ready!(this.poll_chunk(context, want))?;
        let filled = buffers.iter_mut().map(|buffer| this.chunk.move_into(buffer)).sum();
        Poll::Ready(Ok(filled))
    }
}

impl<T: Read + Send + 'static> AsyncBufRead for Unblock<T> {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        ready!(this.poll_chunk(context, 1))?;
        Poll::Ready(Ok(this.chunk.unread()))
    }

    fn consume(self: Pin<&mut Self>, count: usize) {
        self.get_mut().chunk.consume(count);
    }
}

impl<T: Write + Send + 'static> Unblock<T> {
    const WRITING: Writing<T> = Writing { write: T::write, flush: T::flush };

    /// Takes as much of `slices`, `most` bytes in all, as there is room for.
    pub(super) fn poll_accept(
        &mut self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        let flushes = self.shared.setup.flushes;
        self.poll_core(Side::Write, context, |core, chunk, wakes| {
            core.able.write = Some(Self::WRITING);
            core.outbound.flush |= flushes;
            let room = core.outbound.room();
            if room == 0 {
                return None;
            }
            wakes.and(core.stop_reading(chunk));
            core.turn_back();
            Some(Ok(core.outbound.accept(slices, room)))
        })
    }

    pub(super) fn poll_flushed(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_core(Side::Write, context, |core, _, _| {
            core.able.write = Some(Self::WRITING);
            if core.outbound.buffered() == 0 && !core.needs_flush() {
                core.outbound.flushed(true);
                return Some(Ok(()));
            }
            core.outbound.flush = true;
            None
        })
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
        self.get_mut().poll_flushed(context)
    }
}

impl<T: Seek + Send + 'static> Unblock<T> {
    pub(super) fn poll_sought(&mut self, context: &mut Context<'_>, to: SeekFrom) -> Poll<io::Result<u64>> {
        let mut stale = Seeking::No;
        self.poll_entered(Side::Write, Some(to), context, |core, chunk, wakes| {
            if let Some(result) = core.take_sought(to) {
                return Some(result);
            }
            if !core.is_seeking(&mut stale) {
                core.able.seek.get_or_insert(T::seek);
                core.seeking = Seeking::Wanted(to);
                wakes.and(core.stop_reading(chunk));
            }
            None
        })
    }
}

impl<T: Seek + Send + 'static> AsyncSeek for Unblock<T> {
    fn poll_seek(self: Pin<&mut Self>, context: &mut Context<'_>, to: SeekFrom) -> Poll<io::Result<u64>> {
        let this = self.get_mut();
        this.give_back();
        this.poll_sought(context, to)
    }
}

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
        let items = self.items.get_mut().get_or_insert_with(items::none::<T::Item>);
        if let Some(item) = items::typed::<T::Item>(items).pop_front() {
            return Poll::Ready(Some(Ok(item)));
        }
        Poll::Ready(match ready!(self.poll_items(context)) {
            Ok(true) => {
                let items = self.items.get_mut().as_mut();
                items.and_then(|items| items::typed(items).pop_front()).map(Ok)
            }
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        })
    }

    /// With the first batch of items, taken on this thread.
    pub(crate) fn prefetched(self) -> Self {
        let capacity = self.capacity.unwrap_or_else(items::default_capacity::<T::Item>);
        let batch = self.shared.setup.batch;
        let mut core = self.shared.lock();
        let items_of = ItemsOf::new();
        let mut ready = Ready::new::<T::Item>(capacity, batch);
        if let (Place::Home(value), Some((mut items, most))) = (&mut core.place, ready.begin()) {
            let (count, done) = (items_of.pull)(value, &mut items, most);
            ready.add(items_of, items, count, done);
        }
        core.able.items = Some(items_of);
        core.items = Some(ready);
        drop(core);
        self
    }

    /// Has items to give out; false if there are no more.
    fn poll_items(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        self.restore();
        let capacity = self.capacity.unwrap_or_else(items::default_capacity::<T::Item>);
        let batch = self.shared.setup.batch;
        let mut panic = None;
        let Unblock { shared, items, eagerness, .. } = self;
        let poll = shared.poll(Side::Read, eagerness, context, |core| {
            core.settle = false;
            core.able.items.get_or_insert_with(ItemsOf::new);
            let ready = core.items.get_or_insert_with(|| Ready::new::<T::Item>(capacity, batch));
            if items.get_mut().as_mut().is_some_and(|items| ready.exchange(items)) {
                return Some(Ok(true));
            }
            let is_done = ready.is_done();
            if let Place::Poisoned(poison) = &mut core.place {
                panic = poison.payload.take();
                return Some(Ok(false));
            }
            let failure = core.held.take().or_else(|| core.refusal.take());
            failure.map(Err).or_else(|| is_done.then_some(Ok(false)))
        });
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
        poll
    }
}
