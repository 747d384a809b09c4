//! What is my pool doing, and on whose behalf?
//!
//! A subscriber prints what the pool reports under the target `sidestep`; spans of the caller
//! surround what its closures report; the pool itself tells what has been running for long, and its
//! numbers.

use std::{io, sync::mpsc, thread, time::Duration};

use anyhow::Context as _;
use sidestep::{Metrics, Pool};
use tracing::{Level, info, info_span};

/// A task that waits or runs for longer is worth a warning.
const LONG: Duration = Duration::from_millis(50);
const SHORT: Duration = Duration::from_millis(10);

fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_max_level(Level::DEBUG).with_writer(io::stdout).without_time().init();
    let pool = Pool::builder()
        .core_threads(2)
        .max_threads(8)
        .keep_alive(SHORT)
        .warn_after(LONG)
        .build()
        .context("cannot start a pool")?;

    heading("the caller's span surrounds the closure");
    let request = info_span!("request", id = 7);
    let lookup = request.in_scope(|| pool.spawn(|| info!("looking the user up")));
    lookup.wait()?;

    heading("what runs now, and for how long");
    let (go, gate) = mpsc::channel::<()>();
    let (started, has_started) = mpsc::channel();
    let tape = pool.options().name("tape drive").spawn(move || {
        let _ = started.send(());
        gate.recv().is_err()
    });
    has_started.recv().context("the task did not start")?;
    pause(LONG * 2);
    for stuck in pool.long_running(LONG) {
        let name = stuck.name.as_deref().unwrap_or("unnamed");
        println!("{} {name:?} of {} has been running for {:.0?}", stuck.id, stuck.site, stuck.running_for);
    }

    heading("a task that ran for long is reported when it ends");
    drop(go);
    tape.wait()?;

    heading("threads block, and the pool grows; later the surplus leaves");
    let calls = pool.spawn_batch((0..8).map(|_| || pause(SHORT)));
    for call in calls.wait() {
        call?;
    }
    pause(SHORT * 5);

    heading("numbers");
    print(pool.metrics());
    Ok(())
}

fn heading(text: &str) {
    println!("\n-- {text}");
}

fn print(metrics: Metrics) {
    println!("threads:   {}, at most {}", metrics.threads(), metrics.threads_peak());
    println!("tasks:     {} submitted, {} completed", metrics.tasks_submitted(), metrics.tasks_completed());
    println!("now:       {} queued, {} running", metrics.tasks_queued(), metrics.tasks_running());
    println!("growth:    {} steps", metrics.growth_steps());
}

/// Stands in for a call that blocks.
#[expect(clippy::disallowed_methods, reason = "the call that blocks is what is observed")]
fn pause(time: Duration) {
    thread::sleep(time);
}
