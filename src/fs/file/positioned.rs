//! Reads and writes at a given offset, which do not move the cursor.

use std::future::poll_fn;
use std::io;
#[cfg(unix)]
use std::io::{IoSlice, IoSliceMut};
#[cfg(unix)]
use std::os::unix::fs::FileExt;
#[cfg(windows)]
use std::os::windows::fs::FileExt;
use std::sync::Arc;

use super::File;
use crate::io::aligned::AlignedBytes;
use crate::io::budget;
use crate::io::retry::retry;
#[cfg(unix)]
use crate::sync::Mutex;
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
    /// let file = sidestep::fs::File::open("README.md").await?;
    /// let (mut first, mut second) = ([0; 10], [0; 4]);
    /// let reads = futures_util::future::try_join(file.read_at(&mut first, 0), file.read_at(&mut second, 10));
    /// assert_eq!(reads.await?, (10, 4));
    /// assert_eq!(&first, b"# sidestep");
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

    /// As [`read_at`](File::read_at), with a buffer that goes to the thread that reads and comes
    /// back with the result: no byte is copied, and there is no limit on the size. Unix only.
    ///
    /// # Errors
    ///
    /// As for [`read_at`](File::read_at). The buffer comes back all the same.
    ///
    /// # Cancellation
    ///
    /// The buffer is dropped when the read has ended.
    ///
    /// ```
    /// # sidestep::block_on(async {
    /// let file = sidestep::fs::File::open("README.md").await?;
    /// let (count, buffer) = file.read_at_owned(vec![0; 10], 0).await;
    /// assert_eq!(&buffer[..count?], b"# sidestep");
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    #[cfg(unix)]
    pub async fn read_at_owned<B>(&self, mut buffer: B, offset: u64) -> (io::Result<usize>, B)
    where
        B: AsMut<[u8]> + Send + 'static,
    {
        if let Err(error) = self.written().await {
            return (Err(error), buffer);
        }
        poll_fn(budget::poll_turn).await;
        // A large buffer is filled by one call.
        let is_small = buffer.as_mut().len() <= pread::MOST;
        if is_small {
            if let Some(count) = self.read_cached(buffer.as_mut(), offset) {
                return (Ok(count), buffer);
            }
        }
        self.lend(buffer, move |file, buffer| retry(|| read_once(file, buffer.as_mut(), offset))).await
    }

    /// As [`write_at`](File::write_at), with bytes that go to the thread that writes and come back
    /// with the result: no byte is copied, and there is no limit on the size. Unix only.
    ///
    /// # Errors
    ///
    /// As for [`write_at`](File::write_at). The bytes come back all the same.
    ///
    /// # Cancellation
    ///
    /// A call that runs writes the bytes, also if the future is dropped.
    #[cfg(unix)]
    pub async fn write_at_owned<B>(&self, bytes: B, offset: u64) -> (io::Result<usize>, B)
    where
        B: AsRef<[u8]> + Send + 'static,
    {
        self.write_lent(bytes, B::as_ref, offset).await
    }

    /// As [`read_at`](File::read_at), into several buffers, one after the other. Unix only.
    ///
    /// # Errors
    ///
    /// As for [`read_at`](File::read_at).
    #[cfg(unix)]
    pub async fn read_vectored_at(&self, buffers: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<usize> {
        let length = buffers.iter().map(|buffer| buffer.len()).fold(0, usize::saturating_add);
        if let [buffer] = buffers {
            return self.read_from(buffer, offset).await;
        }
        let buffer = AlignedBytes::zeroed(length.min(MOST));
        let read = self.lend(buffer, move |file, buffer| retry(|| read_once(file, buffer, offset)));
        let (count, bytes) = read.await;
        let count = count?;
        let mut unread = &bytes[..count];
        for buffer in buffers {
            let (now, rest) = unread.split_at(unread.len().min(buffer.len()));
            buffer[..now.len()].copy_from_slice(now);
            unread = rest;
        }
        Ok(count)
    }

    /// As [`write_at`](File::write_at), from several slices, one after the other and in one write.
    /// Unix only.
    ///
    /// # Errors
    ///
    /// As for [`write_at`](File::write_at).
    #[cfg(unix)]
    pub async fn write_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut bytes = AlignedBytes::default();
        for slice in slices {
            bytes.extend(&slice[..slice.len().min(MOST - bytes.len())]);
        }
        self.write_lent(bytes, |bytes| bytes, offset).await.0
    }

    #[cfg(unix)]
    async fn write_lent<B: Send + 'static>(
        &self,
        bytes: B,
        slice: fn(&B) -> &[u8],
        offset: u64,
    ) -> (io::Result<usize>, B) {
        let invalidate = self.stream.invalidator();
        self.lend(bytes, move |file, bytes| {
            // Bytes read ahead before the call are stale, and so are those read while it runs.
            invalidate();
            let result = retry(|| write_once(file, slice(bytes), offset));
            invalidate();
            result
        })
        .await
    }

    /// Calls `f` on the pool with a buffer, which comes back whatever happens.
    #[cfg(unix)]
    async fn lend<B, F>(&self, buffer: B, f: F) -> (io::Result<usize>, B)
    where
        B: Send + 'static,
        F: FnOnce(&std::fs::File, &mut B) -> io::Result<usize> + Send + 'static,
    {
        if let Err(error) = self.written().await {
            return (Err(error), buffer);
        }
        // Both have it, in case the pool refuses the call, or the buffer panics.
        let (file, slot) = (Arc::clone(&self.file), Arc::new(Mutex::new(Some(buffer))));
        let lent = Arc::clone(&slot);
        let result = self.fs().offload(move || {
            let mut lent = Lent { buffer: lent.lock().take(), slot: &lent };
            lent.buffer.as_mut().map_or(Ok(0), |buffer| f(&file, buffer))
        });
        let result = result.await;
        let buffer = slot.lock().take();
        (result, buffer.unwrap_or_else(|| unreachable!("the call has put it back")))
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
        poll_fn(budget::poll_turn).await;
        if let Some(count) = self.read_cached(buffer, offset) {
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

    /// Reads what the page cache has at `offset`, without waiting.
    fn read_cached(&self, buffer: &mut [u8], offset: u64) -> Option<usize> {
        let bypasses_cache = *self.bypasses_cache.get_or_init(|| pread::bypasses_cache(&self.file));
        if bypasses_cache {
            return None;
        }
        let Cached::Read(count) = pread::read(&self.file, buffer, Some(offset)) else { return None };
        budget::spend(count);
        Some(count)
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

/// A buffer in use, which goes back to its slot when that has ended.
#[cfg(unix)]
struct Lent<'a, B> {
    buffer: Option<B>,
    slot: &'a Mutex<Option<B>>,
}

#[cfg(unix)]
impl<B> Drop for Lent<'_, B> {
    fn drop(&mut self) {
        *self.slot.lock() = self.buffer.take();
    }
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
