//! A ledger in an SQLite file: amounts booked to accounts. Plain blocking calls, which know nothing
//! of async.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use sidestep::current;

/// Opens the ledger in the file at `path` to write to it, and makes it where there is none.
pub(crate) fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = NORMAL;
         CREATE TABLE IF NOT EXISTS entries (account INTEGER NOT NULL, amount INTEGER NOT NULL);
         CREATE INDEX IF NOT EXISTS by_account ON entries (account, amount);",
    )?;
    interruptible(connection)
}

/// Opens the ledger at `path`, which is there, to read it.
pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    interruptible(Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?)
}

/// Whether the connection still leads to a ledger.
pub(crate) fn is_sound(connection: &Connection) -> bool {
    let probe = connection.prepare_cached("SELECT 1 FROM entries LIMIT 1");
    probe.and_then(|mut probe| probe.exists([])).is_ok()
}

fn interruptible(connection: Connection) -> rusqlite::Result<Connection> {
    // SQLite forgets an interrupt that comes before a statement has begun. So each statement also
    // asks for itself, about every 10 ms; without this, a cancel at the wrong moment would be lost.
    connection.progress_handler(1_000_000, Some(current::is_cancelled))?;
    Ok(connection)
}

/// Inserts one row, in a transaction of its own.
pub(crate) fn book(connection: &Connection, account: i64, amount: i64) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached("INSERT INTO entries VALUES (?1, ?2)")?;
    insert.execute([account, amount]).map(drop)
}

/// What has been booked to `account`.
pub(crate) fn balance(connection: &Connection, account: i64) -> rusqlite::Result<i64> {
    let mut query = connection.prepare_cached("SELECT sum(amount) FROM entries WHERE account = ?1")?;
    query.query_row([account], |row| row.get(0))
}

/// How many rows there are, and the sum of all amounts.
pub(crate) fn totals(connection: &Connection) -> rusqlite::Result<(i64, i64)> {
    let totals = "SELECT count(*), coalesce(sum(amount), 0) FROM entries";
    connection.query_row(totals, [], |row| Ok((row.get(0)?, row.get(1)?)))
}
