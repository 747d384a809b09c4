//! Queues that stand still, and threads that do: what they take up, and what it costs to clear
//! them.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::Scenario;
use crate::peers::{Call, Peer};
use crate::sample::{Meter, Metric, Sample, Unit};
use crate::stage::Stage;
use crate::system;

/// Heap for each task that waits behind workers which are all busy. The handles themselves, which
/// the caller may keep wherever it likes, do not count; what they point to does, and so does the
/// queue.
pub(super) struct Bytes;

impl Scenario for Bytes {
    fn run<P: Peer>(self, stage: &Stage<P>) -> Result<Sample> {
        let (crew, tasks) = (stage.crew, stage.tasks);
        let occupied = stage.occupy(num_cpus::get());
        let (bytes, calls) = stage.driver.run(async move {
            let mut calls = Vec::with_capacity(tasks);
            let before = system::heap_bytes();
            calls.extend((0..tasks).map(|n| crew.spawn(move || n)));
            (system::heap_bytes().zip(before).map(|(after, before)| after.saturating_sub(before)), calls)
        });
        occupied.release();
        stage.driver.run(async {
            for call in calls {
                call.result().await;
            }
        });
        let bytes = bytes.context("only glibc tells the size of its heap")?;
        Ok(Sample::of(vec![Metric::new("heap per task", Unit::Bytes, bytes as f64 / tasks as f64)]))
    }
}

/// A great many tasks wait behind workers which are all busy, and nobody wants them any more. The
/// workers may still have to step over them, which the time from their release to the result of one
/// last task shows.
pub(super) struct Cancel;

impl Scenario for Cancel {
    fn run<P: Peer>(self, stage: &Stage<P>) -> Result<Sample> {
        let (crew, tasks) = (stage.crew, stage.tasks);
        let occupied = stage.occupy(num_cpus::get());
        let meter = Meter::start();
        let (submit, cancel) = stage.driver.run(async move {
            let start = Instant::now();
            let calls: Vec<_> = (0..tasks).map(|n| crew.spawn(move || n)).collect();
            let submit = start.elapsed();
            let start = Instant::now();
            calls.into_iter().for_each(Call::cancel);
            (submit, start.elapsed())
        });
        occupied.release();
        let start = Instant::now();
        stage.driver.run(async move { crew.spawn(|| ()).result().await });
        let pass = start.elapsed();
        let metrics = [("submit", submit), ("cancel", cancel), ("pass by", pass)];
        let metrics = metrics.map(|(name, time)| Metric::per_task(name, time, tasks));
        Ok(meter.stop().sample(tasks, metrics.into()))
    }
}

/// Threads that have had work, and have none. The number of tasks is that of milliseconds to watch
/// them.
pub(super) struct Idle;

impl Scenario for Idle {
    fn run<P: Peer>(self, stage: &Stage<P>) -> Result<Sample> {
        // Whoever spins before it sleeps is asleep by then.
        thread::sleep(Duration::from_millis(200));
        let meter = Meter::start();
        thread::sleep(Duration::from_millis(u64::try_from(stage.tasks)?));
        let reading = meter.stop();
        let micros = reading.cpu.as_micros() as f64 / reading.wall.as_secs_f64();
        Ok(Sample::of(vec![Metric::new("CPU", Unit::MicrosPerSecond, micros)]))
    }
}
