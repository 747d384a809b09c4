//! The numbers of lanes and of their pool: they agree at every reading.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use sidestep::{Lane, LaneMetrics, Pool};

use crate::support::{check_accounts, check_sound, pool, quiet_panic, soon};

fn check_lane(metrics: &LaneMetrics) {
    let ended = metrics.tasks_completed() + metrics.tasks_panicked() + metrics.tasks_cancelled();
    let all = ended + metrics.tasks_queued() + metrics.tasks_running();
    assert_eq!(all, metrics.tasks_submitted(), "{metrics:?}");
    assert!(metrics.tasks_queued() < 1_000_000 && metrics.tasks_running() < 1_000_000, "{metrics:?}");
}

/// Every kind of end, in each round: seven submissions to the lane.
fn produce(lane: &Lane, rounds: u64) {
    for _ in 0..rounds {
        lane.spawn(|| ()).detach();
        drop(lane.spawn(|| ()));
        lane.spawn(|| quiet_panic("counted")).detach();
        lane.spawn(|| ()).on_complete(drop);
        lane.options().expire_after(Duration::ZERO).spawn(|| ()).detach();
        lane.options().expire_after(Duration::from_micros(100)).spawn(|| ()).detach();
        let inner = lane.clone();
        let _ = lane.spawn(move || inner.pool().spawn(|| ()).detach()).wait_timeout(Duration::ZERO);
    }
}

/// Reads as fast as it can until the producers have ended.
fn hammer(pool: &Pool, lanes: &[Lane], rounds: u64) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut readings = 0_u64;
            while !stop.load(Ordering::SeqCst) {
                lanes.iter().for_each(|lane| check_lane(&lane.metrics()));
                check_accounts(&pool.metrics());
                assert!(pool.metrics().tasks_queued() < 1_000_000, "{:?}", pool.metrics());
                assert!(pool.metrics().tasks_running() < 1_000_000, "{:?}", pool.metrics());
                readings += 1;
            }
            readings
        });
        let producers: Vec<_> = lanes.iter().map(|lane| scope.spawn(move || produce(lane, rounds))).collect();
        producers.into_iter().for_each(|producer| producer.join().unwrap());
        stop.store(true, Ordering::SeqCst);
        assert!(reader.join().unwrap() > 0);
    });
}

#[test]
fn they_agree_at_every_reading() {
    const ROUNDS: u64 = 1500;
    let pool = pool(2, 6);
    let lanes = [pool.lane("one", 1), pool.lane("two", 2), pool.lane("many", 100)];
    hammer(&pool, &lanes, ROUNDS);
    check_sound(&pool);
    let mut sum = 0;
    for lane in &lanes {
        let metrics = lane.metrics();
        check_lane(&metrics);
        assert_eq!((metrics.tasks_queued(), metrics.tasks_running()), (0, 0), "{metrics:?}");
        assert_eq!((metrics.tasks_submitted(), metrics.tasks_panicked()), (7 * ROUNDS, ROUNDS));
        assert!(metrics.tasks_cancelled() >= ROUNDS, "those of no time never run");
        sum += metrics.tasks_submitted();
    }
    let own = pool.metrics().tasks_submitted() - sum - 100;
    assert!(own <= 3 * ROUNDS, "{own}");
    drop(lanes);
    check_accounts(&pool.metrics());
    assert_eq!(pool.metrics().tasks_submitted(), sum + own + 100, "lanes that are gone still count");
}

#[test]
fn an_end_is_counted_before_its_result_is_seen() {
    let pool = pool(2, 2);
    let lane = pool.lane("one", 1);
    for number in 1..=2000 {
        soon(lane.spawn(|| ())).unwrap();
        let metrics = lane.metrics();
        assert_eq!((metrics.tasks_completed(), metrics.tasks_running()), (number, 0));
        soon(lane.spawn(|| quiet_panic("counted"))).unwrap_err();
        let metrics = lane.metrics();
        assert_eq!((metrics.tasks_panicked(), metrics.tasks_running()), (number, 0));
        let all = pool.metrics();
        assert_eq!((all.tasks_completed(), all.tasks_panicked(), all.tasks_running()), (number, number, 0));
    }
}
