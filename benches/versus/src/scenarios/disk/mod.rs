//! Scenarios of files: what an errand is, and which there are.
//!
//! An errand is a load for disks. To add one: implement [`Errand`], give it a [`DiskLoad`], and add
//! its case to [`cases`]. No disk need know.

mod handles;
mod many;
mod stream;

use std::io;

use anyhow::Result;

use super::{Case, Load};
use crate::disks::{Brand, Disk, VisitDisk};
use crate::sample::{Meter, Sample};
use crate::site::Site;

/// A load, for any disk.
pub(super) trait Errand {
    fn run<D: Disk>(self, site: &Site) -> Result<Sample>;
}

/// The errands there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiskLoad {
    ReadFile,
    WriteFile,
    SmallFiles,
    Directory,
    RandomReads,
    Handles,
    Retained { bytes: usize },
}

impl DiskLoad {
    /// Whether such a disk takes part.
    pub(super) fn suits(self, brand: Brand) -> bool {
        // That one differs from ours in listings alone.
        (self == Self::Directory || brand != Brand::SidestepEach)
            // Read one after the other, the files show nothing.
            && (!matches!(self, Self::Retained { .. }) || brand != Brand::Std)
    }

    /// Runs it on the site, by such a disk.
    pub(crate) fn run(self, brand: Brand, site: &Site) -> Result<Sample> {
        brand.dispatch(Job { load: self, site })
    }
}

/// A run, but for the type of the disk.
struct Job<'a> {
    load: DiskLoad,
    site: &'a Site,
}

impl VisitDisk for Job<'_> {
    type Output = Result<Sample>;

    fn visit<D: Disk>(self) -> Result<Sample> {
        match self.load {
            DiskLoad::ReadFile => stream::Read.run::<D>(self.site),
            DiskLoad::WriteFile => stream::Write.run::<D>(self.site),
            DiskLoad::SmallFiles => many::SmallFiles.run::<D>(self.site),
            DiskLoad::Directory => stream::Directory.run::<D>(self.site),
            DiskLoad::RandomReads => many::RandomReads.run::<D>(self.site),
            DiskLoad::Handles => handles::Handles.run::<D>(self.site),
            DiskLoad::Retained { bytes } => super::retained::Reads { bytes }.run::<D>(self.site),
        }
    }
}

/// Runs what `program` gives for so many tasks as a warm-up, and once more by the clock.
fn timed<F>(site: &Site, program: impl Fn(usize) -> F) -> Result<Sample>
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    site.driver.run(program(site.warm_up))?;
    let program = program(site.tasks);
    let meter = Meter::start();
    site.driver.run(program)?;
    // Nobody marks the closures that disks run.
    Ok(Sample { threads: None, ..meter.stop().per_task(site.tasks) })
}

/// The cases of files. `std` is on a plain thread, the others at their defaults.
pub(super) fn cases() -> Vec<Case> {
    let case = |name, load, sizes, noun, about| {
        Case::new(name, Load::Disk(load), sizes, about).both_flavors().counted_in(noun)
    };
    vec![
        case(
            "read_file",
            DiskLoad::ReadFile,
            [1_024, 4],
            "MiB",
            "a cached file, read through AsyncRead into a buffer of 64 KiB; a task is 1 MiB",
        ),
        case(
            "write_file",
            DiskLoad::WriteFile,
            [1_024, 4],
            "MiB",
            "a new file, written through AsyncWrite in pieces of 64 KiB and flushed, not synced; a task is 1 MiB",
        ),
        case(
            "small_files",
            DiskLoad::SmallFiles,
            [20_000, 500],
            "files",
            "the whole of cached files of 4 KiB, 64 in flight; std: one after the other",
        ),
        case(
            "directory",
            DiskLoad::Directory,
            [100_000, 1_000],
            "entries",
            "the names in a folder, as a stream; sidestep-each: with a trip to the pool for each",
        ),
        case(
            "random_reads",
            DiskLoad::RandomReads,
            [10_000, 500],
            "reads",
            "4 KiB of a cached file at random places, 64 in flight; std: one after the other",
        ),
        case(
            "handles",
            DiskLoad::Handles,
            [64, 16],
            "handles",
            "memory of a handle, its own size and its heap; the Unblock of async-fs is that of blocking",
        ),
    ]
}
