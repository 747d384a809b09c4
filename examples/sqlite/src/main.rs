//! How do a hundred async tasks share a database that blocks? What ends a call that its caller has
//! given up? And how does the program go on after a panic, or with a connection that broke?
//!
//! The database is an SQLite file: one connection writes, behind a [`Strand`], and a
//! [`ResourcePool`] of read-only connections answers the queries beside it. A hundred tasks of a
//! runtime with one thread make 10,000 inserts and 10,000 queries; then they make the same calls in
//! place, to show what that does to everything else on the thread. A call that panics, a connection
//! that loses its database and an endless query are healed, and all connections are closed.
//!
//! ```text
//! cd examples/sqlite && cargo run --release
//! ```

mod customers;
mod endless;
mod heal;
mod ledger;
#[path = "../../common/ticker.rs"]
mod ticker;

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use rusqlite::Connection;
use sidestep::{Pool, ResourcePool, Strand};

use crate::customers::{CUSTOMERS, INSERTS, ROUNDS, Service};

/// How many connections answer queries.
const READERS: usize = 4;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("there is no place for a database")?;
    let pool = Pool::new().context("cannot start a pool")?;
    let path = folder.path().join("pool.db");
    let file = path.clone();
    let writer = Strand::open(&pool, move || ledger::open(&file)).await?.context("cannot open the ledger")?;
    let file = path.clone();
    let readers = ResourcePool::builder(&pool, READERS, move || ledger::open_reader(&file))
        .check(|connection| ledger::is_sound(connection))
        .max_idle(Duration::from_secs(60))
        .build()?;

    println!("{INSERTS} inserts and {INSERTS} queries by {CUSTOMERS} tasks of one event loop");
    println!("{:<30}{:>9}{:>10}{:>15}", "", "wall time", "per call", "loop held up");
    print("strand and resource pool", customers::on_the_pool(&writer, &readers).await?);
    readers.call(|connection| check_totals(connection)).await??;
    for (name, yields) in [("in place, yielding each time", true), ("in place", false)] {
        let file = folder.path().join(if yields { "yielding.db" } else { "in_place.db" });
        let ledger = Arc::new(Mutex::new(open(&pool, &file).await?));
        print(name, customers::in_place(&ledger, yields).await?);
        check_totals(&ledger.lock().unwrap_or_else(PoisonError::into_inner))?;
    }

    println!("\na call that panics in a transaction");
    heal::panic(&pool, &writer, &path).await?;
    print_rows(&readers, "rows after a new connection").await?;

    println!("\na connection that has lost its database");
    println!("{:<30}{:>6}", "connections dropped by a test", heal::breakage(&readers).await?);
    print_rows(&readers, "rows by the next one").await?;

    println!("\nan endless query through the resource pool");
    interrupt(&readers).await?;

    // To close a connection writes to the file: that blocks too.
    readers.close().await?;
    writer.close().await?;
    println!("\nall connections are closed");
    println!("{:<30}{:>6}", "readers made, at most 4 alive", readers.metrics().values_made());
    println!("{:<30}{:>6}", "threads of the pool, at most", pool.metrics().threads_peak());
    pool.shutdown().await;
    Ok(())
}

/// Gives an endless query up, and shows that its connection is none the worse for it.
async fn interrupt(readers: &ResourcePool<Connection>) -> anyhow::Result<()> {
    let made = readers.metrics().values_made();
    let given_up = endless::give_up(readers).await?;
    println!("{:<30}{:>6} ms", "its caller gave up after", given_up.caller_left.as_millis());
    println!("{:<30}{:>6} ms ({})", "it ended after", given_up.query_ended.as_millis(), given_up.error);
    // The call has ended, and given its connection back.
    readers.lane().idle().await;
    print_rows(readers, "rows by that connection").await?;
    anyhow::ensure!(readers.metrics().values_made() == made, "another connection was made");
    Ok(())
}

async fn open(pool: &Pool, path: &Path) -> anyhow::Result<Connection> {
    let file = path.to_owned();
    let opened = pool.spawn(move || ledger::open(&file)).await?;
    opened.with_context(|| format!("cannot open {}", path.display()))
}

fn print(name: &str, service: Service) {
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let wall = millis(service.wall);
    let per_call = service.per_call().as_secs_f64() * 1e6;
    let held_up = millis(service.held_up);
    println!("{name:<30}{wall:>6.0} ms{per_call:>7.1} us{held_up:>12.1} ms");
}

async fn print_rows(readers: &ResourcePool<Connection>, what: &str) -> anyhow::Result<()> {
    let (rows, _) = readers.call(|connection| check_totals(connection)).await??;
    println!("{what:<30}{rows:>6}");
    Ok(())
}

/// Every insert is there, once.
fn check_totals(connection: &Connection) -> anyhow::Result<(i64, i64)> {
    let (rows, sum) = ledger::totals(connection)?;
    let right = CUSTOMERS * ROUNDS * (ROUNDS + 1) / 2;
    anyhow::ensure!(rows == INSERTS, "{rows} rows instead of {INSERTS}");
    anyhow::ensure!(sum == right, "the sum is {sum} instead of {right}");
    Ok((rows, sum))
}
