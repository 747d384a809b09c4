//! How long does blocking work hold up a single-threaded event loop, on a pool and without one?
//!
//! Computes the SHA-256 of every regular file under a directory, from a `current_thread` tokio
//! runtime on which a 10 ms heartbeat ticks as well: on a [`sidestep::Pool`], then inline, on the
//! event loop's own thread. A table puts the two side by side.
//!
//! ```text
//! cargo run --release --example checksum -- [DIR]
//! ```
//!
//! Whatever goes first would have to read from disk what the other then finds in memory. So a
//! comparison begins with a round that warms the page cache, on the pool as well, whose figures are
//! not kept. Symbolic links inside the tree are not followed, and what is neither a directory nor a
//! regular file is passed over.
//!
//! Exit status: 0 if every file was hashed, 1 if some could not be read, 2 if the program could not
//! do its work, 130 after Ctrl-C, 141 if the reader of standard output went away.

mod hash;
mod heartbeat;
mod interrupt;
mod lines;
mod progress;
mod report;
mod walk;
mod ways;

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Parser;

use interrupt::Interrupt;
use report::Report;
use ways::{Halt, Job};

const SOME_UNREADABLE: u8 = 1;
const FAILED: u8 = 2;
const INTERRUPTED: u8 = 130;
const BROKEN_PIPE: u8 = 141;

/// Hashes every file under a directory (SHA-256) without stopping the event loop, and compares that
/// with stopping it.
#[derive(Parser)]
#[command(name = "checksum")]
struct Args {
    /// The directory to walk, or a single file.
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,

    /// Hash only inline, on the event loop's own thread. Without it the table shows the pool and
    /// inline side by side.
    #[arg(long)]
    inline: bool,

    /// Print the lines that `sha256sum -c` accepts, as files get done, and nothing else. Hashes one
    /// way only.
    #[arg(long, conflicts_with = "json")]
    sums: bool,

    /// Print the figures as JSON instead of the table.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let status = match run(&args) {
        Ok(status) => status,
        Err(error) => {
            complain(&format!("{error:#}"));
            FAILED
        }
    };
    ExitCode::from(status)
}

fn run(args: &Args) -> anyhow::Result<u8> {
    exists(&args.dir)?;
    let interrupt = interrupt::listen().context("cannot listen for Ctrl-C")?;
    let event_loop = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .context("cannot start the event loop")?;
    let outcome = event_loop.block_on(hash(args, interrupt)).and_then(|report| {
        if !args.sums {
            print(&report, args.json).map_err(Halt::Output)?;
        }
        Ok(report)
    });
    match outcome {
        Ok(report) if report.is_complete() => Ok(0),
        Ok(_) => Ok(SOME_UNREADABLE),
        Err(Halt::Interrupted) => {
            complain("interrupted");
            Ok(INTERRUPTED)
        }
        Err(Halt::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(BROKEN_PIPE),
        Err(Halt::Output(error)) => Err(error).context("cannot write to standard output"),
        Err(Halt::Failed(error)) => Err(error.into()),
    }
}

/// Goes through the tree in the ways that `args` asks for.
async fn hash(args: &Args, interrupt: Interrupt) -> Result<Report, Halt> {
    let mut report = Report::default();
    let mut job = Job { dir: args.dir.clone(), sums: args.sums, name_failures: true, bytes: None, interrupt };
    if args.inline {
        report.inline = Some(ways::inline(&job, "inline").await?);
    } else if args.sums {
        report.pool = Some(ways::on_pool(&job, "pool").await?);
    } else {
        // From the second round on, the size of the tree is known and its unreadable files have
        // been named.
        job.bytes = Some(ways::on_pool(&job, "warm-up").await?.bytes);
        job.name_failures = false;
        report.pool = Some(ways::on_pool(&job, "pool").await?);
        report.inline = Some(ways::inline(&job, "inline").await?);
    }
    Ok(report)
}

/// Refuses a path that leads nowhere before anything is started.
fn exists(dir: &Path) -> anyhow::Result<()> {
    fs::metadata(dir).map(drop).with_context(|| format!("cannot read {}", dir.display()))
}

fn print(report: &Report, json: bool) -> io::Result<()> {
    let mut text = if json { serde_json::to_string_pretty(report)? } else { report.table() };
    text.push('\n');
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Says something on standard error. If even that fails, there is nobody left to tell.
fn complain(what: &str) {
    let _ = writeln!(io::stderr(), "checksum: {what}");
}
