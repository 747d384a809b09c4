//! What a server does for its clients: some log in, and the others fetch pages.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinHandle;

use super::cpu::burn_until;
use super::files::Shelf;
use super::one_by_one::{Serial, quantiles_with_p90};
use super::{Case, Load, SERVERS, Scenario, Sizing};
use crate::peers::{Call, Limited, Peer};
use crate::sample::{Meter, Metric, Sample};
use crate::stage::{Crew, Door, Stage};

/// Passwords are hashed in a lane as wide as the machine, and small files are read beside it.
pub(super) struct HashServer;

impl HashServer {
    const HASHERS: usize = 16;
    const READERS: usize = 64;
    /// The CPU time of a hash.
    const HASH: Duration = Duration::from_millis(100);

    /// A client that logs in again and again; the CPU time of its hashes.
    async fn log_in<L: Limited>(door: Door<L>, end: Arc<AtomicBool>) -> Duration {
        let mut used = Duration::ZERO;
        while !end.load(Relaxed) {
            let until = Arc::clone(&end);
            used += door.call(move || burn_until(Self::HASH, &until)).await;
        }
        used
    }

    /// A client that reads one file after the other; the times that it waited.
    async fn fetch<P: Peer>(crew: Crew<P>, shelf: Arc<Shelf>, end: Arc<AtomicBool>) -> Vec<Duration> {
        let mut times = Vec::new();
        while !end.load(Relaxed) {
            let (n, shelf, start) = (times.len(), Arc::clone(&shelf), Instant::now());
            black_box(crew.spawn(move || shelf.read(n)).result().await);
            times.push(start.elapsed());
        }
        times
    }

    /// What all clients give when they have ended.
    async fn gather<T>(clients: Vec<JoinHandle<T>>) -> Vec<T> {
        let mut all = Vec::with_capacity(clients.len());
        for client in clients {
            all.push(client.await.expect("a client does not panic"));
        }
        all
    }
}

impl Scenario for HashServer {
    /// For as many milliseconds as there are tasks.
    fn run<P: Peer>(self, stage: &Stage<P>) -> Result<Sample> {
        let door = stage.limited(num_cpus::get())?;
        let shelf = Shelf::new()?;
        let (crew, runtime, end) = (stage.crew, stage.driver.handle(), Arc::new(AtomicBool::new(false)));
        let opening = Duration::from_millis(u64::try_from(stage.tasks)?);
        stage.driver.run(Serial::of(crew, Self::READERS));
        let meter = Meter::start();
        let hashers: Vec<_> =
            (0..Self::HASHERS).map(|_| runtime.spawn(Self::log_in(door, Arc::clone(&end)))).collect();
        let fetch = |_| runtime.spawn(Self::fetch(crew, Arc::clone(&shelf), Arc::clone(&end)));
        let readers: Vec<_> = (0..Self::READERS).map(fetch).collect();
        stage.driver.run(async move { tokio::time::sleep(opening).await });
        end.store(true, Relaxed);
        let burned: Duration = stage.driver.run(Self::gather(hashers)).into_iter().sum();
        let times = stage.driver.run(Self::gather(readers)).concat();
        let mut reading = meter.stop();
        reading.cpu = reading.cpu.saturating_sub(burned);
        let (reads, wall) = (times.len(), reading.wall);
        let mut metrics = vec![Metric::per_task("time per read", wall, reads)];
        metrics.extend(quantiles_with_p90(times));
        // A hash that was cut short counts in part.
        let hash = wall.div_f64(burned.as_secs_f64() / Self::HASH.as_secs_f64());
        let ideal = Self::HASH / u32::try_from(num_cpus::get())?;
        metrics.push(Metric::time("time per hash", hash).with_ideal(ideal));
        Ok(reading.sample(reads, metrics))
    }
}

/// The case of the server.
pub(super) fn case() -> Case {
    let about = "64 clients read cached files of 4 KiB, 16 hash for 100 ms in a lane of as many as cores; CPU/task: of \
                 a read alone; affinitypool: the lane is a second pool";
    Case::new("hash_server", Load::HashServer, [3_000, 300], about)
        .sized(Sizing::Default)
        .among(SERVERS)
        .counted_in("ms")
}
