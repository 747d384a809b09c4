//! The standard output and error of the process.

use std::io;

use super::delegate::delegate_write;
use super::unblock::{Setup, Unblock};
use crate::pool::SpawnTarget;

/// The standard output of the process, asynchronous: see [`stdout`].
#[derive(Debug)]
pub struct Stdout(Unblock<io::Stdout>);

/// The standard error of the process, asynchronous: see [`stderr`].
#[derive(Debug)]
pub struct Stderr(Unblock<io::Stderr>);

/// The standard output of the process, on the global pool.
///
/// Each handle has a buffer of its own before that of `std`. What one handle writes comes out in
/// order; between handles, and `println!`, there is an order only where the first is flushed before
/// the second is used.
///
/// On Linux a pipe, a socket or a terminal that has no room is waited for without a thread of the
/// pool, also in non-blocking mode. Closing a handle flushes it; the handle can not be used any
/// more then, others can.
///
/// The standard streams share a lane of the pool with two threads in
/// [reserve](crate::LaneBuilder::reserve): they go on where closures hang on every thread.
///
/// What a handle has accepted is written and flushed at once, in the background. The end of `main`
/// and [`std::process::exit`] wait for that, for up to 5 seconds or the time of
/// [`set_exit_timeout`](crate::io::set_exit_timeout). Only a `flush` reports an error.
///
/// ```
/// use futures_util::AsyncWriteExt;
///
/// # sidestep::block_on(async {
/// let mut out = sidestep::io::stdout();
/// out.write_all(b"done\n").await?;
/// out.flush().await?;
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[inline]
#[must_use]
pub fn stdout() -> Stdout {
    Stdout(Unblock::set_up(io::stdout(), None, set_up()))
}

/// The standard error of the process, on the global pool. Order, buffering and flushing are those
/// of [`stdout`].
#[inline]
#[must_use]
pub fn stderr() -> Stderr {
    Stderr(Unblock::set_up(io::stderr(), None, set_up()))
}

impl Stdout {
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "other types have something to do")]
    fn after_close(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Stderr {
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "other types have something to do")]
    fn after_close(&self) -> io::Result<()> {
        Ok(())
    }
}

fn set_up() -> Setup {
    Setup { target: SpawnTarget::STREAMS, drops_in_place: true, flushes: true, ..Setup::default() }
}

delegate_write!(Stdout, 0);
delegate_write!(Stderr, 0);

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
