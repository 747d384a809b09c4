//! The spawner's `tracing` span and dispatcher surround the closure.
#![cfg(feature = "tracing")]

use std::sync::{Arc, Mutex};

use sidestep::{Pool, PoolBuilder};
use tracing::{Dispatch, Event, Span, Subscriber, dispatcher, info, info_span, span};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::support::{Gate, check_sound, occupy, quiet_panic, soon};

/// Lists the events of this test, with the spans around them, and the spans that were closed.
#[derive(Clone, Default)]
struct List(Arc<Mutex<Vec<String>>>);

impl List {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// A subscriber that does not want the spans of tasks (`stats::console`).
    fn dispatch(&self) -> Dispatch {
        let of_programs = filter_fn(|metadata| metadata.name() != "runtime.spawn");
        Dispatch::new(tracing_subscriber::registry().with(self.clone()).with(of_programs))
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for List {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if event.metadata().target() != "sidestep" {
            let spans = context.event_scope(event).into_iter().flat_map(|scope| scope.from_root());
            let spans: Vec<_> = spans.map(|span| span.name()).collect();
            self.0.lock().unwrap().push(spans.join("/"));
        }
    }

    fn on_close(&self, id: span::Id, context: Context<'_, S>) {
        let name = context.span(&id).map_or("?", |span| span.name());
        self.0.lock().unwrap().push(format!("closed {name}"));
    }
}

fn one() -> PoolBuilder {
    Pool::builder().core_threads(1).max_threads(1)
}

#[test]
fn events_of_the_closure_are_inside_the_spawners_span() {
    let (pool, list) = (one().build().unwrap(), List::default());
    dispatcher::with_default(&list.dispatch(), || {
        let task = info_span!("request").in_scope(|| pool.spawn(|| info!("inside")));
        soon(task).unwrap();
        let nested = pool.clone();
        let task = info_span!("outer").in_scope(|| {
            pool.spawn(move || {
                let task = info_span!("inner").in_scope(|| nested.spawn(|| info!("deep")));
                task.wait().unwrap();
                info!("again");
            })
        });
        soon(task).unwrap();
        soon(pool.spawn(|| info!("without a span"))).unwrap();
    });
    let seen = list.take();
    for expected in ["request", "closed request", "outer/inner", "outer", ""] {
        assert!(seen.iter().any(|seen| seen == expected), "{expected:?} in {seen:?}");
    }
    soon(pool.spawn(|| info!("nobody listens"))).unwrap();
    assert_eq!(list.take(), Vec::<String>::new(), "neither span nor dispatcher is left in the thread");
    check_sound(&pool);
}

#[test]
fn they_can_be_left_out() {
    let (pool, list) = (one().propagate_spans(false).build().unwrap(), List::default());
    dispatcher::with_default(&list.dispatch(), || {
        let none = info_span!("request").in_scope(|| {
            pool.spawn(|| {
                info!("nobody listens");
                Span::current().is_none()
            })
        });
        assert!(soon(none).unwrap());
    });
    assert_eq!(list.take(), ["closed request"]);
}

#[test]
fn a_closure_that_panics_leaves_its_span() {
    let (pool, list) = (one().build().unwrap(), List::default());
    dispatcher::with_default(&list.dispatch(), || {
        let task = info_span!("request").in_scope(|| pool.spawn(|| quiet_panic("halfway")));
        let end: Result<(), _> = soon(task);
        assert!(end.unwrap_err().is_panic());
        assert!(soon(pool.spawn(|| Span::current().is_none())).unwrap());
    });
    assert!(list.take().contains(&"closed request".to_owned()));
    check_sound(&pool);
}

#[test]
fn a_task_that_does_not_run_lets_go_of_its_span_at_once() {
    let (pool, list) = (one().build().unwrap(), List::default());
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    dispatcher::with_default(&list.dispatch(), || {
        let task = info_span!("cancelled").in_scope(|| pool.spawn(|| ()));
        assert_eq!(list.take(), Vec::<String>::new());
        drop(task);
        assert_eq!(list.take(), ["closed cancelled"]);
        let task = info_span!("discarded").in_scope(|| pool.spawn(|| ()));
        let shutdown = pool.shutdown().discard_queued();
        assert_eq!(list.take(), ["closed discarded"]);
        assert!(soon(task).unwrap_err().is_shutdown());
        gate.open();
        shutdown.wait();
    });
    soon(busy).unwrap();
}

/// The registry gives the reference to a parent back through the default subscriber of the thread
/// that closes a span.
#[test]
fn the_parents_of_a_span_that_the_pool_closes_last_are_closed_too() {
    let (pool, list) = (one().build().unwrap(), List::default());
    dispatcher::with_default(&list.dispatch(), || {
        let spawn = || info_span!("inner").in_scope(|| pool.spawn(|| info!("inside")));
        soon(info_span!("outer").in_scope(spawn)).unwrap();
    });
    assert_eq!(list.take(), ["outer/inner", "closed inner", "closed outer"]);
    let token = dispatcher::with_default(&list.dispatch(), || {
        info_span!("outer").in_scope(|| info_span!("inner").in_scope(sidestep::CancelToken::new))
    });
    drop(token);
    assert_eq!(list.take(), ["closed inner", "closed outer"]);
}

/// Panics in one of its methods, on threads of the pool.
struct Fails(&'static str);

impl Fails {
    fn at(&self, place: &str) {
        if place == self.0 && std::thread::current().name().is_some_and(|name| name.starts_with("sidestep")) {
            quiet_panic("a subscriber");
        }
    }
}

impl<S: Subscriber> Layer<S> for Fails {
    fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
        self.at("event");
    }
    fn on_enter(&self, _: &span::Id, _: Context<'_, S>) {
        self.at("enter");
    }
    fn on_exit(&self, _: &span::Id, _: Context<'_, S>) {
        self.at("exit");
    }
    fn on_close(&self, _: span::Id, _: Context<'_, S>) {
        self.at("close");
    }
}

#[test]
fn a_subscriber_that_panics_harms_no_thread() {
    for place in ["enter", "exit", "close", "event"] {
        let pool = one().build().unwrap();
        let dispatch = Dispatch::new(tracing_subscriber::registry().with(Fails(place)));
        dispatcher::with_default(&dispatch, || {
            let end = info_span!("request").in_scope(|| soon(pool.spawn(|| 42)));
            assert_eq!(end.is_ok(), place != "enter", "{place}: {end:?}");
            let _span = info_span!("another").entered();
            let gate = Gate::new();
            let pass = gate.clone();
            let busy = pool.spawn(move || pass.pass());
            let late = pool.options().expire_after(std::time::Duration::ZERO).spawn(|| ());
            drop(pool.spawn(|| ()));
            gate.open();
            let _ = (soon(busy), soon(late));
        });
        check_sound(&pool);
    }
}

/// `current::attach` brings the task's span to another thread, with its dispatcher; and takes it
/// away.
#[test]
fn attached_code_is_inside_the_span_of_its_token() {
    let (pool, list) = (one().build().unwrap(), List::default());
    dispatcher::with_default(&list.dispatch(), || {
        let task = info_span!("request").in_scope(|| {
            pool.spawn(|| {
                let token = info_span!("query").in_scope(sidestep::current::token);
                let of_task = sidestep::current::token();
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        info!("not yet");
                        sidestep::current::attach(&token, || {
                            info!("inside");
                            sidestep::current::attach(&of_task.child(), || info!("of the child"));
                            sidestep::current::attach(&sidestep::current::token(), || info!("again"));
                        });
                        assert!(Span::current().is_none());
                        info!("not any more");
                    });
                });
            })
        });
        soon(task).unwrap();
    });
    let mut seen = list.take();
    seen.retain(|seen| !seen.starts_with("closed"));
    assert_eq!(seen, ["request/query", "request", "request/query"]);
    check_sound(&pool);
}

/// A token that the program makes has the span that it was made in.
#[test]
fn a_token_without_a_task_has_a_span_too_and_none_is_kept_for_ever() {
    let list = List::default();
    let token = dispatcher::with_default(&list.dispatch(), || {
        info_span!("setup").in_scope(sidestep::CancelToken::new)
    });
    let unwound = std::panic::catch_unwind(|| {
        sidestep::current::attach(&token, || {
            info!("inside");
            quiet_panic("attached code");
        });
    });
    assert!(unwound.is_err());
    info!("not any more");
    assert_eq!(list.take(), ["setup"]);
    drop(token);
    assert_eq!(list.take(), ["closed setup"]);
}
