//! Histograms of how long tasks wait and run: complete, apart for each lane, and only where they
//! are asked for.

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};

use sidestep::{Histogram, LaneMetrics, Metrics, Pool};

use crate::support::{Gate, all_well, check_accounts, eventually, occupy, pool, quiet_panic, soon};

fn timed(core: usize, max: usize) -> Pool {
    Pool::builder().core_threads(core).max_threads(max).histograms(true).build().unwrap()
}

/// How many waits and runs have been recorded.
fn counts(metrics: &Metrics) -> (u64, u64) {
    (metrics.wait_times().unwrap().count(), metrics.run_times().unwrap().count())
}

fn lane_counts(metrics: &LaneMetrics) -> (u64, u64) {
    (metrics.wait_times().unwrap().count(), metrics.run_times().unwrap().count())
}

/// Lets time pass until `since` is at least `time` ago.
fn pass(since: Instant, time: Duration) {
    while since.elapsed() < time {
        std::thread::yield_now();
    }
}

#[test]
fn nothing_is_recorded_unless_it_is_asked_for() {
    let unasked = [pool(1, 2), Pool::builder().histograms(true).histograms(false).build().unwrap()];
    for pool in unasked {
        let lane = pool.lane("lane", 1);
        soon(lane.spawn(|| ())).unwrap();
        let metrics = pool.metrics();
        assert!(metrics.wait_times().is_none() && metrics.run_times().is_none());
        let metrics = lane.metrics();
        assert!(metrics.wait_times().is_none() && metrics.run_times().is_none());
    }
    let asked = timed(1, 2);
    assert!(asked.metrics().wait_times().is_some_and(Histogram::is_empty));
    assert!(asked.lane("lane", 1).metrics().run_times().is_some_and(Histogram::is_empty));
}

#[test]
fn a_task_that_waits_behind_a_gate_has_waited_and_one_that_blocks_has_run() {
    const TIME: Duration = Duration::from_millis(5);
    let pool = timed(1, 1);
    let gate = Gate::new();
    let began = Instant::now();
    let first = occupy(&pool, &gate);
    let running = Instant::now();
    let second = pool.spawn(|| ());
    let queued = Instant::now();
    pass(queued, TIME);
    gate.open();
    all_well([first, second]);
    let most = began.elapsed();
    assert!(queued - running < most);
    let metrics = pool.metrics();
    let (wait, run) = (metrics.wait_times().unwrap(), metrics.run_times().unwrap());
    assert_eq!((wait.count(), run.count()), (2, 2));
    // The values are right to a percent.
    let ceiling = most + most / 100;
    for times in [wait, run] {
        assert!(times.max() >= TIME && times.max() <= ceiling, "{times:?} within {most:?}");
        assert!(times.min() <= times.mean() && times.mean() <= times.max(), "{times:?}");
        assert_eq!(times.quantile(1.0), times.max());
        assert!(times.quantile(0.5) <= times.quantile(0.99), "{times:?}");
    }
}

#[test]
fn each_task_that_begins_is_recorded_and_no_other() {
    let pool = timed(1, 1);
    let gate = Gate::new();
    let first = occupy(&pool, &gate);
    let cancelled: Vec<_> = (0..10).map(|_| pool.spawn(|| ())).collect();
    let expired = pool.options().expire_after(Duration::ZERO).spawn(|| ());
    drop(cancelled);
    assert!(soon(expired).unwrap_err().is_expired());
    assert_eq!(counts(&pool.metrics()), (1, 0), "one has begun, none has ended");
    gate.open();
    soon(first).unwrap();
    for number in 0..50 {
        let task = pool.spawn(move || {
            if number % 5 == 0 {
                quiet_panic("a fifth")
            }
        });
        assert_eq!(soon(task).is_err(), number % 5 == 0);
        assert_eq!(counts(&pool.metrics()), (number + 2, number + 2), "counted before the result is seen");
    }
    let metrics = pool.metrics();
    check_accounts(&metrics);
    let ended = metrics.tasks_completed() + metrics.tasks_panicked();
    assert_eq!((ended, metrics.tasks_cancelled()), (51, 11));
    assert_eq!(counts(&metrics), (ended, ended));
}

#[test]
fn every_way_to_spawn_is_recorded() {
    let pool = timed(2, 4);
    let lane = pool.lane("lane", 2);
    all_well([pool.spawn(|| ()), lane.spawn(|| ()), pool.options().name("named").spawn(|| ())]);
    all_well([pool.try_spawn(|| ()).unwrap(), lane.try_spawn(|| ()).unwrap()]);
    all_well([pool.reserve().wait().unwrap().spawn(|| ()), lane.reserve().wait().unwrap().spawn(|| ())]);
    assert!(pool.spawn_batch((0..10).map(|n| move || n)).wait().into_iter().all(|result| result.is_ok()));
    pool.scope(|scope| (0..3).for_each(|_| drop(scope.spawn(|| ()))));
    let inner = pool.clone();
    soon(pool.spawn(move || inner.spawn(|| ()).wait().unwrap())).unwrap();
    let metrics = pool.metrics();
    let ended = metrics.tasks_completed();
    assert_eq!(counts(&metrics), (ended, ended));
    assert!(ended >= 19, "{metrics:?}");
    assert_eq!(lane_counts(&lane.metrics()), (3, 3));
}

#[test]
fn lanes_are_apart_and_the_pool_has_them_all() {
    let pool = timed(2, 2);
    let (fast, slow) = (pool.lane("fast", 2), pool.lane("slow", 1));
    all_well((0..20).map(|_| fast.spawn(|| ())).collect::<Vec<_>>());
    let time = Duration::from_millis(3);
    all_well((0..3).map(|_| slow.spawn(move || pass(Instant::now(), time))).collect::<Vec<_>>());
    all_well((0..7).map(|_| pool.spawn(|| ())).collect::<Vec<_>>());
    assert_eq!((lane_counts(&fast.metrics()), lane_counts(&slow.metrics())), ((20, 20), (3, 3)));
    assert_eq!(counts(&pool.metrics()), (30, 30));
    let metrics = slow.metrics();
    assert!(metrics.run_times().is_some_and(|run| run.min() >= time - time / 100), "{metrics:?}");
    // The second waits for the first, the third for both.
    assert!(metrics.wait_times().is_some_and(|wait| wait.quantile(0.5) >= time), "{metrics:?}");
    drop((fast, slow));
    assert_eq!(counts(&pool.metrics()), (30, 30), "a lane that goes takes nothing along");
}

#[test]
fn nothing_is_lost_among_many_threads() {
    const EACH: u64 = 2000;
    let pool = timed(4, 16);
    let lane = pool.lane("lane", 3);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..EACH).for_each(|_| pool.spawn(|| ()).detach()));
            scope.spawn(|| (0..EACH).for_each(|_| lane.spawn(|| ()).detach()));
        }
        for _ in 0..20 {
            let metrics = pool.metrics();
            let (wait, run) = counts(&metrics);
            assert!(run <= wait && wait <= 6 * EACH, "{run} of {wait}");
            assert!(run >= metrics.tasks_completed(), "an end is counted before it is recorded: {metrics:?}");
        }
    });
    eventually("all tasks end", || pool.metrics().tasks_completed() == 6 * EACH);
    assert_eq!(counts(&pool.metrics()), (6 * EACH, 6 * EACH));
    assert_eq!(lane_counts(&lane.metrics()), (3 * EACH, 3 * EACH));
}

#[test]
fn readings_can_be_compared_and_go_anywhere() {
    fn check<T: Clone + Eq + Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + std::fmt::Debug + 'static>() {
    }
    check::<Histogram>();
    let pool = timed(1, 1);
    soon(pool.spawn(|| ())).unwrap();
    let (first, second) = (pool.metrics(), pool.metrics());
    assert_eq!(first.run_times(), second.run_times());
    soon(pool.spawn(|| ())).unwrap();
    assert_ne!(first.run_times(), pool.metrics().run_times());
    assert!(format!("{:?}", first.run_times()).contains("count: 1, min: "));
}
