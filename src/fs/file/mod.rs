//! Open files.

mod handles;
mod lock;
#[cfg(any(unix, windows))]
mod positioned;
#[cfg(any(unix, windows))]
mod raw;

use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, SeekFrom};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::SystemTime;

use self::lock::FileLock;
use super::offload::Fs;
use super::{FileTimes, Metadata, OpenOptions, Permissions};
use crate::io::delegate::{delegate_read, delegate_write};
use crate::io::{Setup, Sizes, Unblock};
use crate::sys::first_use::get_or_make;
use crate::sys::pipe::ended_pipe;

/// The most bytes that one read or write of a file moves, unless that is set.
const MAX_BUF_SIZE: usize = 2 << 20;

/// An open file: [`std::fs::File`], with calls that do not block.
///
/// Read, write and seek with the traits of `futures-io` (and of tokio, with the feature `tokio`). A
/// file buffers as [`Unblock`] does; its documentation on reading, writing and cancellation holds
/// here too. It reads up to 256 KiB ahead, and collects small writes up to 1 MiB while others are
/// written. A larger read or write is one call of the system, of up to 2 MiB: see
/// [`set_max_buf_size`](File::set_max_buf_size). Buffers begin at multiples of 4096 and lengths are
/// kept, so a file that is opened with `O_DIRECT` works for callers who keep its rules. On Linux a
/// read from the page cache makes no trip to the pool: the bytes are copied at once, as from a
/// buffer.
///
/// A file that is a FIFO, a terminal, a socket or a device is read and written as
/// [`Unblock`] describes: without a thread of the pool, and only as far as it is ready. Closing it
/// drops it; closing a regular file flushes it.
///
/// The other methods take `&self`, so several callers may use them at a time, for example on a file
/// in an [`Arc`]. They see all earlier writes: each waits until the bytes that the file has
/// accepted are written, and reports an error of that write.
///
/// **Flush before you drop a file that you wrote to.** Dropping does not block: the file writes
/// the bytes that it has accepted in the background, and only traces an error. A file with nothing
/// to write and no call in progress is closed at once. The end of `main` and
/// [`std::process::exit`] wait until all files have written what they have accepted, for up to 5
/// seconds or the time of [`set_exit_timeout`](crate::io::set_exit_timeout).
///
/// After a failed write the file keeps the bytes, and every call tries to write them again;
/// [`unwritten`](File::unwritten) takes them out.
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
    /// Whether the file is read past the page cache, once that has been asked.
    #[cfg_attr(not(any(unix, windows)), expect(dead_code, reason = "nothing is read at a place"))]
    bypasses_cache: OnceLock<bool>,
    /// The last field: by then the file is closed, as far as that is up to this handle.
    lock: Arc<FileLock>,
}

impl File {
    /// Opens the file at `path` for reading.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::open`].
    #[track_caller]
    pub fn open(path: impl AsRef<Path>) -> impl Future<Output = io::Result<File>> {
        Fs::GLOBAL.open(path)
    }

    /// Opens the file at `path` for writing. Creates it if it does not exist, and truncates it if
    /// it does.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::create`].
    #[track_caller]
    pub fn create(path: impl AsRef<Path>) -> impl Future<Output = io::Result<File>> {
        Fs::GLOBAL.create(path)
    }

    /// Creates a file at `path`, which must not exist, and opens it for reading and writing.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::create_new`]: [`AlreadyExists`](io::ErrorKind::AlreadyExists) if
    /// the path exists.
    #[track_caller]
    pub fn create_new(path: impl AsRef<Path>) -> impl Future<Output = io::Result<File>> {
        Fs::GLOBAL.create_new(path)
    }

    /// Wraps `file`, with at most `capacity` bytes buffered in each direction: a small one for many
    /// files that are open at a time, a large one for large reads and writes.
    ///
    /// Nothing is allocated before it is used.
    ///
    /// # Panics
    ///
    /// If `capacity` is 0.
    ///
    /// ```
    /// use futures_util::AsyncReadExt;
    /// use sidestep::fs::File;
    ///
    /// # sidestep::block_on(async {
    /// let mut file = File::with_capacity(16, std::fs::File::open("Cargo.toml")?);
    /// assert_eq!(file.read(&mut [0; 100]).await?, 16);
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    #[inline]
    #[must_use]
    #[track_caller]
    pub fn with_capacity(capacity: usize, file: std::fs::File) -> File {
        assert!(capacity > 0, "capacity 0 of a file: it must be at least 1");
        let mut file = File::from(file);
        file.stream.set_sizes(Sizes::of_capacity(capacity));
        file
    }

    /// Sets the most bytes that one read or write moves. A call with a larger buffer moves no more
    /// than that; one with a smaller buffer is one call of the system. The default is 2 MiB.
    ///
    /// The file reads ahead, and collects small writes, within this limit too, and accepts at most
    /// twice as much before it is written. What is buffered already stays.
    ///
    /// # Panics
    ///
    /// If `max_buf_size` is 0.
    ///
    /// ```
    /// use futures_util::AsyncReadExt;
    /// use sidestep::fs::File;
    ///
    /// # sidestep::block_on(async {
    /// let mut file = File::open("Cargo.toml").await?;
    /// file.set_max_buf_size(9);
    /// assert_eq!(file.read(&mut [0; 100]).await?, 9);
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    #[inline]
    #[track_caller]
    pub fn set_max_buf_size(&mut self, max_buf_size: usize) {
        assert!(max_buf_size > 0, "max_buf_size 0 of a file: it must be at least 1");
        self.stream.set_sizes(Sizes::of_file(max_buf_size));
    }

    /// Returns the most bytes that one read or write moves; see
    /// [`set_max_buf_size`](File::set_max_buf_size).
    #[must_use]
    pub fn max_buf_size(&self) -> usize {
        self.stream.most()
    }

    /// Returns options for opening a file, as [`OpenOptions::new`].
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// Takes out the bytes that the file has accepted and could not write. Until then every call
    /// tries to write them again, and reports the error if that fails.
    ///
    /// # Errors
    ///
    /// Infallible in practice; it returns [`io::Result`] because [`Unblock::unwritten`] does, whose
    /// value may panic.
    pub async fn unwritten(&mut self) -> io::Result<Vec<u8>> {
        self.stream.unwritten().await
    }

    /// Flushes data and metadata of the file to the disk (`fsync`).
    ///
    /// # Errors
    ///
    /// That of a write that was accepted before, and those of [`std::fs::File::sync_all`].
    #[doc(alias = "fsync")]
    pub async fn sync_all(&self) -> io::Result<()> {
        self.call(|file| file.sync_all()).await
    }

    /// Flushes the data of the file to the disk (`fdatasync`), with only the metadata that is
    /// needed to read it.
    ///
    /// # Errors
    ///
    /// That of a write that was accepted before, and those of [`std::fs::File::sync_data`].
    #[doc(alias = "fdatasync")]
    pub async fn sync_data(&self) -> io::Result<()> {
        self.call(|file| file.sync_data()).await
    }

    /// Truncates or extends the file to `size` bytes; an extension is filled with zeros.
    ///
    /// # Errors
    ///
    /// That of a write that was accepted before, and those of [`std::fs::File::set_len`].
    #[doc(alias = "truncate")]
    pub async fn set_len(&self, size: u64) -> io::Result<()> {
        let invalidate = self.stream.invalidator();
        self.call(move |file| {
            // Bytes read ahead before the call are stale, and so are those read while it runs.
            invalidate();
            let result = file.set_len(size);
            invalidate();
            result
        })
        .await
    }

    /// Returns the metadata of the file.
    ///
    /// # Errors
    ///
    /// That of a write that was accepted before, and those of [`std::fs::File::metadata`].
    pub async fn metadata(&self) -> io::Result<Metadata> {
        self.call(|file| file.metadata()).await
    }

    /// Changes the permissions of the file.
    ///
    /// # Errors
    ///
    /// That of a write that was accepted before, and those of [`std::fs::File::set_permissions`].
    pub async fn set_permissions(&self, permissions: Permissions) -> io::Result<()> {
        self.call(move |file| file.set_permissions(permissions)).await
    }

    /// Changes the timestamps of the file.
    ///
    /// # Errors
    ///
    /// That of a write that was accepted before, and those of [`std::fs::File::set_times`].
    pub async fn set_times(&self, times: FileTimes) -> io::Result<()> {
        self.call(move |file| file.set_times(times)).await
    }

    /// Changes the modification time of the file.
    ///
    /// # Errors
    ///
    /// As for [`set_times`](File::set_times).
    pub async fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        self.set_times(FileTimes::new().set_modified(time)).await
    }

    /// Lets go of a pipe, a socket or a device that was closed, as the stream has.
    fn after_close(&mut self) -> io::Result<()> {
        if self.stream.is_closed() {
            self.file = closed_file()?;
        }
        Ok(())
    }

    /// Calls `f` on the pool, after what was accepted has been written.
    async fn call<T, F>(&self, f: F) -> io::Result<T>
    where
        F: FnOnce(&std::fs::File) -> io::Result<T> + Send + 'static,
        T: Send + 'static,
    {
        self.written().await?;
        let file = Arc::clone(&self.file);
        self.fs().offload(move || f(&file)).await
    }

    /// Where the work is done.
    fn fs(&self) -> Fs {
        Fs { target: self.stream.target() }
    }

    /// Waits until what was accepted has been written.
    async fn written(&self) -> io::Result<()> {
        poll_fn(|context| self.stream.poll_written(context)).await
    }
}

impl Fs {
    /// As [`File::open`].
    #[track_caller]
    pub fn open<P: AsRef<Path>>(&self, path: P) -> impl Future<Output = io::Result<File>> + use<P> {
        let fs = self.without_handle();
        self.with_path(path, move |path| std::fs::File::open(path).map(|file| fs.opened(file)))
    }

    /// As [`File::create`].
    #[track_caller]
    pub fn create<P: AsRef<Path>>(&self, path: P) -> impl Future<Output = io::Result<File>> + use<P> {
        let fs = self.without_handle();
        self.with_path(path, move |path| std::fs::File::create(path).map(|file| fs.opened(file)))
    }

    /// As [`File::create_new`].
    #[track_caller]
    pub fn create_new<P: AsRef<Path>>(&self, path: P) -> impl Future<Output = io::Result<File>> + use<P> {
        let fs = self.without_handle();
        self.with_path(path, move |path| std::fs::File::create_new(path).map(|file| fs.opened(file)))
    }

    /// Makes a [`File`] of an open file, as [`File::from`] does.
    #[inline]
    #[must_use]
    pub fn file(&self, file: std::fs::File) -> File {
        self.file_of(Arc::new(file), Arc::new(FileLock::unknown()))
    }

    /// Makes a [`File`] of a file that was opened just now.
    #[inline]
    pub(super) fn opened(&self, file: std::fs::File) -> File {
        self.file_of(Arc::new(file), Arc::default())
    }

    /// A handle to an open file that other calls may have too.
    #[inline]
    fn file_of(&self, file: Arc<std::fs::File>, lock: Arc<FileLock>) -> File {
        let set_up = Setup { target: self.target.with_handle(), drops_in_place: true, ..Setup::default() };
        let stream = Unblock::set_up_with(Arc::clone(&file), Sizes::of_file(MAX_BUF_SIZE), set_up);
        File { file, stream, bypasses_cache: OnceLock::new(), lock }
    }
}

/// What the descriptor of a file that was closed shows from then on: an empty pipe at its end.
fn closed_file() -> io::Result<Arc<std::fs::File>> {
    static CLOSED: OnceLock<Arc<std::fs::File>> = OnceLock::new();

    if let Some(closed) = CLOSED.get() {
        return Ok(Arc::clone(closed));
    }
    let file = ended_pipe()?;
    Ok(Arc::clone(get_or_make(&CLOSED, || Arc::new(file))))
}

delegate_read!(File, stream);
delegate_write!(File, stream);

impl futures_io::AsyncSeek for File {
    #[inline]
    fn poll_seek(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: SeekFrom) -> Poll<io::Result<u64>> {
        futures_io::AsyncSeek::poll_seek(Pin::new(&mut self.stream), context, to)
    }
}

#[cfg(feature = "tokio")]
impl tokio::io::AsyncSeek for File {
    #[inline]
    fn start_seek(mut self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        tokio::io::AsyncSeek::start_seek(Pin::new(&mut self.stream), to)
    }

    #[inline]
    fn poll_complete(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<u64>> {
        tokio::io::AsyncSeek::poll_complete(Pin::new(&mut self.stream), context)
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("file", &self.file).finish_non_exhaustive()
    }
}
