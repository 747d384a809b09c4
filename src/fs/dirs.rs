//! Functions that create and remove directories.

use std::future::Future;
use std::io;
use std::path::Path;

use super::offload::Fs;

/// Creates a directory. Its parent must exist.
///
/// # Errors
///
/// As [`std::fs::create_dir`]: [`AlreadyExists`](io::ErrorKind::AlreadyExists) if the path exists.
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
pub fn create_dir(path: impl AsRef<Path>) -> impl Future<Output = io::Result<()>> {
    Fs::GLOBAL.create_dir(path)
}

/// Creates a directory and all its missing parents. It is no error if the directory exists.
///
/// # Errors
///
/// As [`std::fs::create_dir_all`]. Directories that were created before the error stay.
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
pub fn create_dir_all(path: impl AsRef<Path>) -> impl Future<Output = io::Result<()>> {
    Fs::GLOBAL.create_dir_all(path)
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
pub fn remove_dir(path: impl AsRef<Path>) -> impl Future<Output = io::Result<()>> {
    Fs::GLOBAL.remove_dir(path)
}

/// Removes a directory with everything in it. Symbolic links are removed, not followed.
///
/// # Errors
///
/// As [`std::fs::remove_dir_all`]. Entries that were removed before the error stay removed.
///
/// # Cancellation
///
/// A call that runs removes the whole tree, also if the future is dropped.
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
pub fn remove_dir_all(path: impl AsRef<Path>) -> impl Future<Output = io::Result<()>> {
    Fs::GLOBAL.remove_dir_all(path)
}

impl Fs {
    /// As [`create_dir`].
    #[track_caller]
    pub fn create_dir<P: AsRef<Path>>(&self, path: P) -> impl Future<Output = io::Result<()>> + use<P> {
        self.with_path(path, std::fs::create_dir)
    }

    /// As [`create_dir_all`].
    #[track_caller]
    pub fn create_dir_all<P: AsRef<Path>>(&self, path: P) -> impl Future<Output = io::Result<()>> + use<P> {
        self.with_path(path, std::fs::create_dir_all)
    }

    /// As [`remove_dir`].
    #[track_caller]
    pub fn remove_dir<P: AsRef<Path>>(&self, path: P) -> impl Future<Output = io::Result<()>> + use<P> {
        self.with_path(path, std::fs::remove_dir)
    }

    /// As [`remove_dir_all`].
    #[track_caller]
    pub fn remove_dir_all<P: AsRef<Path>>(&self, path: P) -> impl Future<Output = io::Result<()>> + use<P> {
        self.with_path(path, std::fs::remove_dir_all)
    }
}
