//! Can a resolver that hangs starve the database?
//!
//! For most of a second, DNS calls come in that hang, and whose callers give up early, while one
//! client after another asks a database. First both go to the pool as they are; then each has a
//! lane of its own. The pool is small in both cases.
//!
//! ```text
//! cargo run --example lanes
//! ```

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use comfy_table::Table;
use futures_util::future::join_all;
use sidestep::{Pool, TaskError, TaskOptions};
use tokio::time::{sleep, timeout};

const MAX_THREADS: usize = 4;
const DNS_LIMIT: usize = 2;
const DB_LIMIT: usize = 2;

/// How long a call of the resolver hangs: nothing can interrupt it.
const HANG: Duration = Duration::from_millis(300);
/// How long its caller waits.
const PATIENCE: Duration = Duration::from_millis(50);
/// A call comes in every so often, far more often than the resolver gets rid of them.
const EVERY: Duration = Duration::from_millis(10);
const CALLS: u32 = 80;

const QUERY: Duration = Duration::from_millis(2);

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let pool = small_pool()?;
    let shared = watch(&pool, &pool.options(), &pool.options()).await?;

    let pool = small_pool()?;
    let (dns, db) = (pool.lane("dns", DNS_LIMIT), pool.lane("db", DB_LIMIT));
    let apart = watch(&pool, &dns.options(), &db.options()).await?;

    println!("{}", table(&shared, &apart));
    println!("The dns lane has a limit of {DNS_LIMIT}, the pool one of {MAX_THREADS} threads.");
    Ok(())
}

fn small_pool() -> anyhow::Result<Pool> {
    Pool::builder().core_threads(2).max_threads(MAX_THREADS).build().context("cannot start a pool")
}

/// What a client of each kind has seen.
struct Seen {
    timed_out: usize,
    most_dns: usize,
    /// How long each query took, the shortest first.
    queries: Vec<Duration>,
    threads: usize,
}

/// Runs both loads at the same time on `pool`.
async fn watch(pool: &Pool, dns: &TaskOptions<'_>, db: &TaskOptions<'_>) -> anyhow::Result<Seen> {
    let gauge = Arc::new(Gauge::default());
    let calls = join_all((0..CALLS).map(|number| resolve(dns, number, &gauge)));
    let (answers, queries) = tokio::join!(calls, query_for(db, EVERY * CALLS));
    let timed_out = answers.into_iter().filter(Answer::is_late).count();
    // The callers have gone; the calls that still hang have not.
    pool.shutdown().await;
    Ok(Seen {
        timed_out,
        most_dns: gauge.most.load(Ordering::Relaxed),
        queries: queries.context("a query failed")?,
        threads: pool.metrics().threads_peak(),
    })
}

enum Answer {
    InTime,
    Late,
}

impl Answer {
    fn is_late(&self) -> bool {
        matches!(self, Answer::Late)
    }
}

/// One DNS call, when its turn has come. The timeout drops the handle: a call that is queued never
/// runs, one that runs keeps its slot until it has ended.
async fn resolve(dns: &TaskOptions<'_>, number: u32, gauge: &Arc<Gauge>) -> Answer {
    sleep(EVERY * number).await;
    let gauge = Arc::clone(gauge);
    let call = dns.spawn(move || gauge.count(|| hang(HANG)));
    match timeout(PATIENCE, call).await {
        Ok(_) => Answer::InTime,
        Err(_) => Answer::Late,
    }
}

/// One query after another, for `time`, after the first DNS calls.
async fn query_for(db: &TaskOptions<'_>, time: Duration) -> Result<Vec<Duration>, TaskError> {
    let began = Instant::now();
    sleep(HANG / 3).await;
    let mut took = Vec::new();
    while began.elapsed() < time {
        let asked = Instant::now();
        db.spawn(|| hang(QUERY)).await?;
        took.push(asked.elapsed());
    }
    took.sort_unstable();
    Ok(took)
}

/// Stands in for a call of the system that takes its time.
#[expect(clippy::disallowed_methods, reason = "the call that blocks is what is shown")]
fn hang(time: Duration) {
    thread::sleep(time);
}

/// How many are inside, and the most there have been.
#[derive(Default)]
struct Gauge {
    inside: AtomicUsize,
    most: AtomicUsize,
}

impl Gauge {
    fn count(&self, f: impl FnOnce()) {
        let inside = self.inside.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(inside, Ordering::Relaxed);
        f();
        self.inside.fetch_sub(1, Ordering::Relaxed);
    }
}

fn table(shared: &Seen, apart: &Seen) -> Table {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::ASCII_MARKDOWN);
    table.set_header(["", "no lanes", "a lane each"]);
    let mut row = |what: &str, figure: fn(&Seen) -> String| {
        table.add_row([what.to_owned(), figure(shared), figure(apart)]);
    };
    row("queries answered", |seen| seen.queries.len().to_string());
    row("query, median", |seen| milliseconds(seen.queries.get(seen.queries.len() / 2)));
    row("query, slowest", |seen| milliseconds(seen.queries.last()));
    row("DNS calls that timed out", |seen| format!("{} of {CALLS}", seen.timed_out));
    row("DNS calls running, at most", |seen| seen.most_dns.to_string());
    row("threads, at most", |seen| seen.threads.to_string());
    table
}

fn milliseconds(time: Option<&Duration>) -> String {
    time.map_or_else(|| "none".to_owned(), |time| format!("{:.1} ms", time.as_secs_f64() * 1e3))
}
