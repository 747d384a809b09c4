//! Reads and writes at a given offset, which do not move the cursor.

use std::future::poll_fn;
use std::io;
#[cfg(unix)]
use std::os::unix::fs::FileExt;
#[cfg(windows)]
use std::os::windows::fs::FileExt;
use std::sync::Arc;
use std::task::Poll;

use super::File;
use crate::io::aligned::AlignedBytes;
use crate::io::budget;
use crate::io::retry::retry;
use crate::sys::pread::{self, Cached};

/// The most bytes that one trip to the pool moves: it needs a buffer of that size of its own.
const MOST: usize = 2 << 20;

/// Reads and writes at an offset. They take `&self`: any number may be in progress at a time.
impl File {
    /// Reads up to `buffer.len()` bytes at `offset`, at most 2 MiB at a time, and returns how many:
    /// 0 at the end of the file. The cursor does not move. Unix only.
    ///
    /// On Linux, bytes in the page cache are copied at once, without a trip to the pool.
    ///
    /// # Errors
    ///
    /// That of a write that was accepted before, and those of [`FileExt::read_at`].
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing: the cursor does not move.
    ///
    /// ```
    /// # sidestep::block_on(async {
    /// let file = sidestep::fs::File::open("Cargo.toml").await?;
    /// let (mut first, mut second) = ([0; 9], [0; 4]);
    /// let reads = futures_util::future::try_join(file.read_at(&mut first, 0), file.read_at(&mut second, 10));
    /// assert_eq!(reads.await?, (9, 4));
    /// assert_eq!(&first, b"[package]");
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    #[cfg(unix)]
    pub async fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_from(buffer, offset).await
    }

    /// Reads exactly `buffer.len()` bytes at `offset`. Unix only.
    ///
    /// # Errors
    ///
    /// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) if the file ends before; the contents of
    /// `buffer` are then unspecified. Else those of [`read_at`](File::read_at).
    #[cfg(unix)]
    pub async fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_from(&mut buffer[filled..], offset.saturating_add(filled as u64)).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => filled += count,
            }
        }
        Ok(())
    }

    /// Writes `bytes` at `offset`, at most 2 MiB at a time, and returns how many. The cursor does
    /// not move. Linux writes at the end of a file that is in append mode, whatever the offset.
    /// Unix only.
    ///
    /// # Errors
    ///
    /// That of a write that was accepted before, and those of [`FileExt::write_at`].
    ///
    /// # Cancellation
    ///
    /// A call that runs writes the bytes, also if the future is dropped.
    #[cfg(unix)]
    pub async fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.write_to(bytes, offset).await
    }

    /// Writes all of `bytes` at `offset`. Unix only.
    ///
    /// # Errors
    ///
    /// [`WriteZero`](io::ErrorKind::WriteZero) if the file accepts no more; else those of
    /// [`write_at`](File::write_at).
    #[cfg(unix)]
    pub async fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut written = 0;
        while written < bytes.len() {
            match self.write_to(&bytes[written..], offset.saturating_add(written as u64)).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => written += count,
            }
        }
        Ok(())
    }

    /// Reads up to `buffer.len()` bytes at `offset`, at most 2 MiB at a time, and returns how many:
    /// 0 at the end of the file. It moves the cursor, so do not use the reading traits at the same
    /// time. Windows only.
    ///
    /// # Errors
    ///
    /// That of a write that was accepted before, and those of [`FileExt::seek_read`].
    #[cfg(windows)]
    pub async fn seek_read(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_from(buffer, offset).await
    }

    /// Writes `bytes` at `offset`, at most 2 MiB at a time, and returns how many. It moves the
    /// cursor, so do not use the writing traits at the same time. Windows only.
    ///
    /// # Errors
    ///
    /// That of a write that was accepted before, and those of [`FileExt::seek_write`].
    #[cfg(windows)]
    pub async fn seek_write(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.write_to(bytes, offset).await
    }

    async fn read_from(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.written().await?;
        take_turn().await;
        let bypasses_cache = *self.bypasses_cache.get_or_init(|| pread::bypasses_cache(&self.file));
        if !bypasses_cache && let Cached::Read(count) = pread::read(&self.file, buffer, Some(offset)) {
            budget::spend(count);
            return Ok(count);
        }
        let (file, most) = (Arc::clone(&self.file), buffer.len().min(MOST));
        let read = self.fs().offload(move || {
            let mut bytes = AlignedBytes::zeroed(most);
            let count = retry(|| read_once(&file, &mut bytes, offset))?;
            Ok((bytes, count))
        });
        let (bytes, count) = read.await?;
        buffer[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }

    async fn write_to(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.written().await?;
        let bytes = AlignedBytes::copy_of(&bytes[..bytes.len().min(MOST)]);
        let file = Arc::clone(&self.file);
        let invalidate = self.stream.invalidator();
        let write = self.fs().offload(move || {
            // Bytes read ahead before the call are stale, and so are those read while it runs.
            invalidate();
            let result = retry(|| write_once(&file, &bytes, offset));
            invalidate();
            result
        });
        write.await
    }
}

/// Yields to other tasks now and then, since a read from the page cache never waits.
async fn take_turn() {
    let mut waits = !budget::may_begin_read();
    poll_fn(|context| {
        if std::mem::take(&mut waits) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}

#[cfg(unix)]
fn read_once(file: &std::fs::File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    file.read_at(buffer, offset)
}

#[cfg(unix)]
fn write_once(file: &std::fs::File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    file.write_at(bytes, offset)
}

#[cfg(windows)]
fn read_once(file: &std::fs::File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    file.seek_read(buffer, offset)
}

#[cfg(windows)]
fn write_once(file: &std::fs::File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    file.seek_write(bytes, offset)
}
