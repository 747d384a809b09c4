//! Functions that only Unix has: owners, symbolic links, the root directory.

use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs as unix;
use std::path::Path;

use super::offload::Fs;

/// Creates a symbolic link at `link` to the target `original`, which may be relative to the link's
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
pub fn symlink(original: impl AsRef<Path>, link: impl AsRef<Path>) -> impl Future<Output = io::Result<()>> {
    Fs::GLOBAL.symlink(original, link)
}

/// Changes the owner and the group of the file at a path; `None` leaves the one or the other
/// unchanged. It follows symbolic links. Unix only.
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
) -> impl Future<Output = io::Result<()>> {
    Fs::GLOBAL.chown(path, uid, gid)
}

/// As [`chown`], but does not follow symbolic links. Unix only.
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
) -> impl Future<Output = io::Result<()>> {
    Fs::GLOBAL.lchown(path, uid, gid)
}

/// As [`chown`], for an open file. Unix only.
///
/// The call itself duplicates the descriptor, so you may use or even close `fd` once it has
/// returned the future. The duplicate is closed afterwards: like any close of the file in this
/// process, that releases the record locks (`fcntl`) that the process has on the file.
///
/// # Errors
///
/// As [`std::os::unix::fs::fchown`], and the system's error if the process has no free descriptor.
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
    Fs::GLOBAL.fchown(fd, uid, gid)
}

/// Changes the root directory of this whole process. Unix only.
///
/// All threads see the new root from then on. The current directory does not change, even if it
/// lies outside of the new root, until [`std::env::set_current_dir`] changes it.
///
/// # Errors
///
/// As [`std::os::unix::fs::chroot`]: the process needs privileges.
///
/// # Cancellation
///
/// After the future was dropped the root may have changed, or may still change.
///
/// ```
/// # sidestep::block_on(async {
/// assert!(sidestep::fs::chroot("no such directory").await.is_err());
/// # });
/// ```
#[track_caller]
pub fn chroot(dir: impl AsRef<Path>) -> impl Future<Output = io::Result<()>> {
    Fs::GLOBAL.chroot(dir)
}

impl Fs {
    /// As [`symlink`].
    #[track_caller]
    pub fn symlink<P: AsRef<Path>, Q: AsRef<Path>>(
        &self,
        original: P,
        link: Q,
    ) -> impl Future<Output = io::Result<()>> + use<P, Q> {
        self.with_paths(original, link, unix::symlink)
    }

    /// As [`chown`].
    #[track_caller]
    pub fn chown<P: AsRef<Path>>(
        &self,
        path: P,
        uid: Option<u32>,
        gid: Option<u32>,
    ) -> impl Future<Output = io::Result<()>> + use<P> {
        self.with_path(path, move |path| unix::chown(path, uid, gid))
    }

    /// As [`lchown`].
    #[track_caller]
    pub fn lchown<P: AsRef<Path>>(
        &self,
        path: P,
        uid: Option<u32>,
        gid: Option<u32>,
    ) -> impl Future<Output = io::Result<()>> + use<P> {
        self.with_path(path, move |path| unix::lchown(path, uid, gid))
    }

    /// As [`fchown`].
    #[track_caller]
    pub fn fchown<D: AsFd>(
        &self,
        fd: D,
        uid: Option<u32>,
        gid: Option<u32>,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static + use<D> {
        let duplicate = fd.as_fd().try_clone_to_owned();
        self.offload(move || unix::fchown(duplicate?, uid, gid))
    }

    /// As [`chroot`].
    #[track_caller]
    pub fn chroot<P: AsRef<Path>>(&self, dir: P) -> impl Future<Output = io::Result<()>> + use<P> {
        self.with_path(dir, unix::chroot)
    }
}
