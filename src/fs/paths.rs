//! Functions on paths: metadata, links, names.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};

use super::offload::Fs;
use super::{Metadata, Permissions};

/// Returns the canonical, absolute form of a path: symbolic links resolved, no `.` or `..` in it.
///
/// # Errors
///
/// As [`std::fs::canonicalize`]: [`NotFound`](io::ErrorKind::NotFound) if the path does not exist.
///
/// ```
/// # sidestep::block_on(async {
/// let path = sidestep::fs::canonicalize("src/../Cargo.toml").await?;
/// assert!(path.is_absolute() && path.ends_with("Cargo.toml"));
/// # std::io::Result::Ok(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn canonicalize(path: impl AsRef<Path>) -> impl Future<Output = io::Result<PathBuf>> {
    Fs::GLOBAL.canonicalize(path)
}

/// Reports whether a path exists. It follows symbolic links: a broken link does not exist.
///
/// The answer may be out of date when you receive it. Rather than ask first, try the call that you
/// want to make and handle its error, or open with
/// [`create_new`](super::OpenOptions::create_new).
///
/// # Errors
///
/// As [`std::fs::exists`]: if the system cannot decide, for example in a directory that the process
/// may not search.
///
/// ```
/// # sidestep::block_on(async {
/// assert!(sidestep::fs::exists("Cargo.toml").await?);
/// assert!(!sidestep::fs::exists("no such file").await?);
/// # std::io::Result::Ok(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn exists(path: impl AsRef<Path>) -> impl Future<Output = io::Result<bool>> {
    Fs::GLOBAL.exists(path)
}

/// [`exists`] by the name that `tokio::fs` has for it.
///
/// # Errors
///
/// As for [`exists`].
///
/// ```
/// # sidestep::block_on(async {
/// assert!(sidestep::fs::try_exists("Cargo.toml").await?);
/// # std::io::Result::Ok(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn try_exists(path: impl AsRef<Path>) -> impl Future<Output = io::Result<bool>> {
    Fs::GLOBAL.try_exists(path)
}

/// Returns the metadata of the file at a path. It follows symbolic links.
///
/// # Errors
///
/// As [`std::fs::metadata`].
///
/// ```
/// # sidestep::block_on(async {
/// let metadata = sidestep::fs::metadata("Cargo.toml").await?;
/// assert!(metadata.is_file() && metadata.len() > 0);
/// # std::io::Result::Ok(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn metadata(path: impl AsRef<Path>) -> impl Future<Output = io::Result<Metadata>> {
    Fs::GLOBAL.metadata(path)
}

/// As [`metadata`], but does not follow symbolic links: for a link it returns those of the link.
///
/// # Errors
///
/// As [`std::fs::symlink_metadata`].
///
/// ```
/// # sidestep::block_on(async {
/// let metadata = sidestep::fs::symlink_metadata("Cargo.toml").await?;
/// assert!(!metadata.is_symlink());
/// # std::io::Result::Ok(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn symlink_metadata(path: impl AsRef<Path>) -> impl Future<Output = io::Result<Metadata>> {
    Fs::GLOBAL.symlink_metadata(path)
}

/// Changes the permissions of the file at a path. It follows symbolic links.
///
/// # Errors
///
/// As [`std::fs::set_permissions`].
///
/// ```
/// # sidestep::block_on(async {
/// let file = tempfile::NamedTempFile::new()?;
/// let mut permissions = sidestep::fs::metadata(file.path()).await?.permissions();
/// permissions.set_readonly(true);
/// sidestep::fs::set_permissions(file.path(), permissions).await?;
/// assert!(sidestep::fs::metadata(file.path()).await?.permissions().readonly());
/// # std::io::Result::Ok(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn set_permissions(
    path: impl AsRef<Path>,
    permissions: Permissions,
) -> impl Future<Output = io::Result<()>> {
    Fs::GLOBAL.set_permissions(path, permissions)
}

/// Renames a file or directory, within one file system. A file that exists at `to` is replaced
/// atomically.
///
/// # Errors
///
/// As [`std::fs::rename`].
///
/// ```
/// # sidestep::block_on(async {
/// let dir = tempfile::tempdir()?;
/// let (draft, page) = (dir.path().join("draft"), dir.path().join("page"));
/// sidestep::fs::write(&draft, "complete").await?;
/// sidestep::fs::rename(&draft, &page).await?; // no reader ever sees half a page
/// assert!(!draft.exists() && page.exists());
/// # std::io::Result::Ok(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> impl Future<Output = io::Result<()>> {
    Fs::GLOBAL.rename(from, to)
}

/// Removes a file. A symbolic link is removed itself, not its target.
///
/// # Errors
///
/// As [`std::fs::remove_file`].
///
/// ```
/// # sidestep::block_on(async {
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("old");
/// sidestep::fs::write(&path, "").await?;
/// sidestep::fs::remove_file(&path).await?;
/// assert!(!path.exists());
/// # std::io::Result::Ok(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn remove_file(path: impl AsRef<Path>) -> impl Future<Output = io::Result<()>> {
    Fs::GLOBAL.remove_file(path)
}

/// Creates a hard link at `link` to the file `original`, within one file system.
///
/// # Errors
///
/// As [`std::fs::hard_link`].
///
/// ```
/// # sidestep::block_on(async {
/// let dir = tempfile::tempdir()?;
/// let (original, link) = (dir.path().join("original"), dir.path().join("link"));
/// sidestep::fs::write(&original, "one file").await?;
/// sidestep::fs::hard_link(&original, &link).await?;
/// sidestep::fs::remove_file(&original).await?;
/// assert_eq!(sidestep::fs::read_to_string(&link).await?, "one file");
/// # std::io::Result::Ok(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn hard_link(original: impl AsRef<Path>, link: impl AsRef<Path>) -> impl Future<Output = io::Result<()>> {
    Fs::GLOBAL.hard_link(original, link)
}

/// Returns the target of a symbolic link as it is stored, which may be a relative path.
///
/// # Errors
///
/// As [`std::fs::read_link`].
///
/// ```
/// # #[cfg(unix)]
/// # sidestep::block_on(async {
/// let dir = tempfile::tempdir()?;
/// let link = dir.path().join("latest");
/// sidestep::fs::symlink("version-7", &link).await?;
/// assert_eq!(sidestep::fs::read_link(&link).await?.to_str(), Some("version-7"));
/// # std::io::Result::Ok(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn read_link(path: impl AsRef<Path>) -> impl Future<Output = io::Result<PathBuf>> {
    Fs::GLOBAL.read_link(path)
}

impl Fs {
    /// As [`canonicalize`].
    #[track_caller]
    pub fn canonicalize<P: AsRef<Path>>(
        &self,
        path: P,
    ) -> impl Future<Output = io::Result<PathBuf>> + use<P> {
        self.with_path(path, std::fs::canonicalize)
    }

    /// As [`exists`].
    #[track_caller]
    pub fn exists<P: AsRef<Path>>(&self, path: P) -> impl Future<Output = io::Result<bool>> + use<P> {
        self.with_path(path, std::fs::exists)
    }

    /// As [`try_exists`].
    #[track_caller]
    pub fn try_exists<P: AsRef<Path>>(&self, path: P) -> impl Future<Output = io::Result<bool>> + use<P> {
        self.with_path(path, std::fs::exists)
    }

    /// As [`metadata`].
    #[track_caller]
    pub fn metadata<P: AsRef<Path>>(&self, path: P) -> impl Future<Output = io::Result<Metadata>> + use<P> {
        self.with_path(path, std::fs::metadata)
    }

    /// As [`symlink_metadata`].
    #[track_caller]
    pub fn symlink_metadata<P: AsRef<Path>>(
        &self,
        path: P,
    ) -> impl Future<Output = io::Result<Metadata>> + use<P> {
        self.with_path(path, std::fs::symlink_metadata)
    }

    /// As [`set_permissions`].
    #[track_caller]
    pub fn set_permissions<P: AsRef<Path>>(
        &self,
        path: P,
        permissions: Permissions,
    ) -> impl Future<Output = io::Result<()>> + use<P> {
        self.with_path(path, move |path| std::fs::set_permissions(path, permissions))
    }

    /// As [`rename`].
    #[track_caller]
    pub fn rename<P: AsRef<Path>, Q: AsRef<Path>>(
        &self,
        from: P,
        to: Q,
    ) -> impl Future<Output = io::Result<()>> + use<P, Q> {
        self.with_paths(from, to, std::fs::rename)
    }

    /// As [`remove_file`].
    #[track_caller]
    pub fn remove_file<P: AsRef<Path>>(&self, path: P) -> impl Future<Output = io::Result<()>> + use<P> {
        self.with_path(path, std::fs::remove_file)
    }

    /// As [`hard_link`].
    #[track_caller]
    pub fn hard_link<P: AsRef<Path>, Q: AsRef<Path>>(
        &self,
        original: P,
        link: Q,
    ) -> impl Future<Output = io::Result<()>> + use<P, Q> {
        self.with_paths(original, link, std::fs::hard_link)
    }

    /// As [`read_link`].
    #[track_caller]
    pub fn read_link<P: AsRef<Path>>(&self, path: P) -> impl Future<Output = io::Result<PathBuf>> + use<P> {
        self.with_path(path, std::fs::read_link)
    }
}
