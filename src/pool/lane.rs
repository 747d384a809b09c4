//! The handle of a lane. What it does is in the module `lane` at the top.

use std::fmt;
use std::io;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use crate::error::Rejected;
use crate::lane::LaneCore;
use crate::latency::LatencyRecorder;
use crate::pool::Pool;
use crate::pool::config::refuse;
use crate::pool::stats::LaneMetrics;
use crate::pool::stats::latency;
use crate::pool::submit::Reserve;
use crate::pool::submit::Submitter;
use crate::pool::submit::TaskOptions;
use crate::task::{Task, Unblocked};

/// A limited view of a pool: a queue of its own whose tasks run on the pool's threads, no more than
/// so many at a time.
///
/// One lane for each thing that can be overrun or can hang: a database with four connections, a
/// disk, a resolver. Whatever happens in one lane, the others and the pool itself go on.
/// [`Pool::lane`] makes one; clones are the same lane. When the last handle is dropped, what is
/// queued still runs. A lane keeps its pool alive as a [`Pool`] does.
///
/// - **The limit holds at every instant**, and a slot belongs to the closure that runs, until it
///   has truly ended: a caller that gives up waiting frees nothing. So a storm of timeouts never
///   puts more load on what is already hanging.
/// - **Order** is first-in first-out, where the limit is 1 also in execution: a lane of 1 is a lock
///   that blocks nobody.
/// - **A lane that is full costs no thread.** What waits in it is no reason for the pool to grow.
///   What runs in it may be: closures that block occupy threads like any others.
/// - **Lanes share.** A thread serves a lane for 32 tasks or a millisecond, then what else is
///   queued has its turn; after a long task it has it at once. Where a lane computes for long on
///   all threads, the pool has others for what is short.
///
/// # Waiting inside a lane
///
/// A closure that [`wait`](Task::wait)s for a task of its own lane may find every slot of it held
/// by closures that do the same: then the wait gives [`is_deadlock`](crate::TaskError::is_deadlock)
/// instead of hanging. Waits through channels cannot be seen.
///
/// A waker or callback that blocks holds the slot of its task while more is queued in the lane,
/// unless it says that it blocks ([`wait`](Task::wait), [`block_on`](crate::block_on),
/// [`will_block`](crate::current::will_block)).
///
/// ```
/// let pool = sidestep::Pool::new()?;
/// let database = pool.lane("database", 4);
/// let rows: Vec<_> = (0..100).map(|id| database.spawn(move || format!("row {id}"))).collect();
/// for row in rows {
///     assert!(row.wait()?.starts_with("row"));
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "Semaphore")]
#[derive(Clone)]
pub struct Lane {
    core: Arc<LaneCore>,
    pool: Pool,
}

/// Settings for a [`Lane`].
///
/// ```
/// let pool = sidestep::Pool::new()?;
/// let resolver = pool.lane_builder("resolver", 8).queue_limit(1000).build()?;
/// assert_eq!((resolver.name(), resolver.limit()), ("resolver", 8));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct LaneBuilder<'a> {
    pool: &'a Pool,
    name: String,
    limit: usize,
    queue_limit: Option<usize>,
}

impl<'a> LaneBuilder<'a> {
    pub(super) fn new(pool: &'a Pool, name: String, limit: usize) -> Self {
        LaneBuilder { pool, name, limit, queue_limit: None }
    }

    /// How many tasks may wait in the lane at one time; see
    /// [`PoolBuilder::queue_limit`](crate::PoolBuilder::queue_limit). The limit of the pool's own
    /// queue does not count them. At least 1; the default is no limit.
    pub fn queue_limit(mut self, tasks: usize) -> Self {
        self.queue_limit = Some(tasks);
        self
    }

    /// Makes the lane.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput), naming the lane, the field and the value, if
    /// a limit is 0.
    pub fn build(self) -> io::Result<Lane> {
        let LaneBuilder { pool, name, limit, queue_limit } = self;
        if limit == 0 {
            return refuse(format!("the limit of lane {name:?} (0) would let nothing run"));
        }
        if queue_limit == Some(0) {
            return refuse(format!("queue_limit of lane {name:?} (0) would refuse every task"));
        }
        // In a forked child nothing runs, and a recorder may hang.
        let latency = if pool.inner.engine.is_forked() {
            LatencyRecorder::default()
        } else {
            latency(&pool.inner.config, Some(&name), limit)
        };
        let core = LaneCore::new(name, limit, queue_limit, latency, &pool.inner.engine.lanes);
        Ok(Lane { core, pool: pool.clone() })
    }
}

impl Lane {
    pub(super) fn submitter(&self) -> Submitter<'_, LaneCore> {
        Submitter { inner: &self.pool.inner, queue: &self.core, has_permit: false }
    }

    pub(super) fn core(&self) -> &LaneCore {
        &self.core
    }

    /// What the lane is called: a label, which need not be unique.
    #[must_use]
    pub fn name(&self) -> &str {
        self.core.name()
    }

    /// How many closures of it run at most at one time.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.core.limit()
    }

    /// The pool whose threads the lane uses.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Queues `f` in the lane and returns at once with a handle to its result, as [`Pool::spawn`].
    ///
    /// # Errors
    ///
    /// None here: where the lane is full, or the pool shut down or without a thread, the handle
    /// resolves with an error.
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> Task<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.submitter().spawn(f, Location::caller(), self.pool.inner.carried.metadata())
    }

    /// [`spawn`](Lane::spawn) for when no error is expected, as [`Pool::unblock`].
    ///
    /// # Panics
    ///
    /// Not here, but awaiting the future panics if `f` did, or if it could not be run.
    #[track_caller]
    pub fn unblock<F, T>(&self, f: F) -> Unblocked<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        Unblocked::new(self.spawn(f))
    }

    /// As [`spawn`](Lane::spawn), but hands the closure back where the lane will not run it, as
    /// [`Pool::try_spawn`].
    ///
    /// # Errors
    ///
    /// [`Rejected`], with the closure, if the lane's queue is full, the pool is shut down, or this
    /// is the child of a fork.
    #[track_caller]
    pub fn try_spawn<F, T>(&self, f: F) -> Result<Task<T>, Rejected<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.submitter().try_spawn(f, Location::caller(), self.pool.inner.carried.metadata())
    }

    /// Waits for a place in the lane's queue, as [`Pool::reserve`] does in the pool's.
    #[track_caller]
    pub fn reserve(&self) -> Reserve {
        Reserve::in_lane(self.clone(), Location::caller())
    }

    /// Options for tasks of this lane.
    pub fn options(&self) -> TaskOptions<'_> {
        TaskOptions::of_lane(self)
    }

    /// The lane's numbers. Its tasks are also counted by [`Pool::metrics`].
    #[must_use]
    pub fn metrics(&self) -> LaneMetrics {
        if self.pool.inner.engine.is_forked() {
            return LaneMetrics::default();
        }
        LaneMetrics::read(&self.core)
    }
}

// As for `Pool`: foreign code runs under no lock, and a panic in it is caught.
impl UnwindSafe for Lane {}
impl RefUnwindSafe for Lane {}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane")
            .field("name", &self.name())
            .field("limit", &self.limit())
            .finish_non_exhaustive()
    }
}
