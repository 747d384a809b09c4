//! What a pool tells of itself: numbers, long-running tasks, warnings, histograms, spans of tasks.

mod console;
mod ends;
mod metrics;
mod observe;
mod slow;
#[cfg(feature = "histograms")]
mod times;
mod warnings;
