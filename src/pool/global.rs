//! The pool that the whole process shares, one after another: a shutdown of the global pool and a
//! fork put it out of use, and the next use makes a new one.
//!
//! - **P4** What the word of [`Single`] points to, in use or retired, is an [`Installed`] that is
//!   never freed: the function that hands its pool out promises `'static`. So each shutdown of a
//!   global pool, and each fork that is followed by a use, leaves the state of one pool behind. The
//!   next one points to it, so that a tool that looks for leaks in a program finds none here.
//!
//! A use of the global pool is one load of that word. Where no pool is in use, each thread that
//! wants one makes it without a thread, and the first to install its pool wins; the others drop
//! theirs, which nobody has seen, and look again. The winner's pool has the settings of the pool
//! before, which cannot change but for the limit; in a forked child these are read without a lock.
//! So there is never more than one in use, and a pool that has been retired is never in use again.
//! A thread that looked before the shutdown may still call the old pool, which refuses it.

use std::io;
use std::sync::Arc;

use crate::pool::config::Config;
use crate::pool::inner::Inner;
use crate::pool::{Pool, PoolBuilder};
use crate::sys::fork::{self, Single};

/// A global pool, and what was there before it.
struct Installed {
    pool: Pool,
    /// Reachable from here, and never read.
    _before: Single,
}

/// The global pool, built with the defaults and the environment on first use.
///
/// This call must return a pool whatever happens: a pool that the environment or too many forks
/// make impossible refuses every task with the reason, one whose first thread the system refuses
/// tries again when it is used.
#[inline]
pub(super) fn get() -> &'static Pool {
    in_use(Single::now()).unwrap_or_else(renew)
}

#[inline]
fn in_use(single: Single) -> Option<&'static Pool> {
    let installed = single.in_use()?.cast::<Installed>();
    // SAFETY: P4.
    Some(unsafe { &(*installed).pool })
}

/// The pool that was in use last.
fn last(single: Single) -> Option<&'static Pool> {
    let installed = single.last()?.cast::<Installed>();
    // SAFETY: P4.
    Some(unsafe { &(*installed).pool })
}

/// Installs `pool` in the place of what was seen. Returns the pool if that is not there any more.
fn install_after(seen: Single, pool: Pool) -> Result<&'static Pool, Pool> {
    let installed = Box::into_raw(Box::new(Installed { pool, _before: seen }));
    if seen.replace(installed.cast()) {
        // SAFETY: P4: from now on it is never freed.
        return Ok(unsafe { &(*installed).pool });
    }
    // SAFETY: P4: it has not been installed, so the box is this function's alone.
    Err(unsafe { Box::from_raw(installed) }.pool)
}

/// Makes a pool and installs it, unless another thread is faster.
#[cold]
fn renew() -> &'static Pool {
    loop {
        let seen = Single::now();
        if let Some(pool) = in_use(seen) {
            return pool;
        }
        let made = make(last(seen));
        // A pool that was not installed has no thread and no task: its drop does nothing.
        if let Ok(pool) = install_after(seen, made) {
            begin(&pool.inner);
            return pool;
        }
    }
}

/// Starts what a pool starts with.
fn begin(inner: &Arc<Inner>) {
    if !inner.config.is_impossible {
        // The backoff remembers a failure, and every task resolves with it.
        let _ = inner.start_first();
        #[cfg(feature = "metrics")]
        inner.begin_export();
    }
}

/// A pool without a thread, with the settings of the pool before.
fn make(before: Option<&Pool>) -> Pool {
    let before = before.map(|pool| &*pool.inner).filter(|inner| !inner.config.is_impossible);
    let config = || {
        fork::check()?;
        match before {
            Some(inner) => Ok(inner.config.clone()),
            None => PoolBuilder::new().read_environment()?.check(),
        }
    };
    match config() {
        Ok(config) => {
            let inner = Inner::new(config);
            if let Some(before) = before {
                inner.threads.set_max(before.threads.max());
            }
            Pool::from_shared(inner)
        }
        Err(error) => impossible(error),
    }
}

/// A pool whose tasks all resolve with `error`.
fn impossible(error: io::Error) -> Pool {
    match PoolBuilder::new().check() {
        Ok(config) => {
            let inner = Inner::new(Config { is_impossible: true, ..config });
            inner.threads.backoff().begin_for_ever(error);
            Pool::from_shared(inner)
        }
        Err(_) => unreachable!("the defaults are possible"),
    }
}

/// Builds a pool with the settings of `builder` and makes it the global one.
pub(super) fn install(builder: PoolBuilder) -> io::Result<&'static Pool> {
    let there = || {
        io::Error::new(
            io::ErrorKind::AlreadyExists,
            "the global pool exists already: build it before its first use, or shut it down before",
        )
    };
    if Single::now().in_use().is_some() {
        return Err(there());
    }
    let mut pool = builder.read_environment()?.build()?;
    loop {
        let seen = Single::now();
        if seen.in_use().is_some() {
            return Err(there());
        }
        match install_after(seen, pool) {
            Ok(pool) => return Ok(pool),
            Err(again) => pool = again,
        }
    }
}

/// `pool` is being shut down: if it is the global one, the next use makes another.
pub(super) fn retire(pool: &Pool) {
    let seen = Single::now();
    if in_use(seen).is_some_and(|global| Arc::ptr_eq(&global.inner, &pool.inner)) {
        seen.retire();
    }
}
