//! Open files.

mod lock;
#[cfg(any(unix, windows))]
mod positioned;

use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, SeekFrom};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::SystemTime;

use self::lock::LockIntents;
use super::offload::{offload, with_path};
use super::{FileTimes, Metadata, OpenOptions, Permissions};
use crate::io::delegate::{delegate_read, delegate_write};
use crate::io::{Setup, Unblock};

/// How many bytes a file buffers at most in each direction, once it is read or written in a stream.
const CAPACITY: usize = 256 << 10;

/// An open file: [`std::fs::File`], with calls that do not block.
///
/// It is read, written and moved about in by the traits of `futures-io` (and of tokio, with the
/// feature `tokio`), with buffers as those of [`Unblock`] that grow to at most 256 KiB in each
/// direction; what is said there on reading, writing and cancellation holds here too. On Linux a
/// read of what the system has in memory takes no trip to the pool: it is copied at once, as from a
/// buffer.
///
/// The other methods take `&self` and may be called by many at a time, of a file in an [`Arc`],
/// say. They see what was written before: they wait until what was accepted has been written, and
/// report an error of that.
///
/// **Flush before you drop a file that was written to.** Dropping does not block: what was accepted
/// is written in the background, and an error of that is only traced. A file that has nothing to
/// write, and no call in progress, is closed at once.
///
/// After an error of a write the bytes stay here, and every call tries them again;
/// [`unwritten`](File::unwritten) gives them up.
///
/// ```
/// use futures_util::{AsyncReadExt, AsyncWriteExt};
/// use sidestep::fs::File;
///
/// # sidestep::block_on(async {
/// let dir = tempfile::tempdir()?;
/// let mut file = File::create(dir.path().join("log")).await?;
/// file.write_all(b"one\ntwo\n").await?;
/// file.flush().await?;
///
/// let mut file = File::open(dir.path().join("log")).await?;
/// let mut text = String::new();
/// file.read_to_string(&mut text).await?;
/// assert_eq!(text.lines().count(), 2);
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
pub struct File {
    file: Arc<std::fs::File>,
    stream: Unblock<Arc<std::fs::File>>,
    /// The calls that want the lock of the file; made by the first of them.
    intents: OnceLock<Arc<LockIntents>>,
}

impl File {
    /// Opens the file at `path` for reading.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::open`].
    #[track_caller]
    pub fn open(path: impl AsRef<Path>) -> impl Future<Output = io::Result<File>> + Send + 'static {
        with_path(path, |path| std::fs::File::open(path).map(File::from))
    }

    /// Opens the file at `path` for writing, makes it if there is none, and empties it.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::create`].
    #[track_caller]
    pub fn create(path: impl AsRef<Path>) -> impl Future<Output = io::Result<File>> + Send + 'static {
        with_path(path, |path| std::fs::File::create(path).map(File::from))
    }

    /// Makes a file at `path`, where there must be none, and opens it for reading and writing.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::create_new`]: [`AlreadyExists`](io::ErrorKind::AlreadyExists) if
    /// there is one.
    #[track_caller]
    pub fn create_new(path: impl AsRef<Path>) -> impl Future<Output = io::Result<File>> + Send + 'static {
        with_path(path, |path| std::fs::File::create_new(path).map(File::from))
    }

    /// Options for opening a file.
    #[must_use]
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// The file as one of `std`, at the place where this one stands: what was written has been
    /// flushed, what was read ahead is undone. Of a pipe or a terminal, which cannot be moved back,
    /// what was read and not taken is lost.
    ///
    /// A call that is still in progress though its future was dropped shares the file; then the
    /// result is a duplicate.
    ///
    /// # Errors
    ///
    /// That of a write, or of moving the file back. Then the file is gone, and what was not written
    /// is tried once more in the background: use `flush` before if you want to try again yourself.
    pub async fn into_std(self) -> io::Result<std::fs::File> {
        let File { file, stream, .. } = self;
        drop(stream.into_inner().await?);
        Arc::try_unwrap(file).or_else(|file| file.try_clone())
    }

    /// Another handle to the same open file, which shares its place. This one is settled first, as
    /// for [`into_std`](File::into_std); afterwards each buffers for itself, so flush one before
    /// you use the other.
    ///
    /// # Errors
    ///
    /// Those of a write, and of [`std::fs::File::try_clone`].
    pub async fn try_clone(&mut self) -> io::Result<File> {
        self.stream.get_mut().await?;
        let clone = File::from(self.file.try_clone()?);
        Ok(File { intents: Arc::clone(self.lock_intents()).into(), ..clone })
    }

    /// Takes the bytes that were accepted and could not be written, so that the file can be used
    /// for something else: until then every call tries them again, and reports it if that fails.
    ///
    /// # Errors
    ///
    /// None is expected.
    pub async fn unwritten(&mut self) -> io::Result<Vec<u8>> {
        self.stream.unwritten().await
    }

    /// Writes what is in the system's memory of the file to the disk, its metadata too.
    ///
    /// # Errors
    ///
    /// That of a write that was accepted before, and those of [`std::fs::File::sync_all`].
    pub async fn sync_all(&self) -> io::Result<()> {
        self.call(|file| file.sync_all()).await
    }

    /// As [`sync_all`](File::sync_all), but without metadata that is not needed to read the data.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn sync_data(&self) -> io::Result<()> {
        self.call(|file| file.sync_data()).await
    }

    /// Cuts the file to `size` bytes, or adds zeros up to that.
    ///
    /// # Errors
    ///
    /// That of a write that was accepted before, and those of [`std::fs::File::set_len`].
    pub async fn set_len(&self, size: u64) -> io::Result<()> {
        let invalidate = self.stream.invalidator();
        self.call(move |file| {
            // A read ahead from before is of no use, nor is one from while it runs.
            invalidate();
            let result = file.set_len(size);
            invalidate();
            result
        })
        .await
    }

    /// What the system knows of the file.
    ///
    /// # Errors
    ///
    /// That of a write that was accepted before, and those of [`std::fs::File::metadata`].
    pub async fn metadata(&self) -> io::Result<Metadata> {
        self.call(|file| file.metadata()).await
    }

    /// Changes who may do what with the file.
    ///
    /// # Errors
    ///
    /// That of a write that was accepted before, and those of [`std::fs::File::set_permissions`].
    pub async fn set_permissions(&self, permissions: Permissions) -> io::Result<()> {
        self.call(move |file| file.set_permissions(permissions)).await
    }

    /// Changes the times of the file.
    ///
    /// # Errors
    ///
    /// That of a write that was accepted before, and those of [`std::fs::File::set_times`].
    pub async fn set_times(&self, times: FileTimes) -> io::Result<()> {
        self.call(move |file| file.set_times(times)).await
    }

    /// Changes the time of the last change.
    ///
    /// # Errors
    ///
    /// As for [`set_times`](File::set_times).
    pub async fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        self.set_times(FileTimes::new().set_modified(time)).await
    }

    /// Calls `f` on the pool, after what was accepted has been written.
    async fn call<T, F>(&self, f: F) -> io::Result<T>
    where
        F: FnOnce(&std::fs::File) -> io::Result<T> + Send + 'static,
        T: Send + 'static,
    {
        self.written().await?;
        let file = Arc::clone(&self.file);
        offload(move || f(&file)).await
    }

    /// Waits until what was accepted has been written.
    async fn written(&self) -> io::Result<()> {
        poll_fn(|context| self.stream.poll_written(context)).await
    }
}

delegate_read!(File, stream);
delegate_write!(File, stream);

impl futures_io::AsyncSeek for File {
    fn poll_seek(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: SeekFrom) -> Poll<io::Result<u64>> {
        futures_io::AsyncSeek::poll_seek(Pin::new(&mut self.stream), context, to)
    }
}

#[cfg(feature = "tokio")]
impl tokio::io::AsyncSeek for File {
    fn start_seek(mut self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        tokio::io::AsyncSeek::start_seek(Pin::new(&mut self.stream), to)
    }

    fn poll_complete(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<u64>> {
        tokio::io::AsyncSeek::poll_complete(Pin::new(&mut self.stream), context)
    }
}

impl From<std::fs::File> for File {
    fn from(file: std::fs::File) -> Self {
        let file = Arc::new(file);
        let set_up = Setup { drops_in_place: true, ..Setup::default() };
        File {
            stream: Unblock::set_up(Arc::clone(&file), Some(CAPACITY), set_up),
            file,
            intents: OnceLock::new(),
        }
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("file", &self.file).finish_non_exhaustive()
    }
}

/// The descriptor is not settled: its place may be ahead of this file's.
#[cfg(unix)]
impl std::os::fd::AsFd for File {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(unix)]
impl std::os::fd::AsRawFd for File {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.file.as_raw_fd()
    }
}

#[cfg(unix)]
impl From<std::os::fd::OwnedFd> for File {
    fn from(fd: std::os::fd::OwnedFd) -> Self {
        std::fs::File::from(fd).into()
    }
}

/// The handle is not settled: its place may be ahead of this file's.
#[cfg(windows)]
impl std::os::windows::io::AsHandle for File {
    fn as_handle(&self) -> std::os::windows::io::BorrowedHandle<'_> {
        self.file.as_handle()
    }
}

#[cfg(windows)]
impl std::os::windows::io::AsRawHandle for File {
    fn as_raw_handle(&self) -> std::os::windows::io::RawHandle {
        self.file.as_raw_handle()
    }
}

#[cfg(windows)]
impl From<std::os::windows::io::OwnedHandle> for File {
    fn from(handle: std::os::windows::io::OwnedHandle) -> Self {
        std::fs::File::from(handle).into()
    }
}
