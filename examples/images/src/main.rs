//! How are thumbnails made of a folder of pictures while an event loop serves others?
//!
//! Each is one closure in a lane that has a place for each core: more at a time would not be
//! faster, and a decoded picture takes megabytes. Then the same on the event loop's own thread, for
//! comparison. The pictures are made first, by a formula.
//!
//! ```text
//! cd examples/images && cargo run --release
//! ```

mod pictures;
#[path = "../../common/ticker.rs"]
mod ticker;

use std::{
    fs,
    num::NonZero,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Parser;
use sidestep::{Lane, Pool};
use tokio::task::yield_now;

use crate::{
    pictures::{THUMBNAIL, size, thumbnail},
    ticker::{Ticker, Ticks},
};

/// Makes thumbnails without stopping the event loop, and compares that with stopping it.
#[derive(Parser)]
struct Args {
    /// How many pictures to make, and thumbnails of them
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=100))]
    pictures: u32,
    /// An existing folder where the thumbnails are left, to be looked at
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let pool = Pool::new().context("cannot start a pool")?;
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let lane = pool.lane("pictures", cores);
    let folder = tempfile::tempdir().context("cannot make a folder")?;
    let paths = make_pictures(&lane, folder.path(), args.pictures).await?;

    let aside = measure(in_lane(&lane, &paths)).await?;
    let inline = measure(on_this_thread(&paths)).await?;
    check(&aside.thumbnails)?;
    anyhow::ensure!(aside.thumbnails == inline.thumbnails, "the two ways have not made the same thumbnails");
    if let Some(keep) = &args.keep {
        leave(&aside.thumbnails, keep)?;
    }

    let (width, height) = THUMBNAIL;
    println!(
        "{} thumbnails of {width} x {height}, {cores} at a time in the lane; both ways alike",
        paths.len()
    );
    println!("{:<18}{:>12}{:>24}{:>8}", "", "wall time", "loop held up, at most", "ticks");
    aside.print("in the lane");
    inline.print("on the loop");

    pool.shutdown().await;
    Ok(())
}

async fn make_pictures(lane: &Lane, folder: &Path, count: u32) -> anyhow::Result<Vec<PathBuf>> {
    let make = |number| {
        let folder = folder.to_owned();
        lane.spawn(move || pictures::write(&folder, number))
    };
    let tasks: Vec<_> = (0..count).map(make).collect();
    let mut paths = Vec::new();
    for task in tasks {
        paths.push(task.await??);
    }
    Ok(paths)
}

/// All wait in the lane from the start; so they can be awaited one after the other.
async fn in_lane(lane: &Lane, paths: &[PathBuf]) -> anyhow::Result<Vec<Vec<u8>>> {
    let make = |path: &PathBuf| {
        let path = path.clone();
        lane.spawn(move || thumbnail(&path))
    };
    let tasks: Vec<_> = paths.iter().map(make).collect();
    let mut thumbnails = Vec::new();
    for task in tasks {
        thumbnails.push(task.await??);
    }
    Ok(thumbnails)
}

/// As polite as it can be: the loop's other tasks have their turn after each picture.
async fn on_this_thread(paths: &[PathBuf]) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut thumbnails = Vec::new();
    for path in paths {
        thumbnails.push(thumbnail(path)?);
        yield_now().await;
    }
    Ok(thumbnails)
}

fn check(thumbnails: &[Vec<u8>]) -> anyhow::Result<()> {
    for (number, bytes) in thumbnails.iter().enumerate() {
        let size = size(bytes)?;
        anyhow::ensure!(size == THUMBNAIL, "thumbnail {number} has the size {size:?}, not {THUMBNAIL:?}");
    }
    Ok(())
}

fn leave(thumbnails: &[Vec<u8>], folder: &Path) -> anyhow::Result<()> {
    for (number, bytes) in thumbnails.iter().enumerate() {
        let path = folder.join(format!("{number:02}.png"));
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// One way to do it, and what the other tasks of the runtime have felt of it.
struct Way {
    thumbnails: Vec<Vec<u8>>,
    wall: Duration,
    ticks: Ticks,
}

async fn measure(work: impl Future<Output = anyhow::Result<Vec<Vec<u8>>>>) -> anyhow::Result<Way> {
    let ticker = Ticker::start();
    let began = Instant::now();
    let thumbnails = work.await?;
    let wall = began.elapsed();
    let ticks = ticker.stop().await.context("the ticker is gone")?;
    Ok(Way { thumbnails, wall, ticks })
}

impl Way {
    fn print(&self, name: &str) {
        let wall = self.wall.as_secs_f64() * 1e3;
        let held_up = self.ticks.longest_gap.as_secs_f64() * 1e3;
        println!("{name:<18}{wall:>9.1} ms{held_up:>21.1} ms{:>8}", self.ticks.count);
    }
}
