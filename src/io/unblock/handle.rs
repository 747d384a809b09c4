//! [`Unblock`]: the handle.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, Seek};
use std::sync::Arc;
use std::task::{Context, Poll};

use super::core::Core;
use super::inbound::Chunk;
use super::into_inner::IntoInnerError;
use super::items::Items;
use super::known;
use super::shared::{Eagerness, Setup, Shared};
use super::step::{Able, Place, Plan, Seeking};
use super::wakers::{Side, Wakes};
use crate::pool::Pool;
use crate::sync::Mutex;
use crate::sync::atomic::Ordering;

/// A blocking reader, writer or iterator as an asynchronous one.
///
/// The value lives on a thread pool while it works and at home while it does not; the calls of the
/// asynchronous traits exchange bytes, or items, with it through buffers. Where `T` is
///
/// | `T` | `Unblock<T>` |
/// |---|---|
/// | [`Read`](io::Read) | [`AsyncRead`](futures_io::AsyncRead), [`AsyncBufRead`](futures_io::AsyncBufRead) |
/// | [`Write`](io::Write) | [`AsyncWrite`](futures_io::AsyncWrite) |
/// | [`Seek`] | [`AsyncSeek`](futures_io::AsyncSeek) |
/// | [`Iterator`] | [`Stream`](futures_core::Stream) |
///
/// and with the feature `tokio` that runtime's traits of the same names. Files have a type of their
/// own, [`fs::File`](crate::fs::File), made of this one.
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
/// or given back, if it can seek. This is known of the types of `std`, such as `File` and
/// `Cursor<Vec<u8>>`; say [`seekable`](Unblock::seekable) for others. A value that cannot seek
/// keeps its place, and what was read stays in the buffer.
///
/// Reading ahead happens only where it cannot stand in the way of a write: if the value can seek,
/// or is one of the types of `std` that can only be read. For others say
/// [`read_ahead`](Unblock::read_ahead): for a decompressor, say.
///
/// # Writing
///
/// A write is done when the bytes are in the buffer; they are written at once, in the background,
/// in order. An error of that is reported by the next call, whichever that is, and the bytes stay
/// in the buffer: the call after it tries them again. [`unwritten`](Unblock::unwritten) gives them
/// up.
///
/// Dropping the `Unblock` does not block: what was accepted is written, and flushed, on the pool,
/// and then the value is dropped there. Nobody learns of an error then but `tracing`; so end with
/// `flush` or `close`. Closing flushes, and leaves the value usable. If the pool has ended, writes
/// go on on a thread of their own, while reads fail.
///
/// At the end of the process nothing is flushed by itself: wait for `flush`, or for the pool's
/// [`shutdown`](Pool::shutdown), which lets all writes end first.
///
/// # One thing at a time
///
/// A value does one thing at a time. A write waits for a read that is in progress, even one whose
/// caller has given up: to use a socket both ways at once wrap two clones of it (`try_clone`), one
/// for each direction.
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
/// Every call can be dropped. A read that was begun goes on, and its bytes go to the next read. A
/// seek that was begun takes effect before the next call; if that is a seek to the same position,
/// it is taken for the same one. A closure of [`with_mut`](Unblock::with_mut) that has not begun
/// never runs.
pub struct Unblock<T: Send + 'static> {
    pub(super) shared: Arc<Shared<T>>,
    /// Bytes that are being given out.
    pub(super) chunk: Chunk,
    /// Items that are being given out. The lock is never taken: it makes the handle one that
    /// threads can share, though its items cannot be shared.
    pub(super) items: Mutex<Option<Items>>,
    /// How many items may be buffered, if that was said.
    pub(super) capacity: Option<usize>,
    pub(super) eagerness: Eagerness,
    /// The seek that was started by tokio's trait, and where the last one got.
    #[cfg(feature = "tokio")]
    pub(super) sought: Option<io::SeekFrom>,
    #[cfg(feature = "tokio")]
    pub(super) position: u64,
    /// The value, after `get_mut`; in a lock for the same reason.
    lent: Mutex<Option<T>>,
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
        assert!(capacity > 0, "capacity 0: an Unblock needs room for at least one byte or item");
        Self::set_up(value, Some(capacity), Setup::default())
    }

    pub(crate) fn set_up(value: T, capacity: Option<usize>, setup: Setup) -> Self {
        let able = Able {
            read: None,
            write: None,
            seek: known::seek(),
            items: None,
            read_cached: known::read_cached(),
            writes_through: known::writes_through::<T>(),
        };
        let bytes = capacity.unwrap_or(crate::io::CAPACITY);
        let shared = Shared::new(value, able, known::may_read_ahead::<T>(), bytes, setup);
        Unblock {
            shared,
            chunk: Chunk::default(),
            items: Mutex::new(None),
            capacity,
            eagerness: Eagerness::new(),
            #[cfg(feature = "tokio")]
            sought: None,
            #[cfg(feature = "tokio")]
            position: 0,
            lent: Mutex::new(None),
        }
    }

    /// Has `pool` do the work, not the global one.
    ///
    /// # Panics
    ///
    /// If the value is at work.
    #[must_use]
    #[track_caller]
    pub fn on(mut self, pool: &Pool) -> Self {
        match Arc::get_mut(&mut self.shared) {
            Some(shared) => shared.setup.pool = Some(pool.clone()),
            None => panic!("an Unblock at work cannot change its pool"),
        }
        self
    }

    /// Says that the value can seek, where that cannot be known, so that it can be moved back when
    /// it has been read ahead of the caller.
    #[must_use]
    pub fn seekable(self) -> Self
    where
        T: Seek,
    {
        let mut core = self.shared.lock();
        core.able.seek = Some(T::seek);
        core.reads_ahead = true;
        drop(core);
        self
    }

    /// Whether the value is read while nobody waits for it.
    ///
    /// Say `true` for a value that is only read, such as a decompressor, so that it works while the
    /// caller does. Do not say so for one that is also written to and cannot seek, such as a TLS
    /// stream: the write would wait for a read that nobody asked for. Say `false` for a file that
    /// is read here and there, to save the reads that are not needed.
    #[must_use]
    pub fn read_ahead(self, ahead: bool) -> Self {
        self.shared.lock().reads_ahead = ahead;
        self
    }

    /// The value itself, once it is at rest: what was written has been flushed, and what was read
    /// ahead undone (where the value can seek).
    ///
    /// # Errors
    ///
    /// That of a write or flush, or of moving the value back. The bytes are kept, as after any
    /// failed write.
    pub async fn get_mut(&mut self) -> io::Result<&mut T> {
        if self.lent.get_mut().is_none() {
            poll_fn(|context| self.poll_settled(context)).await?;
            *self.lent.get_mut() = self.take_value();
        }
        match self.lent.get_mut() {
            Some(value) => Ok(value),
            None => Err(io::Error::other("the value is gone")),
        }
    }

    /// The value, once it is at rest as for [`get_mut`](Unblock::get_mut).
    ///
    /// # Errors
    ///
    /// As there; the error has the `Unblock` in it, with all that it buffers.
    pub async fn into_inner(mut self) -> Result<T, IntoInnerError<T>> {
        match self.get_mut().await {
            Err(error) => Err(IntoInnerError::new(error, self)),
            Ok(_) => match self.lent.get_mut().take() {
                Some(value) => Ok(value),
                None => unreachable!("it has just been lent"),
            },
        }
    }

    /// Takes the bytes that were accepted and could not be written, so that the value can be used
    /// for something else.
    ///
    /// It waits for a write that is in progress. Without a write that failed there are none; if
    /// there are some, their error is over with them. A flush that failed is given up too, and not
    /// tried again before something else has been written.
    ///
    /// # Errors
    ///
    /// If the value has panicked.
    pub async fn unwritten(&mut self) -> io::Result<Vec<u8>> {
        poll_fn(|context| {
            self.restore();
            let Unblock { shared, eagerness, .. } = self;
            let mut given_up = None;
            shared.poll(Side::Write, eagerness, context, |core| match &core.place {
                Place::Poisoned(_) => core.enter().map(Err),
                Place::Home(_) if core.held.is_some() || core.outbound.buffered() == 0 => {
                    core.rewind = false;
                    let bytes = core.outbound.give_up();
                    if !bytes.is_empty() {
                        given_up = core.held.take();
                    }
                    Some(Ok(bytes))
                }
                _ => None,
            })
        })
        .await
    }

    /// Waits until the value is at rest, and all is written.
    pub(super) fn poll_settled(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_core(Side::Write, context, |core, chunk, wakes| {
            wakes.and(core.stop_reading(chunk));
            core.settle = true;
            let at_rest = matches!(core.place, Place::Home(_)) && core.plan() == Plan::Rest;
            at_rest.then_some(Ok(()))
        })
    }

    /// Waits until everything that was accepted has been written. It can be shared by many.
    pub(crate) fn poll_written(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.poll(Side::Written, &mut Eagerness::none(), context, |core| {
            if core.outbound.buffered() == 0 && core.held.is_none() && !core.is_seek_due() {
                return Some(Ok(()));
            }
            core.failure().map(Err)
        })
    }

    /// Says, from anywhere, that what was read and not yet asked for is not what the value has any
    /// more.
    pub(crate) fn invalidator(&self) -> impl Fn() + Send + use<T> {
        let shared = Arc::clone(&self.shared);
        // ORDERING: Release pairs with the Acquire in `give_back`: what made the bytes stale comes
        // before they are read anew.
        move || shared.stale.store(true, Ordering::Release)
    }

    /// The caller reads: it does not care any more for a seek that it dropped.
    pub(super) fn begin_reading(&mut self) {
        self.leave_seek();
        self.give_back();
    }

    /// Any other call than a seek.
    pub(super) fn leave_seek(&mut self) {
        #[cfg(feature = "tokio")]
        {
            self.sought = None;
        }
    }

    /// Gives bytes back that are not what the value has any more.
    pub(super) fn give_back(&mut self) {
        let stale = &self.shared.stale;
        // ORDERING: Acquire pairs with the Release in `invalidator`. Relaxed is enough to find
        // nothing: a read that must know has come after the change by a way that orders as well.
        if stale.load(Ordering::Relaxed) && !self.shared.is_forked() && stale.swap(false, Ordering::Acquire) {
            let mut core = self.shared.lock();
            if core.able.seek.is_some() {
                core.inbound.put_back(&mut self.chunk);
                core.turn_back();
            }
            if matches!(core.seeking, Seeking::Done(io::SeekFrom::End(_), _)) {
                core.seeking = Seeking::No;
            }
            self.shared.release(core);
        }
    }

    /// The value, if it is at rest and nothing is buffered.
    fn take_value(&self) -> Option<T> {
        let mut core = self.shared.lock();
        match std::mem::replace(&mut core.place, Place::Lent) {
            Place::Home(value) => {
                core.forget_end();
                Some(value)
            }
            other => {
                core.place = other;
                None
            }
        }
    }

    /// Puts a lent value back. It may have been written to.
    pub(super) fn restore(&mut self) {
        if let Some(value) = self.lent.get_mut().take() {
            let mut core = self.shared.lock();
            core.place = Place::Home(value);
            core.used_otherwise();
        }
    }

    /// What a call gives under the lock, once what went before has been told and a seek has ended.
    pub(super) fn poll_core<R>(
        &mut self,
        side: Side,
        context: &mut Context<'_>,
        mut attempt: impl FnMut(&mut Core<T>, &mut Chunk, &mut Wakes) -> Option<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        self.leave_seek();
        let mut stale = Seeking::No;
        self.poll_entered(side, None, context, |core, chunk, wakes| {
            if core.is_seeking(&mut stale) { None } else { attempt(core, chunk, wakes) }
        })
    }

    /// What a call, perhaps a seek, gives under the lock, once what went before has been told.
    pub(super) fn poll_entered<R>(
        &mut self,
        side: Side,
        seek: Option<io::SeekFrom>,
        context: &mut Context<'_>,
        mut attempt: impl FnMut(&mut Core<T>, &mut Chunk, &mut Wakes) -> Option<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        self.restore();
        let Unblock { shared, chunk, eagerness, .. } = self;
        let mut wakes = Wakes::default();
        let poll = shared.poll(side, eagerness, context, |core| {
            let error = match seek {
                Some(to) => core.enter_to_seek(to),
                None => core.enter(),
            };
            error.map(Err).or_else(|| attempt(core, chunk, &mut wakes))
        });
        wakes.wake();
        poll
    }
}

// The value is never pinned: it moves between here and the pool.
impl<T: Send + 'static> Unpin for Unblock<T> {}

impl<T: Send + 'static> Drop for Unblock<T> {
    fn drop(&mut self) {
        if self.shared.is_forked() {
            // The parent has the value; here not even the lock can be relied on.
            std::mem::forget(Arc::clone(&self.shared));
            return;
        }
        self.restore();
        self.shared.abandon();
    }
}

impl<T: Send + 'static> fmt::Debug for Unblock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unblock").field("unread", &self.chunk.unread().len()).finish_non_exhaustive()
    }
}
