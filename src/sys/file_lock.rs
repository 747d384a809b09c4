//! Locks of open files: the calls of the system that `std` has as methods of `File` from Rust 1.89
//! on, with its results.
//!
//! | system | calls |
//! |---|---|
//! | Unix, but for Solaris | `flock` |
//! | Windows | `LockFileEx`, `UnlockFile`, for all bytes that a file can have |
//! | the rest | none: an error of kind `Unsupported` |

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io;

/// Why a lock was not acquired at once. In form, and in meaning, it is that of `std::fs`.
///
/// ```
/// # sidestep::block_on(async {
/// use sidestep::fs::{File, TryLockError};
///
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("lock");
/// let (one, two) = (File::create(&path).await?, File::create(&path).await?);
/// one.lock().await?;
/// match two.try_lock().await {
///     Ok(()) => unreachable!("`one` has the lock"),
///     Err(TryLockError::WouldBlock) => println!("another program is at it"),
///     Err(TryLockError::Error(error)) => return Err(error),
/// }
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
pub enum TryLockError {
    /// The system has reported an error, which is not of kind
    /// [`WouldBlock`](io::ErrorKind::WouldBlock).
    Error(io::Error),
    /// Another open file has the lock.
    WouldBlock,
}

impl Error for TryLockError {}

impl fmt::Debug for TryLockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryLockError::Error(error) => error.fmt(f),
            TryLockError::WouldBlock => "WouldBlock".fmt(f),
        }
    }
}

impl fmt::Display for TryLockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryLockError::Error(_) => "lock acquisition failed due to I/O error".fmt(f),
            TryLockError::WouldBlock => "lock acquisition failed because the operation would block".fmt(f),
        }
    }
}

impl From<TryLockError> for io::Error {
    fn from(error: TryLockError) -> Self {
        match error {
            TryLockError::Error(error) => error,
            TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
        }
    }
}

/// Acquires the lock, exclusive or shared, if that takes no waiting for others.
///
/// # Errors
///
/// [`TryLockError::WouldBlock`] if another open file has the lock; else those of the system.
pub(crate) fn try_lock(file: &File, exclusive: bool) -> Result<(), TryLockError> {
    system::try_lock(file, exclusive).map_err(|error| {
        if system::is_held(&error) { TryLockError::WouldBlock } else { TryLockError::Error(error) }
    })
}

/// As [`try_lock`], for an open file that has a lock, exclusive or shared, if that is known.
/// The system converts it.
///
/// # Errors
///
/// As for [`try_lock`].
#[cfg(not(windows))]
pub(crate) fn convert(file: &File, exclusive: bool, _: Option<bool>) -> Result<(), TryLockError> {
    try_lock(file, exclusive)
}

/// As [`try_lock`], for an open file that has a lock, exclusive or shared, if that is known: an
/// exclusive lock is kept, or becomes a shared one; a shared one does not become an exclusive one.
///
/// # Errors
///
/// As for [`try_lock`].
#[cfg(windows)]
pub(crate) fn convert(file: &File, exclusive: bool, has: Option<bool>) -> Result<(), TryLockError> {
    match try_lock(file, exclusive) {
        // The system refuses a second one.
        Err(TryLockError::WouldBlock) if exclusive && has == Some(true) => return Ok(()),
        result => result?,
    }
    if !exclusive && has == Some(true) {
        // The exclusive one is released before any that is shared. Of two shared ones one is left
        // though the user has unlocked the file by another handle.
        try_lock(file, false)?;
        system::unlock_more(file).map_err(TryLockError::Error)?;
    }
    Ok(())
}

/// Releases the lock.
///
/// # Errors
///
/// Those of the system. To have no lock is an error on Windows alone.
pub(crate) fn unlock(file: &File) -> io::Result<()> {
    system::unlock(file)
}

#[cfg(all(unix, not(target_os = "solaris")))]
mod system {
    use std::fs::File;
    use std::io;
    use std::os::fd::AsRawFd;

    pub(super) fn try_lock(file: &File, exclusive: bool) -> io::Result<()> {
        let kind = if exclusive { libc::LOCK_EX } else { libc::LOCK_SH };
        flock(file, kind | libc::LOCK_NB)
    }

    pub(super) fn is_held(error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::WouldBlock
    }

    pub(super) fn unlock(file: &File) -> io::Result<()> {
        flock(file, libc::LOCK_UN)
    }

    fn flock(file: &File, operation: libc::c_int) -> io::Result<()> {
        loop {
            // SAFETY: the descriptor is open as long as `file` is borrowed, and the call takes no
            // pointer.
            let status = unsafe { libc::flock(file.as_raw_fd(), operation) };
            let result = if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
            match result {
                // The lock of a file of another machine may have been asked for there, and a signal
                // came first. To give up here would leave a lock that was to be released.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

#[cfg(windows)]
mod system {
    use std::fs::File;
    use std::io;
    use std::os::windows::io::AsRawHandle;
    use std::time::Duration;

    use windows_sys::Win32::Foundation::{
        ERROR_IO_INCOMPLETE, ERROR_IO_PENDING, ERROR_LOCK_VIOLATION, ERROR_NOT_LOCKED,
    };
    use windows_sys::Win32::Storage::FileSystem::{
        LOCKFILE_EXCLUSIVE_LOCK, LOCKFILE_FAIL_IMMEDIATELY, LockFileEx, UnlockFile,
    };
    use windows_sys::Win32::System::IO::{GetOverlappedResult, OVERLAPPED};

    pub(super) fn try_lock(file: &File, exclusive: bool) -> io::Result<()> {
        let kind = if exclusive { LOCKFILE_EXCLUSIVE_LOCK } else { 0 };
        let flags = kind | LOCKFILE_FAIL_IMMEDIATELY;
        // From the first byte on, and with no event.
        let mut from = OVERLAPPED::default();
        let handle = file.as_raw_handle();
        // SAFETY: the handle is open as long as `file` is borrowed, and `from` is valid for reading
        // and writing until the system has answered, as `finish` sees to.
        let locked = unsafe { LockFileEx(handle, flags, 0, u32::MAX, u32::MAX, &raw mut from) };
        if locked == 0 { finish(file, &mut from) } else { Ok(()) }
    }

    /// The call has failed, or is on its way: a program may have opened the file for overlapped
    /// calls, and then the answer of another machine comes later. Returns when it has come: until
    /// then the system may write to `from`.
    #[expect(clippy::disallowed_methods, reason = "no wait is sure to be for this call alone")]
    fn finish(file: &File, from: &mut OVERLAPPED) -> io::Result<()> {
        let mut error = io::Error::last_os_error();
        while let Some(ERROR_IO_PENDING | ERROR_IO_INCOMPLETE) = code(&error) {
            std::thread::sleep(Duration::from_millis(1));
            let mut moved = 0;
            // SAFETY: the handle is open as long as `file` is borrowed, and both pointers are valid
            // for writing. The call does not wait.
            let locked = unsafe { GetOverlappedResult(file.as_raw_handle(), from, &raw mut moved, 0) };
            if locked != 0 {
                return Ok(());
            }
            error = io::Error::last_os_error();
        }
        Err(error)
    }

    pub(super) fn is_held(error: &io::Error) -> bool {
        code(error) == Some(ERROR_LOCK_VIOLATION)
    }

    /// An open file may have an exclusive lock and any number of shared ones, and each call
    /// releases one of them, the exclusive one first.
    pub(super) fn unlock(file: &File) -> io::Result<()> {
        unlock_one(file)?;
        while unlock_more(file)? {}
        Ok(())
    }

    /// Releases one lock, if there is one. If not, Windows reports `ERROR_NOT_LOCKED`, and Wine
    /// `ERROR_LOCK_VIOLATION`.
    pub(super) fn unlock_more(file: &File) -> io::Result<bool> {
        match unlock_one(file) {
            Ok(()) => Ok(true),
            Err(error) if matches!(code(&error), Some(ERROR_NOT_LOCKED | ERROR_LOCK_VIOLATION)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn code(error: &io::Error) -> Option<u32> {
        u32::try_from(error.raw_os_error()?).ok()
    }

    fn unlock_one(file: &File) -> io::Result<()> {
        // SAFETY: the handle is open as long as `file` is borrowed, and the call takes no pointer.
        let unlocked = unsafe { UnlockFile(file.as_raw_handle(), 0, 0, u32::MAX, u32::MAX) };
        if unlocked == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

#[cfg(not(any(windows, all(unix, not(target_os = "solaris")))))]
mod system {
    use std::fs::File;
    use std::io;

    pub(super) fn try_lock(_: &File, _: bool) -> io::Result<()> {
        Err(unsupported())
    }

    pub(super) fn is_held(_: &io::Error) -> bool {
        false
    }

    pub(super) fn unlock(_: &File) -> io::Result<()> {
        Err(unsupported())
    }

    fn unsupported() -> io::Error {
        io::Error::new(io::ErrorKind::Unsupported, "this system has no locks of open files")
    }
}

#[cfg(all(test, any(unix, windows), not(sidestep_loom)))]
mod tests;
