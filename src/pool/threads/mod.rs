//! The threads of a pool: how many there are and may be, and how the pool makes one more.
//!
//! | file | owns |
//! |---|---|
//! | `counts` | threads reserved, active, alive |
//! | `backoff` | the pause after the system has refused a thread |
//! | `start` | making a thread that has been reserved |
//! | `new_thread` | a reserved thread on its way to the spawn handler |
//! | `joins` | the threads that can be joined, helpers included |
//!
//! # Memory
//!
//! An allocator such as that of glibc has a heap for each of a few groups of threads, and gives
//! back only what lies above the last block that is in use there. So one small block that outlives
//! its thread keeps all that the thread's tasks have had and freed before: some 60 MiB for each
//! such heap, after a burst of tasks that read files. Therefore:
//!
//! - **A1** A surplus thread leaves nothing on the heap: what it allocates for the pool it frees
//!   itself, or the thread that joins it does.
//! - **A2** The monitor starts all surplus threads, so what belongs to their starts (names,
//!   handles, what `std` and the C library keep of them) is in one heap. Lists of threads have
//!   their room before there are threads: the thread that makes the pool or raises its limit makes
//!   it.
//! - **A3** The looks of the monitor allocate nothing (`growth::sample`, `sys::thread_stat`).
//! - **A4** The threads that stay are those that came first, and so have their blocks at the low
//!   end of their heaps: a thread that owns a deque lets the others leave first (`worker::park`).
//! - **A5** What a thread frees as it ends, the allocator keeps apart in small pieces; the thread
//!   that joins it makes the allocator put them together (`sync::own_thread`). The thread that
//!   leaves last is joined as well (`joins`).
//!
//! ORDERING: `max` is `SeqCst`, as the counts are: `Inner::set_max` writes `max` and then reads the
//! counts, a reservation writes the counts and then reads `max`. `blocking` pairs with itself;
//! against the queues the fences in `inner` order it.

mod backoff;
mod counts;
mod joins;
mod new_thread;
mod start;

pub use self::new_thread::NewThread;

pub(in crate::pool) use self::backoff::Backoff;
pub(in crate::pool) use self::counts::ThreadCounts;
pub(in crate::pool) use self::joins::Joins;
pub(in crate::pool) use self::start::{start, start_in_reserve, start_many};

use std::sync::Arc;

use crate::sync::atomic::{AtomicUsize, Ordering};

/// How many threads one pool has, and how many it may have.
#[derive(Debug)]
pub(in crate::pool) struct Threads {
    counts: ThreadCounts,
    backoff: Backoff,
    /// `core_threads`.
    core: usize,
    /// `max_threads` as of now.
    max: AtomicUsize,
    /// Threads that have declared that they block.
    blocking: AtomicUsize,
    next_number: AtomicUsize,
    joins: Arc<Joins>,
}

impl Threads {
    pub(in crate::pool) fn new(core: usize, max: usize) -> Self {
        Threads {
            counts: ThreadCounts::new(),
            backoff: Backoff::new(),
            core,
            max: AtomicUsize::new(max),
            blocking: AtomicUsize::new(0),
            next_number: AtomicUsize::new(0),
            joins: Arc::new(Joins::new()),
        }
    }

    /// The threads that can be joined.
    pub(in crate::pool) fn joins(&self) -> &Arc<Joins> {
        &self.joins
    }

    pub(in crate::pool) fn counts(&self) -> &ThreadCounts {
        &self.counts
    }

    /// The pause after a failure to start a thread.
    pub(in crate::pool) fn backoff(&self) -> &Backoff {
        &self.backoff
    }

    /// `max_threads` as of now.
    pub(in crate::pool) fn max(&self) -> usize {
        self.max.load(Ordering::SeqCst)
    }

    pub(in crate::pool) fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::SeqCst);
    }

    /// How many threads the pool keeps.
    pub(in crate::pool) fn core(&self) -> usize {
        self.core.min(self.max())
    }

    /// Threads that have declared that they block.
    pub(in crate::pool) fn blocking(&self) -> usize {
        self.blocking.load(Ordering::SeqCst)
    }

    pub(in crate::pool) fn add_blocking(&self) {
        self.blocking.fetch_add(1, Ordering::SeqCst);
    }

    pub(in crate::pool) fn remove_blocking(&self) {
        self.blocking.fetch_sub(1, Ordering::SeqCst);
    }

    /// How many threads may exist without evidence that they are needed: `core`, and one for each
    /// that blocks.
    pub(in crate::pool) fn entitled(&self) -> usize {
        self.core.saturating_add(self.blocking()).min(self.max())
    }

    /// Whether there are fewer threads than the pool is entitled to, and one may be started.
    #[inline]
    pub(in crate::pool) fn may_start(&self) -> bool {
        self.counts.active() < self.entitled() && self.counts.reserved() < self.max() && !self.backoff.is_on()
    }

    /// The name of the next thread of the pool called `pool`.
    fn next_name(&self, pool: &str) -> String {
        format!("{pool}-{}", self.next_number.fetch_add(1, Ordering::Relaxed))
    }
}
