//! The `tracing` span and dispatcher of a thread, to be there on another one too.

use std::fmt;
use std::sync::Arc;

use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Span, dispatcher};

use crate::panic::catch_panic;

/// A span, and the subscriber that it is of.
pub(super) struct Spans {
    dispatch: Dispatch,
    span: Span,
}

impl Spans {
    /// Those of this thread, as long as there is a subscriber. A subscriber is user code: if it
    /// panics, there are none.
    pub(super) fn capture() -> Option<Arc<Self>> {
        // Without a subscriber there is nothing to carry; this asks one atomic.
        if LevelFilter::current() == LevelFilter::OFF {
            return None;
        }
        let capture = || Spans { dispatch: dispatcher::get_default(Clone::clone), span: Span::current() };
        catch_panic("the capture of a span", capture).map(Arc::new)
    }

    /// Runs `f` inside of them.
    pub(super) fn surround<R>(&self, f: impl FnOnce() -> R) -> R {
        dispatcher::with_default(&self.dispatch, || self.span.in_scope(f))
    }
}

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spans").finish_non_exhaustive()
    }
}
