//! [`Unblock`]: the handle, and how to get at the value.
//!
//! | file | owns |
//! |---|---|
//! | `read`, `write`, `seek`, `stream` | the asynchronous traits |
//! | `tokio` | tokio's traits of the same names |
//! | `call` | running a closure with the value |

mod call;
mod read;
mod seek;
mod stream;
#[cfg(all(test, not(sidestep_loom)))]
mod tests;
#[cfg(feature = "tokio")]
mod tokio;
mod write;

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, Seek};
use std::num::NonZeroU32;
use std::task::{Context, Poll};

use super::buffers::items::Items;
use super::buffers::sizes::Sizes;
use super::engine::drive::Client;
use super::engine::shared::Setup;
use super::state::request::Request;
use crate::pool::{ChosenTarget, SpawnTarget, Spawner};
use crate::sync::Mutex;

/// A blocking reader, writer or iterator as an asynchronous one.
///
/// A task of a thread pool works with the value while there is something to do; the calls of the
/// asynchronous traits exchange bytes, or items, with it through buffers. Where `T` is
///
/// | `T` | `Unblock<T>` |
/// |---|---|
/// | [`Read`](io::Read) | [`AsyncRead`](futures_io::AsyncRead), [`AsyncBufRead`](futures_io::AsyncBufRead) |
/// | [`Write`](io::Write) | [`AsyncWrite`](futures_io::AsyncWrite) |
/// | [`Seek`] | [`AsyncSeek`](futures_io::AsyncSeek) |
/// | [`Iterator`] | [`Stream`](futures_core::Stream) |
///
/// and with the feature `tokio` the traits of these names of that runtime. Files have a type of
/// their own, [`fs::File`](crate::fs::File), made of this one.
///
/// ```
/// use futures_util::io::{AsyncReadExt, AsyncWriteExt};
/// use sidestep::Unblock;
///
/// # sidestep::block_on(async {
/// let mut file = Unblock::new(tempfile::tempfile()?);
/// file.write_all(b"forty-two").await?;
/// file.flush().await?;
///
/// file.with_mut(|file| std::io::Seek::rewind(file)).await??;
/// let mut text = String::new();
/// file.read_to_string(&mut text).await?;
/// assert_eq!(text, "forty-two");
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
///
/// # Reading
///
/// Data is read in chunks that grow with use, at most the capacity is buffered, and while the
/// caller works with one chunk the next are read. What a dropped read has brought is there for the
/// next one: no byte is lost.
///
/// A value that has been read ahead of its caller is moved back before it is written to, handed out
/// or returned, if it can seek. This is known of the types of `std`, such as `File` and
/// `Cursor<Vec<u8>>`; call [`seekable`](Unblock::seekable) for others. A value that cannot seek
/// keeps its position, and what was read stays in the buffer.
///
/// Reading ahead happens only where it cannot stand in the way of a write: if the value can seek,
/// or is one of the types of `std` that can only be read. Call [`read_ahead`](Unblock::read_ahead)
/// for others, such as a decompressor.
///
/// # Writing
///
/// A write is done when the bytes are in the buffer; they are written at once, in the background,
/// in order. The next call reports an error of that, whichever call it is, and the bytes stay in
/// the buffer: the call after it tries them again. [`unwritten`](Unblock::unwritten) takes them
/// out.
///
/// A call is accepted whole, up to the capacity, or waits until there is room for all of it. So
/// each `write` of the value ends where a call of the caller ended, and a large call is one
/// `write`.
///
/// Dropping the `Unblock` does not block: what was accepted is written, and flushed, on the pool,
/// and then the value is dropped there. Only `tracing` reports an error then; so end with `flush`
/// or `close`.
///
/// # Closing
///
/// Closing writes and flushes all that was accepted, and then drops the value, so that the peer of
/// a pipe or a socket sees the end; a socket's peer sees it even if there are clones of the socket.
/// Afterwards every call is an error of kind [`NotConnected`](io::ErrorKind::NotConnected), but a
/// flush or another close, which have nothing to do. A [`std::fs::File`] that is a regular file is
/// only flushed, and can still be used.
///
/// # Full and ended pools
///
/// Where the queue of the pool has a [limit](crate::PoolBuilder::queue_limit) and is full, reads
/// and writes alike wait for room, in the order in which they came, as with
/// [`Pool::reserve`](crate::Pool::reserve). They hold no thread meanwhile, and neither does a
/// handle that is dropped: its bytes are written when there is room. A
/// [`shutdown`](crate::Pool::shutdown) writes the bytes of all that wait before it reports its end,
/// even if it discards what is queued; a read that waits then fails.
///
/// Once the pool has ended reads fail, and bytes that are accepted are written by one thread for
/// all such streams of the process, one stream after another, a millisecond at a time.
///
/// What was accepted survives the end of the process: the end of `main` and
/// [`std::process::exit`] wait until it is written, for up to 5 seconds or the time of
/// [`set_exit_timeout`](crate::io::set_exit_timeout), and for the drop of a value that was dropped
/// before. A value with a buffer of its own, such as [`BufWriter`](io::BufWriter), has what it was
/// given when its `write` returns: flush it, or drop the `Unblock`, before the end.
///
/// # Pipes, sockets, terminals
///
/// On Linux the types of `std` that have a descriptor are not worked on by the pool where they may
/// never be ready: `ChildStdin`, `ChildStdout`, `ChildStderr`, `TcpStream`, `UnixStream`,
/// `PipeReader`, `PipeWriter`, and a `File` (or an `Arc<File>`) that is a FIFO, a terminal, a
/// socket or a device. One thread of the process waits for all of them. Bytes go straight between
/// the descriptor and the caller's buffer; a write has gone over, as far as it returns, and a read
/// that is dropped has taken nothing. Both directions go on at the same time. Whether the
/// descriptor is in non-blocking mode does not matter, and is not changed; timeouts of a socket
/// have no effect.
///
/// # One thing at a time
///
/// Any other value does one thing at a time. A write waits for a read that is in progress, even one
/// whose caller has given up: to use such a value both ways at once wrap two clones of it, one for
/// each direction.
///
/// It takes a thread of the pool. So a closure on the only thread of a pool must not wait for an
/// `Unblock` on the same pool with [`block_on`](crate::block_on).
///
/// # Panics of the value
///
/// If the value panics it is dropped, and this and all later calls report an error that says so; a
/// stream resumes the panic once, and then ends.
///
/// # Cancellation
///
/// Every call can be dropped. A read that the pool has begun goes on, and its bytes go to the next
/// read. A
/// seek that was begun takes effect before the next call; if that is a seek to the very position,
/// it gets the result of the first. A closure of [`with_mut`](Unblock::with_mut) that has not begun
/// never runs. A close may take place nonetheless, unless a call that is no read comes before the
/// pool has begun to drop the value; a call that comes later waits for the end of that, and fails.
#[must_use = "dropping an Unblock drops its value, once written bytes are written"]
pub struct Unblock<T: Send + 'static> {
    client: Client<T>,
    /// Where the work is done, if that is a lane: a handle to it. The pump has none, since it may
    /// wait for the end of a pause.
    lane: Option<ChosenTarget>,
    /// Items that are being given out. The lock is never taken: it makes the handle one that
    /// threads can share, though its items cannot be shared.
    items: Mutex<Option<Items>>,
    /// How many items may be buffered, if that was set.
    capacity: Option<NonZeroU32>,
    /// A write has been accepted. The first does not yield: many handles that are written to once
    /// are no loop of writes.
    has_written: bool,
    /// Where the last seek by tokio's trait got.
    #[cfg(feature = "tokio")]
    position: u64,
}

impl<T: Send + 'static> Unblock<T> {
    /// Wraps `value`, with at most 64 KiB buffered in each direction (of an iterator, as many items
    /// as fit into that, and at most 1,024).
    ///
    /// Nothing is allocated for buffers before they are used.
    pub fn new(value: T) -> Self {
        Self::set_up(value, None, Setup::default())
    }

    /// Wraps `value`, with at most `capacity` bytes buffered in each direction, or that many items
    /// of an iterator.
    ///
    /// # Panics
    ///
    /// If `capacity` is 0.
    #[track_caller]
    pub fn with_capacity(capacity: usize, value: T) -> Self {
        assert!(capacity > 0, "capacity 0 of an Unblock: it must be at least 1");
        Self::set_up(value, Some(capacity), Setup::default())
    }

    pub(crate) fn set_up(value: T, capacity: Option<usize>, setup: Setup) -> Self {
        let sizes = Sizes::of_capacity(capacity.unwrap_or(crate::io::CAPACITY));
        let capacity = capacity.and_then(|items| NonZeroU32::new(u32::try_from(items).unwrap_or(u32::MAX)));
        Unblock { capacity, ..Self::set_up_with(value, sizes, setup) }
    }

    pub(crate) fn set_up_with(value: T, sizes: Sizes, setup: Setup) -> Self {
        let lane = setup.target.lane();
        let setup = Setup { target: setup.target.without_handle(), ..setup };
        Unblock {
            client: Client::new(value, sizes, setup),
            lane,
            items: Mutex::new(None),
            capacity: None,
            has_written: false,
            #[cfg(feature = "tokio")]
            position: 0,
        }
    }

    /// Makes a pool or a lane do the work, instead of the global pool.
    ///
    /// What has bytes to write is not dropped by a shutdown, whatever the options of the spawner
    /// say.
    ///
    /// # Panics
    ///
    /// If the value is at work.
    #[track_caller]
    pub fn on(mut self, spawner: &impl Spawner) -> Self {
        match self.client.setup_mut() {
            Some(setup) => {
                let target = SpawnTarget::of(spawner);
                self.lane = target.lane();
                setup.target = target.without_handle();
            }
            None => panic!("an Unblock at work cannot change its pool: call `on` before it is used"),
        }
        self
    }

    /// Declares that the value can seek, for types where that is not known, so that it can be moved
    /// back when it has been read ahead of the caller.
    pub fn seekable(self) -> Self
    where
        T: Seek,
    {
        if let Some(mut machine) = self.client.lock() {
            machine.set_seekable(T::seek);
        }
        self
    }

    /// Sets whether the value is read ahead of the caller.
    ///
    /// `true` is for a value that is only read, such as a decompressor, so that it works while the
    /// caller does. It is wrong for one that is also written to and cannot seek, such as a TLS
    /// stream: the write would wait for a read that the caller did not ask for. `false` is for a
    /// file that is read here and there, to save the reads that are not needed.
    pub fn read_ahead(self, ahead: bool) -> Self {
        if let Some(mut machine) = self.client.lock() {
            machine.set_read_ahead(ahead);
        }
        self
    }

    /// The value itself, once it is at rest: what was written has been flushed, and what was read
    /// ahead is discarded (where the value can seek).
    ///
    /// # Errors
    ///
    /// That of a write or flush, or of moving the value back. The bytes are kept, as after any
    /// failed write.
    pub async fn get_mut(&mut self) -> io::Result<&mut T> {
        if self.client.checked_out().is_none() {
            poll_fn(|context| self.client.drive(context, &mut Request::Quiesce)).await?;
            self.client.check_out();
        }
        let value = self.client.checked_out().as_mut();
        value.ok_or_else(|| io::Error::other("the value is gone"))
    }

    /// The value, once it is at rest: what was written has been flushed, and what was read ahead is
    /// discarded (where the value can seek).
    ///
    /// # Errors
    ///
    /// That of a write or flush, or of moving the value back. The error has the `Unblock` in it,
    /// with all that it buffers.
    pub async fn into_inner(mut self) -> Result<T, IntoInnerError<T>> {
        match self.get_mut().await {
            Err(error) => Err(IntoInnerError { error, unblock: self }),
            Ok(_) => match self.client.checked_out().take() {
                Some(value) => Ok(value),
                None => unreachable!("it has just been taken out"),
            },
        }
    }

    /// Takes the bytes that were accepted and could not be written, so that the value can be used
    /// for something else.
    ///
    /// It waits for a write that is in progress. There are such bytes only after a write that
    /// failed; the error of that write is not reported any more then. A flush that failed is not
    /// tried again before something else has been written.
    ///
    /// # Errors
    ///
    /// If the value has panicked.
    pub async fn unwritten(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        poll_fn(|context| self.client.drive(context, &mut Request::Unwritten { bytes: &mut bytes })).await?;
        Ok(bytes)
    }

    /// The most bytes that one call moves.
    pub(crate) fn most(&self) -> usize {
        self.client.most()
    }

    pub(crate) fn sizes(&self) -> Sizes {
        self.client.sizes()
    }

    /// Sets how much is buffered, and moved at a time. What is buffered stays.
    pub(crate) fn set_sizes(&mut self, sizes: Sizes) {
        self.client.set_sizes(sizes);
    }

    /// Where the work is done.
    pub(crate) fn target(&self) -> SpawnTarget {
        self.lane.clone().map_or_else(|| self.client.setup().target.clone(), SpawnTarget::from)
    }

    /// Waits until everything that was accepted has been written. Many callers may wait at a time.
    pub(crate) fn poll_written(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.client.poll_written(context)
    }

    /// Whether the value was closed, and dropped.
    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// As [`get_mut`](Unblock::get_mut), for callers that share the handle: waits until the value
    /// is at rest, and leaves it there.
    pub(crate) async fn at_rest(&self) -> io::Result<()> {
        let mut is_asked = false;
        poll_fn(|context| self.client.poll_at_rest(context, &mut is_asked)).await
    }

    /// How many bytes the value has been read ahead of the caller, if it is at rest but for that,
    /// and no error is to be reported.
    pub(crate) fn unread_at_rest(&mut self) -> Option<usize> {
        self.client.unread_at_rest()
    }

    /// Returns a closure that marks, from any thread, what was read ahead as stale: the value has
    /// other bytes there by now.
    pub(crate) fn invalidator(&self) -> impl Fn() + Send + use<T> {
        self.client.invalidator()
    }
}

// The value is never pinned: it moves between here and the pool.
impl<T: Send + 'static> Unpin for Unblock<T> {}

impl<T: Send + 'static> fmt::Debug for Unblock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unblock").field("unread", &self.client.chunk.unread().len()).finish_non_exhaustive()
    }
}

/// Why [`Unblock::into_inner`] could not return the value, and the [`Unblock`], to try again.
pub struct IntoInnerError<T: Send + 'static> {
    error: io::Error,
    unblock: Unblock<T>,
}

impl<T: Send + 'static> IntoInnerError<T> {
    /// What went wrong.
    #[must_use]
    pub fn error(&self) -> &io::Error {
        &self.error
    }

    /// The handle, with everything that it buffers.
    pub fn into_unblock(self) -> Unblock<T> {
        self.unblock
    }
}

impl<T: Send + 'static> fmt::Debug for IntoInnerError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntoInnerError").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<T: Send + 'static> fmt::Display for IntoInnerError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T: Send + 'static> Error for IntoInnerError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

impl<T: Send + 'static> From<IntoInnerError<T>> for io::Error {
    fn from(error: IntoInnerError<T>) -> Self {
        error.error
    }
}
