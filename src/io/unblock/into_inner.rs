//! The error that gives an `Unblock` back.

use std::fmt;
use std::io;

use super::handle::Unblock;

/// Why [`Unblock::into_inner`] could not give the value, and the [`Unblock`], to try again.
pub struct IntoInnerError<T: Send + 'static> {
    error: io::Error,
    unblock: Unblock<T>,
}

impl<T: Send + 'static> IntoInnerError<T> {
    pub(super) fn new(error: io::Error, unblock: Unblock<T>) -> Self {
        IntoInnerError { error, unblock }
    }

    /// What went wrong.
    #[must_use]
    pub fn error(&self) -> &io::Error {
        &self.error
    }

    /// The handle, with everything that it buffers.
    #[must_use]
    pub fn into_unblock(self) -> Unblock<T> {
        self.unblock
    }
}

impl<T: Send + 'static> fmt::Debug for IntoInnerError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntoInnerError").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<T: Send + 'static> fmt::Display for IntoInnerError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T: Send + 'static> std::error::Error for IntoInnerError<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl<T: Send + 'static> From<IntoInnerError<T>> for io::Error {
    fn from(error: IntoInnerError<T>) -> Self {
        error.error
    }
}
