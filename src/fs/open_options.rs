//! Options for opening a file.

use std::future::Future;
use std::io;
#[cfg(unix)]
use std::os::unix::fs::OpenOptionsExt;
#[cfg(windows)]
use std::os::windows::fs::OpenOptionsExt;
use std::path::Path;

use super::File;
use super::offload::Fs;

/// Options for opening a file: [`std::fs::OpenOptions`], with an [`open`](OpenOptions::open) that
/// does not block.
///
/// The extension traits of `std` for each system are methods here.
///
/// ```
/// use sidestep::fs::OpenOptions;
///
/// # sidestep::block_on(async {
/// let dir = tempfile::tempdir()?;
/// let log = dir.path().join("log");
/// let file = OpenOptions::new().append(true).create(true).open(&log).await?;
/// # drop(file);
/// assert!(log.exists());
/// # std::io::Result::Ok(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `open`"]
pub struct OpenOptions {
    options: std::fs::OpenOptions,
    fs: Fs,
}

impl OpenOptions {
    /// Options that are all off: set at least one of [`read`](OpenOptions::read),
    /// [`write`](OpenOptions::write) and [`append`](OpenOptions::append).
    pub fn new() -> Self {
        std::fs::OpenOptions::new().into()
    }

    /// Whether to open the file for reading.
    pub fn read(&mut self, read: bool) -> &mut Self {
        self.options.read(read);
        self
    }

    /// Whether to open the file for writing. Writes overwrite an existing file in place; see
    /// [`truncate`](OpenOptions::truncate).
    pub fn write(&mut self, write: bool) -> &mut Self {
        self.options.write(write);
        self
    }

    /// Whether to open the file in append mode: each write goes to what is then the end of the
    /// file.
    pub fn append(&mut self, append: bool) -> &mut Self {
        self.options.append(append);
        self
    }

    /// Whether to truncate an existing file to length 0. Needs [`write`](OpenOptions::write).
    pub fn truncate(&mut self, truncate: bool) -> &mut Self {
        self.options.truncate(truncate);
        self
    }

    /// Whether to create the file if it does not exist. Needs [`write`](OpenOptions::write) or
    /// [`append`](OpenOptions::append).
    pub fn create(&mut self, create: bool) -> &mut Self {
        self.options.create(create);
        self
    }

    /// Whether to create the file and fail if it exists. The system checks and creates in one
    /// atomic step. [`create`](OpenOptions::create) and [`truncate`](OpenOptions::truncate) are
    /// ignored then.
    pub fn create_new(&mut self, create_new: bool) -> &mut Self {
        self.options.create_new(create_new);
        self
    }

    /// Opens the file at `path`. The options can be used again, also while this call is in
    /// progress.
    ///
    /// # Errors
    ///
    /// As [`std::fs::OpenOptions::open`]: [`InvalidInput`](io::ErrorKind::InvalidInput) for options
    /// that contradict each other.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped while the system opens the file, the file is closed again. A file
    /// that the call has created stays.
    #[track_caller]
    pub fn open<P: AsRef<Path>>(&self, path: P) -> impl Future<Output = io::Result<File>> + use<P> {
        let (options, fs) = (self.options.clone(), self.fs.without_handle());
        self.fs.with_path(path, move |path| options.open(path).map(|file| fs.opened(file)))
    }
}

/// Unix only.
#[cfg(unix)]
impl OpenOptions {
    /// The permission bits of a file that is created, before the umask is applied; 0o666 by
    /// default. Unix only.
    ///
    /// ```
    /// use std::os::unix::fs::PermissionsExt;
    ///
    /// use sidestep::fs::OpenOptions;
    ///
    /// # sidestep::block_on(async {
    /// let dir = tempfile::tempdir()?;
    /// let path = dir.path().join("key");
    /// let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).await?;
    /// # drop(file);
    /// assert_eq!(path.metadata()?.permissions().mode() & 0o777, 0o600);
    /// # std::io::Result::Ok(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn mode(&mut self, mode: u32) -> &mut Self {
        self.options.mode(mode);
        self
    }

    /// Flags for `open(2)` besides those that the other options set, such as `O_NOFOLLOW`; the bits
    /// of the access mode are ignored. Each call replaces the flags of the one before. Unix only.
    pub fn custom_flags(&mut self, flags: i32) -> &mut Self {
        self.options.custom_flags(flags);
        self
    }
}

/// Windows only.
#[cfg(windows)]
impl OpenOptions {
    /// The desired access for `CreateFile`, in place of the one that [`read`](OpenOptions::read),
    /// [`write`](OpenOptions::write) and [`append`](OpenOptions::append) set. Windows only.
    pub fn access_mode(&mut self, access: u32) -> &mut Self {
        self.options.access_mode(access);
        self
    }

    /// The access that other processes and handles may have while the file is open; all, by
    /// default. Windows only.
    pub fn share_mode(&mut self, share: u32) -> &mut Self {
        self.options.share_mode(share);
        self
    }

    /// Flags for `CreateFile`, such as `FILE_FLAG_DELETE_ON_CLOSE`. Each call replaces the flags of
    /// the one before. Windows only.
    pub fn custom_flags(&mut self, flags: u32) -> &mut Self {
        self.options.custom_flags(flags);
        self
    }

    /// The attributes of a file that is created, such as `FILE_ATTRIBUTE_HIDDEN`. Windows only.
    pub fn attributes(&mut self, attributes: u32) -> &mut Self {
        self.options.attributes(attributes);
        self
    }

    /// The impersonation level that the server of a named pipe receives. Windows only.
    pub fn security_qos_flags(&mut self, flags: u32) -> &mut Self {
        self.options.security_qos_flags(flags);
        self
    }
}

/// As [`OpenOptions::new`].
impl Default for OpenOptions {
    fn default() -> Self {
        OpenOptions::new()
    }
}

impl From<std::fs::OpenOptions> for OpenOptions {
    fn from(options: std::fs::OpenOptions) -> Self {
        OpenOptions { options, fs: Fs::default() }
    }
}

impl Fs {
    /// As [`File::options`].
    pub fn options(&self) -> OpenOptions {
        OpenOptions { options: std::fs::OpenOptions::new(), fs: self.clone() }
    }
}
