//! Hears Ctrl-C on a thread of its own, because inline hashing leaves the event loop no time to
//! hear it.

use std::{future, io, process, thread, time::Duration};

use tokio::{runtime, sync::watch, time};

/// How long the program may take to stop in good order. Whoever is stuck by then, in a read from a
/// dead network share or in a write to a pipe that nobody empties, goes down with the process.
const GRACE: Duration = Duration::from_millis(80);

/// Whether Ctrl-C has been pressed.
#[derive(Clone)]
pub(crate) struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    pub(crate) fn is_pressed(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once Ctrl-C has been pressed.
    pub(crate) async fn pressed(&mut self) {
        if self.0.wait_for(|pressed| *pressed).await.is_err() {
            // The listener is gone, so there is nothing left to hear.
            future::pending::<()>().await;
        }
    }
}

#[cfg(unix)]
fn ctrl_c() -> io::Result<tokio::signal::unix::Signal> {
    tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())
}

#[cfg(windows)]
use tokio::signal::windows::ctrl_c;

/// Starts to listen: when this returns, Ctrl-C no longer ends the process by itself.
pub(crate) fn listen() -> io::Result<Interrupt> {
    let ears = runtime::Builder::new_current_thread().enable_all().build()?;
    let mut presses = {
        let _context = ears.enter();
        ctrl_c()?
    };
    let (tell, pressed) = watch::channel(false);
    let listener = async move {
        if presses.recv().await.is_some() {
            tell.send_replace(true);
            time::sleep(GRACE).await;
            process::exit(i32::from(crate::INTERRUPTED));
        }
    };
    thread::Builder::new().name("ctrl-c".into()).spawn(move || ears.block_on(listener))?;
    Ok(Interrupt(pressed))
}
