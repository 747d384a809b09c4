//! How long the tasks of a pool or of a lane wait and run: where that is recorded, if the pool's
//! settings ask for it.
//!
//! | file | owns |
//! |---|---|
//! | `histograms` | the shards that threads record in, and their sum |
//! | `facade` | the series of the facade crate `metrics` |

#[cfg(feature = "metrics")]
mod facade;
#[cfg(feature = "histograms")]
mod histograms;

use std::time::Duration;

#[cfg(feature = "metrics")]
use self::facade::Series;
#[cfg(feature = "metrics")]
pub(crate) use self::facade::{PLACE, describe};
#[cfg(feature = "histograms")]
pub use self::histograms::Histogram;
#[cfg(feature = "histograms")]
use self::histograms::Recorder;

/// Records the times of a pool's tasks, or of a lane's. The default records nothing.
#[derive(Debug, Default)]
pub(crate) struct LatencyRecorder {
    #[cfg(feature = "histograms")]
    histograms: Option<Recorder>,
    #[cfg(feature = "metrics")]
    series: Option<Series>,
}

/// The times recorded so far; `None` where none are recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LatencySnapshot {
    #[cfg(feature = "histograms")]
    pub(crate) wait: Option<Histogram>,
    #[cfg(feature = "histograms")]
    pub(crate) run: Option<Histogram>,
}

impl LatencyRecorder {
    /// Also records in histograms, for up to `threads` threads at a time.
    #[cfg(feature = "histograms")]
    pub(crate) fn with_histograms(mut self, threads: usize) -> Self {
        self.histograms = Some(Recorder::new(threads));
        self
    }

    /// Also records in the recorder of the `metrics` facade, which is user code.
    #[cfg(feature = "metrics")]
    pub(crate) fn with_series(mut self, pool: &str, lane: Option<&str>) -> Self {
        self.series = Series::register(pool, lane);
        self
    }

    /// Whether anything is recorded.
    pub(crate) fn is_on(&self) -> bool {
        let is_on = false;
        #[cfg(feature = "histograms")]
        let is_on = is_on || self.histograms.is_some();
        #[cfg(feature = "metrics")]
        let is_on = is_on || self.series.is_some();
        is_on
    }

    /// A task is about to run, on the thread with this number. The recorder of the facade is user
    /// code.
    pub(crate) fn waited(&self, thread: usize, time: Duration) {
        #[cfg(feature = "histograms")]
        self.histograms.iter().for_each(|histograms| histograms.waited(thread, time));
        #[cfg(feature = "metrics")]
        self.series.iter().for_each(|series| series.waited(time));
        let _ = (thread, time);
    }

    /// A task has ended, on the thread with this number. The recorder of the facade is user code.
    pub(crate) fn ran(&self, thread: usize, time: Duration) {
        #[cfg(feature = "histograms")]
        self.histograms.iter().for_each(|histograms| histograms.ran(thread, time));
        #[cfg(feature = "metrics")]
        self.series.iter().for_each(|series| series.ran(time));
        let _ = (thread, time);
    }

    /// The times recorded so far.
    #[cfg(feature = "histograms")]
    pub(crate) fn read(&self) -> LatencySnapshot {
        let (wait, run) = self.histograms.as_ref().map(Recorder::read).unzip();
        LatencySnapshot { wait, run }
    }

    /// Nothing can have been recorded: the feature `histograms` is off.
    #[cfg(not(feature = "histograms"))]
    pub(crate) fn read(&self) -> LatencySnapshot {
        LatencySnapshot {}
    }
}
