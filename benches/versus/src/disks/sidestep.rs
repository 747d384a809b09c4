//! `sidestep::fs` and `sidestep::io`, through the traits of `futures-io`.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use futures_util::{AsyncReadExt, AsyncWriteExt, StreamExt};
use sidestep::fs::{self, File, ReadDir};
use sidestep::io::Unblock;

use super::{Disk, Listing, Positioned, Reader, Writer, full};

pub(crate) struct Sidestep;

impl Disk for Sidestep {
    type File = File;
    type Unblock = Unblock<std::fs::File>;
    type Listing = ReadDir;
    type Positioned = File;

    async fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path).await
    }
}

/// The same, but for its listing.
pub(crate) struct SidestepEach;

impl Disk for SidestepEach {
    type File = File;
    type Unblock = Unblock<std::fs::File>;
    type Listing = Each;
    type Positioned = File;

    async fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
        Sidestep::read_whole(path).await
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
        fs::read_dir(path).await
    }

    async fn next_name(&mut self) -> io::Result<Option<OsString>> {
        Ok(self.next().await.transpose()?.map(|entry| entry.file_name()))
    }
}

/// A listing that goes to the pool for each entry, and comes back with it.
pub(crate) struct Each(Option<std::fs::ReadDir>);

impl Listing for Each {
    async fn open(path: &Path) -> io::Result<Self> {
        let path = path.to_owned();
        let listing = sidestep::spawn(|| std::fs::read_dir(path)).await??;
        Ok(Self(Some(listing)))
    }

    async fn next_name(&mut self) -> io::Result<Option<OsString>> {
        let mut listing = self.0.take().expect("the listing came back");
        let (listing, entry) = sidestep::spawn(move || {
            let entry = listing.next();
            (listing, entry)
        })
        .await?;
        self.0 = Some(listing);
        Ok(entry.transpose()?.map(|entry| entry.file_name()))
    }
}

impl Positioned for File {
    async fn open(path: &Path) -> io::Result<Self> {
        Self::open(path).await
    }

    async fn piece_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let read = self.read_at(&mut bytes, offset).await?;
        full(bytes, read)
    }
}
