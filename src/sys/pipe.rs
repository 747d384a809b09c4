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
    use std::os::fd::{FromRawFd, OwnedFd};

    let mut ends = [-1; 2];
    system::pipe(&mut ends)?;
    // SAFETY: the call has opened it, and nothing else owns it.
    let read = unsafe { OwnedFd::from_raw_fd(ends[0]) };
    // SAFETY: as above.
    drop(unsafe { OwnedFd::from_raw_fd(ends[1]) });
    Ok(read.into())
}

/// Neither end is passed on to the programs that other threads start meanwhile.
#[cfg(any(
    target_os = "linux",
    target_os = "android",
    target_os = "freebsd",
    target_os = "dragonfly",
    target_os = "netbsd",
    target_os = "openbsd"
))]
mod system {
    use std::io;

    pub(super) fn pipe(ends: &mut [libc::c_int; 2]) -> io::Result<()> {
        // SAFETY: the call writes two descriptors, for which there is memory.
        let status = unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) };
        if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// As above, but for programs that start between the calls: these systems have no call for both. A
/// program that has got the end for writing so keeps reads from the other one waiting.
#[cfg(all(
    unix,
    not(any(
        target_os = "linux",
        target_os = "android",
        target_os = "freebsd",
        target_os = "dragonfly",
        target_os = "netbsd",
        target_os = "openbsd"
    ))
))]
mod system {
    use std::io;

    pub(super) fn pipe(ends: &mut [libc::c_int; 2]) -> io::Result<()> {
        // SAFETY: the call writes two descriptors, for which there is memory.
        if unsafe { libc::pipe(ends.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        for &mut end in ends {
            // SAFETY: the descriptor is open, and the call takes no pointer.
            unsafe { libc::fcntl(end, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
        Ok(())
    }
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
