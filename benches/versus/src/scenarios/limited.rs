//! Calls of which only a few may run at a time, because what they use bears no more: a database
//! with so many connections.

use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::flood::Window;
use super::{Case, Load, Scenario, Sizing};
use crate::driver::Driver;
use crate::peers::{Call, Limited, Peer};
use crate::sample::{Meter, Metric, Sample, Unit};
use crate::stage::{Door, Stage};
use crate::system;

/// How many may run.
const LIMIT: usize = 4;
/// How many calls there are at a time; all the others wait.
const CALLS: usize = 1_000;

/// One async task keeps so many calls under way.
pub(super) struct Outstanding {
    /// How long each sleeps, if at all.
    pub(super) nap: Option<Duration>,
}

impl Outstanding {
    /// Long enough to be worth a thread, short enough for the way there to show.
    pub(super) const NAP: Duration = Duration::from_micros(100);
}

impl Scenario for Outstanding {
    fn run<P: Peer>(self, stage: &Stage<P>) -> Result<Sample> {
        let door = stage.limited(LIMIT)?;
        let program = move |tasks| {
            Window::of_width(CALLS, tasks, move |n| {
                door.spawn(move || {
                    if let Some(nap) = self.nap {
                        thread::sleep(nap);
                    }
                    n
                })
            })
        };
        stage.driver.run(program(stage.warm_up));
        let meter = Meter::start();
        stage.driver.run(program(stage.tasks));
        let reading = meter.stop();
        let Some(nap) = self.nap else { return Ok(reading.per_task(stage.tasks)) };
        let ideal = nap / u32::try_from(LIMIT)?;
        let time = Metric::per_task("time per task", reading.wall, stage.tasks).with_ideal(ideal);
        Ok(reading.sample(stage.tasks, vec![time]))
    }
}

/// So many async tasks, which call again and again, as the connections of a server do.
pub(super) struct Clients;

impl Clients {
    async fn of<L: Limited>(door: Door<L>, tasks: usize) {
        let share = tasks.div_ceil(CALLS);
        let client = move || async move {
            for n in 0..share {
                black_box(door.call(move || n).await);
            }
        };
        let clients: Vec<_> = (0..tasks / share).map(|_| tokio::spawn(client())).collect();
        for client in clients {
            client.await.expect("a client does not panic");
        }
    }
}

impl Scenario for Clients {
    fn run<P: Peer>(self, stage: &Stage<P>) -> Result<Sample> {
        let door = stage.limited(LIMIT)?;
        stage.driver.run(Self::of(door, stage.warm_up));
        let meter = Meter::start();
        stage.driver.run(Self::of(door, stage.tasks));
        Ok(meter.stop().per_task(stage.tasks))
    }
}

/// Heap for each call that waits, as `bytes` counts it: of an async task that has many, and of one
/// that does nothing but wait for it, which is counted in.
pub(super) struct Bytes;

impl Bytes {
    /// Within this time whatever is to happen before the wait has happened.
    const SETTLING: Duration = Duration::from_millis(50);

    /// Has `start` begin each call while none can run, and awaits all with `end`.
    fn of<L, C, F>(
        driver: &Driver,
        door: Door<L>,
        tasks: usize,
        start: impl Fn(Door<L>, usize) -> C + Send + 'static,
        end: impl Fn(C) -> F + Send + 'static,
    ) -> Option<f64>
    where
        L: Limited,
        C: Send + 'static,
        F: Future<Output = usize> + Send,
    {
        let gate = Arc::new(Barrier::new(LIMIT + 1));
        driver.run(async move {
            let holders: Vec<_> = (0..LIMIT)
                .map(|_| {
                    let gate = Arc::clone(&gate);
                    door.spawn(move || {
                        // They are there, and then they go.
                        gate.wait();
                        gate.wait();
                    })
                })
                .collect();
            tokio::time::sleep(Self::SETTLING).await;
            gate.wait();
            let mut calls = Vec::with_capacity(tasks);
            let before = system::heap_bytes();
            calls.extend((0..tasks).map(|n| start(door, n)));
            tokio::time::sleep(Self::SETTLING).await;
            let after = system::heap_bytes();
            gate.wait();
            for holder in holders {
                holder.result().await;
            }
            for call in calls {
                black_box(end(call).await);
            }
            Some(after?.saturating_sub(before?) as f64 / tasks as f64)
        })
    }
}

impl Scenario for Bytes {
    fn run<P: Peer>(self, stage: &Stage<P>) -> Result<Sample> {
        let door = stage.limited(LIMIT)?;
        let call = Self::of(&stage.driver, door, stage.tasks, |door, n| door.spawn(move || n), Call::result);
        let client = Self::of(
            &stage.driver,
            door,
            stage.tasks,
            |door, n| tokio::spawn(async move { door.call(move || n).await }),
            |client| async { client.await.expect("a client does not panic") },
        );
        let (call, client) = call.zip(client).context("only glibc tells the size of its heap")?;
        let metrics = [("heap per call", call), ("heap per client", client)];
        Ok(Sample::of(metrics.map(|(name, bytes)| Metric::new(name, Unit::Bytes, bytes)).into()))
    }
}

/// The cases of calls that only a few may run at a time, by whatever a peer has for that: sidestep
/// a lane, a pool of fixed size another pool, the others a semaphore of tokio's.
pub(super) fn cases() -> Vec<Case> {
    let case =
        |name, load, sizes, about| Case::new(name, load, sizes, about).sized(Sizing::Default).both_flavors();
    vec![
        case(
            "limited",
            Load::Limited { naps: false },
            [10_000, 2_000],
            "empty closures, 4 at a time; 1,000 calls outstanding",
        ),
        case(
            "limited_naps",
            Load::Limited { naps: true },
            [10_000, 1_500],
            "closures that sleep 100 us, 4 at a time; 1,000 calls outstanding",
        ),
        case(
            "limited_clients",
            Load::LimitedClients,
            [10_000, 2_000],
            "empty closures, 4 at a time, from 1,000 async tasks that call again and again",
        ),
        case(
            "limited_bytes",
            Load::LimitedBytes,
            [1_000, 1_000],
            "heap for a call that waits behind 4, of one async task (call) or with one of its own (client)",
        ),
    ]
}
