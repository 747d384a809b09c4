//! Repeating a blocking call that a signal has interrupted, or that has found its descriptor in
//! non-blocking mode.

use std::io;

use crate::sys::descriptor::{Direction, Fd, wait_until_ready, without_sigpipe};

/// Repeats a call as long as a signal interrupts it.
///
/// # Errors
///
/// That of the call. `WouldBlock` becomes an error of another kind: a blocking value does not fail
/// that way, and the asynchronous traits do not allow it.
pub(crate) fn retry<R>(call: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    retry_when_ready(None, Direction::Read, call)
}

/// Repeats a call as long as a signal interrupts it, or it would have to wait for `fd`: then this
/// thread waits. A write does not raise `SIGPIPE`.
///
/// # Errors
///
/// As for [`retry`].
pub(crate) fn retry_when_ready<R>(
    fd: Option<Fd>,
    direction: Direction,
    mut call: impl FnMut() -> io::Result<R>,
) -> io::Result<R> {
    loop {
        let result = match fd {
            Some(_) if direction == Direction::Write => without_sigpipe(&mut call),
            _ => call(),
        };
        match result {
            Ok(value) => return Ok(value),
            Err(error) => prepare(error, fd, direction)?,
        }
    }
}

/// After `error` the call can be repeated, or has failed with the one that this returns.
#[inline(never)]
fn prepare(error: io::Error, fd: Option<Fd>, direction: Direction) -> io::Result<()> {
    match (error.kind(), fd) {
        (io::ErrorKind::Interrupted, _) => Ok(()),
        (io::ErrorKind::WouldBlock, None) => Err(not_blocking(&error)),
        (io::ErrorKind::WouldBlock, Some(fd)) => {
            wait_until_ready(fd, direction).map_err(|_| not_blocking(&error))
        }
        _ => Err(error),
    }
}

fn not_blocking(error: &io::Error) -> io::Error {
    io::Error::other(format!("the value is in non-blocking mode: {error}"))
}
