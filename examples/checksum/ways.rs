//! The two ways through the tree: hashing on the pool, and hashing on the event loop's own thread.

use std::{
    io,
    path::{Path, PathBuf},
    pin::pin,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use sidestep::{Pool, current};
use tokio::{sync::mpsc, task};

use crate::{
    hash::{self, Sum},
    heartbeat::Heartbeat,
    interrupt::Interrupt,
    lines::Lines,
    progress::Progress,
    report::{Figures, Tally},
    walk::{self, Failure, Found},
};

/// How many files are on the pool at a time, so that a tree of any size takes little memory.
const IN_FLIGHT: usize = 256;
/// How many files the walk may be ahead of the hashing: enough for the progress bar to know where
/// most trees end.
const FOUND_AHEAD: usize = 65_536;
/// How long closures that have been told to stop may take over it. They look after every chunk.
const WIND_UP: Duration = Duration::from_millis(40);

/// What to hash, and what to say about each file.
pub(crate) struct Job {
    pub(crate) dir: PathBuf,
    pub(crate) sums: bool,
    pub(crate) name_failures: bool,
    /// The size of the whole tree, where it is known beforehand.
    pub(crate) bytes: Option<u64>,
    pub(crate) interrupt: Interrupt,
}

/// Why the program stopped before the end of the tree.
pub(crate) enum Halt {
    Interrupted,
    Output(io::Error),
    Failed(io::Error),
}

type Outcome = Result<(PathBuf, Sum), Failure>;

/// Walks, reads, hashes and prints on a pool of its own; the event loop only hands out the work and
/// counts.
pub(crate) async fn on_pool(job: &Job, name: &'static str) -> Result<Figures, Halt> {
    let pool = Pool::new().map_err(Halt::Failed)?;
    let progress = Progress::start(name, job.bytes);
    let clock = Clock::start();
    let mut interrupt = job.interrupt.clone();
    // The losing branch is dropped, and with it every task in flight: what is queued never runs,
    // and what runs hears of it from `current::check`.
    let outcome = tokio::select! {
        outcome = hash_on_pool(&pool, job, &progress) => outcome,
        () = interrupt.pressed() => Err(Halt::Interrupted),
    };
    progress.finish();
    let figures = match outcome {
        Ok(tally) => clock.stop(tally, pool.metrics().threads_peak()).await,
        Err(halt) => Err(halt),
    };
    pool.shutdown().discard_queued().timeout(WIND_UP).await;
    figures
}

async fn hash_on_pool(pool: &Pool, job: &Job, progress: &Progress) -> Result<Tally, Halt> {
    let (tell, mut found) = mpsc::channel(FOUND_AHEAD);
    let (root, bar) = (job.dir.clone(), progress.clone());
    let walk = pool.spawn(move || find_files(&root, &tell, &bar));

    let outcomes = stream::poll_fn(move |cx| found.poll_recv(cx))
        .map(|found| hash_one(pool, found, progress))
        .buffer_unordered(IN_FLIGHT)
        .ready_chunks(IN_FLIGHT);
    let mut outcomes = pin!(outcomes);
    let mut tally = Tally::default();
    while let Some(batch) = outcomes.next().await {
        let mut lines = Lines::default();
        for outcome in batch {
            job.note(outcome, &mut tally, &mut lines);
        }
        if !lines.is_empty() {
            let bar = progress.clone();
            let written = pool.spawn(move || bar.aside(|| lines.write())).await;
            written.map_err(|error| Halt::Failed(error.into()))?.map_err(Halt::Output)?;
        }
    }
    walk.await.map_err(|error| Halt::Failed(error.into()))?;
    Ok(tally)
}

/// Runs on the pool. Where the channel is full it waits there, which `block_on` declares to the
/// pool.
fn find_files(root: &Path, tell: &mpsc::Sender<Result<Found, Failure>>, progress: &Progress) {
    for found in walk::files(root) {
        if let Ok(found) = &found {
            progress.found(found.len);
        }
        if current::is_cancelled() || sidestep::block_on(tell.send(found)).is_err() {
            return;
        }
    }
}

/// One task per file. A task that ends without a result, say by a panic, counts as a file that
/// could not be read.
async fn hash_one(pool: &Pool, found: Result<Found, Failure>, progress: &Progress) -> Outcome {
    let path = found?.path;
    let (file, bar) = (path.clone(), progress.clone());
    let task = pool.spawn(move || {
        let sum = hash::sha256(&file, |len| {
            bar.read(len);
            current::check().map_err(io::Error::other)
        });
        bar.file_done();
        sum
    });
    match task.await.unwrap_or_else(|error| Err(error.into())) {
        Ok(sum) => Ok((path, sum)),
        Err(error) => Err(Failure { path, error }),
    }
}

/// Does all of it on the event loop's own thread, which gets back to the event loop only between
/// two files.
pub(crate) async fn inline(job: &Job, name: &'static str) -> Result<Figures, Halt> {
    let progress = Progress::start(name, job.bytes);
    let clock = Clock::start();
    let outcome = hash_inline(job, &progress).await;
    progress.finish();
    clock.stop(outcome?, 1).await
}

async fn hash_inline(job: &Job, progress: &Progress) -> Result<Tally, Halt> {
    let mut tally = Tally::default();
    for found in walk::files(&job.dir) {
        let outcome = found.and_then(|found| {
            progress.found(found.len);
            let sum = hash::sha256(&found.path, |len| {
                progress.read(len);
                if job.interrupt.is_pressed() { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
            });
            progress.file_done();
            match sum {
                Ok(sum) => Ok((found.path, sum)),
                Err(error) => Err(Failure { path: found.path, error }),
            }
        });
        if job.interrupt.is_pressed() {
            return Err(Halt::Interrupted);
        }
        let mut lines = Lines::default();
        job.note(outcome, &mut tally, &mut lines);
        if !lines.is_empty() {
            progress.aside(|| lines.write()).map_err(Halt::Output)?;
        }
        task::yield_now().await;
    }
    Ok(tally)
}

impl Job {
    /// Counts the outcome, and adds what is to be said about it.
    fn note(&self, outcome: Outcome, tally: &mut Tally, lines: &mut Lines) {
        match outcome {
            Ok((path, sum)) => {
                tally.files += 1;
                tally.bytes += sum.bytes;
                if self.sums {
                    lines.add_sum(&path, &sum.digest);
                }
            }
            Err(failure) => {
                tally.unreadable += 1;
                if self.name_failures {
                    lines.add_failure(&failure);
                }
            }
        }
    }
}

/// What is measured about a way besides its tally.
struct Clock {
    started: Instant,
    heartbeat: Heartbeat,
}

impl Clock {
    fn start() -> Clock {
        Clock { started: Instant::now(), heartbeat: Heartbeat::start() }
    }

    async fn stop(self, tally: Tally, threads: usize) -> Result<Figures, Halt> {
        let time = self.started.elapsed();
        let worst_delay = self.heartbeat.stop().await.map_err(|error| Halt::Failed(error.into()))?;
        Ok(Figures::new(tally, time, threads, worst_delay))
    }
}
