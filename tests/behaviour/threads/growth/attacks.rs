//! Attacks on pools whose threads compute.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::{block_for, compute, pool, tiny, wait_all};
use crate::support::{builder, eventually};
use sidestep::Lane;

const CORE: usize = 2;

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
