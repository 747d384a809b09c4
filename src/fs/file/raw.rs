//! From raw descriptors and handles, which the caller must own: the only unsafe code of `fs`.
#![expect(unsafe_code, reason = "traits of std whose methods are unsafe")]

use super::File;

/// See [`OwnedFd`](std::os::fd::OwnedFd) for what a caller promises.
#[cfg(unix)]
impl std::os::fd::FromRawFd for File {
    #[inline]
    unsafe fn from_raw_fd(fd: std::os::fd::RawFd) -> Self {
        // SAFETY: the caller owns the descriptor, which is open, and hands it over.
        unsafe { std::fs::File::from_raw_fd(fd) }.into()
    }
}

/// See [`OwnedHandle`](std::os::windows::io::OwnedHandle) for what a caller promises.
#[cfg(windows)]
impl std::os::windows::io::FromRawHandle for File {
    #[inline]
    unsafe fn from_raw_handle(handle: std::os::windows::io::RawHandle) -> Self {
        // SAFETY: the caller owns the handle, which is open, and hands it over.
        unsafe { std::fs::File::from_raw_handle(handle) }.into()
    }
}
