//! What promises have to say to a subscriber.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::thread;

use sidestep::{NewThread, Pool, Promise, TaskError};
use tracing::field::{Field, Visit};
use tracing::{Dispatch, Event, Subscriber, dispatcher};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::support::{Drops, Gate, PanicOnDrop, eventually, occupy, quiet_panic};

/// Lists the library's events of one test.
#[derive(Clone, Default)]
struct List(Arc<Mutex<Vec<String>>>);

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += &format!(" {field}={value:?}");
    }
}

impl<S: Subscriber> Layer<S> for List {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sidestep" {
            let mut fields = Fields(event.metadata().level().to_string());
            event.record(&mut fields);
            self.0.lock().unwrap().push(fields.0);
        }
    }
}

impl List {
    fn dispatch(&self) -> Dispatch {
        Dispatch::new(tracing_subscriber::registry().with(self.clone()))
    }

    /// A pool of one thread, heard.
    fn pool(&self) -> Pool {
        let dispatch = self.dispatch();
        let handler = move |new: NewThread| {
            let dispatch = dispatch.clone();
            thread::Builder::new().spawn(move || dispatcher::with_default(&dispatch, || new.run())).map(drop)
        };
        let builder = Pool::builder().core_threads(1).max_threads(1).propagate_spans(false);
        builder.spawn_handler(handler).build().unwrap()
    }

    fn has(&self, words: &[&str]) -> bool {
        self.0.lock().unwrap().iter().any(|event| words.iter().all(|word| event.contains(word)))
    }
}

#[test]
fn an_error_that_nobody_sees_is_traced_with_its_place() {
    let list = List::default();
    let pool = list.pool();
    let promise: Promise<(), TaskError> = pool.promise(|| quiet_panic("lost"));
    let line = line!() + 1;
    promise.detach();
    let place = format!("traces.rs:{line}");
    eventually("it is traced", || list.has(&["WARN", "ended with an error that nobody sees", &place]));
}

#[test]
fn a_good_end_is_not_traced() {
    let list = List::default();
    let pool = list.pool();
    let ended = Gate::new();
    let end = ended.clone();
    let promise: Promise<(), TaskError> = pool.promise(|| Ok(()));
    promise.finally(move || end.open()).detach();
    ended.pass();
    pool.shutdown().wait();
    assert!(!list.has(&["promise"]), "{:?}", list.0.lock().unwrap());
}

#[test]
fn a_promise_that_its_pool_drops_is_traced() {
    let list = List::default();
    let pool = list.pool();
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    dispatcher::with_default(&list.dispatch(), || {
        let promise: Promise<(), TaskError> = pool.promise(|| Ok(()));
        promise.detach();
        drop(pool.shutdown().discard_queued());
    });
    assert!(list.has(&["WARN", "dropped a detached promise", "its pool is shut down"]));
    gate.open();
    busy.wait().unwrap();
}

#[test]
fn a_promise_that_nothing_can_settle_is_traced() {
    let list = List::default();
    let start: Promise<(), TaskError> = list.pool().promise(|| Ok(()));
    start.then(|()| Promise::<(), _>::from_future(std::future::pending())).detach();
    eventually("it is traced", || list.has(&["WARN", "what it waited for has gone without an end"]));
}

#[test]
fn a_destructor_that_panics_is_traced() {
    let list = List::default();
    dispatcher::with_default(&list.dispatch(), || {
        let bomb = PanicOnDrop(Drops::new());
        let promise = Promise::<i32, TaskError>::resolve(1).catch(move |error| {
            drop(bomb);
            Err::<i32, _>(error)
        });
        assert_eq!(promise.wait().unwrap(), 1);
    });
    assert!(list.has(&["ERROR", "a continuation that was not called", "a destructor"]));
}
