//! Options for creating a directory.

use std::future::Future;
use std::io;
#[cfg(unix)]
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::offload::Fs;

/// Options for creating a directory: [`std::fs::DirBuilder`], with a
/// [`create`](DirBuilder::create) that does not block.
///
/// ```
/// use sidestep::fs::DirBuilder;
///
/// # sidestep::block_on(async {
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("var/spool");
/// DirBuilder::new().recursive(true).create(&path).await?;
/// assert!(path.is_dir());
/// # std::io::Result::Ok(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until `create`"]
pub struct DirBuilder {
    recursive: bool,
    /// `None` stands for the default of `std`.
    #[cfg(unix)]
    mode: Option<u32>,
    fs: Fs,
}

impl DirBuilder {
    /// A builder that creates a single directory with the default permissions.
    pub fn new() -> Self {
        DirBuilder::default()
    }

    /// Whether to create missing parent directories too. Then it is no error if the directory
    /// exists. Off by default.
    pub fn recursive(&mut self, recursive: bool) -> &mut Self {
        self.recursive = recursive;
        self
    }

    /// The permission bits of the directories that are created, before the umask is applied; 0o777
    /// by default. Unix only.
    ///
    /// ```
    /// use std::os::unix::fs::PermissionsExt;
    ///
    /// use sidestep::fs::DirBuilder;
    ///
    /// # sidestep::block_on(async {
    /// let dir = tempfile::tempdir()?;
    /// let path = dir.path().join("keys");
    /// DirBuilder::new().mode(0o700).create(&path).await?;
    /// assert_eq!(path.metadata()?.permissions().mode() & 0o777, 0o700);
    /// # std::io::Result::Ok(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[cfg(unix)]
    pub fn mode(&mut self, mode: u32) -> &mut Self {
        self.mode = Some(mode);
        self
    }

    /// Creates the directory. The builder can be used again, also while this call is in progress.
    ///
    /// # Errors
    ///
    /// As [`std::fs::DirBuilder::create`].
    #[track_caller]
    pub fn create<P: AsRef<Path>>(&self, path: P) -> impl Future<Output = io::Result<()>> + use<P> {
        let builder = self.to_std();
        self.fs.with_path(path, move |path| builder.create(path))
    }

    fn to_std(&self) -> std::fs::DirBuilder {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(self.recursive);
        #[cfg(unix)]
        if let Some(mode) = self.mode {
            builder.mode(mode);
        }
        builder
    }
}

impl Fs {
    /// As [`DirBuilder::new`].
    pub fn dir_builder(&self) -> DirBuilder {
        DirBuilder { fs: self.clone(), ..DirBuilder::new() }
    }
}
