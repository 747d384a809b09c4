//! The entries of a directory, as a stream.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_core::stream::FusedStream;

use super::offload::Fs;
use super::{FileType, Metadata};
use crate::io::{Setup, Unblock};

/// How many entries are fetched at a time: fetching one does not block for long, so the first can
/// wait for the last.
const BATCH: usize = 64;

/// How many entries are fetched ahead of the reader of the stream.
const AHEAD: usize = 1024;

/// Returns the entries of the directory at `path` as a [`Stream`].
///
/// The pool fetches the first entries in the same trip, and further batches while the caller works
/// with those. The file system decides on the order, and `.` and `..` are not among them.
///
/// # Errors
///
/// Those of [`std::fs::read_dir`]. The items of the stream may be errors too. If the pool refuses
/// to fetch more, that error is the last item.
///
/// ```
/// use futures_util::TryStreamExt;
///
/// # sidestep::block_on(async {
/// let entries = sidestep::fs::read_dir("src").await?;
/// let names = entries.map_ok(|entry| entry.file_name()).try_collect::<Vec<_>>().await?;
/// assert!(names.contains(&"lib.rs".into()));
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[track_caller]
pub fn read_dir(path: impl AsRef<Path>) -> impl Future<Output = io::Result<ReadDir>> {
    Fs::GLOBAL.read_dir(path)
}

impl Fs {
    /// As [`read_dir`].
    #[track_caller]
    pub fn read_dir<P: AsRef<Path>>(&self, path: P) -> impl Future<Output = io::Result<ReadDir>> + use<P> {
        let fs = self.without_handle();
        self.with_path(path, move |path| {
            let target = fs.target.with_handle();
            let entries = Entries::new(std::fs::read_dir(&path)?, path.into(), fs);
            let set_up = Setup { target, drops_in_place: true, batch: BATCH, ..Setup::default() };
            Ok(ReadDir { entries: Unblock::set_up(entries, Some(AHEAD), set_up).prefetched(), ended: false })
        })
    }
}

/// A stream of the entries of a directory. See [`read_dir`].
///
/// # Cancellation
///
/// Dropping a pending `next` or [`next_entry`](ReadDir::next_entry) loses no entry.
#[must_use = "streams do nothing unless polled"]
pub struct ReadDir {
    entries: Unblock<Entries>,
    /// There is no more, or the pool has refused to fetch more.
    ended: bool,
}

impl ReadDir {
    /// Returns the next entry, without the trait [`Stream`]; `None` at the end.
    ///
    /// # Errors
    ///
    /// That of reading the entry.
    pub async fn next_entry(&mut self) -> io::Result<Option<DirEntry>> {
        std::future::poll_fn(|context| self.poll_next_entry(context)).await
    }

    /// [`next_entry`](ReadDir::next_entry) for a future of your own.
    ///
    /// # Errors
    ///
    /// As for [`next_entry`](ReadDir::next_entry).
    #[inline]
    pub fn poll_next_entry(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<DirEntry>>> {
        self.poll_entry(context).map(Option::transpose)
    }

    #[inline]
    fn poll_entry(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<DirEntry>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let entry = ready!(self.entries.poll_item(context));
        self.ended = matches!(entry, None | Some(Err(_)));
        Poll::Ready(entry.map(|entry| entry.and_then(|entry| entry)))
    }
}

impl Stream for ReadDir {
    type Item = io::Result<DirEntry>;

    #[inline]
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_entry(context)
    }
}

/// The stream is terminated after the last entry, or after the error of a pool that fetches no
/// more.
impl FusedStream for ReadDir {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl fmt::Debug for ReadDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadDir").finish_non_exhaustive()
    }
}

/// What is kept of an entry. That of `std` would keep the directory open.
#[cfg(unix)]
struct Found {
    dir: Arc<Path>,
    name: OsString,
    number: u64,
    /// Most systems report it with the name.
    file_type: Option<FileType>,
}

#[cfg(unix)]
impl Found {
    fn new(dir: &Arc<Path>, entry: &std::fs::DirEntry) -> Self {
        Found {
            dir: Arc::clone(dir),
            name: entry.file_name(),
            number: std::os::unix::fs::DirEntryExt::ino(entry),
            file_type: entry.file_type().ok(),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.join(&self.name)
    }

    fn name(&self) -> OsString {
        self.name.clone()
    }

    fn metadata(&self) -> io::Result<Metadata> {
        std::fs::symlink_metadata(self.path())
    }

    fn file_type(&self) -> io::Result<FileType> {
        self.metadata().map(|metadata| metadata.file_type())
    }
}

/// What is kept of an entry: that of `std`, which here has all the system has reported, and holds
/// no handle.
#[cfg(not(unix))]
struct Found {
    entry: std::fs::DirEntry,
    file_type: Option<FileType>,
}

#[cfg(not(unix))]
impl Found {
    fn new(_: &Arc<Path>, entry: std::fs::DirEntry) -> Self {
        let file_type = entry.file_type().ok();
        Found { entry, file_type }
    }

    fn path(&self) -> PathBuf {
        self.entry.path()
    }

    fn name(&self) -> OsString {
        self.entry.file_name()
    }

    fn metadata(&self) -> io::Result<Metadata> {
        self.entry.metadata()
    }

    fn file_type(&self) -> io::Result<FileType> {
        self.entry.file_type()
    }
}

/// Entries that were fetched at once, and where they ask for more.
#[derive(Default)]
struct EntryBatch {
    found: Vec<Found>,
    fs: Fs,
}

/// The entries in batches. A batch that was handed out is kept until its entries are likely to
/// have been dropped, so that the thread that allocated their memory also frees it; otherwise two
/// threads contend in the allocator.
struct Entries {
    dir: std::fs::ReadDir,
    path: Arc<Path>,
    fs: Fs,
    batch: Arc<EntryBatch>,
    next: usize,
    /// The error that comes after the batch.
    error: Option<io::Error>,
    done: bool,
    given: VecDeque<Arc<EntryBatch>>,
}

impl Entries {
    fn new(dir: std::fs::ReadDir, path: Arc<Path>, fs: Fs) -> Self {
        let (batch, given) = (Arc::default(), VecDeque::new());
        Entries { dir, path, fs, batch, next: 0, error: None, done: false, given }
    }

    fn fetch(&mut self) {
        let mut found = Vec::new();
        while found.len() < BATCH && self.error.is_none() && !self.done {
            match self.dir.next() {
                #[cfg(unix)]
                Some(Ok(entry)) => found.push(Found::new(&self.path, &entry)),
                #[cfg(not(unix))]
                Some(Ok(entry)) => found.push(Found::new(&self.path, entry)),
                Some(Err(error)) => self.error = Some(error),
                None => self.done = true,
            }
        }
        let batch = Arc::new(EntryBatch { found, fs: self.fs.clone() });
        self.given.push_back(std::mem::replace(&mut self.batch, batch));
        if self.given.len() > 2 * AHEAD / BATCH {
            self.given.pop_front();
        }
        self.next = 0;
    }
}

impl Iterator for Entries {
    type Item = io::Result<DirEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.next < self.batch.found.len() {
                self.next += 1;
                return Some(Ok(DirEntry { batch: Arc::clone(&self.batch), index: self.next - 1 }));
            }
            if let Some(error) = self.error.take() {
                return Some(Err(error));
            }
            if self.done {
                self.given.clear();
                return None;
            }
            self.fetch();
        }
    }
}

/// An entry of a directory. Cheap to clone.
///
/// Entries are fetched in batches of 64; keeping one entry keeps its batch in memory. It keeps
/// nothing open: the directory is closed once the [`ReadDir`] is dropped.
#[derive(Clone)]
pub struct DirEntry {
    batch: Arc<EntryBatch>,
    index: usize,
}

impl DirEntry {
    fn found(&self) -> &Found {
        &self.batch.found[self.index]
    }

    /// The path: that of the directory as passed to [`read_dir`], joined with the file name.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.found().path()
    }

    /// The file name, without the directory.
    #[must_use]
    pub fn file_name(&self) -> OsString {
        self.found().name()
    }

    /// Returns the metadata of the entry. It does not follow symbolic links.
    ///
    /// On Unix they are those of what is at the entry's [`path`](DirEntry::path) now. `std` asks
    /// the directory itself on some systems, Linux among them, and so keeps it open. The two differ
    /// once the directory has been moved or replaced: then this is
    /// [`NotFound`](io::ErrorKind::NotFound), or the metadata of what has taken the path.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::DirEntry::metadata`].
    pub async fn metadata(&self) -> io::Result<Metadata> {
        let entry = self.clone();
        self.batch.fs.offload(move || entry.found().metadata()).await
    }

    /// Returns the type of the entry: a file, a directory or something else. It does not follow
    /// symbolic links. Most systems report the type together with the name; then it is that of when
    /// the entry was fetched, and this makes no trip to the pool. Else it is found as
    /// [`metadata`](DirEntry::metadata) are.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::DirEntry::file_type`].
    pub async fn file_type(&self) -> io::Result<FileType> {
        if let Some(file_type) = self.found().file_type {
            return Ok(file_type);
        }
        let entry = self.clone();
        self.batch.fs.offload(move || entry.found().file_type()).await
    }

    /// The inode number. Unix only.
    #[cfg(unix)]
    #[must_use]
    pub fn ino(&self) -> u64 {
        self.found().number
    }
}

impl fmt::Debug for DirEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DirEntry").field(&self.path()).finish()
    }
}
