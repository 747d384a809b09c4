//! Functions that read or write a whole file in one trip.

use std::future::Future;
use std::io::{self, Read};
use std::path::Path;

use super::offload::Fs;
use crate::sys::file_head::FileHead;

/// The size of the buffer that a file is read into before the system is asked for its size.
const SMALL: usize = 16 << 10;

/// Reads a whole file into memory.
///
/// To read a large file piece by piece, open a [`File`](super::File).
///
/// # Errors
///
/// As [`std::fs::read`].
///
/// ```
/// # sidestep::block_on(async {
/// let bytes = sidestep::fs::read("README.md").await?;
/// assert!(bytes.starts_with(b"# sidestep"));
/// # std::io::Result::Ok(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn read(path: impl AsRef<Path>) -> impl Future<Output = io::Result<Vec<u8>>> {
    Fs::GLOBAL.read(path)
}

/// [`std::fs::read`] with one system call less for a small file: it does not ask for the size, but
/// reads into a buffer that is likely to be large enough.
fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = std::fs::File::open(path)?;
    let mut head = FileHead::<SMALL>::new();
    while !head.is_full() {
        match head.read(&mut file) {
            Ok(0) => return Ok(head.filled().to_vec()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let size = file.metadata().map_or(0, |metadata| metadata.len());
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(usize::try_from(size).unwrap_or(usize::MAX).max(SMALL))?;
    bytes.extend_from_slice(head.filled());
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a whole file into a string.
///
/// # Errors
///
/// As [`std::fs::read_to_string`]: besides those of reading,
/// [`InvalidData`](io::ErrorKind::InvalidData) if the contents are not UTF-8.
///
/// ```
/// # sidestep::block_on(async {
/// let text = sidestep::fs::read_to_string("Cargo.toml").await?;
/// assert!(text.contains("sidestep"));
/// # std::io::Result::Ok(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn read_to_string(path: impl AsRef<Path>) -> impl Future<Output = io::Result<String>> {
    Fs::GLOBAL.read_to_string(path)
}

/// Writes `contents` as a whole file. Creates the file if it does not exist, and truncates it
/// first if it does.
///
/// The contents move to the thread that writes them, so they must be owned or `'static`: a
/// `Vec<u8>`, a `String`, a `&'static str`, an `Arc<[u8]>`. Nothing is copied; for borrowed bytes
/// write `bytes.to_vec()`. That thread also drops the contents.
///
/// Once the future has completed, the system has the data, but perhaps not yet the disk:
/// [`File::sync_all`](super::File::sync_all) flushes it (`fsync`).
///
/// # Errors
///
/// As [`std::fs::write`].
///
/// # Cancellation
///
/// A call that runs writes all of the contents, also if the future is dropped.
///
/// ```
/// use std::sync::Arc;
///
/// # sidestep::block_on(async {
/// let dir = tempfile::tempdir()?;
/// let shared: Arc<[u8]> = Arc::from(*b"one buffer, two files");
/// sidestep::fs::write(dir.path().join("first"), Arc::clone(&shared)).await?;
/// sidestep::fs::write(dir.path().join("second"), shared).await?;
/// # assert_eq!(std::fs::read(dir.path().join("first"))?, std::fs::read(dir.path().join("second"))?);
/// # std::io::Result::Ok(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn write(
    path: impl AsRef<Path>,
    contents: impl AsRef<[u8]> + Send + 'static,
) -> impl Future<Output = io::Result<()>> {
    Fs::GLOBAL.write(path, contents)
}

/// Copies the contents and the permission bits of a file, and returns the number of bytes.
/// Overwrites a file that exists at `to`.
///
/// On a kernel that copies files by itself the bytes do not go through this process, and on a file
/// system with copy-on-write clones they may not be copied at all.
///
/// # Errors
///
/// As [`std::fs::copy`].
///
/// # Cancellation
///
/// A call that runs copies the whole file, also if the future is dropped.
///
/// ```
/// # sidestep::block_on(async {
/// let dir = tempfile::tempdir()?;
/// let copied = sidestep::fs::copy("Cargo.toml", dir.path().join("copy")).await?;
/// assert_eq!(copied, sidestep::fs::metadata("Cargo.toml").await?.len());
/// # std::io::Result::Ok(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> impl Future<Output = io::Result<u64>> {
    Fs::GLOBAL.copy(from, to)
}

impl Fs {
    /// As [`read`].
    #[track_caller]
    pub fn read<P: AsRef<Path>>(&self, path: P) -> impl Future<Output = io::Result<Vec<u8>>> + use<P> {
        self.with_path(path, |path| read_whole(&path))
    }

    /// As [`read_to_string`].
    #[track_caller]
    pub fn read_to_string<P: AsRef<Path>>(
        &self,
        path: P,
    ) -> impl Future<Output = io::Result<String>> + use<P> {
        self.with_path(path, |path| {
            let not_text = |_| io::Error::new(io::ErrorKind::InvalidData, "the file is not valid UTF-8");
            String::from_utf8(read_whole(&path)?).map_err(not_text)
        })
    }

    /// As [`write()`].
    #[track_caller]
    pub fn write<P: AsRef<Path>, C: AsRef<[u8]> + Send + 'static>(
        &self,
        path: P,
        contents: C,
    ) -> impl Future<Output = io::Result<()>> + use<P, C> {
        self.with_path(path, move |path| std::fs::write(path, contents))
    }

    /// As [`copy`].
    #[track_caller]
    pub fn copy<P: AsRef<Path>, Q: AsRef<Path>>(
        &self,
        from: P,
        to: Q,
    ) -> impl Future<Output = io::Result<u64>> + use<P, Q> {
        self.with_paths(from, to, std::fs::copy)
    }
}
