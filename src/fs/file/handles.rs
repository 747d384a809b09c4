//! To and from files of `std`, descriptors and handles of the system; and clones.

use std::io::{self, Seek, SeekFrom};
use std::sync::Arc;

use super::File;
use crate::fs::offload::Fs;

impl File {
    /// Makes a [`File`] of an open file of `std`, as `From` does.
    #[inline]
    #[must_use]
    pub fn from_std(file: std::fs::File) -> File {
        File::from(file)
    }

    /// Converts into a [`std::fs::File`] at the current logical position: written bytes are flushed
    /// first, and bytes that were read ahead are undone by seeking back. A pipe or a terminal
    /// cannot seek: its bytes that were read ahead are lost.
    ///
    /// A call whose future was dropped may still be in progress and share the file. Then the result
    /// is a duplicate of the handle.
    ///
    /// # Errors
    ///
    /// That of a write, or of seeking back. The file is then dropped, which tries once more to
    /// write the rest in the background. Call `flush` first if you want to try again yourself.
    pub async fn into_std(self) -> io::Result<std::fs::File> {
        let File { file, stream, .. } = self;
        drop(stream.into_inner().await?);
        Arc::try_unwrap(file).or_else(|file| file.try_clone())
    }

    /// Converts into a [`std::fs::File`] at once, if nothing is in progress: then all that was
    /// accepted has been written, and what was read ahead is undone by seeking back.
    ///
    /// # Errors
    ///
    /// The file itself, if a read, a write or another call is in progress, or an error is to be
    /// reported, or the file cannot seek back. [`into_std`](File::into_std) waits and reports.
    ///
    /// ```
    /// # sidestep::block_on(async {
    /// use sidestep::fs::File;
    ///
    /// let file = File::open("Cargo.toml").await?;
    /// let file: std::fs::File = file.try_into_std().map_err(|_| std::io::ErrorKind::ResourceBusy)?;
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    #[inline]
    #[expect(clippy::result_large_err, reason = "the name and the type are those of tokio")]
    pub fn try_into_std(mut self) -> Result<std::fs::File, File> {
        // Another call in progress has the file too: one that was dropped.
        if Arc::strong_count(&self.file) > 2 {
            return Err(self);
        }
        let Some(unread) = self.stream.unread_at_rest() else { return Err(self) };
        let is_in_place = unread == 0
            || i64::try_from(unread)
                .is_ok_and(|unread| (&*self.file).seek(SeekFrom::Current(-unread)).is_ok());
        if !is_in_place {
            return Err(self);
        }
        let (fs, File { file, stream, lock, .. }) = (self.fs(), self);
        drop(stream);
        Arc::try_unwrap(file).map_err(|file| fs.file_of(file, lock))
    }

    /// Creates another handle to the same open file, which shares its cursor. It first flushes
    /// this one and undoes its read-ahead, as [`into_std`](File::into_std) does. Afterwards each
    /// handle has buffers of its own, so flush one before you use the other.
    ///
    /// # Errors
    ///
    /// Those of a write, and of [`std::fs::File::try_clone`].
    pub async fn try_clone(&self) -> io::Result<File> {
        self.stream.at_rest().await?;
        let mut clone = self.fs().file(self.file.try_clone()?);
        clone.stream.set_sizes(self.stream.sizes());
        Ok(File { lock: Arc::clone(&self.lock), ..clone })
    }
}

impl From<std::fs::File> for File {
    #[inline]
    fn from(file: std::fs::File) -> Self {
        Fs::GLOBAL.file(file)
    }
}

/// The cursor of the descriptor may be ahead of this file's logical position, or behind it.
#[cfg(unix)]
impl std::os::fd::AsFd for File {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(unix)]
impl std::os::fd::AsRawFd for File {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.file.as_raw_fd()
    }
}

#[cfg(unix)]
impl From<std::os::fd::OwnedFd> for File {
    #[inline]
    fn from(fd: std::os::fd::OwnedFd) -> Self {
        std::fs::File::from(fd).into()
    }
}

/// The cursor of the handle may be ahead of this file's logical position, or behind it.
#[cfg(windows)]
impl std::os::windows::io::AsHandle for File {
    fn as_handle(&self) -> std::os::windows::io::BorrowedHandle<'_> {
        self.file.as_handle()
    }
}

#[cfg(windows)]
impl std::os::windows::io::AsRawHandle for File {
    fn as_raw_handle(&self) -> std::os::windows::io::RawHandle {
        self.file.as_raw_handle()
    }
}

#[cfg(windows)]
impl From<std::os::windows::io::OwnedHandle> for File {
    #[inline]
    fn from(handle: std::os::windows::io::OwnedHandle) -> Self {
        std::fs::File::from(handle).into()
    }
}
