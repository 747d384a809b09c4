//! What a disk is, and which disks there are.
//!
//! A disk is one way to use files from an async program. To add one: implement [`Disk`] in a file
//! of its own, give it a [`Brand`], and add its rows to [`ENTRANTS`](crate::entrants::ENTRANTS). No
//! scenario need know.

mod async_fs;
#[cfg(feature = "disks")]
mod sidestep;
mod std;
mod tokio;

use ::std::ffi::OsString;
use ::std::io;
use ::std::path::Path;

/// What can be read, a piece at a time, through the `AsyncRead` that its users know it by.
pub(crate) trait Reader: Sized + Send + 'static {
    fn open(path: &Path) -> impl Future<Output = io::Result<Self>> + Send;

    /// Reads into `buffer` what is to be had, up to all of it; 0 is the end.
    fn read(&mut self, buffer: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send;
}

/// What can be written, a piece at a time.
pub(crate) trait Writer: Sized + Send + 'static {
    /// Makes the file, or empties it.
    fn create(path: &Path) -> impl Future<Output = io::Result<Self>> + Send;

    /// Writes all of `piece`, at least into a buffer.
    fn write(&mut self, piece: &[u8]) -> impl Future<Output = io::Result<()>> + Send;

    /// Has the system take all that was written.
    fn flush(&mut self) -> impl Future<Output = io::Result<()>> + Send;
}

/// What is in a folder, an entry at a time.
pub(crate) trait Listing: Sized + Send + 'static {
    fn open(path: &Path) -> impl Future<Output = io::Result<Self>> + Send;

    /// The name of one more entry.
    fn next_name(&mut self) -> impl Future<Output = io::Result<Option<OsString>>> + Send;
}

/// A file that many read at once, each at a place of its own.
pub(crate) trait Positioned: Sized + Send + Sync + 'static {
    fn open(path: &Path) -> impl Future<Output = io::Result<Self>> + Send;

    /// The `length` bytes from `offset` on.
    fn piece_at(&self, offset: u64, length: usize) -> impl Future<Output = io::Result<Vec<u8>>> + Send;
}

/// One way to use files, as its users would.
pub(crate) trait Disk: 'static {
    type File: Reader + Writer;
    /// A wrapper for any blocking reader, here around a file.
    type Unblock: Reader;
    type Listing: Listing;
    type Positioned: Positioned;

    /// It has such a wrapper.
    const UNBLOCKS: bool = true;

    /// The whole content of a file, by the function there is for that.
    fn read_whole(path: &Path) -> impl Future<Output = io::Result<Vec<u8>>> + Send;
}

/// The wrapper of a disk that has none.
pub(crate) enum Absent {}

impl Reader for Absent {
    async fn open(_: &Path) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }
}

/// The bytes that were wanted, of those that a read at a place gave: here it is never near the end
/// of the file.
fn full(bytes: Vec<u8>, read: usize) -> io::Result<Vec<u8>> {
    if read == bytes.len() { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// The types that implement [`Disk`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Brand {
    Sidestep,
    /// Ours as a naive user would have it: a trip to the pool for each entry of a folder.
    SidestepEach,
    Tokio,
    AsyncFs,
    /// On the calling thread.
    Std,
}

/// Something to do with the type behind a [`Brand`].
pub(crate) trait VisitDisk {
    type Output;
    fn visit<D: Disk>(self) -> Self::Output;
}

impl Brand {
    /// Does it with this brand's type.
    pub(crate) fn dispatch<V: VisitDisk>(self, visit: V) -> V::Output {
        match self {
            #[cfg(feature = "disks")]
            Self::Sidestep => visit.visit::<sidestep::Sidestep>(),
            #[cfg(feature = "disks")]
            Self::SidestepEach => visit.visit::<sidestep::SidestepEach>(),
            #[cfg(not(feature = "disks"))]
            Self::Sidestep | Self::SidestepEach => {
                unreachable!("no older version takes part that lacks files")
            }
            Self::Tokio => visit.visit::<tokio::Tokio>(),
            Self::AsyncFs => visit.visit::<async_fs::AsyncFs>(),
            Self::Std => visit.visit::<std::Std>(),
        }
    }
}

#[cfg(test)]
mod tests {
    use ::std::fs;
    use ::std::path::PathBuf;

    use super::*;
    use crate::driver::{Driver, Flavor};

    /// Writes, reads and lists a little.
    struct Trial;

    impl Trial {
        const PIECE: &[u8] = &[7; 5_000];

        async fn of<D: Disk>(folder: PathBuf) -> io::Result<()> {
            let path = folder.join("file");
            Self::write::<D::File>(&path).await?;
            Self::read::<D>(&path).await?;
            fs::write(folder.join("other"), "")?;
            assert_eq!(Self::names::<D::Listing>(&folder).await?, ["file", "other"]);
            Ok(())
        }

        async fn write<W: Writer>(path: &Path) -> io::Result<()> {
            let mut file = W::create(path).await?;
            for _ in 0..3 {
                file.write(Self::PIECE).await?;
            }
            file.flush().await?;
            assert_eq!(fs::metadata(path)?.len(), 15_000);
            Ok(())
        }

        async fn read<D: Disk>(path: &Path) -> io::Result<()> {
            assert_eq!(Self::length::<D::File>(path).await?, 15_000);
            if D::UNBLOCKS {
                assert_eq!(Self::length::<D::Unblock>(path).await?, 15_000);
            }
            assert_eq!(D::read_whole(path).await?, [7; 15_000]);
            let file = <D::Positioned as Positioned>::open(path).await?;
            assert_eq!(file.piece_at(10_000, 5_000).await?, Self::PIECE);
            assert!(file.piece_at(10_001, 5_000).await.is_err());
            Ok(())
        }

        async fn names<L: Listing>(folder: &Path) -> io::Result<Vec<OsString>> {
            let mut listing = L::open(folder).await?;
            let mut names = Vec::new();
            while let Some(name) = listing.next_name().await? {
                names.push(name);
            }
            names.sort();
            Ok(names)
        }

        async fn length<R: Reader>(path: &Path) -> io::Result<usize> {
            let mut file = R::open(path).await?;
            let mut buffer = [0; 4_096];
            let mut length = 0;
            loop {
                match file.read(&mut buffer).await? {
                    0 => return Ok(length),
                    read => length += read,
                }
            }
        }
    }

    impl VisitDisk for Trial {
        type Output = ();

        fn visit<D: Disk>(self) {
            for flavor in [Flavor::MultiThread, Flavor::CurrentThread] {
                let folder = tempfile::tempdir().unwrap();
                let driver = Driver::untuned(flavor).unwrap();
                driver.run(Self::of::<D>(folder.path().to_owned())).unwrap();
            }
        }
    }

    #[test]
    fn every_disk_keeps_what_it_gets() {
        for brand in [Brand::Sidestep, Brand::SidestepEach, Brand::Tokio, Brand::AsyncFs, Brand::Std] {
            brand.dispatch(Trial);
        }
    }
}
