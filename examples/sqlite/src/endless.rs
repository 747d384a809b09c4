//! A query without end, and a caller that does not wait for ever.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use rusqlite::{Connection, ErrorCode};
use sidestep::{ResourcePool, current};
use tokio::{sync::oneshot, time::timeout};

const PATIENCE: Duration = Duration::from_millis(200);

const ENDLESS: &str = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers)
                       SELECT count(*) FROM numbers";

/// How it went, from the moment when the query began.
pub(crate) struct GivenUp {
    pub(crate) caller_left: Duration,
    pub(crate) query_ended: Duration,
    pub(crate) error: rusqlite::Error,
}

/// Starts the query, and drops its handle when a timeout is over.
pub(crate) async fn give_up(readers: &ResourcePool<Connection>) -> anyhow::Result<GivenUp> {
    let (start, started) = oneshot::channel();
    let (tell, told) = oneshot::channel();
    let endless = readers.call(move |connection| {
        let _ = start.send(Instant::now());
        let result = interruptible(connection);
        let _ = tell.send((result, Instant::now()));
    });
    // One that is still queued when its caller gives up is just dropped.
    let began = started.await.context("the query did not start")?;
    let outcome = timeout(PATIENCE, endless).await;
    let left = Instant::now();
    anyhow::ensure!(outcome.is_err(), "an endless query has ended");

    let (result, ended) = told.await.context("the query did not end")?;
    let error = result.err().context("an endless query has a result")?;
    let code = error.sqlite_error_code();
    anyhow::ensure!(code == Some(ErrorCode::OperationInterrupted), "the query failed: {error}");
    Ok(GivenUp { caller_left: left - began, query_ended: ended - began, error })
}

/// Runs the query, which ends early when the call is cancelled.
fn interruptible(connection: &Connection) -> rusqlite::Result<i64> {
    let handle = connection.get_interrupt_handle();
    let _guard = current::on_cancel(move || handle.interrupt());
    connection.query_row(ENDLESS, [], |row| row.get(0))
}
