//! Spans from before a fork, in the child: nothing is done to them, since what a subscriber needs
//! for that may be half done.
#![cfg(all(unix, feature = "tracing"))]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tracing::{Dispatch, Subscriber, dispatcher, info_span, span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::support::alone::alone_as;
use crate::support::fork::in_child;
use crate::support::{Gate, check_sound, occupy, pool, soon};

/// Counts the spans that are made, and those that are closed.
#[derive(Clone, Default)]
struct Count(Arc<(AtomicUsize, AtomicUsize)>);

impl Count {
    fn made_and_closed(&self) -> (usize, usize) {
        (self.0.0.load(Ordering::SeqCst), self.0.1.load(Ordering::SeqCst))
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Count {
    fn on_new_span(&self, _: &span::Attributes<'_>, _: &span::Id, _: Context<'_, S>) {
        self.0.0.fetch_add(1, Ordering::SeqCst);
    }
    fn on_close(&self, _: span::Id, _: Context<'_, S>) {
        self.0.1.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn the_child_closes_no_span_of_its_parent_and_makes_none() {
    // Which spans there are depends on all subscribers of a process.
    let path = "fork::spans::the_child_closes_no_span_of_its_parent_and_makes_none";
    alone_as(path, &[], || {
        let (pool, gate, count) = (pool(1, 1), Gate::new(), Count::default());
        dispatcher::with_default(&Dispatch::new(tracing_subscriber::registry().with(count.clone())), || {
            let busy = occupy(&pool, &gate);
            let queued = info_span!("request").in_scope(|| pool.spawn(|| ()));
            assert_eq!(count.made_and_closed(), (3, 0));
            let mut handle = Some(queued);
            let status = in_child(|list| {
                drop(handle.take());
                list.check(count.made_and_closed() == (3, 0));
                list.no_thread(pool.spawn(|| ()).wait());
                list.check(count.made_and_closed() == (3, 0));
            });
            assert_eq!(status, 0);
            gate.open();
            soon(handle.take().unwrap()).unwrap();
            soon(busy).unwrap();
            assert_eq!(count.made_and_closed(), (3, 3));
        });
        check_sound(&pool);
    });
}
