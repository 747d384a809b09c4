//! Many at once: whole files, and pieces of one.

use std::hint::black_box;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Errand, timed};
use crate::disks::{Disk, Positioned};
use crate::sample::Sample;
use crate::site::Site;

/// How many are under way at a time.
const FLIGHT: usize = 64;
/// How long each is.
const BYTES: usize = 4_096;

/// Keeps so many under way, and awaits whichever ends first.
async fn keep_in_flight<F>(tasks: usize, read: impl Fn(usize) -> F + Send) -> io::Result<()>
where
    F: Future<Output = io::Result<Vec<u8>>> + Send,
{
    let reads = stream::iter((0..tasks).map(read)).buffer_unordered(FLIGHT);
    reads.try_for_each(|bytes| async move { full(bytes) }).await
}

fn full(bytes: Vec<u8>) -> io::Result<()> {
    if black_box(bytes).len() == BYTES { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Small files, each read by one call.
pub(super) struct SmallFiles;

impl SmallFiles {
    async fn of<D: Disk>(paths: Arc<[PathBuf]>, tasks: usize) -> io::Result<()> {
        let read = move |n: usize| {
            let paths = Arc::clone(&paths);
            async move { D::read_whole(&paths[n]).await }
        };
        keep_in_flight(tasks, read).await
    }
}

impl Errand for SmallFiles {
    fn run<D: Disk>(self, site: &Site) -> Result<Sample> {
        let folder = site.files(site.tasks, BYTES)?;
        let paths: Arc<[_]> = (0..site.tasks).map(|n| folder.join(n.to_string())).collect();
        timed(site, |tasks| Self::of::<D>(Arc::clone(&paths), tasks))
    }
}

/// Positioned reads of one file, as a database does them.
pub(super) struct RandomReads;

impl RandomReads {
    const FILE: usize = 64 << 20;

    async fn of<P: Positioned>(path: PathBuf, tasks: usize) -> io::Result<()> {
        let file = Arc::new(P::open(&path).await?);
        let read = move |n: usize| {
            let file = Arc::clone(&file);
            async move { file.piece_at(Self::place(n), BYTES).await }
        };
        keep_in_flight(tasks, read).await
    }

    /// Where the n-th read begins: the same for all disks, in an order without any.
    fn place(n: usize) -> u64 {
        const PIECES: u64 = (RandomReads::FILE / BYTES) as u64;
        // The finalizer of splitmix64.
        let mut mixed = (n as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % PIECES * BYTES as u64
    }
}

impl Errand for RandomReads {
    fn run<D: Disk>(self, site: &Site) -> Result<Sample> {
        let path = site.file(Self::FILE)?;
        timed(site, |tasks| Self::of::<D::Positioned>(path.clone(), tasks))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn places_are_all_over_the_file() {
        let places: HashSet<_> = (0..10_000).map(RandomReads::place).collect();
        let inside = |place: &u64| place.is_multiple_of(4_096) && place + 4_096 <= 64 << 20;
        assert!(places.len() > 6_000 && places.iter().all(inside));
    }

    #[test]
    fn a_short_read_is_an_error() {
        let read = |n: usize| async move { Ok(vec![0; BYTES - n / 99]) };
        assert!(futures_executor::block_on(keep_in_flight(99, read)).is_ok());
        assert!(futures_executor::block_on(keep_in_flight(100, read)).is_err());
    }
}
