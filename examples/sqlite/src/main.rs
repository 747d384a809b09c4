//! How is an SQLite query interrupted when its caller gives up?
//!
//! A timeout drops the handle of the task; a hook calls [`InterruptHandle::interrupt`]; the query ends with
//! `SQLITE_INTERRUPT`, and the connection is as good as before.
//!
//! ```text
//! cd examples/sqlite && cargo run
//! ```
//!
//! [`InterruptHandle::interrupt`]: rusqlite::InterruptHandle::interrupt

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rusqlite::{Connection, ErrorCode};
use sidestep::{Lane, Pool, current};
use tokio::{sync::oneshot, time::timeout};

const PATIENCE: Duration = Duration::from_millis(200);

const ENDLESS: &str = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers)
                       SELECT count(*) FROM numbers";

/// A connection, and a lane of 1 that keeps calls in order: nobody ever waits for the lock.
struct Database {
    connection: Arc<Mutex<Connection>>,
    lane: Lane,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let pool = Pool::new().context("cannot start a pool")?;
    let database = Database::open(&pool).context("cannot open a database")?;

    give_up_on_endless_query(&database).await?;
    // The lane runs this once the query above has truly ended.
    let sum = database.call(|connection| query(connection, "SELECT 40 + 2")).await?;
    println!("the connection is usable: 40 + 2 = {}", sum?);

    let report = pool.shutdown().timeout(Duration::from_secs(10)).await;
    println!("{} tasks still running", report.still_running);
    Ok(())
}

async fn give_up_on_endless_query(database: &Database) -> anyhow::Result<()> {
    let (start, started) = oneshot::channel();
    let (tell, told) = oneshot::channel();
    let endless = database.call(move |connection| {
        let _ = start.send(());
        let result = query(connection, ENDLESS);
        let _ = tell.send((result, Instant::now()));
    });
    // One that is still queued when its caller gives up is just dropped.
    started.await.context("the query did not start")?;
    let began = Instant::now();
    let outcome = timeout(PATIENCE, endless).await;
    let gave_up = Instant::now();
    anyhow::ensure!(outcome.is_err(), "an endless query has ended");
    println!("the caller gave up after {:.0?}", gave_up - began);

    let (result, ended) = told.await.context("the query did not end")?;
    let error = result.err().context("an endless query has a result")?;
    let code = error.sqlite_error_code();
    anyhow::ensure!(code == Some(ErrorCode::OperationInterrupted), "the query failed: {error}");
    println!("the query had ended after {:.0?}: {error}", ended - began);
    Ok(())
}

impl Database {
    fn open(pool: &Pool) -> rusqlite::Result<Database> {
        let mut connection = Connection::open_in_memory()?;
        // SQLite forgets an interrupt that comes before a statement has begun. So each statement also asks for itself,
        // about every 10 ms; without this, a cancel at the wrong moment would be lost.
        connection.progress_handler(1_000_000, Some(current::is_cancelled))?;
        Ok(Database { connection: Arc::new(Mutex::new(connection)), lane: pool.lane("sqlite", 1) })
    }

    fn call<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Connection) -> T + Send + 'static,
    ) -> sidestep::Task<T> {
        let connection = Arc::clone(&self.connection);
        self.lane.spawn(move || f(&connection.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Runs a query that ends early when the task is cancelled.
fn query(connection: &Connection, sql: &str) -> rusqlite::Result<i64> {
    let handle = connection.get_interrupt_handle();
    let _guard = current::on_cancel(move || handle.interrupt());
    connection.query_row(sql, [], |row| row.get(0))
}
