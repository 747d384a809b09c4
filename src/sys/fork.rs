//! Which process this is: numbers that change in the child of a `fork`.
//!
//! A fork copies the memory but only the thread that called it, so in the child every lock may be
//! held for ever and no pool has a thread. What belongs to a pool remembers the generation it was
//! made in and asks it, before it touches a lock or a queue, whether that is past.
//!
//! | type | remembered by | what it tells |
//! |---|---|---|
//! | [`Generation`] | everything but tasks | whether it is this one |
//! | [`ShortGeneration`] | tasks, in the 16 bits that their state word has for it | the same in the first process and behind as many forks as [`MOST_FORKS`]; behind more of them, that all are past |
//!
//! So no task is ever taken for one of this process that is not. Behind too many forks that goes
//! for this process's own tasks too: their handles would not wait for them, and so [`check`]
//! refuses every pool there.

use std::io;
use std::ptr::without_provenance_mut;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// How many forks there may be between a process with pools and the first one.
const MOST_FORKS: u64 = 0xFFFE;

/// How many forks there are between this process and the first one, which is where they began to be
/// watched.
static FORKS: AtomicU64 = AtomicU64::new(0);
/// The short generation of what is made now.
static STAMP: AtomicU64 = AtomicU64::new(0);
/// The short generation that is not past.
static PRESENT: AtomicU64 = AtomicU64::new(0);

/// The one thing of its kind that this process has: see [`Single`].
static SINGLE: AtomicPtr<()> = AtomicPtr::new(without_provenance_mut(RETIRED));
/// The bit of an address that marks what is not in use any more.
const RETIRED: usize = 1;

/// A place for the address of the one thing that the whole process has; a fork puts it out of use.
///
/// One word says both which thing was there last and whether it is in use. So of all that change it
/// one is first, and what the others have seen is not there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Single(*mut ());

impl Single {
    /// What is there now.
    #[inline]
    pub(crate) fn now() -> Self {
        // ORDERING: Acquire pairs with the Release in `replace`: the thing is whole.
        Single(SINGLE.load(Ordering::Acquire))
    }

    /// The address of the thing, if it is in use.
    #[inline]
    pub(crate) fn in_use(self) -> Option<*const ()> {
        (self.0.addr() & RETIRED == 0).then_some(self.0.cast_const())
    }

    /// The address of the thing that was in use last, or is; `None` if there was none.
    pub(crate) fn last(self) -> Option<*const ()> {
        let last = self.0.map_addr(|address| address & !RETIRED);
        (!last.is_null()).then_some(last.cast_const())
    }

    /// Puts `new`, whose address is even, in the place of what was seen. False if that is not there
    /// any more.
    pub(crate) fn replace(self, new: *mut ()) -> bool {
        // ORDERING: Release pairs with the Acquire in `now`.
        SINGLE.compare_exchange(self.0, new, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Puts what was seen out of use, unless that has happened.
    pub(crate) fn retire(self) {
        self.replace(self.0.map_addr(|address| address | RETIRED));
    }
}

/// A generation of processes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Generation(u64);

impl Generation {
    /// That of this process.
    #[inline]
    pub(crate) fn current() -> Self {
        // ORDERING: Relaxed, here and below: it changes only where there is one thread, before that
        // runs anything else.
        Generation(FORKS.load(Ordering::Relaxed))
    }

    /// Whether this process is a forked child of the one that it was the current one in.
    #[inline]
    pub(crate) fn is_past(self) -> bool {
        self.0 != FORKS.load(Ordering::Relaxed)
    }
}

/// A generation of processes as far as 16 bits can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShortGeneration(u16);

impl ShortGeneration {
    /// That of what is made in this process.
    #[inline]
    pub(crate) fn current() -> Self {
        ShortGeneration((STAMP.load(Ordering::Relaxed) & 0xFFFF) as u16)
    }

    /// Whether this process is a forked child of the one that it was the current one in, or may be.
    #[inline]
    pub(crate) fn is_past(self) -> bool {
        u64::from(self.0) != PRESENT.load(Ordering::Relaxed)
    }

    pub(crate) const fn from_bits(bits: u16) -> Self {
        ShortGeneration(bits)
    }

    pub(crate) fn to_bits(self) -> u16 {
        self.0
    }
}

/// Behind `forks` forks: the stamp of what is made there, and the only stamp that is not past. Both
/// are the number of forks, as long as that is no more than [`MOST_FORKS`]; then the one stands
/// still, and the other is one that nothing ever has.
#[cfg_attr(
    not(all(unix, not(miri))),
    cfg_attr(not(test), expect(dead_code, reason = "the system has no forks"))
)]
fn short(forks: u64) -> (u64, u64) {
    (forks.min(MOST_FORKS), forks.min(MOST_FORKS + 1))
}

/// Whether this process can have pools.
///
/// # Errors
///
/// `Unsupported` if it is behind too many forks.
pub(crate) fn check() -> io::Result<()> {
    let forks = FORKS.load(Ordering::Relaxed);
    if forks <= MOST_FORKS {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        format!(
            "nested forks ({forks}) are more than the {MOST_FORKS} that a pool can tell apart: \
             fork from an earlier process, or replace this one by `exec`"
        ),
    ))
}

/// Makes sure that a fork is noticed. On systems without `fork`, and under Miri, there is nothing
/// to notice.
#[cfg(all(unix, not(miri)))]
pub(crate) fn watch() {
    use std::sync::atomic::AtomicBool;

    static WATCHED: AtomicBool = AtomicBool::new(false);

    extern "C" fn before() {
        super::attributes::before_fork();
        super::first_use::before_fork();
    }

    extern "C" fn parent() {
        super::first_use::in_parent();
    }

    extern "C" fn child() {
        let forks = FORKS.fetch_add(1, Ordering::Relaxed) + 1;
        let (stamp, present) = short(forks);
        STAMP.store(stamp, Ordering::Relaxed);
        PRESENT.store(present, Ordering::Relaxed);
        // What it points to is the parent's, and was whole before the fork.
        let single = SINGLE.load(Ordering::Relaxed);
        SINGLE.store(single.map_addr(|address| address | RETIRED), Ordering::Relaxed);
        super::attributes::in_child();
        #[cfg(feature = "fs")]
        super::exit::in_child();
        super::first_use::in_child();
    }

    if WATCHED.load(Ordering::Relaxed) {
        return;
    }
    // Threads that come first at the same time each register them: then a fork counts more than
    // once. A lock could be held for ever in a child.
    // SAFETY: `child` only changes atomics, variables of its thread without destructors, and the
    // signals that its thread blocks, which is safe in the child of a fork of many threads; the
    // others run in the parent. A failure (out of memory) leaves forks unnoticed, as they would be
    // without this call.
    unsafe { libc::pthread_atfork(Some(before), Some(parent), Some(child)) };
    WATCHED.store(true, Ordering::Relaxed);
}

/// Makes sure that a fork is noticed. On systems without `fork`, and under Miri, there is nothing
/// to notice.
#[cfg(not(all(unix, not(miri))))]
pub(crate) fn watch() {}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
