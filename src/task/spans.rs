//! The `tracing` span of some code, to be entered and closed on another thread too.
//!
//! A registry of spans counts references: a span refers to its parent, and to be inside of one is a
//! reference as well. It gives both back through the default subscriber of the thread that closes
//! or leaves a span, whatever subscriber the span is of. So both are done here with the right one
//! as the default, or a parent would never be closed.
//!
//! A subscriber is user code. It may panic, which harms nothing here, and may be in the middle of
//! something at a fork: so in the child no span of the parent is closed.

use std::fmt;

use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Span, dispatcher};

use crate::panic::catch_panic;
use crate::sys::fork::Generation;
use crate::trace::quietly;

/// The name of the spans by which a console shows tasks, those of tokio's runtime and ours.
pub(crate) const TASK_SPAN: &str = "runtime.spawn";

/// A span, and the subscriber that it is of.
pub(crate) struct HeldSpan {
    dispatch: Dispatch,
    span: Span,
    /// The fork generation it was made in.
    generation: Generation,
}

impl HeldSpan {
    /// The span of the code that runs here, as long as there is a subscriber; none of that
    /// subscriber's if the code is in none.
    pub(crate) fn capture() -> Option<Self> {
        // Without a subscriber there is nothing to carry; this asks one atomic.
        if LevelFilter::current() == LevelFilter::OFF {
            return None;
        }
        catch_panic("the capture of a span", Self::current)
    }

    /// The span of the code that runs here.
    ///
    /// The span by which a console shows a task is nothing that other code could be in: the task
    /// would be busy as long as that runs, and never end before it.
    pub(crate) fn current() -> Self {
        let current = Span::current();
        let is_of_task = current.metadata().is_some_and(|metadata| metadata.name() == TASK_SPAN);
        HeldSpan::new(if is_of_task { Span::none() } else { current })
    }

    /// `span`, which was made here just now, or is current.
    pub(crate) fn new(span: Span) -> Self {
        let dispatch = dispatcher::get_default(Clone::clone);
        HeldSpan { dispatch, span, generation: Generation::current() }
    }

    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// Runs `f` inside of the span, with its subscriber.
    pub(crate) fn surround<R>(&self, f: impl FnOnce() -> R) -> R {
        dispatcher::with_default(&self.dispatch, || self.span.in_scope(f))
    }

    /// Runs `f` inside of the span, with the subscriber that the thread has. A subscriber that
    /// panics as the span is entered or left does not keep `f` from running.
    pub(crate) fn enclose<R>(&self, f: impl FnOnce() -> R) -> R {
        struct LeaveSpan<'a>(&'a HeldSpan);
        impl Drop for LeaveSpan<'_> {
            fn drop(&mut self) {
                let HeldSpan { dispatch, span, .. } = self.0;
                let exit = || span.with_subscriber(|(id, subscriber)| subscriber.exit(id));
                quietly(|| _ = dispatcher::with_default(dispatch, exit));
            }
        }
        // Though it panics: a part of it may be inside by then.
        let _leave = LeaveSpan(self);
        quietly(|| _ = self.span.with_subscriber(|(id, subscriber)| subscriber.enter(id)));
        f()
    }
}

impl Drop for HeldSpan {
    fn drop(&mut self) {
        let span = std::mem::replace(&mut self.span, Span::none());
        if self.generation.is_past() {
            std::mem::forget(span);
        } else if !span.is_disabled() {
            quietly(|| dispatcher::with_default(&self.dispatch, || drop(span)));
        }
    }
}

impl fmt::Debug for HeldSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldSpan").finish_non_exhaustive()
    }
}
