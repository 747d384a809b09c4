//! The pool that the whole process shares.

use std::io;
use std::sync::OnceLock;

use crate::pool::inner::Inner;
use crate::pool::{Pool, PoolBuilder};
use crate::sys::fork;

static GLOBAL: OnceLock<Pool> = OnceLock::new();

/// The global pool, built with the defaults and the environment on first use.
///
/// It must come into being whatever happens: one that the environment or too many forks make
/// impossible refuses every task with the reason, one whose first thread the system refuses tries
/// again when it is used.
pub(super) fn get() -> &'static Pool {
    let config = || {
        fork::check()?;
        PoolBuilder::new().read_environment()?.check()
    };
    GLOBAL.get_or_init(|| match config() {
        Ok(config) => {
            let inner = Inner::new(config);
            // A failure is remembered by the cool-down and told to every task.
            let _ = inner.start_first();
            Pool::from_shared(inner)
        }
        Err(error) => impossible(error),
    })
}

/// A pool that gives `error` to every task.
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

/// Makes a pool of `builder` the global one.
pub(super) fn install(builder: PoolBuilder) -> io::Result<&'static Pool> {
    let there = || io::Error::new(io::ErrorKind::AlreadyExists, "there is a global pool already");
    if GLOBAL.get().is_some() {
        return Err(there());
    }
    let pool = builder.read_environment()?.build()?;
    GLOBAL.set(pool).map_err(|_| there())?;
    Ok(get())
}
