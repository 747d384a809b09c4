//! Functions that read or write a whole file in one trip.

use std::future::Future;
use std::io::{self, Read};
use std::path::Path;

use super::offload::{with_path, with_paths};

/// What a file is tried to be read into before it is asked for its size.
const SMALL: usize = 16 << 10;

/// Reads a whole file.
///
/// For a file that need not be in memory at once, open a [`File`](super::File) and read it piece by
/// piece.
///
/// # Errors
///
/// As [`std::fs::read`].
///
/// ```
/// # sidestep::block_on(async {
/// let bytes = sidestep::fs::read("Cargo.toml").await?;
/// assert!(bytes.starts_with(b"[package]"));
/// # std::io::Result::Ok(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn read(path: impl AsRef<Path>) -> impl Future<Output = io::Result<Vec<u8>>> + Send + 'static {
    with_path(path, |path| read_whole(&path))
}

/// [`std::fs::read`] with a system call less for a small file: it is not asked for its size, but
/// read into a buffer that it is likely to fit into.
fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = std::fs::File::open(path)?;
    let mut buffer = [0; SMALL];
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => return Ok(buffer[..filled].to_vec()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let size = file.metadata().map_or(0, |metadata| metadata.len());
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(usize::try_from(size).unwrap_or(usize::MAX).max(SMALL))?;
    bytes.extend_from_slice(&buffer);
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a whole file that must be UTF-8.
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
pub fn read_to_string(path: impl AsRef<Path>) -> impl Future<Output = io::Result<String>> + Send + 'static {
    with_path(path, |path| {
        let not_text = |_| io::Error::new(io::ErrorKind::InvalidData, "the file is not valid UTF-8");
        String::from_utf8(read_whole(&path)?).map_err(not_text)
    })
}

/// Writes a whole file, which it makes, or empties first.
///
/// The contents go to the thread that writes them, so they must be owned or live for ever: a
/// `Vec<u8>`, a `String`, a `&'static str`, an `Arc<[u8]>`. Nothing is copied. Borrowed bytes are
/// refused by the compiler rather than copied behind your back: say `bytes.to_vec()` where a copy
/// is what you want. The contents are dropped on that thread, too.
///
/// When the future is done the system has the data, but perhaps not yet the disk.
///
/// # Errors
///
/// As [`std::fs::write`].
///
/// # Cancellation
///
/// Once it runs, it writes all of the contents, whether the future is dropped or not.
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
) -> impl Future<Output = io::Result<()>> + Send + 'static {
    with_path(path, move |path| std::fs::write(path, contents))
}

/// Copies a file and its permission bits, and gives the number of bytes. It replaces a file that is
/// at `to`.
///
/// Where the kernel can copy by itself, the bytes do not go through this process, and where the
/// file system can share them they are not copied at all.
///
/// # Errors
///
/// As [`std::fs::copy`].
///
/// # Cancellation
///
/// Once it runs, it copies the whole file, whether the future is dropped or not.
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
pub fn copy(
    from: impl AsRef<Path>,
    to: impl AsRef<Path>,
) -> impl Future<Output = io::Result<u64>> + Send + 'static {
    with_paths(from, to, std::fs::copy)
}
