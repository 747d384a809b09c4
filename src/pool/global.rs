//! The pool that the whole process shares.

use std::io;
use std::sync::OnceLock;

use crate::pool::inner::Inner;
use crate::pool::{Pool, PoolBuilder};
use crate::sys::fork;

static GLOBAL: OnceLock<Pool> = OnceLock::new();

/// The global pool, built with the defaults and the environment on first use.
///
/// This call must return a pool whatever happens: a pool that the environment or too many forks
/// make impossible refuses every task with the reason, one whose first thread the system refuses
/// tries again when it is used.
pub(super) fn get() -> &'static Pool {
    let config = || {
        fork::check()?;
        PoolBuilder::new().read_environment()?.check()
    };
    GLOBAL.get_or_init(|| match config() {
        Ok(config) => {
            let inner = Inner::new(config);
            // The backoff remembers a failure, and every task resolves with it.
            let _ = inner.start_first();
            Pool::from_shared(inner)
        }
        Err(error) => impossible(error),
    })
}

/// A pool whose tasks all resolve with `error`.
fn impossible(error: io::Error) -> Pool {
    match PoolBuilder::new().check() {
        Ok(config) => {
            let inner = Inner::new(config);
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
            "the global pool exists already: build it before its first use, and once",
        )
    };
    if GLOBAL.get().is_some() {
        return Err(there());
    }
    let pool = builder.read_environment()?.build()?;
    GLOBAL.set(pool).map_err(|_| there())?;
    Ok(get())
}
