//! What does it take to put a blocking HTTP client behind an async program?
//!
//! Two thousand calls of `ureq`, two hundred in flight, from a runtime of one thread, which stays
//! free for other work. The server is started here as well, on a thread of its own; it answers each
//! request after a delay.
//!
//! ```text
//! cd examples/http && cargo run --release
//! ```

mod client;
mod server;
#[path = "../../common/ticker.rs"]
mod ticker;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Parser;
use sidestep::Pool;

use crate::{
    client::{Client, Outcome},
    server::Server,
    ticker::{Ticker, Ticks},
};

/// For comparison, this many calls are made one at a time, and on the runtime's own thread.
const SINGLE_CALLS: u32 = 20;

/// Calls a slow HTTP server, which it starts itself, through a blocking client.
#[derive(Parser)]
struct Args {
    /// How many calls to make
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    calls: u32,
    /// How many of them may be in flight at a time
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=400))]
    in_flight: u16,
    /// How long the server takes for each answer, in milliseconds
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..5_000))]
    delay_ms: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let delay = Duration::from_millis(args.delay_ms);
    let many = measure(args.calls, args.in_flight, delay).await?;
    let few = args.calls.min(SINGLE_CALLS);
    let single = measure(few, 1, delay).await?;
    let in_place = measure_in_place(few, delay).await?;
    for run in [&many, &single, &in_place] {
        run.print(delay);
        run.check()?;
    }
    Ok(())
}

/// What was seen of a number of calls.
struct Run {
    how: &'static str,
    calls: u32,
    limit: u16,
    outcomes: BTreeMap<Outcome, u32>,
    most_in_flight: usize,
    threads: usize,
    wall: Duration,
    ticks: Ticks,
}

/// Makes `calls` calls, `limit` at a time, with a server and a pool of their own.
async fn measure(calls: u32, limit: u16, delay: Duration) -> anyhow::Result<Run> {
    let server = Server::start(delay).context("cannot start the server")?;
    let pool = Pool::new().context("cannot start a pool")?;
    let client = Client::new(&pool, server.address(), limit.into());

    let ticker = Ticker::start();
    let began = Instant::now();
    // All wait in the client's lane from the start; so they can be awaited one after the other.
    let tasks: Vec<_> = (0..calls).map(|number| client.call(number)).collect();
    let mut outcomes = BTreeMap::new();
    for task in tasks {
        *outcomes.entry(Outcome::of(task.await)).or_default() += 1;
    }
    let wall = began.elapsed();
    let ticks = ticker.stop().await.context("the ticker is gone")?;

    let threads = pool.metrics().threads_peak();
    drop(client);
    pool.shutdown().await;
    let most_in_flight = server.stop()?;
    Ok(Run { how: "through a lane", calls, limit, outcomes, most_in_flight, threads, wall, ticks })
}

/// Makes `calls` calls on the runtime's own thread, which does nothing else during each of them.
async fn measure_in_place(calls: u32, delay: Duration) -> anyhow::Result<Run> {
    let server = Server::start(delay).context("cannot start the server")?;
    let pool = Pool::new().context("cannot start a pool")?;
    let client = Client::new(&pool, server.address(), 1);

    let ticker = Ticker::start();
    let began = Instant::now();
    let mut outcomes = BTreeMap::new();
    for number in 0..calls {
        *outcomes.entry(Outcome::of(Ok(client.call_in_place(number)))).or_default() += 1;
        tokio::task::yield_now().await;
    }
    let wall = began.elapsed();
    let ticks = ticker.stop().await.context("the ticker is gone")?;

    drop(client);
    let most_in_flight = server.stop()?;
    Ok(Run { how: "in place", calls, limit: 1, outcomes, most_in_flight, threads: 0, wall, ticks })
}

impl Run {
    fn print(&self, delay: Duration) {
        let ideal = delay * self.calls.div_ceil(self.limit.into());
        println!("{} calls {}, {} at a time:", self.calls, self.how, self.limit);
        for (outcome, count) in &self.outcomes {
            println!("  {outcome:<22}{count}");
        }
        println!("  in flight, at most    {} (as the server saw it)", self.most_in_flight);
        println!("  pool threads, at most {}", self.threads);
        let ratio = self.wall.as_secs_f64() / ideal.as_secs_f64();
        let (wall, ideal) = (self.wall.as_millis(), ideal.as_millis());
        println!("  wall time             {wall} ms, {ratio:.2} times the ideal of {ideal} ms");
        let Ticks { count, longest_gap } = self.ticks;
        println!(
            "  async thread          {count} ticks of a task beside them, at most {longest_gap:.1?} apart"
        );
    }

    /// Every call must have ended as the server meant it to.
    fn check(&self) -> anyhow::Result<()> {
        let count = |outcome| self.outcomes.get(&outcome).copied().unwrap_or(0);
        let busy = (0..self.calls).filter(|number| server::is_busy_for(*number)).count();
        let (right, refused) = (count(Outcome::Right), count(Outcome::Status(503)));
        anyhow::ensure!(u32::try_from(busy)? == refused, "{refused} calls were turned away, not {busy}");
        anyhow::ensure!(right + refused == self.calls, "{} calls went wrong", self.calls - right - refused);
        anyhow::ensure!(self.most_in_flight <= self.limit.into(), "the lane did not keep its limit");
        Ok(())
    }
}
