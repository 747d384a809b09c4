//! `async-fs`, and the pool below it, `blocking`, where it has nothing.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use async_fs::{File, ReadDir};
use blocking::Unblock;
use futures_util::{AsyncReadExt, AsyncWriteExt, StreamExt};

use super::{Disk, Listing, Positioned, Reader, Writer, full};

pub(crate) struct AsyncFs;

impl Disk for AsyncFs {
    type File = File;
    type Unblock = Unblock<std::fs::File>;
    type Listing = ReadDir;
    type Positioned = Shared;

    async fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
        async_fs::read(path).await
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

impl Reader for Unblock<std::fs::File> {
    async fn open(path: &Path) -> io::Result<Self> {
        std::fs::File::open(path).map(Self::new)
    }

    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        AsyncReadExt::read(self, buffer).await
    }
}

impl Listing for ReadDir {
    async fn open(path: &Path) -> io::Result<Self> {
        async_fs::read_dir(path).await
    }

    async fn next_name(&mut self) -> io::Result<Option<OsString>> {
        Ok(self.next().await.transpose()?.map(|entry| entry.file_name()))
    }
}

/// What its users do for positioned reads.
pub(crate) struct Shared(Arc<std::fs::File>);

impl Positioned for Shared {
    async fn open(path: &Path) -> io::Result<Self> {
        let path = path.to_owned();
        let file = blocking::unblock(|| std::fs::File::open(path)).await?;
        Ok(Self(Arc::new(file)))
    }

    async fn piece_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let file = Arc::clone(&self.0);
        let read = blocking::unblock(move || {
            let mut bytes = vec![0; length];
            let read = file.read_at(&mut bytes, offset)?;
            full(bytes, read)
        });
        read.await
    }
}
