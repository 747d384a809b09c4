//! Histograms of wait and run times, recorded in shards that threads seldom fight over.
//!
//! A shard is made when a thread first records in it. It holds two histograms, each of 2 to 36 KiB: they grow with the
//! longest time they have seen, up to an hour (18 KiB where nothing takes longer than 10 ms). A pool has up to
//! [`SHARDS`] of them, and a lane no more than its limit.
//!
//! Both times of a task are recorded by the thread that runs it, so in one shard, and a reading takes each shard as a
//! whole: it never shows more ends than starts.

use std::fmt;
use std::time::Duration;

use crossbeam_utils::CachePadded;

use crate::sync::Mutex;

/// The most shards of one recorder.
const SHARDS: usize = 8;
/// Times are told apart by so many significant digits.
const DIGITS: u8 = 2;
/// Longer times count as this one.
const LONGEST: Duration = Duration::from_secs(3600);

/// How long tasks took, as a distribution: what [`Metrics::wait_times`](crate::Metrics::wait_times) and
/// [`Metrics::run_times`](crate::Metrics::run_times) give.
///
/// No time is left out; each is recorded to two significant digits. So the times that come of it, the mean among them,
/// are right to one percent, or to a nanosecond where that is more. Times longer than an hour count as an hour.
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
            // It could not grow, which takes an address space of less than 32 bits: the time counts as its longest.
            self.0.saturating_record(nanos);
        }
    }

    fn add(&mut self, other: &Histogram) {
        // It fails where it cannot grow, as above.
        let _ = self.0.add(&other.0);
    }

    /// How many times have been recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Whether none has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The shortest time; zero if there is none.
    #[must_use]
    pub fn min(&self) -> Duration {
        Duration::from_nanos(self.0.min())
    }

    /// The longest time; zero if there is none.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.0.max())
    }

    /// The average; zero if there is none.
    #[must_use]
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.0.mean().round() as u64)
    }

    /// The time that this share of all times does not exceed: `0.5` gives the median, `0.99` what is called p99. `q` is
    /// taken as 0 or 1 where it lies outside. Zero if there is no time.
    ///
    /// The time given is never less than the true one, and more by one percent at most, or by a nanosecond; but for a `q`
    /// of 0 it is [`min`](Histogram::min).
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

/// Wait and run times of the same tasks.
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
mod tests {
    use super::*;

    fn of(times: impl IntoIterator<Item = Duration>) -> Histogram {
        let mut all = Histogram::new();
        times.into_iter().for_each(|time| all.record(time));
        all
    }

    #[test]
    fn without_times_everything_is_zero() {
        let none = Histogram::new();
        assert!(none.is_empty());
        assert_eq!((none.count(), none.min(), none.max()), (0, Duration::ZERO, Duration::ZERO));
        assert_eq!((none.mean(), none.quantile(0.5)), (Duration::ZERO, Duration::ZERO));
        let text = format!("{none:?}");
        assert!(text.starts_with("Histogram { count: 0, min: 0ns"), "{text}");
    }

    #[test]
    fn what_comes_out_is_right_to_a_percent() {
        for nanos in
            (0..42).map(|power| 1_u64 << power).flat_map(|power| [power - 1, power, power + power / 3])
        {
            let time = Duration::from_nanos(nanos).min(LONGEST);
            let slack = (time / 100).max(Duration::from_nanos(1));
            let times = of([time]);
            for shown in [times.min(), times.max(), times.mean(), times.quantile(0.0), times.quantile(0.7)] {
                assert!(shown.abs_diff(time) <= slack, "{shown:?} for {time:?}");
            }
            assert!(times.max() >= time && times.quantile(0.7) >= time && times.min() <= time);
        }
    }

    #[test]
    fn quantiles_are_those_of_the_whole() {
        let times = of((1..=1000).map(Duration::from_micros));
        for (q, micros) in
            [(0.0, 1), (0.25, 250), (0.5, 500), (0.99, 990), (1.0, 1000), (7.0, 1000), (-1.0, 1)]
        {
            let (shown, exact) = (times.quantile(q), Duration::from_micros(micros));
            assert!(shown.abs_diff(exact) <= exact / 100, "{q}: {shown:?}");
        }
        assert_eq!(times.quantile(f64::NAN), times.quantile(1e-9), "no panic");
        assert!(times.mean().abs_diff(Duration::from_nanos(500_500)) < Duration::from_micros(5));
    }

    #[test]
    fn very_long_times_count_as_an_hour() {
        let times = of([Duration::MAX, LONGEST + Duration::from_nanos(1), Duration::ZERO]);
        assert_eq!(times.count(), 3);
        assert!(times.max().abs_diff(LONGEST) <= LONGEST / 100, "{times:?}");
        assert_eq!(times.min(), Duration::ZERO);
        assert!(
            size_of_val(&*vec![0_u64; times.0.distinct_values()]) <= 36 << 10,
            "the memory that is promised"
        );
        let short = of([Duration::from_millis(10)]);
        assert!(size_of_val(&*vec![0_u64; short.0.distinct_values()]) <= 18 << 10);
        assert!(size_of_val(&*vec![0_u64; Histogram::new().0.distinct_values()]) <= 2 << 10);
    }

    #[test]
    fn a_reading_is_the_sum_of_the_shards() {
        let recorder = Recorder::new(512);
        assert_eq!(recorder.shards.len(), SHARDS);
        for thread in 0..100 {
            recorder.waited(thread, Duration::from_nanos(thread as u64));
            recorder.ran(thread, Duration::from_secs(thread as u64));
        }
        recorder.waited(3, Duration::from_secs(5));
        let (wait, run) = recorder.read();
        assert_eq!((wait.count(), run.count()), (101, 100));
        assert!(wait.max() >= Duration::from_secs(5));
        assert_eq!(run, of((0..100).map(Duration::from_secs)), "sharing changes nothing");
        assert_ne!(run, wait);
        assert_eq!((wait.clone(), run.clone()), recorder.read(), "reading changes nothing");
    }

    #[test]
    fn a_recorder_has_no_more_shards_than_threads() {
        for (threads, shards) in [(0, 1), (1, 1), (3, 3), (8, 8), (9, 8)] {
            assert_eq!(Recorder::new(threads).shards.len(), shards);
        }
    }

    #[test]
    fn no_time_is_lost_to_other_threads() {
        let recorder = Recorder::new(2);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let recorder = &recorder;
                scope.spawn(move || {
                    for nanos in 0..5000 {
                        recorder.waited(thread, Duration::from_nanos(nanos));
                        recorder.ran(thread, Duration::from_nanos(nanos));
                    }
                });
            }
            for _ in 0..100 {
                let (wait, run) = recorder.read();
                assert!(run.count() <= wait.count(), "more ends than starts");
            }
        });
        let (wait, run) = recorder.read();
        assert_eq!((wait.count(), run.count()), (20_000, 20_000));
        assert_eq!(wait, run);
    }
}
