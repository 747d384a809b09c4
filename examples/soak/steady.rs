//! Threads that the soak makes itself: none begins or ends while it forks. `std` holds a lock of
//! the process as a thread begins and as it ends; a child that was forked meanwhile could make no
//! thread. The library sees to that for the threads that it makes.

use std::{
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering},
    thread::yield_now,
};

/// Threads that begin or end.
static CHANGES: AtomicUsize = AtomicUsize::new(0);
static FORKS: AtomicUsize = AtomicUsize::new(0);

/// A thread that begins or ends.
pub(crate) struct Change(());

impl Change {
    /// Waits for forks that are under way.
    pub(crate) fn new() -> Self {
        loop {
            CHANGES.fetch_add(1, Ordering::SeqCst);
            if FORKS.load(Ordering::SeqCst) == 0 {
                return Change(());
            }
            drop(Change(()));
            yield_now();
        }
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        CHANGES.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What a thread does that its maker has begun with a change.
pub(crate) fn live(begins: Change, f: impl FnOnce()) {
    std::thread_local! { static ENDS: Cell<Option<Change>> = const { Cell::new(None) } }
    drop(begins);
    f();
    let ends = Change::new();
    let _ = ENDS.try_with(|cell| cell.set(Some(ends)));
}

/// `fork`.
#[cfg(unix)]
pub(crate) fn fork() -> libc::pid_t {
    FORKS.fetch_add(1, Ordering::SeqCst);
    while CHANGES.load(Ordering::SeqCst) > 0 {
        yield_now();
    }
    // SAFETY: the child runs code that is made for it, takes no lock of this program, and leaves by
    // `_exit`.
    let id = unsafe { libc::fork() };
    if id == 0 {
        FORKS.store(0, Ordering::SeqCst);
        CHANGES.store(0, Ordering::SeqCst);
    } else {
        FORKS.fetch_sub(1, Ordering::SeqCst);
    }
    id
}
