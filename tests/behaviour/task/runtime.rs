//! The warning where a wait blocks a thread that drives async code.
#![cfg(all(feature = "tokio", feature = "tracing"))]

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sidestep::Pool;
use tokio::runtime::{Builder, Handle};
use tokio::task::{block_in_place, spawn_blocking};
use tracing::field::{Field, Visit};
use tracing::{Dispatch, Event, Subscriber, dispatcher};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::support::{Gate, occupy, pool, soon};

/// The call sites that warnings name.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Visit for &Warnings {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "site" {
            self.0.lock().unwrap().push(format!("{value:?}"));
        }
    }
}

impl<S: Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() == tracing::Level::WARN {
            event.record(&mut &*self);
        }
    }
}

/// The call sites of the warnings while `f` runs on this thread.
fn warned_of(f: impl FnOnce()) -> Vec<String> {
    let warnings = Warnings::default();
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(warnings.clone()));
    dispatcher::with_default(&dispatch, f);
    let sites = warnings.0.lock().unwrap().clone();
    sites
}

/// Lets a task that waits for the gate go on a moment after the thread has begun to wait for it.
fn open_late(gate: &Gate) {
    let gate = gate.clone();
    std::thread::spawn(move || {
        crate::support::nothing_happens();
        gate.open();
    });
}

/// A wait that has to block.
#[track_caller]
fn block_for_a_task(pool: &Pool) {
    let gate = Gate::new();
    let busy = occupy(pool, &gate);
    open_late(&gate);
    busy.wait().unwrap();
}

#[test]
fn a_wait_in_async_code_is_warned_of_once_per_call_site() {
    let pool = pool(1, 2);
    for runtime in [
        Builder::new_current_thread().build().unwrap(),
        Builder::new_multi_thread().worker_threads(1).build().unwrap(),
    ] {
        let sites = warned_of(|| {
            runtime.block_on(async {
                for _ in 0..3 {
                    block_for_a_task(&pool);
                }
                let gate = Gate::new();
                let busy = occupy(&pool, &gate);
                let busy = busy.wait_timeout(Duration::from_millis(1)).unwrap_err();
                open_late(&gate);
                sidestep::block_on(busy).unwrap();
            });
        });
        let here = |site: &String| site.contains("runtime.rs");
        assert!(sites.iter().all(here), "{sites:?}");
        // The second runtime comes to sites that are known.
        assert!(sites.len() == 3 || sites.is_empty(), "{sites:?}");
    }
}

#[test]
fn a_task_of_a_runtime_is_warned_of() {
    let pool = pool(1, 2);
    let runtime = Builder::new_current_thread().build().unwrap();
    let sites = warned_of(|| {
        runtime.block_on(async move {
            tokio::spawn(async move {
                let gate = Gate::new();
                let busy = occupy(&pool, &gate);
                open_late(&gate);
                busy.wait().unwrap();
            })
            .await
            .unwrap();
        });
    });
    assert_eq!(sites.len(), 1, "{sites:?}");
}

#[test]
fn where_blocking_is_right_there_is_no_warning() {
    let pool = pool(1, 2);
    let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let wait = |pool: &Pool| {
        let gate = Gate::new();
        let busy = occupy(pool, &gate);
        open_late(&gate);
        busy.wait().unwrap();
    };
    let sites = warned_of(|| {
        // A plain thread, and one that has entered a runtime.
        wait(&pool);
        let _entered = runtime.enter();
        wait(&pool);
    });
    assert!(sites.is_empty(), "{sites:?}");
    let inner = pool.clone();
    let blocking = runtime.block_on(async { spawn_blocking(move || warned_of(|| wait(&inner))).await });
    assert!(blocking.unwrap().is_empty());
    let inner = pool.clone();
    let in_place = async { tokio::spawn(async move { block_in_place(|| warned_of(|| wait(&inner))) }).await };
    assert!(runtime.block_on(in_place).unwrap().is_empty());
    // A thread of a pool that has entered the runtime.
    let inside =
        Pool::builder().core_threads(1).max_threads(2).runtime(runtime.handle().clone()).build().unwrap();
    let inner = pool.clone();
    let on_the_pool = inside.spawn(move || {
        assert!(Handle::try_current().is_ok());
        warned_of(|| wait(&inner))
    });
    assert!(soon(on_the_pool).unwrap().is_empty());
}

#[test]
fn a_wait_that_need_not_block_is_not_warned_of() {
    let pool = pool(1, 1);
    let runtime = Builder::new_current_thread().build().unwrap();
    let task = pool.spawn(|| 7);
    while !task.is_finished() {
        std::thread::yield_now();
    }
    let sites = warned_of(|| runtime.block_on(async { assert_eq!(task.wait().unwrap(), 7) }));
    assert!(sites.is_empty(), "{sites:?}");
}
