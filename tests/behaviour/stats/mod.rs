//! What a pool tells of itself: numbers, long-running tasks, warnings, histograms.

mod ends;
mod metrics;
mod observe;
mod slow;
#[cfg(feature = "histograms")]
mod times;
mod warnings;
