//! What do calls of files cost, next to the same calls of `std::fs` on a plain thread, which is the
//! limit?
//!
//! Each group is one scenario, small enough to be repeated often: `cargo bench --bench io [--
//! GROUP]`. The files are in the page cache, so that the way there is most of what is measured.
//! Other libraries, and large files, are in `benches/versus`.
//!
//! With the feature `tokio` it says also how long a runtime of one thread is held by a task that
//! reads a large file, beside a task that waits for a socket: `cargo bench --bench io --features
//! tokio -- hold`.
//!
//! To add a scenario, implement [`Scenario`].

use std::ffi::OsString;
use std::fs;
use std::hint::black_box;
use std::io::{Read, Result, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::{AsyncReadExt, AsyncWriteExt, StreamExt, TryStreamExt, stream};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// What a user reads or writes at a time.
const PIECE: usize = 64 << 10;
/// How many calls are under way at a time, where there are many.
const FLIGHT: usize = 64;
/// How long a small file is, and a positioned read.
const SMALL: usize = 4_096;

/// A load, once for each of the two.
trait Scenario: Send + Sync + 'static {
    /// The group's name.
    const NAME: &str;

    /// Makes the files it needs in `folder`.
    fn prepare(folder: &Path) -> Result<Self>
    where
        Self: Sized;

    /// What one run handles.
    fn throughput(&self) -> Throughput;

    /// On the calling thread.
    fn std(&self) -> Result<()>;

    /// From an async task.
    fn sidestep(&self) -> impl Future<Output = Result<()>> + Send;
}

/// A file is read to its end into one buffer.
struct ReadFile(PathBuf);

impl ReadFile {
    const BYTES: usize = 16 << 20;
}

impl Scenario for ReadFile {
    const NAME: &str = "read_16_mib";

    fn prepare(folder: &Path) -> Result<Self> {
        let path = folder.join("file");
        fs::write(&path, vec![7; Self::BYTES])?;
        Ok(Self(path))
    }

    fn throughput(&self) -> Throughput {
        Throughput::Bytes(Self::BYTES as u64)
    }

    fn std(&self) -> Result<()> {
        let mut file = fs::File::open(&self.0)?;
        let mut buffer = vec![0; PIECE];
        while file.read(&mut buffer)? > 0 {
            black_box(&buffer);
        }
        Ok(())
    }

    async fn sidestep(&self) -> Result<()> {
        let mut file = sidestep::fs::File::open(&self.0).await?;
        let mut buffer = vec![0; PIECE];
        while file.read(&mut buffer).await? > 0 {
            black_box(&buffer);
        }
        Ok(())
    }
}

/// A file is written and flushed; to empty that of the run before is part of it.
struct WriteFile {
    path: PathBuf,
    piece: Vec<u8>,
}

impl WriteFile {
    const PIECES: usize = 256;
}

impl Scenario for WriteFile {
    const NAME: &str = "write_16_mib";

    fn prepare(folder: &Path) -> Result<Self> {
        Ok(Self { path: folder.join("file"), piece: vec![7; PIECE] })
    }

    fn throughput(&self) -> Throughput {
        Throughput::Bytes((Self::PIECES * PIECE) as u64)
    }

    fn std(&self) -> Result<()> {
        let mut file = fs::File::create(&self.path)?;
        for _ in 0..Self::PIECES {
            file.write_all(&self.piece)?;
        }
        file.flush()
    }

    async fn sidestep(&self) -> Result<()> {
        let mut file = sidestep::fs::File::create(&self.path).await?;
        for _ in 0..Self::PIECES {
            file.write_all(&self.piece).await?;
        }
        file.flush().await
    }
}

/// Small files, each read whole: one after the other by std, many at a time by sidestep.
struct SmallFiles(Vec<PathBuf>);

impl SmallFiles {
    const FILES: usize = 256;
}

impl Scenario for SmallFiles {
    const NAME: &str = "small_files_256";

    fn prepare(folder: &Path) -> Result<Self> {
        let paths: Vec<_> = (0..Self::FILES).map(|n| folder.join(n.to_string())).collect();
        paths.iter().try_for_each(|path| fs::write(path, [7; SMALL]))?;
        Ok(Self(paths))
    }

    fn throughput(&self) -> Throughput {
        Throughput::Elements(Self::FILES as u64)
    }

    fn std(&self) -> Result<()> {
        self.0.iter().try_for_each(|path| fs::read(path).map(|content| drop(black_box(content))))
    }

    async fn sidestep(&self) -> Result<()> {
        in_flight((0..Self::FILES).map(|n| sidestep::fs::read(&self.0[n]))).await
    }
}

/// The names in a folder.
struct Directory(PathBuf);

impl Directory {
    const ENTRIES: usize = 2_000;
}

impl Scenario for Directory {
    const NAME: &str = "directory_2000";

    fn prepare(folder: &Path) -> Result<Self> {
        (0..Self::ENTRIES).try_for_each(|n| fs::write(folder.join(n.to_string()), ""))?;
        Ok(Self(folder.to_owned()))
    }

    fn throughput(&self) -> Throughput {
        Throughput::Elements(Self::ENTRIES as u64)
    }

    fn std(&self) -> Result<()> {
        for entry in fs::read_dir(&self.0)? {
            black_box::<OsString>(entry?.file_name());
        }
        Ok(())
    }

    async fn sidestep(&self) -> Result<()> {
        let mut entries = sidestep::fs::read_dir(&self.0).await?;
        while let Some(entry) = entries.next().await {
            black_box::<OsString>(entry?.file_name());
        }
        Ok(())
    }
}

/// Pieces of one file at places without order: one after the other by std, many at a time by
/// sidestep.
#[cfg(unix)]
struct RandomReads(PathBuf);

#[cfg(unix)]
impl RandomReads {
    const READS: usize = 1_000;
    const PIECES: usize = 4_096;

    /// Where the n-th read begins.
    fn place(n: usize) -> u64 {
        // Odd, and so prime to the number of pieces: no two places are the same.
        const STRIDE: usize = 2_531;
        (n * STRIDE % Self::PIECES * SMALL) as u64
    }
}

#[cfg(unix)]
impl Scenario for RandomReads {
    const NAME: &str = "random_reads_1000";

    fn prepare(folder: &Path) -> Result<Self> {
        let path = folder.join("file");
        fs::write(&path, vec![7; Self::PIECES * SMALL])?;
        Ok(Self(path))
    }

    fn throughput(&self) -> Throughput {
        Throughput::Elements(Self::READS as u64)
    }

    fn std(&self) -> Result<()> {
        use std::os::unix::fs::FileExt;

        let file = fs::File::open(&self.0)?;
        for n in 0..Self::READS {
            let mut piece = vec![0; SMALL];
            black_box(file.read_at(&mut piece, Self::place(n))?);
        }
        Ok(())
    }

    async fn sidestep(&self) -> Result<()> {
        let file = &sidestep::fs::File::open(&self.0).await?;
        let read = |n| async move {
            let mut piece = vec![0; SMALL];
            file.read_at(&mut piece, Self::place(n)).await?;
            Ok(piece)
        };
        in_flight((0..Self::READS).map(read)).await
    }
}

/// Awaits all of `reads`, so many at a time.
async fn in_flight<F: Future<Output = Result<Vec<u8>>>>(reads: impl Iterator<Item = F>) -> Result<()> {
    let reads = stream::iter(reads).buffer_unordered(FLIGHT);
    let seen = |content| {
        black_box(content);
        async { Ok(()) }
    };
    reads.try_for_each(seen).await
}

// ---- measuring ----

/// Runs one scenario both ways and prints what criterion does not.
fn compare<S: Scenario>(criterion: &mut Criterion) {
    let folder = TempDir::new().expect("there is room for files");
    let scenario = Arc::new(S::prepare(folder.path()).expect("the files can be made"));
    let runtime = Builder::new_multi_thread().build().expect("a runtime starts");
    let mut group = criterion.benchmark_group(S::NAME);
    group.throughput(scenario.throughput());
    let [mut limit, mut ours] = [Vec::new(), Vec::new()];
    group.bench_function("std", |bencher| {
        bencher
            .iter_custom(|runs| timed(runs, &mut limit, || scenario.std().expect("the files can be used")));
    });
    group.bench_function("sidestep", |bencher| {
        bencher.iter_custom(|runs| timed(runs, &mut ours, || run(&runtime, Arc::clone(&scenario))));
    });
    group.finish();
    if let (Some(limit), Some(ours)) = (median(limit), median(ours)) {
        println!("{}: {:.3} x std\n", S::NAME, ours / limit);
    }
}

/// As a task of the runtime, as an application would, and not beside its scheduler.
fn run<S: Scenario>(runtime: &Runtime, scenario: Arc<S>) {
    let task = runtime.spawn(async move { scenario.sidestep().await });
    runtime.block_on(task).expect("the scenario does not panic").expect("the files can be used");
}

/// Runs `work` so many times, and keeps how long one took.
fn timed(runs: u64, samples: &mut Vec<f64>, work: impl Fn()) -> Duration {
    let start = Instant::now();
    for _ in 0..runs {
        work();
    }
    let elapsed = start.elapsed();
    samples.push(elapsed.as_nanos() as f64 / runs as f64);
    elapsed
}

/// The upper median, where there are enough samples to speak of one.
fn median(mut samples: Vec<f64>) -> Option<f64> {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().filter(|_| samples.len() > 2)
}

#[cfg(unix)]
fn random_reads(criterion: &mut Criterion) {
    compare::<RandomReads>(criterion);
}

/// There are no positioned reads that leave the cursor alone.
#[cfg(not(unix))]
fn random_reads(_: &mut Criterion) {}

// ---- how long a thread is held ----

/// Prints, for each way to read a large file, the longest time between two turns of a task that
/// waits for a socket, and how much was read in a second, with that task and without.
#[cfg(all(feature = "tokio", unix))]
fn hold(_: &mut Criterion) {
    let is_asked_for = std::env::args().skip(1).all(|word| word.starts_with('-') || "hold".contains(&word));
    if !is_asked_for {
        return;
    }
    let folder = TempDir::new().expect("there is room for files");
    let path = folder.path().join("file");
    fs::write(&path, vec![7; hold::BYTES]).expect("the file can be made");
    println!("hold: {} MiB in the page cache, medians (most) of {} runs", hold::BYTES >> 20, hold::RUNS);
    hold::row("tokio::io::copy", || hold::copy(sidestep::fs::File::open(path.clone())));
    hold::row("read_to_end", || hold::read_to_end(sidestep::fs::File::open(path.clone())));
    hold::row("read, 64 KiB", || hold::read(sidestep::fs::File::open(path.clone())));
}

#[cfg(all(feature = "tokio", unix))]
mod hold {
    use std::io::Result;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, Instant};

    use tokio::io::{AsyncReadExt, AsyncWriteExt, sink};
    use tokio::net::UnixStream;
    use tokio::runtime::Builder;

    use super::PIECE;

    pub(super) const BYTES: usize = 256 << 20;
    pub(super) const RUNS: usize = 9;

    pub(super) async fn copy(file: impl Future<Output = Result<sidestep::fs::File>>) -> Result<()> {
        tokio::io::copy(&mut file.await?, &mut sink()).await.map(drop)
    }

    pub(super) async fn read_to_end(file: impl Future<Output = Result<sidestep::fs::File>>) -> Result<()> {
        // With room for all: a vector that grows may copy what it has, in one go.
        let mut bytes = Vec::with_capacity(2 * BYTES);
        file.await?.read_to_end(&mut bytes).await.map(drop)
    }

    pub(super) async fn read(file: impl Future<Output = Result<sidestep::fs::File>>) -> Result<()> {
        let (mut file, mut piece) = (file.await?, vec![0; PIECE]);
        while file.read(&mut piece).await? > 0 {}
        Ok(())
    }

    pub(super) fn row<F>(name: &str, work: impl Fn() -> F)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let (mut alone, mut beside, mut longest) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..RUNS {
            alone.push(run(work(), false).0);
            let (time, held) = run(work(), true);
            beside.push(time);
            longest.push(held);
        }
        let most = longest.iter().max().copied().unwrap_or_default();
        let [alone, beside, longest] = [alone, beside, longest].map(median);
        let rate = |time: Duration| BYTES as f64 / time.as_secs_f64() / 1e9;
        println!(
            "{name:16} held {longest:.2?} ({most:.2?}), {:.2} GB/s, {:.2} beside the socket",
            rate(alone),
            rate(beside)
        );
    }

    fn median(mut times: Vec<Duration>) -> Duration {
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default()
    }

    /// How long the work takes, and the longest time between two turns of the other task.
    fn run(work: impl Future<Output = Result<()>> + Send + 'static, has_other: bool) -> (Duration, Duration) {
        let runtime = Builder::new_current_thread().enable_io().build().expect("a runtime starts");
        let longest = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&longest);
        let time = runtime.block_on(async {
            if has_other {
                tokio::spawn(wait_for_socket(seen));
                tokio::task::yield_now().await;
            }
            let start = Instant::now();
            tokio::spawn(work).await.expect("it does not panic").expect("the file can be read");
            start.elapsed()
        });
        (time, Duration::from_nanos(longest.load(Ordering::Relaxed)))
    }

    async fn wait_for_socket(longest: Arc<AtomicU64>) -> Result<()> {
        let (mut near, mut far) = UnixStream::pair()?;
        loop {
            let since = Instant::now();
            near.write_all(&[7]).await?;
            far.read_exact(&mut [0]).await?;
            let nanos = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
            longest.fetch_max(nanos, Ordering::Relaxed);
        }
    }
}

/// The traits of tokio are missing.
#[cfg(not(all(feature = "tokio", unix)))]
fn hold(_: &mut Criterion) {}

criterion_group! {
    name = io;
    // Small on purpose: the differences looked for are factors, not percents.
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4));
    targets =
        compare::<ReadFile>, compare::<WriteFile>, compare::<SmallFiles>, compare::<Directory>, random_reads, hold
}
criterion_main!(io);
