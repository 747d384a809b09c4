//! The first bytes of a file, in memory that nothing has initialised: zeroing takes as long as
//! copying a small file.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;

/// Room for `N` bytes, of which the first are filled: the first `filled` of `bytes` are
/// initialised, and there are as many.
pub(crate) struct FileHead<const N: usize> {
    bytes: [MaybeUninit<u8>; N],
    filled: usize,
}

impl<const N: usize> FileHead<N> {
    pub(crate) fn new() -> Self {
        FileHead { bytes: [MaybeUninit::uninit(); N], filled: 0 }
    }

    pub(crate) fn filled(&self) -> &[u8] {
        let bytes = &self.bytes[..self.filled];
        let (start, count) = (bytes.as_ptr().cast(), bytes.len());
        // SAFETY: the first `filled` bytes are initialised, and they are borrowed as long as the
        // slice.
        unsafe { std::slice::from_raw_parts(start, count) }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.filled == N
    }

    /// Reads once into what is left. Returns how many bytes, 0 at the end of the file.
    #[cfg(all(unix, not(miri)))]
    pub(crate) fn read(&mut self, file: &mut File) -> io::Result<usize> {
        use std::os::fd::AsRawFd;

        let room = &mut self.bytes[self.filled..];
        let (start, length) = (room.as_mut_ptr().cast(), room.len());
        // SAFETY: the descriptor is open as long as `file` is borrowed, and the pointer and the
        // length are those of memory that is borrowed exclusively.
        let count = unsafe { libc::read(file.as_raw_fd(), start, length) };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        // So many bytes has the system written.
        self.filled += count;
        Ok(count)
    }

    /// Reads once into what is left. Returns how many bytes, 0 at the end of the file.
    #[cfg(not(all(unix, not(miri))))]
    pub(crate) fn read(&mut self, file: &mut File) -> io::Result<usize> {
        use std::io::Read;

        let room = &mut self.bytes[self.filled..];
        let mut zeroed = vec![0; room.len()];
        let count = file.read(&mut zeroed)?;
        for (to, from) in room.iter_mut().zip(&zeroed[..count]) {
            to.write(*from);
        }
        self.filled += count;
        Ok(count)
    }
}

#[cfg(all(test, not(any(sidestep_loom, sidestep_shuttle))))]
mod tests;
