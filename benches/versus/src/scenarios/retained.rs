//! What stays resident after a burst of reads, once the threads have had time to leave. One small
//! block at the end of one of the allocator's heaps keeps all that is below it.

use std::fs;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::disk::Errand;
use super::{Case, DiskLoad, Load, Scenario, Sizing};
use crate::disks::Disk;
use crate::peers::{Call, Family, Peer};
use crate::sample::{Metric, Sample, Unit};
use crate::site::Site;
use crate::stage::Stage;
use crate::system;

/// How often so many files are read at once.
const ROUNDS: usize = 4;
/// They are read over and over.
const FILES: usize = 8;
/// Longer than any entrant keeps an idle thread.
const REST: Duration = Duration::from_secs(12);
/// That of a run with few tasks, which shows only that all works.
const SHORT_REST: Duration = Duration::from_millis(100);
/// No run with fewer tasks shows anything.
const FEW: usize = 100;

/// Closures that each read a file and keep its content while they sleep.
pub(super) struct Closures {
    pub(super) bytes: usize,
}

impl Closures {
    const NAP: Duration = Duration::from_millis(20);
}

impl Scenario for Closures {
    fn run<P: Peer>(self, stage: &Stage<P>) -> Result<Sample> {
        let (files, _folder) = files(self.bytes)?;
        let (crew, tasks) = (stage.crew, stage.tasks);
        for _ in 0..ROUNDS {
            let files = Arc::clone(&files);
            stage.driver.run(async move {
                let read = |n: usize| {
                    let file = files[n % FILES].clone();
                    crew.spawn(move || {
                        let content = fs::read(file).expect("the file can be read");
                        thread::sleep(Self::NAP);
                        content
                    })
                };
                let calls: Vec<_> = (0..tasks).map(read).collect();
                for call in calls {
                    black_box(call.result().await);
                }
            });
        }
        rest(tasks)
    }
}

/// The same files, by the function that reads a whole one.
pub(super) struct Reads {
    pub(super) bytes: usize,
}

impl Errand for Reads {
    fn run<D: Disk>(self, site: &Site) -> Result<Sample> {
        let (files, _folder) = files(self.bytes)?;
        for _ in 0..ROUNDS {
            let read = |n: usize| {
                let file = files[n % FILES].clone();
                site.driver.handle().spawn(async move { D::read_whole(&file).await })
            };
            let calls: Vec<_> = (0..site.tasks).map(read).collect();
            site.driver.run(async {
                for call in calls {
                    black_box(call.await.context("a read panicked")??);
                }
                anyhow::Ok(())
            })?;
        }
        rest(site.tasks)
    }
}

/// Files of so many bytes, in memory where there is such a folder.
fn files(bytes: usize) -> Result<(Arc<[PathBuf]>, TempDir)> {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?;
    let files: Arc<[_]> = (0..FILES).map(|n| folder.path().join(n.to_string())).collect();
    files.iter().try_for_each(|file| fs::write(file, vec![7; bytes]))?;
    Ok((files, folder))
}

/// What was resident at most, and what is after the rest.
fn rest(tasks: usize) -> Result<Sample> {
    thread::sleep(if tasks < FEW { SHORT_REST } else { REST });
    let peak = system::peak_resident().context("only Linux tells what was resident")?;
    let bytes = |name, kib: u64| Metric::new(name, Unit::Bytes, (kib << 10) as f64);
    Ok(Sample::of(vec![bytes("rest", resident()?), bytes("peak", peak)]))
}

/// The memory that is resident, in KiB.
fn resident() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.context("only Linux tells what is resident")?.parse()?)
}

/// Who grows, and one that does not.
const ENTRANTS: &[Family] = &[Family::Sidestep, Family::Tokio, Family::Blocking, Family::Affinitypool];

/// The cases: files of two sizes, by closures and by the function that reads a whole one.
pub(super) fn cases() -> Vec<Case> {
    let sizes = [
        (4 << 20, 400, ["retained_4mib", "retained_fs_4mib"]),
        (64 << 10, 4_000, ["retained_64kib", "retained_fs_64kib"]),
    ];
    let of = |(bytes, files, [closures, reads]): (usize, usize, [&str; 2])| {
        let counts = [files, FEW / 10];
        [
            Case::new(
                closures,
                Load::Retained { bytes },
                counts,
                "resident after 4 bursts of closures that read a file and sleep 20 ms, and 12 s of rest",
            )
            .sized(Sizing::Default)
            .among(ENTRANTS),
            Case::new(
                reads,
                Load::Disk(DiskLoad::Retained { bytes }),
                counts,
                "resident after 4 bursts of reads of whole files, and 12 s of rest",
            ),
        ]
        .map(|case| case.in_group("retained").counted_in("files"))
    };
    sizes.into_iter().flat_map(of).collect()
}
