//! The job that `callbacks`, `promises` and `futures` each do in their own way: three steps that
//! block, one after another. And what shows how the loop's thread fares meanwhile.

use std::{
    cell::Cell,
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};
use sidestep::event_loop::Handle;
use tempfile::NamedTempFile;

/// A file and what is in it.
pub(crate) struct Page {
    path: PathBuf,
    text: Vec<u8>,
}

/// The folder to work on: the first argument, or else `src`.
pub(crate) fn folder() -> PathBuf {
    env::args_os().nth(1).map_or_else(|| PathBuf::from("src"), PathBuf::from)
}

/// First step, the disk: reads every file below `folder`.
pub(crate) fn read(folder: &Path) -> io::Result<Vec<Page>> {
    let mut pages = Vec::new();
    for entry in walkdir::WalkDir::new(folder).sort_by_file_name() {
        let entry = entry?;
        if entry.file_type().is_file() {
            pages.push(Page { text: fs::read(entry.path())?, path: entry.into_path() });
        }
    }
    if pages.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("no file below {}", folder.display())));
    }
    Ok(pages)
}

/// Second step, the CPU: a line for each file with its SHA-256 sum.
pub(crate) fn digest(pages: &[Page]) -> String {
    let line = |page: &Page| {
        let sum: String = Sha256::digest(&page.text).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{sum}  {}\n", page.path.display())
    };
    pages.iter().map(line).collect()
}

/// Third step, the disk again: writes the lines to a file until they are safe, and says how many
/// there are.
pub(crate) fn write(sums: &str) -> io::Result<usize> {
    let mut file = NamedTempFile::new()?;
    file.write_all(sums.as_bytes())?;
    file.as_file().sync_all()?;
    Ok(fs::read_to_string(file.path())?.lines().count())
}

/// A timer of the loop that beats every millisecond, and knows by how much a beat was late at most.
pub(crate) struct Heartbeat(Rc<Beats>);

struct Beats {
    due: Cell<Instant>,
    latest: Cell<Duration>,
    stopped: Cell<bool>,
}

impl Heartbeat {
    const INTERVAL: Duration = Duration::from_millis(1);

    pub(crate) fn start(ev: &Handle) -> Self {
        let beats = Beats {
            due: Cell::new(Instant::now()),
            latest: Cell::new(Duration::ZERO),
            stopped: Cell::new(false),
        };
        let beats = Rc::new(beats);
        beat(&beats, ev);
        Heartbeat(beats)
    }

    /// Stops, and says how late the latest beat was.
    pub(crate) fn stop(self) -> Duration {
        self.0.stopped.set(true);
        self.0.latest.get().max(self.0.due.get().elapsed())
    }
}

fn beat(beats: &Rc<Beats>, ev: &Handle) {
    beats.latest.set(beats.latest.get().max(beats.due.get().elapsed()));
    beats.due.set(Instant::now() + Heartbeat::INTERVAL);
    let beats = Rc::clone(beats);
    ev.after(Heartbeat::INTERVAL, move |ev| {
        if !beats.stopped.get() {
            beat(&beats, ev);
        }
    });
}

/// Does the job right here, on the loop's thread, and says how long the loop stood still for it.
pub(crate) fn on_the_loop(ev: &Handle, folder: &Path) -> io::Result<(usize, Duration)> {
    let heartbeat = Heartbeat::start(ev);
    let files = write(&digest(&read(folder)?))?;
    Ok((files, heartbeat.stop()))
}

/// Prints how the loop fared both ways, which must have come to the same.
pub(crate) fn compare(
    how: &str,
    beside: (usize, Duration),
    on_the_loop: (usize, Duration),
) -> io::Result<()> {
    println!("{} files: read, summed, written", beside.0);
    println!("  by {how:<24} the loop was held up for {:>7.1} ms at most", millis(beside.1));
    println!(
        "  on the loop's own thread    the loop was held up for {:>7.1} ms at most",
        millis(on_the_loop.1)
    );
    if beside.0 != on_the_loop.0 {
        let message = format!("{} files one way and {} the other", beside.0, on_the_loop.0);
        return Err(io::Error::other(message));
    }
    Ok(())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
