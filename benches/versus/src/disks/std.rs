//! The standard library on the calling thread: the limit for all the others. Its futures never
//! wait; they are for a thread that has nothing else to do.

use std::ffi::OsString;
use std::fs::{self, File, ReadDir};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{Absent, Disk, Listing, Positioned, Reader, Writer, full};

pub(crate) struct Std;

impl Disk for Std {
    type File = File;
    type Unblock = Absent;
    type Listing = ReadDir;
    type Positioned = File;

    const UNBLOCKS: bool = false;

    async fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }
}

impl Reader for File {
    async fn open(path: &Path) -> io::Result<Self> {
        Self::open(path)
    }

    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Read::read(self, buffer)
    }
}

impl Writer for File {
    async fn create(path: &Path) -> io::Result<Self> {
        Self::create(path)
    }

    async fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.write_all(piece)
    }

    async fn flush(&mut self) -> io::Result<()> {
        Write::flush(self)
    }
}

impl Listing for ReadDir {
    async fn open(path: &Path) -> io::Result<Self> {
        fs::read_dir(path)
    }

    async fn next_name(&mut self) -> io::Result<Option<OsString>> {
        Ok(self.next().transpose()?.map(|entry| entry.file_name()))
    }
}

impl Positioned for File {
    async fn open(path: &Path) -> io::Result<Self> {
        Self::open(path)
    }

    async fn piece_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let read = self.read_at(&mut bytes, offset)?;
        full(bytes, read)
    }
}
