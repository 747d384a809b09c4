//! Ends the process when nothing happens any more, and says what was outstanding.

use std::{
    io::{self, Write as _},
    process,
    sync::{
        Arc, Weak,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    ledger::{self, KINDS},
    load::Scene,
    pools, process as own,
};

const PERIOD: Duration = Duration::from_millis(100);
const STANDSTILL: i32 = 2;

pub(crate) struct Watchdog {
    stop: Sender<()>,
    thread: JoinHandle<Duration>,
}

impl Watchdog {
    /// Nothing may happen for as long as `patience`.
    pub(crate) fn start(scene: &Arc<Scene>, patience: Duration) -> io::Result<Watchdog> {
        let (stop, stopped) = channel();
        let scene = Arc::downgrade(scene);
        let thread = thread::Builder::new().name("watchdog".into()).spawn(move || {
            let (mut last, mut longest) = ((ledger::pulse(), Instant::now()), Duration::ZERO);
            while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                let pulse = ledger::pulse();
                if pulse != last.0 {
                    last = (pulse, Instant::now());
                    continue;
                }
                longest = longest.max(last.1.elapsed());
                if longest > patience {
                    let _ = report(&scene, longest);
                    process::exit(STANDSTILL);
                }
            }
            longest
        })?;
        Ok(Watchdog { stop, thread })
    }

    /// The longest time in which nothing happened.
    pub(crate) fn stop(self) -> Duration {
        drop(self.stop);
        self.thread.join().unwrap_or_default()
    }
}

fn report(scene: &Weak<Scene>, time: Duration) -> io::Result<()> {
    let mut out = io::stderr().lock();
    writeln!(out, "soak: nothing has happened for {time:.1?}")?;
    for kind in KINDS {
        let counts = ledger::of(kind);
        if counts.open() > 0 {
            writeln!(out, "{kind:?}: {} open: {}", counts.open(), counts.missing())?;
        }
    }
    for fault in ledger::faults() {
        writeln!(out, "{fault}")?;
    }
    if let Some(scene) = scene.upgrade() {
        for site in scene.sites() {
            writeln!(out, "{}: {:?}", site.name, site.pool.metrics())?;
            for stuck in site.pool.long_running(Duration::ZERO) {
                writeln!(out, "    {stuck:?}")?;
            }
        }
    }
    for pool in pools::describe() {
        writeln!(out, "{pool}")?;
    }
    own::threads().into_iter().try_for_each(|thread| writeln!(out, "{thread}"))
}
