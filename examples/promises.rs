//! Three steps that block, one after another, as a chain of promises.
//!
//! The steps stand one below the other, and an error of any of them passes by the rest to one
//! place. `callbacks` and `futures` do the same job: put the three side by side.
//!
//! ```text
//! cargo run --release --example promises -- [FOLDER]
//! ```

mod steps;

use std::{io, path::PathBuf};

use sidestep::{EventLoop, LocalPromise, event_loop::Handle};
use steps::Heartbeat;

/// The job: a promise of the number of files.
fn sums(ev: &Handle, folder: PathBuf) -> LocalPromise<usize, io::Error> {
    let (digesting, writing) = (ev.clone(), ev.clone());
    ev.promise(move || steps::read(&folder))
        .then(move |pages| digesting.promise(move || Ok(steps::digest(&pages))))
        .then(move |sums| writing.promise(move || steps::write(&sums)))
}

fn main() -> io::Result<()> {
    let folder = steps::folder();
    let mut ev = EventLoop::new();
    let heartbeat = Heartbeat::start(&ev);
    let job = sums(&ev, folder.clone()).map(|files| (files, heartbeat.stop()));
    let beside = ev.run_until(job)?;
    let on_the_loop = steps::on_the_loop(&ev, &folder)?;
    steps::compare("promises", beside, on_the_loop)
}
