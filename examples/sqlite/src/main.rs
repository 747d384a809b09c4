//! How do a hundred async tasks share one blocking value? And what ends a call that its caller has
//! given up?
//!
//! The value is an SQLite connection behind a [`Strand`]. A hundred tasks of a runtime with one
//! thread make 10,000 inserts and 10,000 queries through it; then they make the same calls in
//! place, to show what that does to everything else on the thread. A query without end is
//! interrupted by a timeout, the connection is as good as before, and is taken back and closed.
//!
//! ```text
//! cd examples/sqlite && cargo run --release
//! ```

mod customers;
mod endless;
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
use sidestep::{Pool, Strand};

use crate::customers::{CUSTOMERS, INSERTS, ROUNDS, Service};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("there is no place for a database")?;
    let pool = Pool::new().context("cannot start a pool")?;
    let ledger = Strand::on(&pool, open(&pool, &folder.path().join("strand.db")).await?);

    println!("{INSERTS} inserts and {INSERTS} queries by {CUSTOMERS} tasks of one event loop");
    println!("{:<30}{:>9}{:>10}{:>15}", "", "wall time", "per call", "loop held up");
    print("through a strand", customers::through_strand(&ledger).await?);
    ledger.call(|connection| check_totals(connection)).await??;
    for (name, yields) in [("in place, yielding each time", true), ("in place", false)] {
        let file = folder.path().join(if yields { "yielding.db" } else { "in_place.db" });
        let ledger = Arc::new(Mutex::new(open(&pool, &file).await?));
        print(name, customers::in_place(&ledger, yields).await?);
        check_totals(&ledger.lock().unwrap_or_else(PoisonError::into_inner))?;
    }

    println!("\nan endless query through the same strand");
    interrupt(&ledger).await?;

    let connection = ledger.into_inner().await?;
    // To close it writes to the file: that blocks too.
    pool.spawn(|| connection.close().map_err(|(_, error)| error)).await??;
    println!("\nthe connection has been taken back and closed");
    println!("{:<30}{:>6}", "threads of the pool, at most", pool.metrics().threads_peak());
    pool.shutdown().await;
    Ok(())
}

/// Gives an endless query up, and shows that the strand is none the worse for it.
async fn interrupt(ledger: &Strand<Connection>) -> anyhow::Result<()> {
    let given_up = endless::give_up(ledger).await?;
    println!("{:<30}{:>6} ms", "its caller gave up after", given_up.caller_left.as_millis());
    println!("{:<30}{:>6} ms ({})", "it ended after", given_up.query_ended.as_millis(), given_up.error);
    let (rows, _) = ledger.call(|connection| check_totals(connection)).await??;
    println!("{:<30}{rows:>6}", "rows found afterwards");
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

/// Every insert is there, once.
fn check_totals(connection: &Connection) -> anyhow::Result<(i64, i64)> {
    let (rows, sum) = ledger::totals(connection)?;
    let right = CUSTOMERS * ROUNDS * (ROUNDS + 1) / 2;
    anyhow::ensure!(rows == INSERTS, "{rows} rows instead of {INSERTS}");
    anyhow::ensure!(sum == right, "the sum is {sum} instead of {right}");
    Ok((rows, sum))
}
