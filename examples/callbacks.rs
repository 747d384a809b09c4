//! Three steps that block, one after another, as callbacks.
//!
//! Each callback starts the next step, so the code goes inwards; each has its own error to deal
//! with. `promises` and `futures` do the same job: put the three side by side.
//!
//! ```text
//! cargo run --release --example callbacks -- [FOLDER]
//! ```

mod steps;

use std::{
    cell::RefCell,
    io,
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use sidestep::{EventLoop, event_loop::Handle};
use steps::Heartbeat;

/// The job: `done` is called once, with the number of files or the first error.
fn sums(ev: &Handle, folder: PathBuf, done: impl FnOnce(io::Result<usize>) + 'static) {
    ev.offload(
        move || steps::read(&folder),
        |ev, pages| match pages.map_err(io::Error::from).flatten() {
            Err(error) => done(Err(error)),
            Ok(pages) => {
                ev.offload(
                    move || steps::digest(&pages),
                    |ev, sums| match sums {
                        Err(error) => done(Err(error.into())),
                        Ok(sums) => {
                            ev.offload(
                                move || steps::write(&sums),
                                |_ev, written| done(written.map_err(io::Error::from).flatten()),
                            );
                        }
                    },
                );
            }
        },
    );
}

fn main() -> io::Result<()> {
    let folder = steps::folder();
    let mut ev = EventLoop::new();
    let beside = by_callbacks(&mut ev, &folder)?;
    let on_the_loop = steps::on_the_loop(&ev, &folder)?;
    steps::compare("callbacks", beside, on_the_loop)
}

/// Runs the loop until the job is done.
fn by_callbacks(ev: &mut EventLoop, folder: &Path) -> io::Result<(usize, Duration)> {
    let heartbeat = Heartbeat::start(ev);
    let outcome = Rc::new(RefCell::new(None));
    let place = Rc::clone(&outcome);
    sums(ev, folder.to_owned(), move |files| {
        let held_up = heartbeat.stop();
        place.replace(Some(files.map(|files| (files, held_up))));
    });
    ev.run();
    outcome.take().unwrap_or_else(|| Err(io::Error::other("the callback has not been called")))
}
