//! What must be whole in a forked child: no fork happens while it is half done.
//!
//! The child of a fork has only the thread that forked. A value that another thread was making at
//! that moment stays half made there, and a thread of the child that asks for it waits for ever. So
//! a thread that makes such a value is counted, and a fork waits until there is none. A thread of
//! the library counts itself in the same way as it begins and as it ends: `std` holds a lock of the
//! process then, which every thread of the child will need.
//!
//! A maker counts itself and then looks whether a fork is under way; a fork shows itself and then
//! looks whether there is a maker. Of the two one sees the other: the maker steps back, or the fork
//! waits. What is made here does not fork.
//!
//! ORDERING: `makers` and `forks` are `SeqCst`: each side writes its own and then reads the other.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::yield_now;

use super::fork;

/// How many threads make something.
static MAKERS: AtomicUsize = AtomicUsize::new(0);
/// How many forks are under way.
static FORKS: AtomicUsize = AtomicUsize::new(0);

/// The value of `once`, which `make` makes if there is none yet.
pub(crate) fn get_or_make<T>(once: &OnceLock<T>, make: impl FnOnce() -> T) -> &T {
    match once.get() {
        Some(value) => value,
        None => without_forks(|| once.get_or_init(make)),
    }
}

/// Runs `make`, in which something is made once. A fork waits until it has returned.
pub(crate) fn without_forks<R>(make: impl FnOnce() -> R) -> R {
    fork::watch();
    let _maker = Maker::enter();
    make()
}

/// A thread that does something which a fork must not interrupt.
#[derive(Debug)]
pub(crate) struct Maker(());

impl Maker {
    pub(crate) fn enter() -> Self {
        loop {
            MAKERS.fetch_add(1, Ordering::SeqCst);
            if FORKS.load(Ordering::SeqCst) == 0 {
                return Maker(());
            }
            drop(Maker(()));
            yield_now();
        }
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        MAKERS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A fork is about to happen on this thread.
#[cfg(all(unix, not(miri)))]
pub(super) fn before_fork() {
    FORKS.fetch_add(1, Ordering::SeqCst);
    while MAKERS.load(Ordering::SeqCst) > 0 {
        yield_now();
    }
}

/// It has happened, and this is the parent.
#[cfg(all(unix, not(miri)))]
pub(super) fn in_parent() {
    FORKS.fetch_sub(1, Ordering::SeqCst);
}

/// It has happened, and this is the child, whose only thread makes nothing.
#[cfg(all(unix, not(miri)))]
pub(super) fn in_child() {
    FORKS.store(0, Ordering::SeqCst);
    MAKERS.store(0, Ordering::SeqCst);
}
