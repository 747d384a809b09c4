//! Three steps that block, one after another, as futures.
//!
//! The code reads as if it blocked, with `?` for the errors, and the loop goes on at each `.await`.
//! `callbacks` and `promises` do the same job: put the three side by side. Here the loop is an
//! [`EventLoop`]; in a runtime, `sums` would be the same.
//!
//! ```text
//! cargo run --release --example futures -- [FOLDER]
//! ```

mod steps;

use std::{io, path::PathBuf};

use sidestep::EventLoop;
use steps::Heartbeat;

/// The job: the number of files.
async fn sums(folder: PathBuf) -> io::Result<usize> {
    let pages = sidestep::spawn(move || steps::read(&folder)).await??;
    let sums = sidestep::spawn(move || steps::digest(&pages)).await?;
    sidestep::spawn(move || steps::write(&sums)).await?
}

fn main() -> io::Result<()> {
    let folder = steps::folder();
    let mut ev = EventLoop::new();
    let heartbeat = Heartbeat::start(&ev);
    let files = ev.run_until(sums(folder.clone()))?;
    let beside = (files, heartbeat.stop());
    let on_the_loop = steps::on_the_loop(&ev, &folder)?;
    steps::compare("futures", beside, on_the_loop)
}
