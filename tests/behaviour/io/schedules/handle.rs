//! The calls of a handle, through the traits of `futures-io` or of tokio, polled to their end or
//! not.

use std::any::TypeId;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::pin::{Pin, pin};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker, ready};

use futures_util::io::{AsyncBufRead, AsyncRead, AsyncSeek, AsyncWrite};
use sidestep::Unblock;
use sidestep::fs::File;

use super::values::{Act, Told, Value};
use crate::support::PATIENCE;

#[cfg(feature = "tokio")]
pub(crate) trait Traits:
    AsyncRead
    + AsyncBufRead
    + AsyncWrite
    + AsyncSeek
    + tokio::io::AsyncRead
    + tokio::io::AsyncBufRead
    + tokio::io::AsyncWrite
    + tokio::io::AsyncSeek
    + Unpin
{
}

#[cfg(not(feature = "tokio"))]
pub(crate) trait Traits: AsyncRead + AsyncBufRead + AsyncWrite + AsyncSeek + Unpin {}

impl<T: Read + Write + Seek + Send + 'static> Traits for Unblock<T> {}
impl Traits for File {}

/// A handle that a schedule can be played with.
pub(crate) trait Handle: Traits + Sized {
    /// Has the value do `acts`: in `with_mut`.
    fn call(&mut self, acts: Vec<Act>, ran: Gone) -> impl Future<Output = io::Result<Vec<Told>>>;

    /// Looks at the value, then does `acts` with it: through `get_mut`.
    fn borrow(&mut self, acts: &[Act]) -> impl Future<Output = io::Result<(Vec<u8>, u64, Vec<Told>)>>;

    /// What the value holds in the end, and where it stands.
    fn finish(self) -> impl Future<Output = Result<(Vec<u8>, u64), (io::Error, Option<Self>)>>;

    /// Closing it drops the value: it is no regular file.
    fn drops_when_closed(&self) -> bool;

    /// The same as a file, if it is one.
    fn file(&self) -> Option<&File> {
        None
    }
}

/// Whether a closure has run.
pub(crate) type Gone = Arc<Mutex<bool>>;

impl<T: Value> Handle for Unblock<T> {
    async fn call(&mut self, acts: Vec<Act>, ran: Gone) -> io::Result<Vec<Told>> {
        self.with_mut(move |value| {
            *ran.lock().unwrap() = true;
            value.act(&acts)
        })
        .await
    }

    async fn borrow(&mut self, acts: &[Act]) -> io::Result<(Vec<u8>, u64, Vec<Told>)> {
        let value = self.get_mut().await?;
        let (bytes, place) = value.look();
        Ok((bytes, place, value.act(acts)))
    }

    async fn finish(self) -> Result<(Vec<u8>, u64), (io::Error, Option<Self>)> {
        match self.into_inner().await {
            Ok(mut value) => Ok(value.look()),
            Err(error) => {
                Err((io::Error::new(error.error().kind(), error.to_string()), Some(error.into_unblock())))
            }
        }
    }

    fn drops_when_closed(&self) -> bool {
        TypeId::of::<T>() != TypeId::of::<std::fs::File>()
    }
}

impl Handle for File {
    async fn call(&mut self, _: Vec<Act>, _: Gone) -> io::Result<Vec<Told>> {
        unreachable!("a file lends nothing")
    }

    async fn borrow(&mut self, _: &[Act]) -> io::Result<(Vec<u8>, u64, Vec<Told>)> {
        unreachable!("a file lends nothing")
    }

    async fn finish(self) -> Result<(Vec<u8>, u64), (io::Error, Option<Self>)> {
        match self.into_std().await {
            Ok(mut file) => Ok(file.look()),
            Err(error) => Err((error, None)),
        }
    }

    fn drops_when_closed(&self) -> bool {
        false
    }

    fn file(&self) -> Option<&File> {
        Some(self)
    }
}

/// Which traits are used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Through {
    Futures,
    #[cfg(feature = "tokio")]
    Tokio,
}

impl Through {
    pub(crate) fn is_tokio(self) -> bool {
        !matches!(self, Through::Futures)
    }

    pub(crate) fn poll_read(
        self,
        handle: &mut impl Traits,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Through::Futures => AsyncRead::poll_read(Pin::new(handle), context, buffer),
            #[cfg(feature = "tokio")]
            Through::Tokio => {
                let mut buffer = tokio::io::ReadBuf::new(buffer);
                ready!(tokio::io::AsyncRead::poll_read(Pin::new(handle), context, &mut buffer))?;
                Poll::Ready(Ok(buffer.filled().len()))
            }
        }
    }

    pub(crate) async fn read(self, handle: &mut impl Traits, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|context| self.poll_read(handle, context, buffer)).await
    }

    /// Only `futures-io` has it.
    pub(crate) async fn read_vectored(
        handle: &mut impl Traits,
        buffers: [&mut [u8]; 2],
    ) -> io::Result<usize> {
        let mut slices = buffers.map(IoSliceMut::new);
        poll_fn(|context| AsyncRead::poll_read_vectored(Pin::new(&mut *handle), context, &mut slices)).await
    }

    /// Fills the buffer as far as there is anything; `filled` says how far it has got.
    pub(crate) async fn read_exact(
        self,
        handle: &mut impl Traits,
        buffer: &mut [u8],
        filled: &mut usize,
    ) -> io::Result<()> {
        while *filled < buffer.len() {
            match self.read(handle, &mut buffer[*filled..]).await? {
                0 => break,
                count => *filled += count,
            }
        }
        Ok(())
    }

    /// Gives all that is there, and takes up to `most` of it.
    pub(crate) async fn fill_buf(
        self,
        handle: &mut impl Traits,
        most: usize,
    ) -> io::Result<(Vec<u8>, usize)> {
        poll_fn(|context| {
            let filled = match self {
                Through::Futures => AsyncBufRead::poll_fill_buf(Pin::new(&mut *handle), context),
                #[cfg(feature = "tokio")]
                Through::Tokio => tokio::io::AsyncBufRead::poll_fill_buf(Pin::new(&mut *handle), context),
            };
            let bytes = ready!(filled)?.to_vec();
            let count = bytes.len().min(most);
            match self {
                Through::Futures => AsyncBufRead::consume(Pin::new(&mut *handle), count),
                #[cfg(feature = "tokio")]
                Through::Tokio => tokio::io::AsyncBufRead::consume(Pin::new(&mut *handle), count),
            }
            Poll::Ready(Ok((bytes, count)))
        })
        .await
    }

    pub(crate) async fn write(self, handle: &mut impl Traits, slices: &[&[u8]]) -> io::Result<usize> {
        let vectored: Vec<_> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
        poll_fn(|context| match (self, slices) {
            (Through::Futures, [one]) => AsyncWrite::poll_write(Pin::new(&mut *handle), context, one),
            (Through::Futures, _) => {
                AsyncWrite::poll_write_vectored(Pin::new(&mut *handle), context, &vectored)
            }
            #[cfg(feature = "tokio")]
            (Through::Tokio, [one]) => {
                tokio::io::AsyncWrite::poll_write(Pin::new(&mut *handle), context, one)
            }
            #[cfg(feature = "tokio")]
            (Through::Tokio, _) => {
                tokio::io::AsyncWrite::poll_write_vectored(Pin::new(&mut *handle), context, &vectored)
            }
        })
        .await
    }

    pub(crate) async fn flush(self, handle: &mut impl Traits, closes: bool) -> io::Result<()> {
        poll_fn(|context| match (self, closes) {
            (Through::Futures, false) => AsyncWrite::poll_flush(Pin::new(&mut *handle), context),
            (Through::Futures, true) => AsyncWrite::poll_close(Pin::new(&mut *handle), context),
            #[cfg(feature = "tokio")]
            (Through::Tokio, false) => tokio::io::AsyncWrite::poll_flush(Pin::new(&mut *handle), context),
            #[cfg(feature = "tokio")]
            (Through::Tokio, true) => tokio::io::AsyncWrite::poll_shutdown(Pin::new(&mut *handle), context),
        })
        .await
    }

    /// As the `seek` of either crate's `AsyncSeekExt`: tokio's lets a seek that was begun end
    /// first.
    pub(crate) async fn seek(self, handle: &mut impl Traits, to: SeekFrom) -> io::Result<u64> {
        match self {
            Through::Futures => {
                poll_fn(|context| AsyncSeek::poll_seek(Pin::new(&mut *handle), context, to)).await
            }
            #[cfg(feature = "tokio")]
            Through::Tokio => {
                poll_fn(|context| tokio::io::AsyncSeek::poll_complete(Pin::new(&mut *handle), context))
                    .await?;
                tokio::io::AsyncSeek::start_seek(Pin::new(&mut *handle), to)?;
                poll_fn(|context| tokio::io::AsyncSeek::poll_complete(Pin::new(&mut *handle), context)).await
            }
        }
    }
}

/// Wakes a thread that waits, and no other.
#[derive(Default)]
struct Bell(Mutex<bool>, Condvar);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        *self.0.lock().unwrap() = true;
        self.1.notify_one();
    }
}

/// Polls `future` so many times, or to its end if nothing is said of that; it must come.
pub(crate) fn drive<F: Future>(future: F, polls: Option<u8>) -> Option<F::Output> {
    let mut future = pin!(future);
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let mut left = polls;
    loop {
        match &mut left {
            Some(0) => return None,
            Some(left) => *left -= 1,
            None => {}
        }
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(output);
        }
        let rung = bell.0.lock().unwrap();
        if polls.is_none() {
            let (mut rung, timeout) = bell.1.wait_timeout_while(rung, PATIENCE, |rung| !*rung).unwrap();
            assert!(!timeout.timed_out(), "nobody wakes the caller");
            *rung = false;
        } else {
            drop(rung);
            std::thread::yield_now();
        }
    }
}
