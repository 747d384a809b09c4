//! Which file a handle has open: two handles of one file have the same [`FileId`].
//!
//! | system | how | waits |
//! |---|---|---|
//! | Linux | `statx` with `AT_STATX_DONT_SYNC`: what the system knows of the file, without a question to a server or a disk (since 4.11, see `statx(2)`) | never |
//! | other Unix | `fstat` | where a server answers it |
//! | Windows | `GetFileInformationByHandleEx` with `FileIdInfo`; not every file system has an id | where a server answers it |
//! | the rest | there is no such call | |

use std::fs::File;
use std::io;

#[cfg(not(windows))]
type FileNumber = u64;
#[cfg(windows)]
type FileNumber = u128;

/// The device and the number of a file there. No other file has them while this one is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FileId {
    device: u64,
    number: FileNumber,
}

#[cfg(all(test, sidestep_loom))]
impl FileId {
    /// The file of a model.
    pub(crate) fn of_model() -> Self {
        FileId { device: 0, number: 0 }
    }
}

/// The file's id, if the system can say it without waiting.
#[cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]
pub(crate) fn at_once(file: &File) -> Option<FileId> {
    use std::os::fd::AsRawFd;

    let mut found = std::mem::MaybeUninit::<libc::statx>::zeroed();
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    let mask = libc::STATX_INO as libc::c_long;
    let (fd, flags) = (libc::c_long::from(file.as_raw_fd()), libc::c_long::from(flags));
    // The call and not the function of that name, which older C libraries lack.
    // SAFETY: the descriptor is open as long as `file` is borrowed, the path is empty and ends in
    // NUL, and `found` is memory for one `statx`.
    let status = unsafe { libc::syscall(libc::SYS_statx, fd, c"".as_ptr(), flags, mask, found.as_mut_ptr()) };
    if status != 0 {
        return None;
    }
    // SAFETY: integers, which are valid when zeroed and after the call has written to them.
    let found = unsafe { found.assume_init() };
    let device = libc::makedev(found.stx_dev_major, found.stx_dev_minor);
    (found.stx_mask & libc::STATX_INO != 0).then_some(FileId { device, number: found.stx_ino })
}

/// This system cannot say it without waiting.
#[cfg(not(all(target_os = "linux", target_env = "gnu", not(miri))))]
pub(crate) fn at_once(_: &File) -> Option<FileId> {
    None
}

/// The file's id, where the system has one. The call may wait for a server.
///
/// # Errors
///
/// Those of [`File::metadata`].
#[cfg(unix)]
pub(crate) fn ask(file: &File) -> io::Result<Option<FileId>> {
    use std::os::unix::fs::MetadataExt;

    let found = file.metadata()?;
    Ok(Some(FileId { device: found.dev(), number: found.ino() }))
}

/// The file's id, where the file system has one. The call may wait for a server.
///
/// # Errors
///
/// None: a file system that has none refuses the question.
#[cfg(all(windows, not(miri)))]
pub(crate) fn ask(file: &File) -> io::Result<Option<FileId>> {
    use std::os::windows::io::AsRawHandle;

    use windows_sys::Win32::Storage::FileSystem::{FILE_ID_INFO, FileIdInfo, GetFileInformationByHandleEx};

    let mut found = FILE_ID_INFO::default();
    let length = size_of::<FILE_ID_INFO>() as u32;
    // SAFETY: the handle is open as long as `file` is borrowed, and `found` is valid for writing
    // `length` bytes.
    let known = unsafe {
        GetFileInformationByHandleEx(file.as_raw_handle(), FileIdInfo, (&raw mut found).cast(), length)
    };
    let number = FileNumber::from_le_bytes(found.FileId.Identifier);
    Ok((known != 0).then_some(FileId { device: found.VolumeSerialNumber, number }))
}

/// The crate does not know of an id on this system.
///
/// # Errors
///
/// None.
#[cfg(not(any(unix, all(windows, not(miri)))))]
pub(crate) fn ask(_: &File) -> io::Result<Option<FileId>> {
    Ok(None)
}

#[cfg(all(test, any(unix, all(windows, not(miri))), not(sidestep_loom)))]
mod tests;
