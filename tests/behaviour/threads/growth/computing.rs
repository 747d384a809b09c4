//! Threads that compute for long: what is short does not wait for them, and they do not become
//! many.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sidestep::{Lane, Pool, Task};

use super::{block_for, compute, pool, tiny, wait_all};
use crate::support::{also_by_time_alone, builder, eventually, keeps_to, soon, thread_states};

const CORE: usize = 2;

/// A lane that is kept full of closures that compute, until this is dropped.
struct FullLane {
    lane: Lane,
    end: Arc<AtomicBool>,
    begun: Arc<AtomicUsize>,
}

impl FullLane {
    fn new(pool: &Pool, limit: usize, millis: u64) -> Self {
        let full = FullLane {
            lane: pool.lane("computing", limit),
            end: Arc::new(AtomicBool::new(false)),
            begun: Arc::new(AtomicUsize::new(0)),
        };
        (0..2 * limit).for_each(|_| feed(&full.lane, &full.end, &full.begun, millis));
        full
    }

    /// How many of its closures begin between a call of the pool's own and its start.
    fn overtakes(&self, pool: &Pool) -> usize {
        let (begun, before) = (Arc::clone(&self.begun), self.begun.load(Ordering::SeqCst));
        soon(pool.spawn(move || begun.load(Ordering::SeqCst))).unwrap() - before
    }
}

/// A closure that computes, and sees to it that another one follows.
fn feed(lane: &Lane, end: &Arc<AtomicBool>, begun: &Arc<AtomicUsize>, millis: u64) {
    if end.load(Ordering::SeqCst) {
        return;
    }
    let (inner, end, begun) = (lane.clone(), Arc::clone(end), Arc::clone(begun));
    let task = move || {
        begun.fetch_add(1, Ordering::SeqCst);
        compute(millis);
        feed(&inner, &end, &begun, millis);
    };
    lane.spawn(task).detach();
}

impl Drop for FullLane {
    fn drop(&mut self) {
        self.end.store(true, Ordering::SeqCst);
    }
}

#[test]
fn short_calls_pass_a_lane_that_computes() {
    for limit in [1, CORE, 2 * CORE] {
        let pool = pool(CORE);
        // By time alone a thread is occupied after 20 ms.
        let full = FullLane::new(&pool, limit, if thread_states() { 20 } else { 80 });
        let mut counts = [0; 60].map(|_: i32| {
            block_for(Duration::from_millis(5));
            full.overtakes(&pool)
        });
        counts.sort_unstable();
        assert_eq!(counts[30], 0, "most calls find a thread that is free: {counts:?} in a lane of {limit}");
        let peak = pool.metrics().threads_peak();
        assert!(peak <= limit + 2 * CORE, "{peak} threads");
        drop(full);
        pool.shutdown().wait();
    }
}

#[test]
fn a_lane_that_computes_does_not_have_its_next_turn_first() {
    // There can be no thread more: whoever ends a closure of the lane has to look at what else
    // waits.
    let pool = builder().core_threads(CORE).max_threads(CORE).build().unwrap();
    let full = FullLane::new(&pool, CORE, 20);
    let mut counts = [0; 20].map(|_: i32| {
        block_for(Duration::from_millis(15));
        full.overtakes(&pool)
    });
    counts.sort_unstable();
    assert!(counts[10] <= 1, "each of two threads may begin one before the other ends: {counts:?}");
    drop(full);
    pool.shutdown().wait();
}

#[test]
fn a_lane_that_computes_alone_needs_few_more_threads() {
    keeps_to(2 * CORE, || {
        let pool = pool(CORE);
        let lane = pool.lane("computing", 8);
        wait_all((0..40).map(|_| lane.spawn(|| compute(10))).collect());
        pool.metrics().threads_peak()
    });
}

/// So many computations, and the most threads that there may be besides one for each 500 ms in
/// which nothing ended.
fn check_flood(count: usize, millis: u64) {
    keeps_to(4 * CORE + 1, || {
        let pool = pool(CORE);
        let start = Instant::now();
        wait_all((0..count).map(|_| pool.spawn(move || compute(millis))).collect());
        pool.metrics().threads_peak().saturating_sub(start.elapsed().as_millis() as usize / 500)
    });
}

#[test]
fn a_flood_of_computations_is_no_flood_of_threads() {
    check_flood(40, 30);
    check_flood(20, 100);
}

#[test]
fn short_calls_pass_a_handful_of_computations() {
    let attempt = |count| {
        let pool = pool(CORE);
        let running = Arc::new(AtomicUsize::new(0));
        let one = |_| {
            let running = Arc::clone(&running);
            pool.spawn(move || {
                running.fetch_add(1, Ordering::SeqCst);
                compute(300);
                running.fetch_sub(1, Ordering::SeqCst);
            })
        };
        let tasks: Vec<_> = (0..count).map(one).collect();
        let busy = Arc::clone(&running);
        let beside = soon(pool.spawn(move || busy.load(Ordering::SeqCst))).unwrap();
        assert!(beside >= CORE, "{beside} of {count} compute while it runs");
        wait_all(tasks);
        pool.metrics().threads_peak()
    };
    for count in [CORE, 2 * CORE, 4 * CORE] {
        keeps_to(4 * CORE + 1, || attempt(count));
    }
}

#[test]
fn lanes_that_compute_do_not_keep_other_lanes_from_threads() {
    let pool = pool(CORE);
    let full = FullLane::new(&pool, 2 * CORE, 20);
    let other = pool.lane("short", 4);
    let calls: Vec<Task<usize>> = (0..100)
        .map(|_| {
            let begun = Arc::clone(&full.begun);
            other.spawn(move || begun.load(Ordering::SeqCst))
        })
        .collect();
    let seen = wait_all(calls);
    let last = seen.iter().max().unwrap();
    assert!(last - seen[0] <= 4 * CORE, "they went one after another: {seen:?}");
    drop(full);
    pool.shutdown().wait();
}

/// Computes until `end`.
fn compute_until(end: &AtomicBool) {
    while !end.load(Ordering::SeqCst) {
        std::hint::black_box(tiny());
    }
}

/// The monitor has nothing to do where what waits in a full lane waits for a slot.
#[test]
#[cfg(target_os = "linux")]
fn the_monitor_sleeps_beside_a_full_lane() {
    let pool = builder().core_threads(4).name("full").build().unwrap();
    let (lane, end) = (pool.lane("computing", 2), Arc::new(AtomicBool::new(false)));
    let spin = |_| {
        let end = Arc::clone(&end);
        lane.spawn(move || compute_until(&end))
    };
    let tasks: Vec<_> = (0..20).map(spin).collect();
    eventually("two run", || pool.metrics().tasks_running() == 2);
    // Twenty quiet looks, and then none.
    block_for(Duration::from_millis(200));
    let before = crate::support::sleeps("full-monitor");
    block_for(Duration::from_millis(300));
    assert_eq!(crate::support::sleeps("full-monitor"), before);
    end.store(true, Ordering::SeqCst);
    wait_all(tasks);
}

#[test]
fn a_shutdown_among_computations_loses_nothing() {
    for round in 0..30_u64 {
        let pool = pool(CORE);
        let lanes: Vec<Lane> = (0..3).map(|number| pool.lane(format!("{number}"), 1 + number)).collect();
        let ended = Arc::new(AtomicUsize::new(0));
        let task = |lane: Option<&Lane>| {
            let count = Arc::clone(&ended);
            let end = move |_| {
                count.fetch_add(1, Ordering::SeqCst);
            };
            let job = move || compute(6);
            lane.map_or_else(|| pool.spawn(job), |lane| lane.spawn(job)).on_complete(end);
        };
        (0..12).for_each(|_| task(None));
        lanes.iter().for_each(|lane| (0..4).for_each(|_| task(Some(lane))));
        block_for(Duration::from_millis(2 * (round % 10)));
        let shutdown = pool.shutdown();
        let report = if round % 2 == 0 { shutdown.wait() } else { shutdown.discard_queued().wait() };
        assert_eq!(report.still_running, 0, "{report:?}");
        assert_eq!(ended.load(Ordering::SeqCst), 24);
        crate::support::check_accounts(&pool.metrics());
    }
}

also_by_time_alone! {
    short_calls_pass_a_lane_that_computes,
    a_lane_that_computes_does_not_have_its_next_turn_first,
    a_lane_that_computes_alone_needs_few_more_threads,
    a_flood_of_computations_is_no_flood_of_threads,
    short_calls_pass_a_handful_of_computations,
    lanes_that_compute_do_not_keep_other_lanes_from_threads,
}
