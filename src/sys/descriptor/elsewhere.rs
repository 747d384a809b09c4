//! Systems, and model checkers, where no descriptor is waited for: every call of a value may wait.

use std::io::{self, IoSlice};

use super::{Attempt, DescriptorOf, Direction, Fd};

/// There is none here.
#[derive(Debug)]
pub(crate) enum Endpoint {}

impl Endpoint {
    pub(crate) fn of<T>(_: Fd, _: DescriptorOf<T>) -> Option<Self> {
        None
    }

    pub(crate) fn read(&mut self, _: Fd, _: &mut [u8]) -> Attempt {
        match *self {}
    }

    pub(crate) fn write(&mut self, _: Fd, _: &[IoSlice<'_>]) -> Attempt {
        match *self {}
    }

    pub(crate) fn closes_at_once(&self, _: Fd) -> bool {
        match *self {}
    }

    pub(crate) fn end_output(&self, _: Fd) {
        match *self {}
    }
}

/// Whether the standard input is there to be read, as an ordinary read would find it: `None` if it
/// is nothing that is waited for.
pub(crate) fn of_standard_input() -> Option<Attempt> {
    None
}

/// There is nothing to wait for.
///
/// # Errors
///
/// Always.
pub(crate) fn wait_until_ready(_: Fd, _: Direction) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Makes a write.
///
/// # Errors
///
/// Those of the write.
pub(crate) fn without_sigpipe<R>(write: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
    write()
}
