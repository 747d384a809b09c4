//! How a file is to be opened.

use std::future::Future;
use std::io;
#[cfg(unix)]
use std::os::unix::fs::OpenOptionsExt;
#[cfg(windows)]
use std::os::windows::fs::OpenOptionsExt;
use std::path::Path;

use super::File;
use super::offload::with_path;

/// How a file is to be opened: [`std::fs::OpenOptions`], with an [`open`](OpenOptions::open) that
/// does not block.
///
/// What the extension traits of `std` add for each system are methods here.
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
pub struct OpenOptions(std::fs::OpenOptions);

impl OpenOptions {
    /// Options that are all off: the file can neither be read nor written until one of them is set.
    #[must_use]
    pub fn new() -> Self {
        OpenOptions(std::fs::OpenOptions::new())
    }

    /// Whether the file can be read.
    pub fn read(&mut self, read: bool) -> &mut Self {
        self.0.read(read);
        self
    }

    /// Whether the file can be written. What is in an existing file is overwritten in place, not
    /// removed first.
    pub fn write(&mut self, write: bool) -> &mut Self {
        self.0.write(write);
        self
    }

    /// Whether each write goes to the end of the file, wherever that is by then.
    pub fn append(&mut self, append: bool) -> &mut Self {
        self.0.append(append);
        self
    }

    /// Whether an existing file is emptied. Needs [`write`](OpenOptions::write).
    pub fn truncate(&mut self, truncate: bool) -> &mut Self {
        self.0.truncate(truncate);
        self
    }

    /// Whether the file is made if there is none. Needs [`write`](OpenOptions::write) or
    /// [`append`](OpenOptions::append).
    pub fn create(&mut self, create: bool) -> &mut Self {
        self.0.create(create);
        self
    }

    /// Whether the file must be made: it is an error if there is one, and nobody can come in
    /// between. Then [`create`](OpenOptions::create) and [`truncate`](OpenOptions::truncate) do not
    /// matter.
    pub fn create_new(&mut self, create_new: bool) -> &mut Self {
        self.0.create_new(create_new);
        self
    }

    /// Opens the file at `path`. The options can be used again, also while this goes on.
    ///
    /// # Errors
    ///
    /// As [`std::fs::OpenOptions::open`]: [`InvalidInput`](io::ErrorKind::InvalidInput) for options
    /// that contradict each other.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped while the file is being opened, the file is closed again, and stays
    /// there if it was made.
    #[track_caller]
    pub fn open(&self, path: impl AsRef<Path>) -> impl Future<Output = io::Result<File>> + Send + 'static {
        let options = self.0.clone();
        with_path(path, move |path| options.open(path).map(File::from))
    }
}

/// Unix only.
#[cfg(unix)]
impl OpenOptions {
    /// The permission bits of a file that is made, before the umask takes some away; 0o666 if this
    /// is not set. Unix only.
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
        self.0.mode(mode);
        self
    }

    /// Flags for `open(2)` besides those that the other options set, such as `O_NOFOLLOW`; the bits
    /// of the access mode are ignored. Each call replaces the flags of the one before. Unix only.
    pub fn custom_flags(&mut self, flags: i32) -> &mut Self {
        self.0.custom_flags(flags);
        self
    }
}

/// Windows only.
#[cfg(windows)]
impl OpenOptions {
    /// The desired access for `CreateFile`, instead of what [`read`](OpenOptions::read),
    /// [`write`](OpenOptions::write) and [`append`](OpenOptions::append) say. Windows only.
    pub fn access_mode(&mut self, access: u32) -> &mut Self {
        self.0.access_mode(access);
        self
    }

    /// What others may do with the file as long as it is open; everything, if this is not set.
    /// Windows only.
    pub fn share_mode(&mut self, share: u32) -> &mut Self {
        self.0.share_mode(share);
        self
    }

    /// Flags for `CreateFile`, such as `FILE_FLAG_DELETE_ON_CLOSE`. Each call replaces the flags of
    /// the one before. Windows only.
    pub fn custom_flags(&mut self, flags: u32) -> &mut Self {
        self.0.custom_flags(flags);
        self
    }

    /// The attributes of a file that is made, such as `FILE_ATTRIBUTE_HIDDEN`. Windows only.
    pub fn attributes(&mut self, attributes: u32) -> &mut Self {
        self.0.attributes(attributes);
        self
    }

    /// What the server of a named pipe may do in the name of this process. Windows only.
    pub fn security_qos_flags(&mut self, flags: u32) -> &mut Self {
        self.0.security_qos_flags(flags);
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
        OpenOptions(options)
    }
}
