//! Functions about what is at a path, and about its names.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};

use super::offload::{with_path, with_paths};
use super::{Metadata, Permissions};

/// The absolute form of a path, with all symbolic links followed and no `.` or `..` in it.
///
/// # Errors
///
/// As [`std::fs::canonicalize`]: [`NotFound`](io::ErrorKind::NotFound) among them, since something
/// must be there.
///
/// ```
/// # sidestep::block_on(async {
/// let path = sidestep::fs::canonicalize("src/../Cargo.toml").await?;
/// assert!(path.is_absolute() && path.ends_with("Cargo.toml"));
/// # std::io::Result::Ok(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn canonicalize(path: impl AsRef<Path>) -> impl Future<Output = io::Result<PathBuf>> + Send + 'static {
    with_path(path, std::fs::canonicalize)
}

/// Whether there is something at the path, symbolic links followed: a broken link counts as
/// nothing.
///
/// The answer may be out of date when you get it. Rather than ask first, try what you want to do
/// and look at the error, or open with [`create_new`](super::OpenOptions::create_new).
///
/// # Errors
///
/// As [`std::fs::exists`]: where it cannot be known, as in a directory that may not be searched.
///
/// ```
/// # sidestep::block_on(async {
/// assert!(sidestep::fs::exists("Cargo.toml").await?);
/// assert!(!sidestep::fs::exists("no such file").await?);
/// # std::io::Result::Ok(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn exists(path: impl AsRef<Path>) -> impl Future<Output = io::Result<bool>> + Send + 'static {
    with_path(path, std::fs::exists)
}

/// What the system knows of the file at a path, symbolic links followed.
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
pub fn metadata(path: impl AsRef<Path>) -> impl Future<Output = io::Result<Metadata>> + Send + 'static {
    with_path(path, std::fs::metadata)
}

/// [`metadata`] of what is at the path itself, be it a symbolic link.
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
pub fn symlink_metadata(
    path: impl AsRef<Path>,
) -> impl Future<Output = io::Result<Metadata>> + Send + 'static {
    with_path(path, std::fs::symlink_metadata)
}

/// Changes the permissions of the file at a path, symbolic links followed.
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
) -> impl Future<Output = io::Result<()>> + Send + 'static {
    with_path(path, move |path| std::fs::set_permissions(path, permissions))
}

/// Gives a file another name, in the same file system. A file that has that name already is
/// replaced in one step.
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
/// sidestep::fs::rename(&draft, &page).await?; // nobody ever sees half a page
/// assert!(!draft.exists() && page.exists());
/// # std::io::Result::Ok(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn rename(
    from: impl AsRef<Path>,
    to: impl AsRef<Path>,
) -> impl Future<Output = io::Result<()>> + Send + 'static {
    with_paths(from, to, std::fs::rename)
}

/// Removes a file; of a symbolic link, the link.
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
pub fn remove_file(path: impl AsRef<Path>) -> impl Future<Output = io::Result<()>> + Send + 'static {
    with_path(path, std::fs::remove_file)
}

/// Gives the file `original` the name `link` as well, in the same file system.
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
pub fn hard_link(
    original: impl AsRef<Path>,
    link: impl AsRef<Path>,
) -> impl Future<Output = io::Result<()>> + Send + 'static {
    with_paths(original, link, std::fs::hard_link)
}

/// Where a symbolic link points: the text of the link, which may be a relative path.
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
pub fn read_link(path: impl AsRef<Path>) -> impl Future<Output = io::Result<PathBuf>> + Send + 'static {
    with_path(path, std::fs::read_link)
}
