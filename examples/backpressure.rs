//! How does a producer that is faster than the pool keep its memory flat?
//!
//! It waits for a place in the queue before it makes the next request. With `--unbounded` it does
//! not wait, and what it has made piles up.
//!
//! ```text
//! cargo run --release --example backpressure
//! cargo run --release --example backpressure -- --unbounded
//! ```

use std::{fs, hint::black_box};

use anyhow::Context as _;
use clap::Parser;
use sidestep::{Pool, TaskError};

/// What each request holds while it waits.
const BUFFER: usize = 1024;
/// How many may wait.
const QUEUE_LIMIT: usize = 1000;
const REPORTS: usize = 10;

/// Sends many small requests to a pool and shows how much memory that takes.
#[derive(Parser)]
#[command(name = "backpressure")]
struct Args {
    /// Put every request into the queue at once instead of waiting for a place. A million take
    /// about 1 GB.
    #[arg(long)]
    unbounded: bool,

    /// How many requests to send.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    requests: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    // With one thread the producer is the faster one on any machine.
    let mut pool = Pool::builder().max_threads(1);
    if !args.unbounded {
        pool = pool.queue_limit(QUEUE_LIMIT);
    }
    let pool = pool.build().context("cannot start a pool")?;

    let step = args.requests.div_ceil(REPORTS).max(1);
    let mut most_waiting = 0;
    for sent in 1..=args.requests {
        if args.unbounded {
            send(&pool);
        } else {
            send_in_turn(&pool).await?;
        }
        if sent % step == 0 || sent == args.requests {
            most_waiting = most_waiting.max(report(&pool, sent));
        }
    }
    pool.shutdown().await;
    let completed = pool.metrics().tasks_completed();
    println!("{completed} requests done, at most {most_waiting} seen waiting, peak RSS {}", rss("VmHWM:"));
    Ok(())
}

/// Never waits.
fn send(pool: &Pool) {
    let buffer = vec![1; BUFFER];
    pool.spawn(move || handle(&buffer)).detach();
}

/// Waits for a place first, and makes the buffer then.
async fn send_in_turn(pool: &Pool) -> Result<(), TaskError> {
    let permit = pool.reserve().await?;
    let buffer = vec![1; BUFFER];
    permit.spawn(move || handle(&buffer)).detach();
    Ok(())
}

/// Some microseconds of work: several times what it takes to send a request.
fn handle(buffer: &[u8]) -> u64 {
    let add = |hash: u64, byte: &u8| black_box(hash.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    (0..4).fold(0, |hash, _| buffer.iter().fold(hash, add))
}

/// Says how things stand, and returns how many requests wait.
fn report(pool: &Pool, sent: usize) -> u64 {
    let waiting = pool.metrics().tasks_queued();
    println!("{sent:>9} sent, {waiting:>7} waiting, RSS {}", rss("VmRSS:"));
    waiting
}

/// A line of `/proc/self/status`: Linux counts the pages in memory (not to the last one), and
/// remembers the most.
fn rss(field: &str) -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.map_or_else(|| "unknown on this system".to_owned(), |kib| format!("{:.1} MiB", kib as f64 / 1024.0))
}
