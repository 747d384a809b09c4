//! The spans by which a console shows tasks.
//!
//! tokio-console, and any other subscriber that wants them, gets a span for each task, with the
//! name, the target and the fields of those that tokio's own blocking tasks have. The span is made
//! on the spawner's thread, once the task has a place in its queue and before another thread can
//! take it; it is entered around the closure with all that surrounds that, and closed before the
//! handle learns of the end. So what lies before it is entered is the time in the queue, and what
//! lies inside is the run.
//!
//! The span lies in the context of the task, as the outermost part. Whatever becomes of the task,
//! its claimer takes the context, and runs it or drops it: so each span is entered once at most and
//! closed once, and a task that is cancelled, expires or is discarded closes its span as it drops
//! its closure. What the queue refuses has no span.
//!
//! The spawner's own span is its parent, and is entered inside of it: `Span::current` in the
//! closure is what it was in the spawner. Where the spawner is in no span the closure is in the one
//! of its task; but that is never taken along to others (`HeldSpan::current`).
//!
//! A subscriber is user code, and runs as a task is pushed. It may spawn, and wait for any task
//! that was spawned before. So where a subscriber may want spans the tasks of a batch are submitted
//! one after the other: each is on its way, with a thread woken for it, before the span of the next
//! is made.

use tracing::level_filters::LevelFilter;

use crate::panic::catch_panic;
use crate::task::{Context, HeldSpan, Metadata, TASK_SPAN, TaskRef};

/// That of tokio's blocking tasks: what programs filter by that have a console.
const TARGET: &str = "tokio::task::blocking";

/// Where a task is queued.
pub(super) struct ShownPlace<'a> {
    pub(super) pool: &'a str,
    pub(super) lane: Option<&'a str>,
}

/// Whether a subscriber may want the spans. Asks one atomic.
#[inline]
pub(super) fn may_be_wanted() -> bool {
    LevelFilter::current() == LevelFilter::TRACE
}

/// Whether a subscriber wants the spans, as far as it tells by level and target.
#[cold]
pub(super) fn is_wanted() -> bool {
    let ask = || tracing::span_enabled!(target: TARGET, tracing::Level::TRACE);
    may_be_wanted() && catch_panic("the filter of a subscriber", ask).unwrap_or(false)
}

/// Makes the span of a task that is about to be queued, where a subscriber wants it. `has_parent`:
/// it is a child of the spawner's span, if there is one.
#[cold]
pub(super) fn show(task: &TaskRef, metadata: &Metadata, place: &ShownPlace<'_>, has_parent: bool) {
    let open = || open(task, metadata, place, has_parent);
    let Some(shown) = catch_panic("the span of a task", open).flatten() else { return };
    let mut context = metadata.context.lock();
    let inner = context.take();
    let outer: Context = Box::new(move |run| {
        shown.enclose(|| match inner {
            Some(inner) => inner(run),
            None => run(),
        });
    });
    *context = Some(outer);
}

fn open(task: &TaskRef, metadata: &Metadata, place: &ShownPlace<'_>, has_parent: bool) -> Option<HeldSpan> {
    let parent = has_parent.then(HeldSpan::current);
    let site = task.site();
    let span = tracing::trace_span!(
        target: TARGET,
        parent: parent.as_ref().and_then(|parent| parent.span().id()),
        TASK_SPAN,
        kind = %"blocking",
        task.name = metadata.name.as_deref().map(tracing::field::display),
        task.id = task.id().as_u64(),
        pool = place.pool,
        lane = place.lane,
        loc.file = site.file(),
        loc.line = site.line(),
        loc.col = site.column(),
    );
    (!span.is_disabled()).then(|| HeldSpan::new(span))
}
