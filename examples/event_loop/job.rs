//! The job: checksums of three files, with a timer that ticks meanwhile and messages from the
//! threads that read.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs, io,
    path::Path,
    rc::Rc,
    sync::mpsc::{Receiver, Sender, channel},
    time::Duration,
};

use sha2::{Digest as _, Sha256};
use sidestep::event_loop::Handle;

const FILES: [&str; 3] = ["Cargo.toml", "README.md", "src/lib.rs"];
const TICKS: usize = 3;
const TICK: Duration = Duration::from_millis(5);

/// What came of it.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) sums: BTreeMap<&'static str, String>,
    pub(crate) begun: usize,
    pub(crate) ticks: usize,
}

/// The job on its way. Its callbacks share what they know without a lock: they all run on one
/// thread.
pub(crate) struct Job {
    outcome: Rc<RefCell<Outcome>>,
    /// Closures from other threads cannot hold an `Rc`, so they leave a message.
    begun: Receiver<&'static str>,
}

impl Job {
    pub(crate) fn start(ev: &Handle) -> Self {
        let outcome = Rc::<RefCell<Outcome>>::default();
        let (send, begun) = channel();
        for file in FILES {
            checksum(ev, file, send.clone(), Rc::clone(&outcome));
        }
        tick(ev, TICKS, Rc::clone(&outcome));
        Job { outcome, begun }
    }

    /// What came of it, once the loop is done.
    pub(crate) fn outcome(self) -> anyhow::Result<Outcome> {
        let mut outcome = self.outcome.take();
        outcome.begun = self.begun.try_iter().count();
        let is_complete =
            (outcome.sums.len(), outcome.begun, outcome.ticks) == (FILES.len(), FILES.len(), TICKS);
        anyhow::ensure!(is_complete, "something is missing: {outcome:?}");
        Ok(outcome)
    }
}

fn checksum(ev: &Handle, file: &'static str, begun: Sender<&'static str>, outcome: Rc<RefCell<Outcome>>) {
    let remote = ev.remote();
    let action = move || {
        // On a thread of the pool: the closure goes back to the loop's.
        let _ = remote.post(move |_| {
            let _ = begun.send(file);
        });
        sum(file)
    };
    ev.offload(action, move |_, sum| match sum {
        Ok(Ok(sum)) => drop(outcome.borrow_mut().sums.insert(file, sum)),
        Ok(Err(error)) => eprintln!("cannot read {file}: {error}"),
        Err(error) => eprintln!("{error}"),
    });
}

/// Blocks, as every read of a file does.
fn sum(file: &str) -> io::Result<String> {
    let bytes = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(file))?;
    Ok(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

fn tick(ev: &Handle, left: usize, outcome: Rc<RefCell<Outcome>>) {
    ev.after(TICK, move |ev| {
        outcome.borrow_mut().ticks += 1;
        if left > 1 {
            tick(ev, left - 1, outcome);
        }
    });
}
