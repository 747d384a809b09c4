//! Pipes: the types that `std` has for them from Rust 1.87 on, and a pipe at its end.
//!
//! A name inside of a block means what the block imports by `*`, if that has the name, and else
//! what it means outside. So `PipeReader` means the type of `std` where `std` has it, and else that
//! of the output of a child, which is in every list beside it: before Rust 1.87 a program has no
//! other pipe. In Rust 1.86 `std` has the types, but they are unstable, and an error: there the
//! build needs `--cfg sidestep_without_std_pipes`.

use std::fs::File;
use std::io;
#[allow(unused_imports, clippy::allow_attributes, reason = "`std` has them from Rust 1.87 on")]
use std::process::{ChildStdin as PipeWriter, ChildStdout as PipeReader};

/// What the pipes of `std` are.
pub(crate) struct StdPipes;

pub(crate) trait PipeTypes {
    type Reader: 'static;
    type Writer: 'static;
}

const _: () = {
    #[cfg(not(sidestep_without_std_pipes))]
    #[allow(
        unused_imports,
        clippy::wildcard_imports,
        clippy::allow_attributes,
        reason = "before Rust 1.87 nothing is taken from it, and `*` alone lets that be"
    )]
    use std::io::*;

    impl PipeTypes for StdPipes {
        type Reader = PipeReader;
        type Writer = PipeWriter;
    }
};

/// The end from which an empty pipe is read whose other end is closed: each read is at its end.
///
/// # Errors
///
/// Those of the system: no descriptor is left.
#[cfg(unix)]
pub(crate) fn ended_pipe() -> io::Result<File> {
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

    let mut ends = [-1; 2];
    // SAFETY: the call writes two descriptors, for which there is memory.
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "netbsd"))]
    let status = unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) };
    #[cfg(not(any(
        target_os = "linux",
        target_os = "android",
        target_os = "freebsd",
        target_os = "netbsd"
    )))]
    // SAFETY: as above.
    let status = unsafe { libc::pipe(ends.as_mut_ptr()) };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has opened it, and nothing else owns it.
    let read = unsafe { OwnedFd::from_raw_fd(ends[0]) };
    // SAFETY: as above.
    drop(unsafe { OwnedFd::from_raw_fd(ends[1]) });
    // Not all systems have a call for both.
    // SAFETY: the descriptor is open, and the call takes no pointer.
    unsafe { libc::fcntl(read.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
    Ok(read.into())
}

/// The end from which an empty pipe is read whose other end is closed: each read is at its end.
///
/// # Errors
///
/// Those of the system: no handle is left.
#[cfg(windows)]
pub(crate) fn ended_pipe() -> io::Result<File> {
    use std::os::windows::io::{FromRawHandle, OwnedHandle};
    use std::ptr::{null, null_mut};

    use windows_sys::Win32::System::Pipes::CreatePipe;

    let (mut read, mut write) = (null_mut(), null_mut());
    // SAFETY: the call writes two handles, for which there is memory; it needs no attributes.
    let made = unsafe { CreatePipe(&raw mut read, &raw mut write, null(), 0) };
    if made == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has opened it, and nothing else owns it.
    let read = unsafe { OwnedHandle::from_raw_handle(read) };
    // SAFETY: as above.
    drop(unsafe { OwnedHandle::from_raw_handle(write) });
    Ok(read.into())
}

/// There are no pipes on this system.
///
/// # Errors
///
/// Always one of kind `Unsupported`.
#[cfg(not(any(unix, windows)))]
pub(crate) fn ended_pipe() -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
