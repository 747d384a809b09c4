//! What a pool tells of itself: numbers, long-running tasks, warnings, histograms.

mod ends;
mod metrics;
mod observe;
#[cfg(feature = "histograms")]
mod times;
mod warnings;
