//! `tokio::fs`, and `spawn_blocking` where it has nothing.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use tokio::fs::{self, File, ReadDir};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::spawn_blocking;

use super::{Absent, Disk, Listing, Positioned, Reader, Writer, full};

pub(crate) struct Tokio;

impl Disk for Tokio {
    type File = File;
    type Unblock = Absent;
    type Listing = ReadDir;
    type Positioned = Shared;

    const UNBLOCKS: bool = false;

    async fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path).await
    }
}

impl Reader for File {
    async fn open(path: &Path) -> io::Result<Self> {
        Self::open(path).await
    }

    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        AsyncReadExt::read(self, buffer).await
    }
}

impl Writer for File {
    async fn create(path: &Path) -> io::Result<Self> {
        Self::create(path).await
    }

    async fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.write_all(piece).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        AsyncWriteExt::flush(self).await
    }
}

impl Listing for ReadDir {
    async fn open(path: &Path) -> io::Result<Self> {
        fs::read_dir(path).await
    }

    async fn next_name(&mut self) -> io::Result<Option<OsString>> {
        Ok(self.next_entry().await?.map(|entry| entry.file_name()))
    }
}

/// What its users do for positioned reads.
pub(crate) struct Shared(Arc<std::fs::File>);

impl Positioned for Shared {
    async fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(Arc::new(File::open(path).await?.into_std().await)))
    }

    async fn piece_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let file = Arc::clone(&self.0);
        let read = spawn_blocking(move || {
            let mut bytes = vec![0; length];
            let read = file.read_at(&mut bytes, offset)?;
            full(bytes, read)
        });
        read.await.expect("the closure does not panic")
    }
}
