//! Histograms of wait and run times, recorded in shards that threads seldom contend for.
//!
//! A shard is made when a thread first records in it. It holds two histograms, each of 2 to 36 KiB:
//! they grow with the longest time they have seen, up to an hour (18 KiB where nothing takes longer
//! than 10 ms). A pool has up to [`SHARDS`] of them, and a lane no more than its limit.
//!
//! The thread that runs a task records both of its times, so in one shard, and a snapshot reads
//! each shard as a whole: it never shows more ends than starts.

use std::fmt;
use std::time::Duration;

use crossbeam_utils::CachePadded;

use crate::sync::Mutex;

/// The most shards of one recorder.
const SHARDS: usize = 8;
/// Times are recorded to so many significant digits.
const DIGITS: u8 = 2;
/// Longer times count as this one.
const LONGEST: Duration = Duration::from_secs(3600);

/// A distribution of times: [`Metrics::wait_times`](crate::Metrics::wait_times) and
/// [`Metrics::run_times`](crate::Metrics::run_times) return how long tasks waited and ran.
///
/// The histogram records every time, to two significant digits. So the times that it reports, the
/// mean among them, are accurate to one percent, or to a nanosecond where that is more. Times
/// longer than an hour count as an hour.
///
/// ```
/// use std::time::Duration;
///
/// let pool = sidestep::Pool::builder().histograms(true).build()?;
/// pool.spawn(|| std::thread::sleep(Duration::from_millis(2))).wait()?;
/// let metrics = pool.metrics();
/// let run = metrics.run_times().unwrap();
/// assert_eq!(run.count(), 1);
/// assert!(run.quantile(0.99) >= Duration::from_millis(2));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Histogram(hdrhistogram::Histogram<u64>);

// Counts are whole numbers: all are equal to themselves.
impl Eq for Histogram {}

impl Histogram {
    fn new() -> Self {
        match hdrhistogram::Histogram::new(DIGITS) {
            Ok(histogram) => Histogram(histogram),
            Err(error) => unreachable!("two digits are possible: {error}"),
        }
    }

    fn record(&mut self, time: Duration) {
        let nanos = nanos(time.min(LONGEST));
        if self.0.record(nanos).is_err() {
            // The histogram could not grow, which takes an address space of less than 32 bits: the
            // time counts as its longest.
            self.0.saturating_record(nanos);
        }
    }

    fn add(&mut self, other: &Histogram) {
        // The addition fails where the histogram cannot grow, as in `record`.
        let _ = self.0.add(&other.0);
    }

    /// The times that have been recorded since `earlier`, another snapshot of this histogram: the
    /// difference of the two. `None` if this is not a later one: it lacks a time that `earlier`
    /// has.
    ///
    /// Take a snapshot every minute, and subtract the one before, for the quantiles of that minute.
    ///
    /// ```
    /// let pool = sidestep::Pool::builder().histograms(true).build()?;
    /// pool.spawn(|| ()).wait()?;
    /// let before = pool.metrics();
    /// pool.spawn(|| std::thread::sleep(std::time::Duration::from_millis(2))).wait()?;
    /// let after = pool.metrics();
    /// let (before, after) = (before.run_times().unwrap(), after.run_times().unwrap());
    /// let since = after.since(before).unwrap();
    /// assert_eq!(since.count(), 1);
    /// assert!(since.min() >= std::time::Duration::from_millis(2));
    /// assert!(before.since(after).is_none());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "subtract")]
    pub fn since(&self, earlier: &Histogram) -> Option<Histogram> {
        let mut difference = self.clone();
        // It fails where a bucket has more in `earlier`, and where that has longer times.
        difference.0.subtract(&earlier.0).ok()?;
        Some(difference)
    }

    /// How many times have been recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Whether no time has been recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The shortest time; zero if no time has been recorded.
    #[must_use]
    pub fn min(&self) -> Duration {
        Duration::from_nanos(self.0.min())
    }

    /// The longest time; zero if no time has been recorded.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.0.max())
    }

    /// The mean; zero if no time has been recorded.
    #[must_use]
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.0.mean().round() as u64)
    }

    /// The time that the share `q` of all times does not exceed: `quantile(0.5)` is the median,
    /// `quantile(0.99)` the p99. A `q` outside of 0 to 1 counts as 0 or 1. Zero if no time has been
    /// recorded.
    ///
    /// The result is never less than the true quantile, and exceeds it by one percent at most, or
    /// by a nanosecond; but for a `q` of 0 it is [`min`](Histogram::min).
    #[must_use]
    pub fn quantile(&self, q: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(q.clamp(0.0, 1.0)))
    }
}

fn nanos(time: Duration) -> u64 {
    time.as_nanos().try_into().unwrap_or(u64::MAX)
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count())
            .field("min", &self.min())
            .field("mean", &self.mean())
            .field("p50", &self.quantile(0.5))
            .field("p99", &self.quantile(0.99))
            .field("max", &self.max())
            .finish_non_exhaustive()
    }
}

/// The wait times and the run times of one set of tasks.
struct Pair {
    wait: Histogram,
    run: Histogram,
}

impl Pair {
    fn new() -> Self {
        Pair { wait: Histogram::new(), run: Histogram::new() }
    }
}

/// The times of a pool's tasks, or of a lane's.
pub(super) struct Recorder {
    shards: Box<[Shard]>,
}

type Shard = CachePadded<Mutex<Option<Pair>>>;

impl Recorder {
    /// For up to `threads` threads at a time.
    pub(super) fn new(threads: usize) -> Self {
        Recorder { shards: (0..threads.clamp(1, SHARDS)).map(|_| Shard::default()).collect() }
    }

    /// A task is about to run on the thread with this number.
    pub(super) fn waited(&self, thread: usize, time: Duration) {
        self.shard(thread).lock().get_or_insert_with(Pair::new).wait.record(time);
    }

    /// A task has ended on the thread with this number.
    pub(super) fn ran(&self, thread: usize, time: Duration) {
        self.shard(thread).lock().get_or_insert_with(Pair::new).run.record(time);
    }

    fn shard(&self, thread: usize) -> &Shard {
        &self.shards[thread % self.shards.len()]
    }

    /// The wait times and the run times so far.
    pub(super) fn read(&self) -> (Histogram, Histogram) {
        let mut sum = Pair::new();
        for shard in &self.shards {
            if let Some(pair) = &*shard.lock() {
                sum.wait.add(&pair.wait);
                sum.run.add(&pair.run);
            }
        }
        (sum.wait, sum.run)
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("shards", &self.shards.len()).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(sidestep_loom)))]
mod tests;
