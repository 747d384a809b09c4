//! The progress bar on standard error: drawn by a thread of its own, fed from any thread.

use std::{fmt, io, time::Duration};

use indicatif::{HumanCount, ProgressBar, ProgressState, ProgressStyle};

const REDRAW: Duration = Duration::from_millis(100);
const LOOK: &str = "{prefix:>7} {wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}, {files}";

/// Counts files and bytes, and shows them where standard error is a terminal. Clones feed the same
/// bar.
#[derive(Clone)]
pub(crate) struct Progress {
    bytes: ProgressBar,
    files: ProgressBar,
    grows: bool,
}

impl Progress {
    /// With `total` unknown, the bar grows with what [`found`](Progress::found) reports.
    pub(crate) fn start(name: &'static str, total: Option<u64>) -> Progress {
        let files = ProgressBar::hidden();
        let bytes = ProgressBar::new(total.unwrap_or(0)).with_prefix(name);
        if let Ok(style) = ProgressStyle::with_template(LOOK) {
            let counted = files.clone();
            bytes.set_style(style.with_key("files", move |bar: &ProgressState, out: &mut dyn fmt::Write| {
                let _ = out.write_str(&files_and_rate(counted.position(), bar.elapsed()));
            }));
        }
        if !bytes.is_hidden() {
            bytes.enable_steady_tick(REDRAW);
        }
        Progress { bytes, files, grows: total.is_none() }
    }

    pub(crate) fn found(&self, len: u64) {
        if self.grows {
            self.bytes.inc_length(len);
        }
    }

    pub(crate) fn read(&self, len: u64) {
        self.bytes.inc(len);
    }

    pub(crate) fn file_done(&self) {
        self.files.inc(1);
    }

    /// Takes the bar away while something else is written to the terminal.
    pub(crate) fn aside(&self, write: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        self.bytes.suspend(write)
    }

    /// Clears the bar. Closures that still count on a clone of it do no harm.
    pub(crate) fn finish(&self) {
        self.bytes.finish_and_clear();
    }
}

fn files_and_rate(files: u64, elapsed: Duration) -> String {
    let rate = files as f64 / elapsed.as_secs_f64().max(REDRAW.as_secs_f64());
    format!("{} files, {}/s", HumanCount(files), HumanCount(rate as u64))
}
