//! How a call of this module gets to the global pool.

use std::future::Future;
use std::io;
use std::panic::Location;
use std::path::{Path, PathBuf};

use crate::pool::Pool;

/// One trip to the global pool, which begins with the first poll. The pool reports the caller as
/// the place where the task was spawned.
#[track_caller]
pub(super) fn offload<T, F>(f: F) -> impl Future<Output = io::Result<T>> + Send + 'static
where
    F: FnOnce() -> io::Result<T> + Send + 'static,
    T: Send + 'static,
{
    let site = Location::caller();
    async move { Pool::global().spawn_at(f, site).await? }
}

/// [`offload`] for `f` of a path. The copy is made before the future, which would otherwise be
/// bound to the caller's path: neither `'static` nor always `Send`.
#[track_caller]
pub(super) fn with_path<T, F>(
    path: impl AsRef<Path>,
    f: F,
) -> impl Future<Output = io::Result<T>> + Send + 'static
where
    F: FnOnce(PathBuf) -> io::Result<T> + Send + 'static,
    T: Send + 'static,
{
    let path = path.as_ref().to_owned();
    offload(move || f(path))
}

/// [`with_path`] for `f` of two paths.
#[track_caller]
pub(super) fn with_paths<T, F>(
    first: impl AsRef<Path>,
    second: impl AsRef<Path>,
    f: F,
) -> impl Future<Output = io::Result<T>> + Send + 'static
where
    F: FnOnce(PathBuf, PathBuf) -> io::Result<T> + Send + 'static,
    T: Send + 'static,
{
    let second = second.as_ref().to_owned();
    with_path(first, move |first| f(first, second))
}
