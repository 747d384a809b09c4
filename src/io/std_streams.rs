//! The standard output and error of the process.

use std::io;

use super::delegate::delegate_write;
use super::unblock::{Setup, Unblock};

/// The standard output of the process, asynchronous: see [`stdout`].
#[derive(Debug)]
pub struct Stdout(Unblock<io::Stdout>);

/// The standard error of the process, asynchronous: see [`stderr`].
#[derive(Debug)]
pub struct Stderr(Unblock<io::Stderr>);

/// The standard output of the process, on the global pool.
///
/// Each handle has a buffer of its own before that of `std`. What one handle is given comes out in order; between handles, and
/// `println!`, there is an order only where the first is flushed before the second is used.
///
/// What was accepted is written and flushed at once, in the background, so a
/// [`shutdown`](crate::Pool::shutdown) of the [global pool](crate::Pool::global) that is waited for flushes it too. Nothing
/// else does at the end of the process: no hook runs at exit. So end `main` with one of
/// these, or with a `flush` of the handle.
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
#[must_use]
pub fn stdout() -> Stdout {
    Stdout(Unblock::set_up(io::stdout(), None, set_up()))
}

/// The standard error of the process, on the global pool. As [`stdout`] in everything else.
#[must_use]
pub fn stderr() -> Stderr {
    Stderr(Unblock::set_up(io::stderr(), None, set_up()))
}

fn set_up() -> Setup {
    Setup { drops_in_place: true, flushes: true, ..Setup::default() }
}

delegate_write!(Stdout, 0);
delegate_write!(Stderr, 0);

#[cfg(all(test, not(sidestep_loom)))]
mod tests {
    use super::*;
    use crate::block_on;
    use futures_util::AsyncWriteExt;
    use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
    use std::time::Duration;

    /// Says how much it has been given whenever it is flushed, and waits there.
    struct Out {
        given: usize,
        flushing: Sender<usize>,
        go: Receiver<()>,
    }

    impl io::Write for Out {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.given += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            self.flushing.send(self.given).map_err(io::Error::other)?;
            self.go.recv().map_err(io::Error::other)
        }
    }

    #[test]
    fn what_is_accepted_during_a_flush_is_flushed_without_being_asked_to() {
        let ((flushing, flushes), (go, gate)) = (channel(), channel());
        let value = Out { given: 0, flushing, go: gate };
        let mut out = Unblock::set_up(value, None, set_up());
        let patience = Duration::from_secs(60);
        block_on(out.write_all(b"one")).unwrap();
        assert_eq!(flushes.recv_timeout(patience), Ok(3));
        block_on(out.write_all(b"two")).unwrap();
        go.send(()).unwrap();
        assert_eq!(flushes.recv_timeout(patience), Ok(6));
        go.send(()).unwrap();
        assert_eq!(flushes.recv_timeout(Duration::from_millis(20)), Err(RecvTimeoutError::Timeout));
    }
}
