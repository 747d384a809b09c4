//! How the models are run.

use std::cell::Cell;
use std::panic;
use std::sync::{Arc, Once};

use crate::sync::atomic::{Ordering, StaticU64};

std::thread_local! { static PANICS: Cell<u64> = const { Cell::new(0) } }

/// Explores the interleavings of `model`: all of them, or, where that takes minutes, those in which
/// a thread is interrupted at most so many times elsewhere than where it waits.
///
/// The model fails with any panic, be it one that the crate swallows: the model checker itself
/// speaks in panics, and most of what it looks at runs in a closure, a hook or a waker.
/// `resume_unwind` is for panics that are meant.
pub(crate) fn check(interruptions: Option<usize>, model: impl Fn() + Sync + Send + 'static) {
    static WATCH: Once = Once::new();
    WATCH.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANICS.set(PANICS.get() + 1);
            report(info);
        }));
    });
    let explored = Arc::new(StaticU64::new(0));
    let count = Arc::clone(&explored);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = interruptions;
    builder.max_threads = loom::MAX_THREADS;
    // An interleaving with more steps is taken for one without an end.
    builder.max_branches = 2000;
    builder.check(move || {
        assert_eq!(PANICS.get(), 0, "the interleaving before this one has panicked");
        count.fetch_add(1, Ordering::Relaxed);
        model();
    });
    assert_eq!(PANICS.get(), 0, "an interleaving has panicked");
    println!("{} interleavings", explored.load(Ordering::Relaxed));
}

/// From here on one order of events will do: what a model is about has been shown, and the rest is
/// what others show.
pub(crate) fn in_one_order() {
    loom::skip_branch();
}
