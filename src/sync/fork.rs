//! Which process this is: a number that changes in the child of a `fork`.
//!
//! A fork copies the memory but only the thread that called it, so in the child every lock may be held for ever
//! and no pool has a thread. What belongs to a pool remembers the generation it was made in and looks here before
//! it touches a lock or a queue.

use super::atomic::{Ordering, StaticU64};

static GENERATION: StaticU64 = StaticU64::new(0);

/// The generation, in the 16 bits that a task's state word keeps of it.
#[inline]
pub(crate) fn generation() -> u16 {
    // ORDERING: Relaxed, here and in `watch`: it changes only where there is one thread, before that runs anything else.
    (GENERATION.load(Ordering::Relaxed) & 0xFFFF) as u16
}

/// Makes sure that a fork is noticed. On systems without `fork` there is nothing to notice.
#[cfg(unix)]
pub(crate) fn watch() {
    static ONCE: std::sync::Once = std::sync::Once::new();

    extern "C" fn child() {
        GENERATION.fetch_add(1, Ordering::Relaxed);
    }

    ONCE.call_once(|| {
        // SAFETY: `child` only adds to an atomic, which is safe in the child of a fork of many threads. A failure
        // (out of memory) leaves forks unnoticed, as they would be without this call.
        unsafe { libc::pthread_atfork(None, None, Some(child)) };
    });
}

/// Makes sure that a fork is noticed. On systems without `fork` there is nothing to notice.
#[cfg(not(unix))]
pub(crate) fn watch() {}
