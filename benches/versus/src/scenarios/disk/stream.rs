//! One after the other: a file read, a file written, a folder listed.

use std::fs;
use std::hint::black_box;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use anyhow::Result;

use super::{Errand, timed};
use crate::disks::{Disk, Listing, Reader, Writer};
use crate::sample::Sample;
use crate::site::Site;

/// What a user reads or writes at a time.
pub(super) const PIECE: usize = 64 << 10;
/// What counts as a task.
const TASK: usize = 1 << 20;

/// A large file is read into one buffer, again and again. It is in the page cache.
pub(super) struct Read;

impl Read {
    async fn of<R: Reader>(path: PathBuf, bytes: usize) -> io::Result<()> {
        let mut file = R::open(&path).await?;
        let mut buffer = vec![0; PIECE];
        let mut left = bytes;
        while left > 0 {
            let read = file.read(&mut buffer).await?;
            if read == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            black_box(&buffer);
            left = left.saturating_sub(read);
        }
        Ok(())
    }
}

impl Errand for Read {
    fn run<D: Disk>(self, site: &Site) -> Result<Sample> {
        let path = site.file(site.tasks * TASK)?;
        timed(site, |tasks| Self::of::<D::File>(path.clone(), tasks * TASK))
    }
}

/// A large file is written, and then belongs to the system: what it does with it later is not
/// measured.
pub(super) struct Write;

impl Write {
    async fn of<W: Writer>(path: PathBuf, bytes: usize) -> io::Result<()> {
        let piece = vec![7; PIECE];
        let mut file = W::create(&path).await?;
        for _ in 0..bytes / PIECE {
            file.write(&piece).await?;
        }
        file.flush().await
    }
}

impl Errand for Write {
    fn run<D: Disk>(self, site: &Site) -> Result<Sample> {
        let path = site.scratch();
        let sample = timed(site, |tasks| {
            // That of the warm-up: to empty it would take time too.
            let _ = fs::remove_file(&path);
            Self::of::<D::File>(path.clone(), tasks * TASK)
        })?;
        fs::remove_file(path)?;
        Ok(sample)
    }
}

/// The names in a folder, which is in the page cache too.
pub(super) struct Directory;

impl Directory {
    /// Of a folder with more entries, the first so many.
    async fn of<L: Listing>(path: PathBuf, entries: usize) -> io::Result<()> {
        let mut listing = L::open(&path).await?;
        for _ in 0..entries {
            black_box(listing.next_name().await?.ok_or(ErrorKind::UnexpectedEof)?);
        }
        Ok(())
    }
}

impl Errand for Directory {
    fn run<D: Disk>(self, site: &Site) -> Result<Sample> {
        let path = site.files(site.tasks, 0)?;
        timed(site, |tasks| Self::of::<D::Listing>(path.clone(), tasks))
    }
}
