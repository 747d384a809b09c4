//! Does anything get lost, leak or hang when everything happens at once?
//!
//! Random load on pools that live as long as the program and on thousands that live for a moment:
//! closures of 0 to 50 ms, panics wherever foreign code runs, cancellations, time limits, full
//! queues, lanes, values, batches, scopes, waits inside of tasks, files, event loops, promises,
//! shutdowns in flight, threads that the system refuses, locked files, calls that hang, and on Unix
//! FIFOs, pseudoterminals, sockets, children and forks; awaited from several kinds of executors.
//! Meanwhile each closure, result and panic payload is accounted for (`case.rs`). Ten times, and at
//! the end, the load pauses and all numbers are compared: with those of the pools, and with the
//! threads, open files and memory of the process.
//!
//! ```text
//! cargo run --release --example soak -- --seconds 30
//! ```
//!
//! The same seed makes the same choices, though threads meet differently in each run.
//!
//! Exit status: 0 if all is balanced, 1 if something is wrong, which is then named with both
//! values, 2 if nothing happened for a minute.

mod case;
#[cfg(unix)]
mod children;
mod dice;
mod fates;
mod files;
#[cfg(unix)]
mod forks;
mod groups;
mod hangs;
mod job;
mod ledger;
mod load;
mod locks;
mod loops;
#[cfg(unix)]
mod pipes;
mod pools;
mod process;
mod report;
mod site;
mod steady;
mod values;
mod watchdog;

#[cfg(unix)]
use std::os::fd::OwnedFd;
use std::{
    io::{self, Write as _},
    panic,
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Parser;
#[cfg(unix)]
use futures_lite::future::{block_on, poll_once};
#[cfg(unix)]
use futures_util::{AsyncReadExt as _, AsyncWriteExt as _};
use indicatif::{ProgressBar, ProgressStyle};
use sidestep::Pool;
#[cfg(unix)]
use sidestep::{Unblock, fs};

use dice::Dice;
use ledger::{equal, fault};
use load::Scene;
use locks::Locks;
use process::Holdings;
use site::{Settings, Site};
use watchdog::Watchdog;

#[global_allocator]
static ALLOCATOR: process::Counting = process::Counting;

/// Random load on the whole crate, with a check that nothing is lost, leaked or hung.
#[derive(Parser)]
#[command(name = "soak")]
struct Args {
    /// How long the load lasts.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,

    /// What the choices are drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Threads that make the load; the kinds of executors take turns.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
    threads: u64,

    /// Seconds in which nothing may happen before the program gives up. The longest closure takes
    /// 50 ms.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    patience: u64,

    /// The pools do not ask the system about their threads: they grow as on one that reports
    /// nothing.
    #[arg(long)]
    time_alone: bool,
}

/// The load pauses so often, for a comparison.
const ROUNDS: u32 = 10;
/// The first rounds fill caches: queues, tables and threads have then been as large as they get.
const WARM_UP: usize = 3;
/// So much more may be in use at the end than after the warm-up. Queues and tables keep the room of
/// their worst moment, which comes when it comes, and set aside what a thread without a CPU may
/// still read; a leak of 10 bytes for each task would be several times as much within a minute. The
/// shorter the run, the less of that has come during the warm-up, so that it has more slack.
const HEAP_SLACK: u64 = 1 << 20;
/// The same for the resident memory, of which the allocator keeps a part that depends on where the
/// pieces lie.
const RSS_SLACK: u64 = 8 << 20;
/// The seconds from which on there is no more slack than that.
const LONG_RUN: u64 = 60;
/// So long may it take until all is quiet, with nothing happening meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let args = Args::parse();
    site::TIME_ALONE.store(args.time_alone, Ordering::Relaxed);
    if let Err(error) = wait_for_a_pipe() {
        fault(format_args!("a pipe: {error}"));
    }
    let before = Holdings::now();
    // The hook has noticed a panic.
    if let Ok(Err(error)) = panic::catch_unwind(|| soak(&args, &before)) {
        fault(format_args!("{error:#}"));
    }
    let faults = ledger::faults();
    if faults.is_empty() {
        let _ = writeln!(io::stdout(), "all balanced");
        return ExitCode::SUCCESS;
    }
    for what in faults {
        let _ = writeln!(io::stderr(), "soak: {what}");
    }
    ExitCode::FAILURE
}

fn soak(args: &Args, before: &Holdings) -> anyhow::Result<()> {
    panic::set_hook(Box::new(notice_panic));
    let mut dice = Dice::new(args.seed);
    let scene = Arc::new(scene(&mut dice).context("cannot set the scene")?);
    let watchdog =
        Watchdog::start(&scene, Duration::from_secs(args.patience)).context("cannot start the watchdog")?;
    let start = Instant::now();
    let bar = bar(args.seconds);
    let (mut readings, mut peak) = (Vec::new(), 0);
    for round in 1..=ROUNDS {
        let end = start + Duration::from_secs(args.seconds) * round / ROUNDS;
        peak = peak.max(load_until(end, &scene, args.threads as usize, &mut dice, &bar));
        settle(&scene);
        let now = eventually(|now| now.files == before.files, PATIENCE);
        equal("open files", now.files, before.files);
        bar.suspend(|| say(&report::line(&format!("{} %", round * 10), start.elapsed(), &now)));
        readings.push(now);
        if !ledger::faults().is_empty() {
            break;
        }
    }
    bar.finish_and_clear();
    watch_memory(&readings, LONG_RUN.div_ceil(args.seconds));
    let standstill = leave(scene, watchdog, before, start);
    report::print(peak, standstill).context("cannot write to standard output")
}

/// Has the crate make what it keeps for the whole life of the process: the thread that waits for
/// descriptors, with a descriptor of its own, and the one that a closed `fs::File` shows.
#[cfg(unix)]
fn wait_for_a_pipe() -> io::Result<()> {
    let pool = site::pool_builder().core_threads(1).max_threads(1).build()?;
    let (reader, writer) = io::pipe()?;
    let mut reader = Unblock::new(reader).on(&pool);
    let mut writer = fs::on(&pool).file(OwnedFd::from(writer).into());
    let is_waiting = block_on(poll_once(reader.read(&mut [0; 1]))).is_none();
    equal("whether a read of an empty pipe waits", is_waiting, true);
    block_on(writer.close())?;
    drop(reader);
    pool.shutdown().wait();
    Ok(())
}

#[cfg(not(unix))]
fn wait_for_a_pipe() -> io::Result<()> {
    Ok(())
}

/// Ours come without a message, and the crate's where `unblock` is refused: no others are planned.
fn notice_panic(panic: &panic::PanicHookInfo<'_>) {
    if !panic.to_string().contains("did not run") {
        fault(format_args!("a panic: {panic}"));
    }
}

fn scene(dice: &mut Dice) -> anyhow::Result<Scene> {
    let global = site::pool_builder().name("global").max_threads(hangs::GLOBAL_THREADS);
    global.keep_alive(Duration::from_millis(20)).build_global()?;
    let folder = tempfile::tempdir()?;
    let wide = Settings {
        core: 4,
        max: 48,
        queue_limit: None,
        keep_alive: Duration::from_millis(1),
        refuse_one_in: 10,
        lasts: true,
        propagates: false,
    };
    let tight = Settings {
        core: 1,
        max: 3,
        queue_limit: Some(20),
        keep_alive: Duration::ZERO,
        refuse_one_in: 0,
        lasts: true,
        propagates: true,
    };
    Ok(Scene {
        wide: sure_site("wide", &wide, dice)?,
        tight: Site::new("tight", &tight, dice)?,
        adapters: sure_site("adapters", &wide, dice)?,
        locks: Locks::new(folder.path())?,
        folder,
    })
}

/// Tries again where the first thread is refused.
fn sure_site(name: &'static str, settings: &Settings, dice: &mut Dice) -> io::Result<Arc<Site>> {
    (0..9)
        .find_map(|_| Site::new(name, settings, dice).ok())
        .map_or_else(|| Site::new(name, settings, dice), Ok)
}

/// Makes load until `end`, and returns the most threads that were seen.
fn load_until(end: Instant, scene: &Arc<Scene>, threads: usize, dice: &mut Dice, bar: &ProgressBar) -> usize {
    thread::scope(|scope| {
        let loading = scope.spawn(|| load::run(scene, threads, end, dice));
        let mut peak = 0;
        while !loading.is_finished() {
            job::sleep(Duration::from_millis(50));
            peak = peak.max(process::thread_count().unwrap_or(0));
            bar.set_position(bar.elapsed().as_millis() as u64);
        }
        peak
    })
}

/// Waits until everything that was begun has ended, and compares the numbers.
fn settle(scene: &Scene) {
    let is_quiet = || {
        ledger::open() == 0
            && pools::are_quiet()
            && scene.sites().into_iter().all(|site| site.is_quiet())
            && values::VALUES.load(Ordering::SeqCst) == 0
    };
    let mut last = (ledger::pulse(), Instant::now());
    while !is_quiet() && last.1.elapsed() < PATIENCE {
        job::sleep(Duration::from_millis(1));
        let pulse = ledger::pulse();
        if pulse != last.0 {
            last = (pulse, Instant::now());
        }
    }
    for kind in ledger::KINDS {
        let counts = ledger::of(kind);
        equal(format_args!("{kind:?}: open cases ({})", counts.missing()), counts.open(), 0);
    }
    equal("values behind a pool", values::VALUES.load(Ordering::SeqCst), 0);
    pools::check();
    scene.locks.check();
    scene.sites().into_iter().for_each(|site| site.check());
}

/// Reads what the process holds until it is as it should be, or the time is over.
fn eventually(is_right: impl Fn(&Holdings) -> bool, patience: Duration) -> Holdings {
    let start = Instant::now();
    // Threads that have just had their last task leave meanwhile.
    job::sleep(Duration::from_millis(50));
    loop {
        let now = Holdings::now();
        if is_right(&now) || start.elapsed() > patience {
            return now;
        }
        job::sleep(Duration::from_millis(5));
    }
}

/// Compares the least of the last two readings with the most of those that end the warm-up, with so
/// many times the slack.
fn watch_memory(readings: &[Holdings], times: u64) {
    let [first @ .., one, two] = readings else { return };
    let Some(warm) = first.get(..WARM_UP) else { return };
    let (Some(most), least) = (warm.iter().map(|reading| reading.heap).max(), one.heap.min(two.heap)) else {
        return;
    };
    if least > most + (times * HEAP_SLACK).cast_signed() as isize {
        fault(format_args!("bytes in use: {least} at the end, and {most} after the warm-up"));
    }
    let (most, least) = (warm.iter().filter_map(|reading| reading.rss).max(), one.rss.min(two.rss));
    let (Some(most), Some(least)) = (most, least) else { return };
    if least > most + times * RSS_SLACK {
        fault(format_args!("resident memory: {least} at the end, and {most} after the warm-up"));
    }
}

/// Ends all pools, after which the process is to be as it was. Returns the longest time in which
/// nothing happened.
fn leave(scene: Arc<Scene>, watchdog: Watchdog, before: &Holdings, start: Instant) -> Duration {
    drop(scene);
    let report = Pool::global().shutdown().wait();
    equal("running on the global pool", report.still_running, 0);
    let standstill = watchdog.stop();
    let is_as_before = |now: &Holdings| (now.threads, now.files) == (before.threads, before.files);
    let now = eventually(is_as_before, PATIENCE);
    equal("threads at the end", now.threads, before.threads);
    equal("open files at the end", now.files, before.files);
    say(&report::line("end", start.elapsed(), &now));
    standstill
}

/// Nothing, where standard error is no terminal.
fn bar(seconds: u64) -> ProgressBar {
    let bar = ProgressBar::new(seconds * 1000);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {elapsed}") {
        bar.set_style(style);
    }
    bar
}

fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
