//! What the spans of tasks cost under a subscriber that does not want them: nothing.
#![cfg(not(miri))]
#![expect(clippy::unwrap_used, reason = "a test fails where an unwrap does")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use sidestep::{Pool, PoolBuilder};
use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Event, Level, Metadata, Subscriber, dispatcher, span};

/// The system's allocator, with a count.
struct CountCalls;

static CALLS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all requests are passed on to the system's allocator.
unsafe impl GlobalAlloc for CountCalls {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: CountCalls = CountCalls;

/// Wants nothing of what is there to be wanted but what `level` and `is_wanted` say.
struct Wants {
    level: Level,
    is_wanted: fn(&Metadata<'_>) -> bool,
}

impl Subscriber for Wants {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level && (self.is_wanted)(metadata)
    }
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level.into())
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        SPANS.fetch_add(1, Ordering::SeqCst);
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

static SPANS: AtomicUsize = AtomicUsize::new(0);

const MANY: usize = 10_000;

/// The allocations of `MANY` tasks that wait behind another, and the spans.
fn spent(builder: PoolBuilder) -> (usize, usize) {
    let pool = builder.core_threads(1).max_threads(1).build().unwrap();
    // The first tasks pay for what lasts.
    (0..1000).for_each(|_| pool.spawn(|| ()).wait().unwrap());
    let ((started, wait), (go, gate)) = (channel(), channel::<()>());
    let busy = pool.spawn(move || {
        started.send(()).unwrap();
        _ = gate.recv();
    });
    wait.recv().unwrap();
    let before = (CALLS.load(Ordering::SeqCst), SPANS.load(Ordering::SeqCst));
    (0..MANY).for_each(|_| pool.spawn(|| ()).detach());
    let after = (CALLS.load(Ordering::SeqCst), SPANS.load(Ordering::SeqCst));
    drop(go);
    busy.wait().unwrap();
    pool.shutdown().wait();
    (after.0 - before.0, after.1 - before.1)
}

/// One test: the level of `tracing` is the process's.
#[test]
fn tasks_pay_for_spans_only_where_a_subscriber_wants_them() {
    const FEW: usize = MANY / 5;
    let plain = || Pool::builder().propagate_spans(false);
    let (calls, spans) = spent(Pool::builder());
    assert!(calls < FEW && spans == 0, "{calls} without a subscriber");

    let under = |level, is_wanted, builder| {
        let dispatch = Dispatch::new(Wants { level, is_wanted });
        dispatcher::with_default(&dispatch, || spent(builder))
    };
    let other: fn(&Metadata<'_>) -> bool = |metadata| !metadata.target().starts_with("tokio");
    // The contexts of the spawners, which others want.
    let (contexts, spans) = under(Level::INFO, other, Pool::builder());
    assert!(contexts >= MANY && spans == 0, "{contexts} for contexts");
    let (calls, spans) = under(Level::TRACE, other, Pool::builder());
    assert!(calls.abs_diff(contexts) < FEW && spans == 0, "{calls} beside {contexts} for contexts");
    for level in [Level::INFO, Level::TRACE] {
        let (calls, spans) = under(level, other, plain());
        assert!(calls < FEW && spans == 0, "{calls} at {level}, without contexts");
    }
    let all: fn(&Metadata<'_>) -> bool = |_| true;
    let (calls, spans) = under(Level::TRACE, all, plain());
    assert!(calls >= MANY && spans == MANY, "{calls} for {spans} spans");
}
