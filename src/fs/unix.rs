//! Functions that only Unix has: owners, symbolic links, another root.

use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs as unix;
use std::path::Path;

use super::offload::{offload, with_path, with_paths};

/// Makes a symbolic link at `link` with the text `original`, which may be relative to the link's
/// directory and need not exist. Unix only.
///
/// # Errors
///
/// As [`std::os::unix::fs::symlink`].
///
/// ```
/// # sidestep::block_on(async {
/// let dir = tempfile::tempdir()?;
/// sidestep::fs::write(dir.path().join("version-7"), "seven").await?;
/// sidestep::fs::symlink("version-7", dir.path().join("latest")).await?;
/// assert_eq!(sidestep::fs::read_to_string(dir.path().join("latest")).await?, "seven");
/// # std::io::Result::Ok(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn symlink(
    original: impl AsRef<Path>,
    link: impl AsRef<Path>,
) -> impl Future<Output = io::Result<()>> + Send + 'static {
    with_paths(original, link, unix::symlink)
}

/// Changes the owner and the group of the file at a path, symbolic links followed; `None` leaves
/// one as it is. Unix only.
///
/// # Errors
///
/// As [`std::os::unix::fs::chown`].
///
/// ```
/// use std::os::unix::fs::MetadataExt;
///
/// # sidestep::block_on(async {
/// let file = tempfile::NamedTempFile::new()?;
/// let group = sidestep::fs::metadata(file.path()).await?.gid();
/// sidestep::fs::chown(file.path(), None, Some(group)).await?;
/// # std::io::Result::Ok(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn chown(
    path: impl AsRef<Path>,
    uid: Option<u32>,
    gid: Option<u32>,
) -> impl Future<Output = io::Result<()>> + Send + 'static {
    with_path(path, move |path| unix::chown(path, uid, gid))
}

/// [`chown`] of what is at the path itself, be it a symbolic link. Unix only.
///
/// # Errors
///
/// As [`std::os::unix::fs::lchown`].
///
/// ```
/// # sidestep::block_on(async {
/// let dir = tempfile::tempdir()?;
/// let link = dir.path().join("points to nothing");
/// sidestep::fs::symlink("nothing", &link).await?;
/// assert!(sidestep::fs::chown(&link, None, None).await.is_err());
/// sidestep::fs::lchown(&link, None, None).await?;
/// # std::io::Result::Ok(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn lchown(
    path: impl AsRef<Path>,
    uid: Option<u32>,
    gid: Option<u32>,
) -> impl Future<Output = io::Result<()>> + Send + 'static {
    with_path(path, move |path| unix::lchown(path, uid, gid))
}

/// [`chown`] of an open file. Unix only.
///
/// The call itself duplicates the descriptor, so `fd` is free again when it returns, and may even
/// be closed. The duplicate is closed afterwards: like any close of the file in this process, that
/// gives up the record locks of `fcntl` that it has on the file.
///
/// # Errors
///
/// As [`std::os::unix::fs::fchown`], and the system's error if it has no descriptor left.
///
/// ```
/// # sidestep::block_on(async {
/// let file = tempfile::tempfile()?;
/// sidestep::fs::fchown(&file, None, None).await?;
/// # std::io::Result::Ok(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn fchown(
    fd: impl AsFd,
    uid: Option<u32>,
    gid: Option<u32>,
) -> impl Future<Output = io::Result<()>> + Send + 'static {
    let duplicate = fd.as_fd().try_clone_to_owned();
    offload(move || unix::fchown(duplicate?, uid, gid))
}

/// Makes the directory at a path the root of the file system for this whole process. Unix only.
///
/// All threads see the new root from then on; the current directory stays where it is, perhaps
/// outside, until [`std::env::set_current_dir`] changes it.
///
/// # Errors
///
/// As [`std::os::unix::fs::chroot`]: it takes privileges.
///
/// # Cancellation
///
/// Dropping the future leaves it open whether the root has changed or is about to.
///
/// ```
/// # sidestep::block_on(async {
/// assert!(sidestep::fs::chroot("no such directory").await.is_err());
/// # });
/// ```
#[track_caller]
pub fn chroot(dir: impl AsRef<Path>) -> impl Future<Output = io::Result<()>> + Send + 'static {
    with_path(dir, unix::chroot)
}
