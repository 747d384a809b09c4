//! Events for `tracing`, under the target `sidestep`; nothing without the feature.

#[cfg(feature = "tracing")]
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Records an event; the arguments are those of `tracing::event!` after the target. A subscriber is
/// user code: no lock may be held, and a panic in it is leaked, since no caller is left to
/// tell.
#[cfg(feature = "tracing")]
macro_rules! event {
    ($level:ident, $($rest:tt)+) => {
        $crate::trace::quietly(|| {
            tracing::event!(target: "sidestep", tracing::Level::$level, $($rest)+);
        })
    };
}
/// Records nothing: the feature `tracing` is off.
#[cfg(not(feature = "tracing"))]
macro_rules! event {
    ($($rest:tt)+) => {
        ()
    };
}
pub(crate) use event;

#[cfg(feature = "tracing")]
pub(crate) fn quietly(f: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
        std::mem::forget(payload);
    }
}
