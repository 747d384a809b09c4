//! The metrics of a pool and of a lane, as plain data.

use crate::counts::TaskCounts;
use crate::lane::LaneCore;
#[cfg(feature = "histograms")]
use crate::latency::Histogram;
use crate::latency::LatencySnapshot;

/// The metrics of a [`Pool`](crate::Pool) at one moment: how many threads it has, and what became
/// of its tasks.
///
/// The task counts obey `submitted = completed + panicked + cancelled + queued + running` at every
/// moment, and every end is counted before its result can be seen: so each submitted task has
/// exactly one end. [Expired](Metrics::tasks_expired) and [refused](Metrics::tasks_refused) tasks
/// are among the cancelled ones. What a queue [rejects](Metrics::tasks_rejected) was not submitted;
/// but a task that meets a shutdown on its way into the queue may count as submitted, and then
/// counts as cancelled too, even where `try_spawn` returns its closure.
///
/// How full the pool is show [`threads`](Metrics::threads) next to
/// [`max_threads`](Metrics::max_threads), and [`tasks_queued`](Metrics::tasks_queued) next to
/// [`queue_limit`](Metrics::queue_limit).
///
/// ```
/// let pool = sidestep::Pool::new()?;
/// pool.spawn(|| ()).wait()?;
/// let metrics = pool.metrics();
/// assert_eq!(metrics.tasks_completed(), 1);
/// assert!(metrics.threads() >= 1);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    pub(in crate::pool) threads: usize,
    pub(in crate::pool) threads_idle: usize,
    pub(in crate::pool) threads_blocked: usize,
    pub(in crate::pool) threads_peak: usize,
    pub(in crate::pool) reserve_threads: usize,
    pub(in crate::pool) core_threads: usize,
    pub(in crate::pool) max_threads: usize,
    pub(in crate::pool) queue_limit: Option<usize>,
    pub(in crate::pool) tasks: TaskCounts,
    pub(in crate::pool) growth_steps: u64,
    pub(in crate::pool) spawn_failures: u64,
    pub(in crate::pool) times: LatencySnapshot,
}

impl Metrics {
    /// Threads that have started and not exited, without those of lanes' reserves: never more than
    /// [`max_threads`](crate::PoolBuilder::max_threads).
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Threads that sleep because no work is queued. A thread that still spins is not among them.
    #[must_use]
    pub fn threads_idle(&self) -> usize {
        self.threads_idle
    }

    /// Threads that have declared that they block: inside `wait`, [`block_on`](crate::block_on) or
    /// [`will_block`](crate::current::will_block).
    #[must_use]
    pub fn threads_blocked(&self) -> usize {
        self.threads_blocked
    }

    /// The most threads that the pool has had at one time.
    #[must_use]
    pub fn threads_peak(&self) -> usize {
        self.threads_peak
    }

    /// Threads that lanes have in [reserve](crate::LaneBuilder::reserve), as far as there are any
    /// at this moment. No other count of threads includes them.
    #[must_use]
    pub fn reserve_threads(&self) -> usize {
        self.reserve_threads
    }

    /// How many threads the pool keeps: see [`Pool::core_threads`](crate::Pool::core_threads).
    #[must_use]
    pub fn core_threads(&self) -> usize {
        self.core_threads
    }

    /// How many threads the pool may have: see [`Pool::max_threads`](crate::Pool::max_threads).
    #[must_use]
    pub fn max_threads(&self) -> usize {
        self.max_threads
    }

    /// How many tasks may wait in the pool's own queue, which its lanes' tasks do not enter; `None`
    /// if that is not limited. See [`PoolBuilder::queue_limit`](crate::PoolBuilder::queue_limit).
    #[must_use]
    pub fn queue_limit(&self) -> Option<usize> {
        self.queue_limit
    }

    /// Tasks that wait to be run.
    #[must_use]
    pub fn tasks_queued(&self) -> u64 {
        self.tasks.queued()
    }

    /// Tasks whose closure has begun and not ended.
    #[must_use]
    pub fn tasks_running(&self) -> u64 {
        self.tasks.running()
    }

    /// Tasks that the pool has accepted, or has taken out again because of a shutdown before
    /// `spawn` returned.
    #[must_use]
    pub fn tasks_submitted(&self) -> u64 {
        self.tasks.submitted
    }

    /// Tasks whose closure has returned.
    #[must_use]
    pub fn tasks_completed(&self) -> u64 {
        self.tasks.completed
    }

    /// Submitted tasks whose closure did not run: cancelled while queued, expired, discarded or
    /// taken out because of a shutdown, or left without a thread; and calls of a
    /// [`Strand`](crate::Strand) or [`Dedicated`](crate::Dedicated) that found the value poisoned
    /// or gone.
    #[must_use]
    pub fn tasks_cancelled(&self) -> u64 {
        self.tasks.unrun()
    }

    /// Tasks whose closure has panicked.
    #[must_use]
    pub fn tasks_panicked(&self) -> u64 {
        self.tasks.panicked
    }

    /// Those of the [cancelled](Metrics::tasks_cancelled) tasks that were still queued when their
    /// time was up (see [`TaskOptions::expire_after`](crate::TaskOptions::expire_after)).
    #[must_use]
    pub fn tasks_expired(&self) -> u64 {
        self.tasks.expired
    }

    /// Those of the [cancelled](Metrics::tasks_cancelled) tasks that are calls of a
    /// [`Strand`](crate::Strand) or [`Dedicated`](crate::Dedicated) which found the value poisoned
    /// or gone: a thread began them, but their closure did not run.
    #[must_use]
    pub fn tasks_refused(&self) -> u64 {
        self.tasks.denied
    }

    /// Closures that a queue has not let in, because it was full or the pool was shut down: the
    /// handle of such a `spawn` resolves with an error, and `try_spawn` returns the closure. They
    /// are not [submitted](Metrics::tasks_submitted) and have no other count.
    #[must_use]
    pub fn tasks_rejected(&self) -> u64 {
        self.tasks.rejected
    }

    /// How often the monitor has added threads because the existing ones were blocked or occupied.
    #[must_use]
    pub fn growth_steps(&self) -> u64 {
        self.growth_steps
    }

    /// How often the system, or the spawn handler, has refused a thread. Attempts that the pool
    /// skipped because the last one had just failed do not count.
    #[must_use]
    pub fn spawn_failures(&self) -> u64 {
        self.spawn_failures
    }

    /// How long tasks have waited, from their spawning to the start of their closure: one time for
    /// each task that has begun. `None` unless
    /// [`PoolBuilder::histograms`](crate::PoolBuilder::histograms) is on.
    #[cfg(feature = "histograms")]
    #[must_use]
    pub fn wait_times(&self) -> Option<&Histogram> {
        self.times.wait.as_ref()
    }

    /// How long closures have run: one time for each closure that has returned or panicked,
    /// recorded before its result can be seen. `None` unless
    /// [`PoolBuilder::histograms`](crate::PoolBuilder::histograms) is on.
    #[cfg(feature = "histograms")]
    #[must_use]
    pub fn run_times(&self) -> Option<&Histogram> {
        self.times.run.as_ref()
    }
}

/// The metrics of a [`Lane`](crate::Lane) at one moment.
///
/// As in [`Metrics`], `submitted = completed + panicked + cancelled + queued + running` at every
/// moment, and expired and refused tasks are among the cancelled ones. How full the lane is show
/// [`tasks_running`](LaneMetrics::tasks_running) next to [`limit`](LaneMetrics::limit), and
/// [`tasks_queued`](LaneMetrics::tasks_queued) next to [`queue_limit`](LaneMetrics::queue_limit).
///
/// ```
/// let pool = sidestep::Pool::new()?;
/// let lane = pool.lane("disk", 2);
/// lane.spawn(|| ()).wait()?;
/// assert_eq!(lane.metrics().tasks_completed(), 1);
/// assert_eq!(lane.metrics().tasks_running(), 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneMetrics {
    limit: usize,
    queue_limit: Option<usize>,
    reserve_threads: usize,
    tasks: TaskCounts,
    times: LatencySnapshot,
}

impl LaneMetrics {
    pub(in crate::pool) fn read(core: &LaneCore) -> Self {
        let before = core.limit().max(core.active());
        let mut tasks = core.account().counters.counts().tasks;
        // This read counted the ends before the starts: of the tasks that have begun since, some
        // must have ended. No more run than the limit allows, or than ran when it was lowered.
        let limit = core.limit();
        tasks.started = tasks.started.min(tasks.ended().saturating_add(limit.max(before) as u64));
        let reserve_threads = core.reserve().map_or(0, |reserve| reserve.count());
        let queue_limit = core.settings().queue_limit;
        LaneMetrics { limit, queue_limit, reserve_threads, tasks, times: core.latency().read() }
    }

    /// How many of the lane's closures run at one time at most: see
    /// [`Lane::limit`](crate::Lane::limit).
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// How many tasks may wait in the lane; `None` if that is not limited.
    #[must_use]
    pub fn queue_limit(&self) -> Option<usize> {
        self.queue_limit
    }

    /// Threads of the lane's [reserve](crate::LaneBuilder::reserve) that there are at this moment.
    #[must_use]
    pub fn reserve_threads(&self) -> usize {
        self.reserve_threads
    }

    /// Tasks that wait in the lane.
    #[must_use]
    pub fn tasks_queued(&self) -> u64 {
        self.tasks.queued()
    }

    /// Tasks whose closure has begun and not ended: never more than the lane's limit, but for those
    /// that ran when it was lowered.
    #[must_use]
    pub fn tasks_running(&self) -> u64 {
        self.tasks.running()
    }

    /// Tasks that the lane has accepted, or has taken out again, as in
    /// [`Metrics::tasks_submitted`].
    #[must_use]
    pub fn tasks_submitted(&self) -> u64 {
        self.tasks.submitted
    }

    /// Tasks whose closure has returned.
    #[must_use]
    pub fn tasks_completed(&self) -> u64 {
        self.tasks.completed
    }

    /// Submitted tasks whose closure did not run: cancelled while queued, expired, discarded or
    /// taken out; and calls of a [`Strand`](crate::Strand) that found the value poisoned or gone.
    #[must_use]
    pub fn tasks_cancelled(&self) -> u64 {
        self.tasks.unrun()
    }

    /// Tasks whose closure has panicked.
    #[must_use]
    pub fn tasks_panicked(&self) -> u64 {
        self.tasks.panicked
    }

    /// Those of the cancelled tasks whose time was up; see [`Metrics::tasks_expired`].
    #[must_use]
    pub fn tasks_expired(&self) -> u64 {
        self.tasks.expired
    }

    /// Those of the cancelled tasks that found no value; see [`Metrics::tasks_refused`].
    #[must_use]
    pub fn tasks_refused(&self) -> u64 {
        self.tasks.denied
    }

    /// Closures that the lane has not let in; see [`Metrics::tasks_rejected`].
    #[must_use]
    pub fn tasks_rejected(&self) -> u64 {
        self.tasks.rejected
    }

    /// How long tasks of the lane have waited; see [`Metrics::wait_times`].
    #[cfg(feature = "histograms")]
    #[must_use]
    pub fn wait_times(&self) -> Option<&Histogram> {
        self.times.wait.as_ref()
    }

    /// How long closures of the lane have run; see [`Metrics::run_times`].
    #[cfg(feature = "histograms")]
    #[must_use]
    pub fn run_times(&self) -> Option<&Histogram> {
        self.times.run.as_ref()
    }
}
