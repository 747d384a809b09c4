//! What a task carries from its spawner: a context and a runtime to run in, and the time where that
//! is wanted.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

#[cfg(feature = "tracing")]
use tracing::level_filters::LevelFilter;

#[cfg(feature = "tracing")]
use super::console;
use crate::panic::{catch_panic, report_panic};
use crate::sync::{Mutex, now};
#[cfg(feature = "tracing")]
use crate::task::HeldSpan;
use crate::task::{CallerRuntime, ColdPart, Context, Metadata};

/// Captures a context on the spawner's thread.
pub(in crate::pool) type Capture = Arc<dyn Fn() -> Context + Send + Sync>;

/// Whether a closure runs inside the tokio runtime that its spawner is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pool) enum EntersRuntime {
    /// Where the pool says so.
    AsPool,
    Always,
    Never,
}

/// What is captured when a task is spawned.
#[derive(Clone)]
pub(in crate::pool) struct Captures {
    /// The first one is the outermost around the closure.
    pub(in crate::pool) list: Vec<Capture>,
    /// Whether the `tracing` span and dispatcher of the spawner are.
    #[cfg(feature = "tracing")]
    pub(in crate::pool) spans: bool,
    /// Whether the tokio runtime of the spawner is entered. `None` where neither the user nor the
    /// kind of the pool has set it.
    #[cfg(feature = "tokio")]
    pub(in crate::pool) runtime: Option<bool>,
}

impl Captures {
    /// The defaults.
    pub(in crate::pool) fn standard() -> Self {
        Captures {
            list: Vec::new(),
            #[cfg(feature = "tracing")]
            spans: true,
            #[cfg(feature = "tokio")]
            runtime: None,
        }
    }

    #[cfg(feature = "tokio")]
    fn enters_runtime(&self) -> bool {
        self.runtime.unwrap_or(false)
    }

    #[cfg(not(feature = "tokio"))]
    #[expect(clippy::unused_self, reason = "the feature has a use for it")]
    fn enters_runtime(&self) -> bool {
        false
    }

    /// Whether tasks carry the spans of their spawners now, or spans of their own.
    #[cfg(feature = "tracing")]
    #[inline]
    fn carries_spans(&self) -> bool {
        // Without a subscriber there is nothing to carry; this asks one atomic.
        LevelFilter::current() != LevelFilter::OFF && (self.spans || console::is_wanted())
    }

    #[cfg(not(feature = "tracing"))]
    #[expect(clippy::unused_self, reason = "the feature has a use for it")]
    fn carries_spans(&self) -> bool {
        false
    }

    #[cfg(feature = "tracing")]
    fn capture_spans(&self) -> Option<Context> {
        let held = self.spans.then(HeldSpan::capture).flatten()?;
        Some(Box::new(move |run| held.surround(run)))
    }

    #[cfg(not(feature = "tracing"))]
    #[expect(clippy::unused_self, reason = "the feature has a use for it")]
    fn capture_spans(&self) -> Option<Context> {
        None
    }

    /// Captures all of it. user code: a capture that panics is left out.
    fn capture(&self) -> Option<Context> {
        let mut all: Vec<Context> = Vec::new();
        if let Some(spans) = self.capture_spans() {
            all.push(spans);
        }
        for capture in &*self.list {
            if let Some(context) = catch_panic("the capture of a context", || capture()) {
                all.push(context);
            }
        }
        let mut whole = all.pop()?;
        while let Some(outer) = all.pop() {
            whole = nest(outer, whole);
        }
        Some(whole)
    }
}

/// One context inside another. A panic of the inner one does not unwind the outer, which has
/// something to take away again.
fn nest(outer: Context, inner: Context) -> Context {
    Box::new(move |run| {
        let mut inner = Some(inner);
        let mut panicked = None;
        let mut once = || {
            if let Some(inner) = inner.take() {
                panicked = catch_unwind(AssertUnwindSafe(|| inner(run))).err();
            }
        };
        let outermost = catch_unwind(AssertUnwindSafe(|| outer(&mut once)));
        let unused = inner.take();
        catch_panic("the destructor of a context", || drop(unused));
        match (panicked, outermost.err()) {
            (None, None) => {}
            (Some(payload), None) | (None, Some(payload)) => resume_unwind(payload),
            (Some(payload), Some(second)) => {
                report_panic("a context around one that has panicked", second);
                resume_unwind(payload)
            }
        }
    })
}

/// What tasks of a pool carry from their spawners.
pub(in crate::pool) struct Carried {
    captures: Captures,
    /// Whether they carry the time of their spawning.
    times: bool,
    /// Whether each task carries something, whatever its spawner has.
    always: bool,
}

impl Carried {
    pub(in crate::pool) fn new(captures: Captures, times: bool) -> Self {
        let always = times || !captures.list.is_empty();
        Carried { captures, times, always }
    }

    /// Whether tasks run inside the spans of their spawners.
    #[cfg(feature = "tracing")]
    pub(super) fn propagates_spans(&self) -> bool {
        self.captures.spans
    }

    /// What a task carries that is spawned now, without options: nothing, as long as the pool
    /// neither captures contexts nor takes times.
    #[inline]
    pub(in crate::pool) fn metadata(&self) -> Option<Box<ColdPart>> {
        self.metadata_in(EntersRuntime::AsPool)
    }

    /// As `metadata`, for a task that enters a runtime as this says.
    #[inline]
    pub(in crate::pool) fn metadata_in(&self, enters: EntersRuntime) -> Option<Box<ColdPart>> {
        let mut runtime = self.runtime(enters);
        let is_plain = !self.always && !self.captures.carries_spans() && runtime.is_empty();
        (!is_plain).then(|| self.cold_part(Metadata::default(), runtime))
    }

    /// What a task carries that is spawned now, with these options.
    pub(in crate::pool) fn metadata_with(&self, metadata: Metadata) -> Box<ColdPart> {
        self.metadata_with_in(metadata, EntersRuntime::AsPool)
    }

    /// As `metadata_with`, for a task that enters a runtime as this says.
    pub(in crate::pool) fn metadata_with_in(
        &self,
        metadata: Metadata,
        enters: EntersRuntime,
    ) -> Box<ColdPart> {
        self.cold_part(metadata, self.runtime(enters))
    }

    #[cold]
    fn cold_part(&self, metadata: Metadata, runtime: CallerRuntime) -> Box<ColdPart> {
        let spawned = self.times.then(now);
        ColdPart::new(Metadata { spawned, context: Mutex::new(self.captures.capture()), runtime, ..metadata })
    }

    /// The runtime that this thread is in.
    #[inline]
    fn runtime(&self, enters: EntersRuntime) -> CallerRuntime {
        CallerRuntime::of_this_thread(match enters {
            EntersRuntime::AsPool => self.captures.enters_runtime(),
            EntersRuntime::Always => true,
            EntersRuntime::Never => false,
        })
    }
}
