//! Reads of what the system has in memory already: they need no thread of the pool, since they do
//! not block.
//!
//! Linux has `preadv2` with `RWF_NOWAIT` for that (since 4.14, on most file systems that have a
//! disk beneath them; see `readv(2)`): it copies what is in the page cache, or says that it would
//! have to wait. Elsewhere nothing is ever read this way.

use std::fs::File;

/// The most that is read this way at once: copying it takes some 200 microseconds.
#[cfg_attr(
    not(all(target_os = "linux", not(miri))),
    allow(dead_code, clippy::allow_attributes, reason = "nothing is read this way")
)]
pub(crate) const MOST: usize = 2 << 20;

/// What came of the attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(all(target_os = "linux", not(miri))),
    allow(dead_code, clippy::allow_attributes, reason = "nothing is read this way")
)]
pub(crate) enum Cached {
    /// So many bytes have been read; none at the end of the file.
    Read(usize),
    /// It would have to wait, or there is an error to be met by an ordinary read.
    NotNow,
    /// This file cannot be read like this.
    Never,
}

/// Reads at `offset`, or where the file stands, which moves on then.
#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) fn read(file: &File, buffer: &mut [u8], offset: Option<u64>) -> Cached {
    use std::os::fd::AsRawFd;

    let offset = match offset.map(libc::off64_t::try_from) {
        Some(Ok(offset)) => offset,
        Some(Err(_)) => return Cached::Never,
        None => -1,
    };
    let length = buffer.len().min(MOST);
    let slice = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: length };
    let fd = libc::c_long::from(file.as_raw_fd());
    // The kernel puts the offset together from two halves, and where a `long` holds it all ignores
    // the second.
    let (low, high) = (offset as libc::c_long, (offset >> 32) as libc::c_long);
    let (slices, flags) = (1 as libc::c_long, libc::c_long::from(libc::RWF_NOWAIT));
    // The call and not the function of that name, which older C libraries lack.
    // SAFETY: the descriptor is open as long as `file` is borrowed, and `slice` describes memory of
    // `buffer`, which is borrowed exclusively.
    let count = unsafe { libc::syscall(libc::SYS_preadv2, fd, &raw const slice, slices, low, high, flags) };
    match usize::try_from(count) {
        // Linux 5.9 and 5.10 may say so anywhere.
        Ok(0) if length > 0 && !is_at_end(file, offset) => Cached::NotNow,
        Ok(count) => Cached::Read(count),
        Err(_) => match std::io::Error::last_os_error().raw_os_error() {
            Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ENOSYS | libc::ESPIPE | libc::EPERM) => {
                Cached::Never
            }
            _ => Cached::NotNow,
        },
    }
}

/// Whether there is nothing to be read at `offset`, or where the file stands if that is negative.
#[cfg(all(target_os = "linux", not(miri)))]
fn is_at_end(mut file: &File, offset: libc::off64_t) -> bool {
    use std::io::Seek;

    let place = u64::try_from(offset).or_else(|_| file.stream_position());
    place.is_ok_and(|place| file.metadata().is_ok_and(|metadata| metadata.len() <= place))
}

/// Whether the file is read and written past the page cache: a read waits for the device then,
/// although it is asked not to.
#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) fn bypasses_cache(file: &File) -> bool {
    use std::os::fd::AsRawFd;

    // SAFETY: the descriptor is open as long as `file` is borrowed, and the call takes no pointer.
    let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) };
    flags >= 0 && flags & libc::O_DIRECT != 0
}

/// Files that are opened in such a way are not known on this system.
#[cfg(any(not(target_os = "linux"), miri))]
pub(crate) fn bypasses_cache(_: &File) -> bool {
    false
}

/// Nothing is known to be in memory on this system.
#[cfg(any(not(target_os = "linux"), miri))]
pub(crate) fn read(_: &File, _: &mut [u8], _: Option<u64>) -> Cached {
    Cached::Never
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
