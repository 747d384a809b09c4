//! Repeating a blocking call that a signal has interrupted.

use std::io;

/// Repeats a call as long as a signal interrupts it.
///
/// # Errors
///
/// That of the call. `WouldBlock` becomes an error of another kind: a blocking value does not fail
/// that way, and the asynchronous traits do not allow it.
pub(crate) fn retry<R>(mut call: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::Error::other(format!("the value is in non-blocking mode: {error}")));
            }
            result => return result,
        }
    }
}
