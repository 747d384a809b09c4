//! What a pool tells the facade crate `metrics`. The recorder is the process's own, so this is a
//! program of its own.
#![expect(clippy::unwrap_used, reason = "a test fails where an unwrap does")]

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use metrics::atomics::AtomicU64;
use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use sidestep::{Pool, PoolBuilder, Task};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Keeps everything, by name and labels.
#[derive(Default)]
struct Ledger {
    described: Mutex<BTreeMap<String, (Option<Unit>, String)>>,
    counters: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    gauges: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    histograms: Mutex<BTreeMap<String, Arc<Samples>>>,
}

#[derive(Default)]
struct Samples(Mutex<Vec<f64>>);

impl HistogramFn for Samples {
    fn record(&self, value: f64) {
        self.0.lock().unwrap().push(value);
    }
}

static LEDGER: LazyLock<&'static Ledger> = LazyLock::new(|| {
    let ledger: &'static Ledger = Box::leak(Box::default());
    assert!(metrics::set_global_recorder(ledger).is_ok());
    ledger
});

fn line(key: &Key) -> String {
    let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
    format!("{}{{{}}}", key.name(), labels.join(","))
}

impl Ledger {
    fn describe(&self, name: &KeyName, unit: Option<Unit>, text: &str) {
        self.described.lock().unwrap().insert(name.as_str().to_owned(), (unit, text.to_owned()));
    }

    fn counter(&self, line: &str) -> Option<u64> {
        self.counters.lock().unwrap().get(line).map(|count| count.load(Ordering::SeqCst))
    }

    fn gauge(&self, line: &str) -> Option<f64> {
        self.gauges.lock().unwrap().get(line).map(|bits| f64::from_bits(bits.load(Ordering::SeqCst)))
    }

    fn samples(&self, line: &str) -> Vec<f64> {
        self.histograms.lock().unwrap().get(line).unwrap().0.lock().unwrap().clone()
    }
}

/// In pools called `grumpy` gauges panic.
impl Recorder for Ledger {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe(&name, unit, &text);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe(&name, unit, &text);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe(&name, unit, &text);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::clone(self.counters.lock().unwrap().entry(line(key)).or_default()))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        if line(key).contains("pool=grumpy") {
            std::panic::resume_unwind(Box::new("no gauges here"));
        }
        Gauge::from_arc(Arc::clone(self.gauges.lock().unwrap().entry(line(key)).or_default()))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::clone(self.histograms.lock().unwrap().entry(line(key)).or_default()))
    }
}

/// A pool that publishes to the ledger.
fn exporting(name: &str, interval: Duration) -> PoolBuilder {
    LazyLock::force(&LEDGER);
    Pool::builder().name(name).core_threads(2).max_threads(4).export_metrics(interval)
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "it never happened: {what}");
        std::thread::yield_now();
    }
}

fn all_well(tasks: impl IntoIterator<Item = Task<()>>) {
    tasks.into_iter().for_each(|task| task.wait().unwrap());
}

#[test]
fn all_numbers_are_published_while_the_pool_lives() {
    let pool = exporting("living", Duration::from_millis(2)).build().unwrap();
    eventually("the first round", || LEDGER.gauge("sidestep_tasks_running{pool=living}").is_some());
    let (go, gate) = channel::<()>();
    let blocked = pool.spawn(move || gate.recv().unwrap_err());
    all_well((0..9).map(|_| pool.spawn(|| ())));
    let panics = pool.spawn(|| std::panic::resume_unwind(Box::new("quietly")));
    assert!(panics.wait().is_err());
    eventually("the counts", || {
        LEDGER.counter("sidestep_tasks_completed_total{pool=living}") == Some(9)
            && LEDGER.counter("sidestep_tasks_panicked_total{pool=living}") == Some(1)
            && LEDGER.counter("sidestep_tasks_submitted_total{pool=living}") == Some(11)
            && LEDGER.gauge("sidestep_tasks_running{pool=living}") == Some(1.0)
            && LEDGER.gauge("sidestep_tasks_queued{pool=living}") == Some(0.0)
            && LEDGER.gauge("sidestep_threads{pool=living}").is_some_and(|threads| threads >= 1.0)
    });
    drop(go);
    blocked.wait().unwrap();
    eventually("the end of the last", || LEDGER.gauge("sidestep_tasks_running{pool=living}") == Some(0.0));
    for name in ["cancelled", "completed"] {
        assert!(LEDGER.counter(&format!("sidestep_tasks_{name}_total{{pool=living}}")).is_some());
    }
}

#[test]
fn shutdown_resolves_after_the_last_numbers() {
    let pool = exporting("ending", Duration::MAX).build().unwrap();
    all_well((0..100).map(|_| pool.spawn(|| ())));
    pool.shutdown().wait();
    assert_eq!(LEDGER.counter("sidestep_tasks_completed_total{pool=ending}"), Some(100));
    eventually("no thread is left", || LEDGER.gauge("sidestep_threads{pool=ending}") == Some(0.0));
}

#[test]
fn a_pool_that_is_let_go_publishes_its_end() {
    let pool = exporting("let go", Duration::MAX).build().unwrap();
    (0..100).for_each(|_| pool.spawn(|| ()).detach());
    drop(pool);
    eventually("the last numbers", || {
        LEDGER.counter("sidestep_tasks_completed_total{pool=let go}") == Some(100)
            && LEDGER.gauge("sidestep_threads{pool=let go}") == Some(0.0)
    });
}

#[test]
fn times_are_recorded_in_seconds_as_they_happen() {
    const TIME: Duration = Duration::from_millis(5);
    let pool = exporting("timed", Duration::MAX).build().unwrap();
    let lane = pool.lane("narrow", 1);
    let begun = Instant::now();
    let pass = || {
        let begun = Instant::now();
        eventually("some time passes", || begun.elapsed() >= TIME);
    };
    all_well([lane.spawn(pass), lane.spawn(pass), lane.spawn(pass)]);
    let all = begun.elapsed().as_secs_f64();
    all_well([pool.spawn(|| ())]);
    let run = LEDGER.samples("sidestep_lane_task_run_seconds{pool=timed,lane=narrow}");
    assert_eq!(run.len(), 3);
    assert!(run.iter().all(|run| (TIME.as_secs_f64()..=all).contains(run)), "{run:?} of {all}");
    let wait = LEDGER.samples("sidestep_lane_task_wait_seconds{pool=timed,lane=narrow}");
    assert_eq!(wait.len(), 3);
    assert!(wait.iter().any(|wait| (TIME.as_secs_f64()..=all).contains(wait)), "{wait:?} of {all}");
    for name in ["wait", "run"] {
        assert_eq!(LEDGER.samples(&format!("sidestep_task_{name}_seconds{{pool=timed}}")).len(), 4);
    }
}

#[test]
fn lanes_of_one_name_are_summed_up_and_those_that_are_gone_are_not_forgotten() {
    let pool = exporting("lanes", Duration::from_millis(2)).build().unwrap();
    for limit in 1..3 {
        let lane = pool.lane("same", limit);
        all_well((0..10).map(|_| lane.spawn(|| ())));
    }
    all_well([pool.lane("other", 1).spawn(|| ())]);
    // Those of strands have one name at one time.
    let strands = [1, 2].map(|value| sidestep::Strand::on(&pool, value));
    all_well((0..10).map(|number| strands[number % 2].call(|_| ())));
    let completed =
        |lane| LEDGER.counter(&format!("sidestep_lane_tasks_completed_total{{pool=lanes,lane={lane}}}"));
    eventually("the sums", || completed("same") == Some(20) && completed("other") == Some(1));
    eventually("those of strands", || completed("strand") == Some(10));
    eventually("nothing is left", || {
        LEDGER.gauge("sidestep_lane_tasks_running{pool=lanes,lane=same}") == Some(0.0)
    });
    assert_eq!(pool.metrics().tasks_completed(), 31);
}

#[test]
fn how_full_pools_and_lanes_are_can_be_seen() {
    let pool = exporting("full", Duration::from_millis(2)).core_threads(1).max_threads(3).queue_limit(9);
    let pool = pool.build().unwrap();
    let lane = pool.lane_builder("narrow", 2).queue_limit(4).build().unwrap();
    let open = pool.lane("open", 7);
    lane.set_limit(0).unwrap();
    let queued: Vec<_> = (0..4).map(|_| lane.spawn(|| ())).collect();
    assert!(lane.try_spawn(|| ()).is_err());
    let gauge = |line: &str| LEDGER.gauge(line);
    eventually("the gauges", || {
        gauge("sidestep_threads_max{pool=full}") == Some(3.0)
            && gauge("sidestep_threads_core{pool=full}") == Some(1.0)
            && gauge("sidestep_queue_limit{pool=full}") == Some(9.0)
            && gauge("sidestep_lane_limit{pool=full,lane=narrow}") == Some(0.0)
            && gauge("sidestep_lane_queue_limit{pool=full,lane=narrow}") == Some(4.0)
            && gauge("sidestep_lane_tasks_queued{pool=full,lane=narrow}") == Some(4.0)
            && gauge("sidestep_lane_limit{pool=full,lane=open}") == Some(7.0)
    });
    assert_eq!(gauge("sidestep_lane_queue_limit{pool=full,lane=open}"), None, "there is none");
    eventually("the counters", || {
        LEDGER.counter("sidestep_tasks_rejected_total{pool=full}") == Some(1)
            && LEDGER.counter("sidestep_lane_tasks_rejected_total{pool=full,lane=narrow}") == Some(1)
            && LEDGER.counter("sidestep_tasks_expired_total{pool=full}") == Some(0)
            && LEDGER.counter("sidestep_tasks_refused_total{pool=full}") == Some(0)
    });
    lane.set_limit(2).unwrap();
    pool.set_max_threads(2).unwrap();
    all_well(queued);
    eventually("the gauges follow", || {
        gauge("sidestep_lane_limit{pool=full,lane=narrow}") == Some(2.0)
            && gauge("sidestep_threads_max{pool=full}") == Some(2.0)
            && gauge("sidestep_lane_tasks_queued{pool=full,lane=narrow}") == Some(0.0)
    });
    drop(open);
}

#[test]
fn everything_is_described_with_its_unit() {
    let pool = exporting("described", Duration::MAX).build().unwrap();
    all_well([pool.lane("lane", 1).spawn(|| ())]);
    pool.shutdown().wait();
    let described = LEDGER.described.lock().unwrap();
    assert_eq!(described.len(), 33);
    for (name, (unit, text)) in &*described {
        assert!(name.starts_with("sidestep_") && text.ends_with('.'), "{name}: {text}");
        let expected = if name.ends_with("_seconds") { Unit::Seconds } else { Unit::Count };
        assert_eq!(*unit, Some(expected), "{name}");
    }
    let described = |line: &String| described.contains_key(line.split('{').next().unwrap());
    assert!(LEDGER.counters.lock().unwrap().keys().all(described));
    assert!(LEDGER.gauges.lock().unwrap().keys().all(described));
    assert!(LEDGER.histograms.lock().unwrap().keys().all(described));
}

#[test]
fn a_recorder_that_panics_does_no_harm() {
    let pool = exporting("grumpy", Duration::from_millis(1)).build().unwrap();
    all_well((0..100).map(|_| pool.spawn(|| ())));
    eventually("round after round", || {
        LEDGER.counter("sidestep_tasks_completed_total{pool=grumpy}") == Some(100)
    });
    let late = pool.options().expire_after(Duration::ZERO).spawn(|| ());
    assert!(late.wait().unwrap_err().is_expired());
    assert_eq!(pool.shutdown().wait().still_running, 0);
}

#[test]
fn an_interval_of_zero_is_refused() {
    let error = exporting("zero", Duration::ZERO).build().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("export_metrics (0ns)"), "{error}");
}

#[test]
fn without_being_asked_a_pool_publishes_nothing() {
    LazyLock::force(&LEDGER);
    let pool = Pool::builder().name("silent").build().unwrap();
    all_well([pool.spawn(|| ()), pool.lane("silent", 1).spawn(|| ())]);
    pool.shutdown().wait();
    let silent = |line: &String| !line.contains("silent");
    assert!(LEDGER.counters.lock().unwrap().keys().all(silent));
    assert!(LEDGER.histograms.lock().unwrap().keys().all(silent));
}

#[test]
#[cfg(target_os = "linux")]
fn the_thread_that_publishes_ends_with_the_pool() {
    let pool = exporting("brief", Duration::MAX).build().unwrap();
    let is_there = || {
        let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let names = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
        names.into_iter().any(|name| name.trim() == "brief-timer")
    };
    eventually("it starts", is_there);
    drop(pool);
    eventually("it ends", || !is_there());
}
