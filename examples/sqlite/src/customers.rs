//! The load: a hundred tasks of one event loop, each with an account that it books to and asks for;
//! and the ways in which they reach the ledger.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rusqlite::Connection;
use sidestep::{ResourcePool, Strand};
use tokio::task::{JoinSet, yield_now};

use crate::{ledger, ticker::Ticker};

pub(crate) const CUSTOMERS: i64 = 100;
pub(crate) const ROUNDS: i64 = 100;

/// Each customer makes so many inserts, and as many queries.
pub(crate) const INSERTS: i64 = CUSTOMERS * ROUNDS;

/// What it took to serve all customers.
#[derive(Clone, Copy)]
pub(crate) struct Service {
    pub(crate) wall: Duration,
    /// The longest time for which the event loop's thread did nothing else.
    pub(crate) held_up: Duration,
}

impl Service {
    pub(crate) fn per_call(self) -> Duration {
        self.wall / u32::try_from(2 * INSERTS).unwrap_or(u32::MAX)
    }
}

/// The calls run on the pool: the inserts one at a time, the queries beside them.
pub(crate) async fn on_the_pool(
    writer: &Strand<Connection>,
    readers: &ResourcePool<Connection>,
) -> anyhow::Result<Service> {
    serve(|account| customer_of_pool(writer.clone(), readers.clone(), account)).await
}

/// The calls run on the event loop's thread, which `yields` to other tasks after each of them, or
/// only where the task ends.
pub(crate) async fn in_place(ledger: &Arc<Mutex<Connection>>, yields: bool) -> anyhow::Result<Service> {
    serve(|account| customer_in_place(Arc::clone(ledger), account, yields)).await
}

/// Runs a hundred customers at once, beside a task that wants to run every millisecond.
async fn serve<F>(customer: impl Fn(i64) -> F) -> anyhow::Result<Service>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let ticker = Ticker::start();
    let began = Instant::now();
    let mut customers: JoinSet<_> = (0..CUSTOMERS).map(customer).collect();
    while let Some(outcome) = customers.join_next().await {
        outcome.context("a customer has panicked")??;
    }
    let wall = began.elapsed();
    let held_up = ticker.stop().await.context("the ticker is gone")?.longest_gap;
    Ok(Service { wall, held_up })
}

async fn customer_of_pool(
    writer: Strand<Connection>,
    readers: ResourcePool<Connection>,
    account: i64,
) -> anyhow::Result<()> {
    for amount in 1..=ROUNDS {
        writer.call(move |connection| ledger::book(connection, account, amount)).await??;
        let balance = readers.call(move |connection| ledger::balance(connection, account)).await??;
        check(amount, balance)?;
    }
    Ok(())
}

async fn customer_in_place(ledger: Arc<Mutex<Connection>>, account: i64, yields: bool) -> anyhow::Result<()> {
    // There is one thread, so nobody ever waits for the lock.
    let ledger = || ledger.lock().unwrap_or_else(PoisonError::into_inner);
    for amount in 1..=ROUNDS {
        ledger::book(&ledger(), account, amount)?;
        if yields {
            yield_now().await;
        }
        let balance = ledger::balance(&ledger(), account)?;
        check(amount, balance)?;
        if yields {
            yield_now().await;
        }
    }
    Ok(())
}

/// A customer has booked 1, 2, ... `last`, and finds its balance accordingly.
fn check(last: i64, balance: i64) -> anyhow::Result<()> {
    let right = last * (last + 1) / 2;
    anyhow::ensure!(balance == right, "a balance is {balance} instead of {right}");
    Ok(())
}
