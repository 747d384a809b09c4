//! Handles that are held: what they take up.

use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Errand;
use super::stream::PIECE;
use crate::disks::{Disk, Reader};
use crate::sample::{Metric, Sample, Unit};
use crate::site::Site;
use crate::system;

/// Open files, and wrappers around files of `std`, all of the same file: when they are new, when
/// one piece has been read, and when all has. The handle's own size counts, and so does its heap;
/// what the disk has beside that, such as threads, was there before.
pub(super) struct Handles;

impl Handles {
    /// Large enough for whoever reads ahead.
    const FILE: usize = 16 * PIECE;
    /// Within this time whoever reads ahead has read what it will.
    const SETTLING: Duration = Duration::from_millis(50);

    /// The memory of a handle in its three states.
    fn of<R: Reader>(site: &Site, path: &Path) -> Result<[f64; 3]> {
        // A first time, so that what the disk makes once is there.
        Self::states::<R>(site, path, site.warm_up)?;
        Self::states::<R>(site, path, site.tasks)
    }

    fn states<R: Reader>(site: &Site, path: &Path, count: usize) -> Result<[f64; 3]> {
        let handles = Vec::with_capacity(count);
        let before = Self::heap()?;
        let each = || -> Result<f64> {
            let heap = Self::heap()?.saturating_sub(before);
            Ok(mem::size_of::<R>() as f64 + heap as f64 / count as f64)
        };
        let handles = site.driver.run(Self::open::<R>(path.to_owned(), handles))?;
        let fresh = each()?;
        let handles = site.driver.run(Self::read(handles, false))?;
        let begun = each()?;
        let handles = site.driver.run(Self::read(handles, true))?;
        let ended = each()?;
        drop(handles);
        Ok([fresh, begun, ended])
    }

    fn heap() -> Result<usize> {
        thread::sleep(Self::SETTLING);
        system::heap_bytes().context("only glibc tells the size of its heap")
    }

    /// Opens as many as there is room for.
    async fn open<R: Reader>(path: PathBuf, mut handles: Vec<R>) -> io::Result<Vec<R>> {
        while handles.len() < handles.capacity() {
            handles.push(R::open(&path).await?);
        }
        Ok(handles)
    }

    /// Has each read one piece, or all that is left.
    async fn read<R: Reader>(mut handles: Vec<R>, all: bool) -> io::Result<Vec<R>> {
        let mut buffer = vec![0; PIECE];
        for handle in &mut handles {
            while handle.read(&mut buffer).await? > 0 && all {}
        }
        Ok(handles)
    }
}

impl Errand for Handles {
    fn run<D: Disk>(self, site: &Site) -> Result<Sample> {
        let path = site.file(Self::FILE)?;
        let metrics = |kind: &str, values: [f64; 3]| {
            let metric = |(state, value)| Metric::new(&format!("{kind}, {state}"), Unit::Bytes, value);
            ["new", "one piece read", "all read"].into_iter().zip(values).map(metric).collect::<Vec<_>>()
        };
        let mut sample = Sample::of(metrics("File", Self::of::<D::File>(site, &path)?));
        if D::UNBLOCKS {
            sample.metrics.extend(metrics("Unblock", Self::of::<D::Unblock>(site, &path)?));
        }
        Ok(sample)
    }
}
