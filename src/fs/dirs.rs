//! Functions that make and remove directories.

use std::future::Future;
use std::io;
use std::path::Path;

use super::offload::with_path;

/// Makes a directory in one that exists.
///
/// # Errors
///
/// As [`std::fs::create_dir`]: [`AlreadyExists`](io::ErrorKind::AlreadyExists) if something is
/// there.
///
/// ```
/// # sidestep::block_on(async {
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("cache");
/// sidestep::fs::create_dir(&path).await?;
/// assert!(path.is_dir());
/// # std::io::Result::Ok(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn create_dir(path: impl AsRef<Path>) -> impl Future<Output = io::Result<()>> + Send + 'static {
    with_path(path, std::fs::create_dir)
}

/// Makes a directory and those above it that are missing. It is no error if all are there.
///
/// # Errors
///
/// As [`std::fs::create_dir_all`]. Directories that were made before the error stay.
///
/// ```
/// # sidestep::block_on(async {
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("cache/thumbnails/large");
/// sidestep::fs::create_dir_all(&path).await?;
/// assert!(path.is_dir());
/// # std::io::Result::Ok(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn create_dir_all(path: impl AsRef<Path>) -> impl Future<Output = io::Result<()>> + Send + 'static {
    with_path(path, std::fs::create_dir_all)
}

/// Removes an empty directory.
///
/// # Errors
///
/// As [`std::fs::remove_dir`]: [`DirectoryNotEmpty`](io::ErrorKind::DirectoryNotEmpty) among them.
///
/// ```
/// # sidestep::block_on(async {
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("cache");
/// sidestep::fs::create_dir(&path).await?;
/// sidestep::fs::remove_dir(&path).await?;
/// assert!(!path.exists());
/// # std::io::Result::Ok(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn remove_dir(path: impl AsRef<Path>) -> impl Future<Output = io::Result<()>> + Send + 'static {
    with_path(path, std::fs::remove_dir)
}

/// Removes a directory and all that is in it. Symbolic links are removed, not followed.
///
/// # Errors
///
/// As [`std::fs::remove_dir_all`]. What was removed before the error is gone.
///
/// # Cancellation
///
/// Once it runs, it removes all of the tree, whether the future is dropped or not.
///
/// ```
/// # sidestep::block_on(async {
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("cache");
/// sidestep::fs::create_dir_all(path.join("thumbnails/large")).await?;
/// sidestep::fs::remove_dir_all(&path).await?;
/// assert!(!path.exists());
/// # std::io::Result::Ok(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn remove_dir_all(path: impl AsRef<Path>) -> impl Future<Output = io::Result<()>> + Send + 'static {
    with_path(path, std::fs::remove_dir_all)
}
