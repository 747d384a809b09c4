//! What `PoolBuilder::warn_after` has to say, and to whom.
#![cfg(feature = "tracing")]

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use sidestep::{NewThread, Pool};
use tracing::field::{Field, Visit};
use tracing::{Dispatch, Event, Subscriber, dispatcher};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::support::{
    Gate, PATIENCE, check_sound, eventually, nothing_happens, occupy, pool, quiet_panic, soon,
};

/// Calls this with the fields of each of the pool's warnings.
struct Warns<F>(F);

#[derive(Default)]
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += &format!("{field}={value:?} ");
    }
}

impl<F: Fn(&str) + Send + Sync + 'static, S: Subscriber> Layer<S> for Warns<F> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if (metadata.target(), *metadata.level()) == ("sidestep", tracing::Level::WARN) {
            let mut fields = Fields::default();
            event.record(&mut fields);
            (self.0)(&fields.0);
        }
    }
}

/// A pool that warns `hear`, on its own threads.
fn warned(max: usize, after: Duration, hear: impl Fn(&str) + Send + Sync + 'static) -> Pool {
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(Warns(hear)));
    let handler = move |new: NewThread| {
        let dispatch = dispatch.clone();
        let builder = thread::Builder::new().name(new.name().to_owned());
        builder.spawn(move || dispatcher::with_default(&dispatch, || new.run())).map(drop)
    };
    let builder = Pool::builder().core_threads(1).max_threads(max).propagate_spans(false);
    builder.warn_after(after).spawn_handler(handler).build().unwrap()
}

/// True in the process that runs this very test once more, which this makes; it must succeed. What
/// the monitor traces goes to the subscriber of the whole process.
#[cfg(target_os = "linux")]
fn in_child(test: &str) -> bool {
    const CHILD: &str = "SIDESTEP_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let mut child = crate::support::alone::this_program();
    let output = child.args(["--exact", test, "--nocapture"]).env(CHILD, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "the test is called otherwise: {text}");
    false
}

#[test]
#[cfg(target_os = "linux")]
fn a_task_that_waits_behind_long_ones_is_reported_with_what_runs() {
    if !in_child("stats::warnings::a_task_that_waits_behind_long_ones_is_reported_with_what_runs") {
        return;
    }
    let (heard, hear) = list();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Warns(hear))).unwrap();
    let builder = Pool::builder().core_threads(1).max_threads(1);
    let pool = builder.warn_after(Duration::from_millis(20)).build().unwrap();
    let gate = Gate::new();
    let (started, pass) = (Gate::new(), gate.clone());
    let announce = started.clone();
    let long = move || {
        announce.open();
        pass.pass();
    };
    let busy = pool.options().name("a long one").spawn(long);
    started.pass();
    let waits = pool.spawn(|| ());
    let behind = |text: &String| text.contains("a task waits for long behind others");
    eventually("it is reported", || heard.lock().unwrap().iter().any(behind));
    let text = heard.lock().unwrap().iter().find(|text| behind(text)).unwrap().clone();
    assert!(text.contains("a long one") && text.contains("warnings.rs"), "what runs: {text}");
    assert!(text.contains("waited=") && text.contains(" for ") && text.contains("queued=1"), "{text}");
    gate.open();
    soon(busy).unwrap();
    soon(waits).unwrap();
    assert_eq!(heard.lock().unwrap().iter().filter(|text| behind(text)).count(), 1, "once in ten seconds");
}

/// A list and what adds to it.
fn list() -> (Arc<Mutex<Vec<String>>>, impl Fn(&str) + Send + Sync + 'static) {
    let list = Arc::new(Mutex::new(Vec::new()));
    let added = Arc::clone(&list);
    (list, move |text: &str| added.lock().unwrap().push(text.to_owned()))
}

#[test]
fn long_waits_and_long_runs_are_named_once_each() {
    let (heard, hear) = list();
    let pool = warned(1, Duration::from_millis(10), hear);
    let lane = pool.lane("disk", 1);
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let waits = pool.options().name("waits").spawn(|| ());
    let line = line!() - 1;
    let in_lane = lane.options().name("in a lane").spawn(nothing_happens);
    let cancelled = pool.options().name("cancelled").spawn(|| ());
    let expired = pool.options().name("expired").expire_after(Duration::from_millis(1)).spawn(|| ());
    assert!(soon(expired).unwrap_err().is_expired());
    drop(cancelled);
    nothing_happens();
    gate.open();
    soon(busy).unwrap();
    soon(waits).unwrap();
    soon(in_lane).unwrap();
    soon(pool.spawn(|| ())).unwrap();
    let heard = heard.lock().unwrap().clone();
    let count = |parts: &[&str]| {
        let matches = |text: &&String| parts.iter().all(|part| text.contains(part));
        heard.iter().filter(matches).count()
    };
    assert_eq!(count(&["a task ran long", "support/pools.rs"]), 1, "{heard:#?}");
    let site = format!("\"waits\" (spawned at tests/behaviour/stats/warnings.rs:{line}:");
    assert_eq!(count(&["a task waited long", &site]), 1, "{heard:#?}");
    for what in ["a task waited long", "a task ran long"] {
        assert_eq!(count(&[what, "\"in a lane\"", "lane=\"disk\""]), 1, "{heard:#?}");
    }
    assert_eq!(count(&["\"cancelled\""]) + count(&["\"expired\""]), 0, "{heard:#?}");
}

#[test]
fn a_task_that_panics_or_runs_in_place_is_named_too() {
    let (heard, hear) = list();
    let pool = warned(1, Duration::from_millis(10), hear);
    let inner = pool.clone();
    let task = pool.options().name("outer").spawn(move || {
        let task = inner.options().name("inner").spawn(|| {
            nothing_happens();
            quiet_panic("late");
        });
        let end: Result<(), _> = task.wait();
        assert!(end.is_err());
    });
    soon(task).unwrap();
    let mut heard = heard.lock().unwrap().clone();
    heard.retain(|text| text.contains("ran long"));
    assert_eq!(heard.len(), 2, "{heard:#?}");
    assert!(heard[0].contains("\"inner\"") && heard[1].contains("\"outer\""), "{heard:#?}");
}

#[test]
fn limits_of_any_size_are_legal() {
    let (heard, hear) = list();
    let pool = warned(1, Duration::MAX, hear);
    soon(pool.spawn(nothing_happens)).unwrap();
    assert!(heard.lock().unwrap().is_empty());
    let (heard, hear) = list();
    let pool = warned(1, Duration::ZERO, hear);
    soon(pool.spawn(nothing_happens)).unwrap();
    let heard = heard.lock().unwrap().clone();
    assert!(heard.iter().any(|text| text.contains("ran long")), "{heard:#?}");
    check_sound(&pool);
}

#[test]
fn who_hears_it_may_panic() {
    let pool = warned(2, Duration::ZERO, |_| quiet_panic("a subscriber"));
    let lane = pool.lane("lane", 1);
    assert_eq!(soon(lane.spawn(|| 42)).unwrap(), 42);
    assert!(pool.spawn_batch((0..100).map(|n| move || n)).wait().into_iter().all(|end| end.is_ok()));
    assert_eq!(pool.scope(|scope| scope.spawn(|| 43).wait()).unwrap(), 43);
    check_sound(&pool);
}

/// A pool whose warnings are passed to `hear` with the pool, but not those that come of that.
fn reentrant(
    max: usize,
    hear: impl Fn(&Pool, &str) + Send + Sync + 'static,
) -> (Pool, Arc<Mutex<Option<Pool>>>) {
    let slot = Arc::new(Mutex::new(None::<Pool>));
    let mine = Arc::clone(&slot);
    let pool = warned(max, Duration::ZERO, move |text| {
        let pool = mine.lock().unwrap().take();
        if let Some(pool) = pool {
            hear(&pool, text);
            *mine.lock().unwrap() = Some(pool);
        }
    });
    *slot.lock().unwrap() = Some(pool.clone());
    (pool, slot)
}

/// Stops listening, for good.
fn silence(pool: &Pool, slot: &Mutex<Option<Pool>>) {
    eventually("nobody listens", || {
        let _ = soon(pool.spawn(|| ()));
        slot.lock().unwrap().take().is_some()
    });
}

#[test]
fn who_hears_it_may_use_the_pool() {
    for max in [1, 4] {
        let (pool, slot) = reentrant(max, |pool, _| {
            let _ = (pool.metrics(), pool.long_running(Duration::ZERO));
            assert_eq!(pool.spawn(|| 42).wait().unwrap(), 42);
            assert_eq!(pool.scope(|scope| scope.spawn(|| 43).wait()).unwrap(), 43);
            assert_eq!(pool.lane("new", 1).spawn(|| 44).wait().unwrap(), 44);
        });
        for n in 0..200 {
            assert_eq!(soon(pool.spawn(move || n)).unwrap(), n);
        }
        let inner = pool.clone();
        let nested = pool.spawn(move || inner.spawn_batch((0..10).map(|n| move || n)).wait().len());
        assert_eq!(soon(nested).unwrap(), 10);
        silence(&pool, &slot);
        check_sound(&pool);
    }
}

/// By then the closure has ended, and the slot is for others.
#[test]
fn who_hears_of_a_long_run_may_wait_for_the_lane() {
    let lane_slot = Arc::new(Mutex::new(None::<sidestep::Lane>));
    let late = Arc::new(Mutex::new(0));
    let (slot, counted) = (Arc::clone(&lane_slot), Arc::clone(&late));
    let (pool, hearing) = reentrant(4, move |_, text| {
        let lane = slot.lock().unwrap().clone();
        if let Some(lane) = lane.filter(|_| text.contains("ran long") && text.contains("narrow")) {
            let waited = lane.spawn(|| ()).wait_timeout(PATIENCE / 2);
            *counted.lock().unwrap() += usize::from(waited.is_err());
        }
    });
    let lane = pool.lane("narrow", 1);
    *lane_slot.lock().unwrap() = Some(lane.clone());
    soon(lane.spawn(|| ())).unwrap();
    *lane_slot.lock().unwrap() = None;
    assert_eq!(*late.lock().unwrap(), 0, "the slot was held by a closure that has ended");
    silence(&pool, &hearing);
    check_sound(&pool);
}

#[test]
fn the_pools_own_events_reach_nobody_who_does_not_listen() {
    let pool = pool(1, 1);
    pool.spawn(|| quiet_panic("detached")).detach();
    eventually("it has ended", || pool.metrics().tasks_panicked() == 1);
    check_sound(&pool);
}

/// What the monitor said, and when.
#[cfg(target_os = "linux")]
type Said = Arc<Mutex<Vec<(std::time::Instant, String)>>>;

/// A pool with one thread whose monitor is heard when it speaks of waits.
#[cfg(target_os = "linux")]
fn monitored(after: Duration) -> (Pool, Said) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&heard);
    let hear = move |text: &str| {
        if text.contains("a task waits for long behind others") {
            list.lock().unwrap().push((std::time::Instant::now(), text.to_owned()));
        }
    };
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Warns(hear))).unwrap();
    let pool = Pool::builder().core_threads(1).max_threads(1).warn_after(after).build().unwrap();
    (pool, heard)
}

#[test]
#[cfg(target_os = "linux")]
fn waits_are_reported_once_in_ten_seconds_however_often_the_monitor_rests() {
    if !in_child("stats::warnings::waits_are_reported_once_in_ten_seconds_however_often_the_monitor_rests") {
        return;
    }
    let (pool, heard) = monitored(Duration::from_millis(20));
    for _ in 0..5 {
        let gate = Gate::new();
        let busy = occupy(&pool, &gate);
        let waits = pool.spawn(|| ());
        nothing_happens();
        nothing_happens();
        gate.open();
        soon(busy).unwrap();
        soon(waits).unwrap();
        nothing_happens();
        nothing_happens();
    }
    let heard = heard.lock().unwrap();
    assert!(heard.len() <= 1, "{heard:#?}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_lane_does_not_inherit_how_long_a_cancelled_task_has_waited() {
    if !in_child("stats::warnings::a_lane_does_not_inherit_how_long_a_cancelled_task_has_waited") {
        return;
    }
    let (pool, heard) = monitored(Duration::from_millis(400));
    let lane = pool.lane("lane", 1);
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let waits = lane.spawn(|| ());
    eventually("it is reported", || !heard.lock().unwrap().is_empty());
    drop(waits);
    gate.open();
    soon(busy).unwrap();
    heard.lock().unwrap().clear();
    (0..4).for_each(|_| nothing_happens());

    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let begun = std::time::Instant::now();
    let waits = lane.spawn(|| ());
    nothing_happens();
    let early = heard.lock().unwrap().clone();
    gate.open();
    soon(busy).unwrap();
    soon(waits).unwrap();
    let early: Vec<_> = early.into_iter().map(|(when, text)| (when - begun, text)).collect();
    assert!(early.is_empty(), "it has not waited for so long yet: {early:#?}");
}
