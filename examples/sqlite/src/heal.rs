//! What goes wrong with a connection, and how it is healed: a call that panics in the middle of a
//! transaction, and a connection that has lost its database.

use std::panic::resume_unwind;
use std::path::Path;

use rusqlite::Connection;
use sidestep::{Pool, ResourcePool, Strand, Task};

use crate::{ledger, open};

/// A call of the writer panics with a transaction open. The strand lets no other call see that, and
/// goes on with a new connection: to drop the old one rolls the transaction back.
pub(crate) async fn panic(pool: &Pool, writer: &Strand<Connection>, path: &Path) -> anyhow::Result<()> {
    let broken: Task<rusqlite::Result<()>> = writer.call(|connection| {
        connection.execute_batch("BEGIN; DELETE FROM entries")?;
        // A panic that prints nothing.
        resume_unwind(Box::new("half done"))
    });
    let error = broken.await.err().map(|error| error.is_panic());
    anyhow::ensure!(error == Some(true), "the call did not panic");
    let refused = writer.call(|connection| ledger::totals(connection)).await;
    anyhow::ensure!(refused.is_err_and(|error| error.is_poisoned()), "the strand is not poisoned");

    writer.replace(open(pool, path).await?).await?;
    anyhow::ensure!(!writer.is_poisoned(), "the strand is still poisoned");
    Ok(())
}

/// A connection of the readers loses its database: the call that comes next tests it, drops it, and
/// has another made. Returns how many connections were dropped for that.
pub(crate) async fn breakage(readers: &ResourcePool<Connection>) -> anyhow::Result<u64> {
    let before = readers.metrics().check_failures();
    let empty = readers.call(|connection| Connection::open_in_memory().map(|other| *connection = other));
    empty.await??;
    let (rows, _) = readers.call(|connection| ledger::totals(connection)).await??;
    anyhow::ensure!(rows > 0, "the ledger is empty");
    Ok(readers.metrics().check_failures() - before)
}
