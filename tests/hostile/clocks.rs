//! Durations at their ends, wherever one is taken: none overflows, waits where it should not or
//! ends what it should not.

use std::time::{Duration, Instant};

use sidestep::{EventLoop, OnShutdown, Pool, Task, current};

use crate::support::{Gate, check_sound, occupy, pool, soon};

/// For practical purposes for ever. The last but one fits into an `Instant` on Linux, together with
/// what it is now.
const EVERS: [Duration; 5] = [
    Duration::MAX,
    Duration::from_secs(u64::MAX / 2),
    Duration::from_nanos(u64::MAX),
    Duration::from_secs(i64::MAX as u64 / 2),
    Duration::from_secs(1 << 40),
];

/// A pool of one thread that is busy until the gate opens.
fn busy() -> (Pool, Gate, Task<()>) {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let running = occupy(&pool, &gate);
    (pool, gate, running)
}

#[test]
fn a_wait_for_ever_ends_with_the_task_and_one_of_no_time_at_once() {
    for ever in EVERS {
        let (pool, gate, running) = busy();
        let task = pool.spawn(|| 42).wait_timeout(Duration::ZERO).unwrap_err();
        let task = task.wait_timeout(Duration::from_nanos(1)).unwrap_err();
        let opener = std::thread::spawn(move || gate.open());
        assert_eq!(task.wait_timeout(ever).unwrap().unwrap(), 42);
        opener.join().unwrap();
        soon(running).unwrap();
    }
}

#[test]
fn a_task_expires_at_once_or_never() {
    for ever in EVERS {
        let (pool, gate, running) = busy();
        let kept = pool.options().expire_after(ever).on_shutdown(OnShutdown::AlwaysRun).spawn(|| 42);
        let lane = pool.lane("narrow", 1);
        let in_lane = lane.options().expire_after(ever).spawn(|| 43);
        for none in [Duration::ZERO, Duration::from_nanos(1)] {
            assert!(soon(pool.options().expire_after(none).spawn(|| ())).unwrap_err().is_expired());
            assert!(soon(lane.options().expire_after(none).spawn(|| ())).unwrap_err().is_expired());
        }
        gate.open();
        assert_eq!((soon(kept).unwrap(), soon(in_lane).unwrap()), (42, 43));
        soon(running).unwrap();
        check_sound(&pool);
    }
}

#[test]
fn a_shutdown_waits_for_ever_or_not_at_all() {
    for ever in EVERS {
        let (pool, gate, running) = busy();
        assert_eq!(pool.shutdown().timeout(Duration::ZERO).wait().still_running, 1);
        assert_eq!(sidestep::block_on(pool.shutdown().timeout(Duration::ZERO)).still_running, 1);
        let opener = std::thread::spawn(move || gate.open());
        assert_eq!(sidestep::block_on(pool.shutdown().timeout(ever)).still_running, 0);
        assert_eq!(pool.shutdown().timeout(ever).wait().still_running, 0);
        opener.join().unwrap();
        soon(running).unwrap();
    }
}

#[test]
fn timers_of_a_loop_are_due_at_once_or_never() {
    let pool = pool(1, 1);
    for ever in EVERS {
        let mut ev = EventLoop::on(&pool);
        let late = ev.after(ever, |_| unreachable!("it is never due"));
        ev.after(Duration::ZERO, |_| ());
        ev.after(Duration::from_nanos(1), |ev| ev.post(|_| ()));
        let mut ran = 0;
        while ran < 3 {
            ran += ev.turn(ever).ran();
        }
        assert_eq!(ev.turn(Duration::ZERO).ran(), 0);
        assert!(!ev.turn(Duration::from_nanos(1)).is_done());
        ev.offload(|| 1, move |_, _| late.cancel());
        ev.run();
    }
}

#[test]
fn threads_stay_for_ever_or_leave_at_once() {
    for keep_alive in EVERS.into_iter().chain([Duration::ZERO, Duration::from_nanos(1)]) {
        let builder = Pool::builder().core_threads(1).max_threads(4).keep_alive(keep_alive);
        let pool = builder.build().unwrap();
        let gate = Gate::new();
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let pass = gate.clone();
                pool.spawn(move || current::will_block(|| pass.pass()))
            })
            .collect();
        gate.open();
        tasks.into_iter().for_each(|task| soon(task).unwrap());
        check_sound(&pool);
        assert_eq!(pool.shutdown().wait().still_running, 0);
        assert_eq!(pool.metrics().threads(), 0);
    }
}

#[test]
fn warnings_come_for_everything_or_for_nothing() {
    for limit in EVERS.into_iter().chain([Duration::ZERO, Duration::from_nanos(1)]) {
        let pool = Pool::builder().max_threads(2).warn_after(limit).build().unwrap();
        let gate = Gate::new();
        let running = occupy(&pool, &gate);
        let begin = Instant::now();
        while begin.elapsed().is_zero() {}
        assert_eq!(pool.long_running(Duration::ZERO).len(), 1);
        assert!(EVERS.iter().all(|ever| pool.long_running(*ever).is_empty()));
        gate.open();
        soon(running).unwrap();
        check_sound(&pool);
    }
}

#[test]
#[cfg(feature = "metrics")]
fn numbers_are_published_all_the_time_or_hardly_ever() {
    for interval in EVERS.into_iter().chain([Duration::from_nanos(1)]) {
        let pool = Pool::builder().max_threads(2).export_metrics(interval).build().unwrap();
        check_sound(&pool);
        assert_eq!(pool.shutdown().wait().still_running, 0);
    }
}
