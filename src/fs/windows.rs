//! Functions that only Windows has: symbolic links of two kinds.

use std::future::Future;
use std::io;
use std::os::windows::fs as windows;
use std::path::Path;

use super::offload::Fs;

/// Creates a symbolic link at `link` to the directory `original`. Windows only.
///
/// # Errors
///
/// As [`std::os::windows::fs::symlink_dir`]: the process needs a privilege or the developer mode.
///
/// ```
/// # sidestep::block_on(async {
/// let dir = tempfile::tempdir().unwrap();
/// let link = dir.path().join("latest");
/// match sidestep::fs::symlink_dir(dir.path(), &link).await {
///     Ok(()) => assert!(link.is_dir()),
///     Err(error) => println!("no links here: {error}"),
/// }
/// # });
/// ```
#[track_caller]
pub fn symlink_dir(
    original: impl AsRef<Path>,
    link: impl AsRef<Path>,
) -> impl Future<Output = io::Result<()>> {
    Fs::GLOBAL.symlink_dir(original, link)
}

/// Creates a symbolic link at `link` to the file `original`. Windows only.
///
/// # Errors
///
/// As [`std::os::windows::fs::symlink_file`]: the process needs a privilege or the developer mode.
///
/// ```
/// # sidestep::block_on(async {
/// let dir = tempfile::tempdir().unwrap();
/// let (original, link) = (dir.path().join("version-7"), dir.path().join("latest"));
/// sidestep::fs::write(&original, "seven").await.unwrap();
/// match sidestep::fs::symlink_file(&original, &link).await {
///     Ok(()) => assert!(link.is_file()),
///     Err(error) => println!("no links here: {error}"),
/// }
/// # });
/// ```
#[track_caller]
pub fn symlink_file(
    original: impl AsRef<Path>,
    link: impl AsRef<Path>,
) -> impl Future<Output = io::Result<()>> {
    Fs::GLOBAL.symlink_file(original, link)
}

impl Fs {
    /// As [`symlink_dir`].
    #[track_caller]
    pub fn symlink_dir<P: AsRef<Path>, Q: AsRef<Path>>(
        &self,
        original: P,
        link: Q,
    ) -> impl Future<Output = io::Result<()>> + use<P, Q> {
        self.with_paths(original, link, windows::symlink_dir)
    }

    /// As [`symlink_file`].
    #[track_caller]
    pub fn symlink_file<P: AsRef<Path>, Q: AsRef<Path>>(
        &self,
        original: P,
        link: Q,
    ) -> impl Future<Output = io::Result<()>> + use<P, Q> {
        self.with_paths(original, link, windows::symlink_file)
    }
}
