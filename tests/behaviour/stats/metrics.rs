//! The numbers: submitted = completed + panicked + cancelled + queued + running, at every reading,
//! and each end is counted before anybody can see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use sidestep::{Metrics, Pool, current};

use crate::support::{
    Gate, PATIENCE, all_well, check_accounts, check_sound, eventually, occupy, pool, quiet_panic, soon,
};

const PRODUCERS: u64 = 3;
const ROUNDS: u64 = 2000;

/// Every kind of task, each round: eight submissions of which two panic, one is cancelled for
/// certain and one with some luck, and one spawns another.
fn produce(pool: &Pool) {
    for round in 0..ROUNDS {
        let inner = pool.clone();
        let nested = pool.spawn(move || inner.spawn(|| ()).detach());
        drop(pool.spawn(|| ()));
        pool.spawn(|| ()).detach();
        pool.spawn(|| quiet_panic("detached")).detach();
        pool.spawn(|| ()).on_complete(drop);
        let panics = pool.spawn(|| quiet_panic("awaited"));
        let _ = pool.spawn(current::is_cancelled).cancel().wait();
        if round % 8 == 0 {
            assert!(soon(panics).unwrap_err().is_panic());
            soon(nested).unwrap();
        } else {
            panics.detach();
            nested.detach();
        }
    }
}

/// Checks two readings, the second taken after the first.
fn check_readings(old: &Metrics, new: &Metrics) {
    check_accounts(new);
    let most = PRODUCERS * ROUNDS * 8;
    assert!(new.tasks_queued() <= most && new.tasks_running() <= most, "{new:?}");
    assert!(new.tasks_submitted() >= old.tasks_submitted(), "{old:?} {new:?}");
    assert!(new.tasks_completed() >= old.tasks_completed(), "{old:?} {new:?}");
    assert!(new.tasks_panicked() >= old.tasks_panicked(), "{old:?} {new:?}");
    assert!(new.tasks_cancelled() >= old.tasks_cancelled(), "{old:?} {new:?}");
    assert!(new.threads_peak() >= old.threads_peak() && new.threads() <= new.threads_peak(), "{new:?}");
}

#[test]
fn they_agree_at_every_reading_while_threads_hammer() {
    let pool = Pool::builder().core_threads(2).max_threads(4).keep_alive(Default::default()).build().unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut old = pool.metrics();
            let mut readings = 0_u64;
            while !stop.load(Ordering::SeqCst) {
                let new = pool.metrics();
                check_readings(&old, &new);
                old = new;
                readings += 1;
            }
            readings
        });
        let producers: Vec<_> = (0..PRODUCERS).map(|_| scope.spawn(|| produce(&pool))).collect();
        producers.into_iter().for_each(|producer| producer.join().unwrap());
        stop.store(true, Ordering::SeqCst);
        assert!(reader.join().unwrap() > 0);
    });
    check_sound(&pool);
    let metrics = pool.metrics();
    assert_eq!(metrics.tasks_panicked(), 2 * PRODUCERS * ROUNDS);
    let submitted = metrics.tasks_submitted() - 100;
    assert!((7 * PRODUCERS * ROUNDS..=8 * PRODUCERS * ROUNDS).contains(&submitted), "{metrics:?}");
    pool.shutdown().wait();
    assert_eq!(pool.metrics().tasks_submitted(), metrics.tasks_submitted());
}

#[test]
fn an_end_is_counted_before_its_result_is_seen() {
    let pool = pool(2, 2);
    for number in 1..=2000 {
        pool.spawn(|| ()).wait().unwrap();
        assert_eq!((pool.metrics().tasks_completed(), pool.metrics().tasks_running()), (2 * number - 1, 0));
        pool.spawn(|| quiet_panic("counted")).wait().unwrap_err();
        assert_eq!((pool.metrics().tasks_panicked(), pool.metrics().tasks_running()), (number, 0));
        sidestep::block_on(pool.spawn(|| ())).unwrap();
        assert_eq!((pool.metrics().tasks_completed(), pool.metrics().tasks_running()), (2 * number, 0));
        assert_eq!((pool.metrics().tasks_submitted(), pool.metrics().tasks_queued()), (3 * number, 0));
    }
}

#[test]
fn a_callback_sees_its_own_task_counted() {
    let pool = pool(1, 1);
    let (send, receive) = channel();
    for number in 1..=100 {
        let (send, inner) = (send.clone(), pool.clone());
        let gate = Gate::new();
        let pass = gate.clone();
        pool.spawn(move || pass.pass()).on_complete(move |_| send.send(inner.metrics()).unwrap());
        gate.open();
        let seen: Metrics = receive.recv().unwrap();
        assert_eq!((seen.tasks_completed(), seen.tasks_running()), (number, 0));
    }
}

#[test]
fn a_cancellation_is_counted_before_the_closure_is_gone() {
    struct Count(Pool, std::sync::mpsc::Sender<Metrics>);
    impl Drop for Count {
        fn drop(&mut self) {
            self.1.send(self.0.metrics()).unwrap();
        }
    }
    let pool = pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let (send, receive) = channel();
    let count = Count(pool.clone(), send);
    drop(pool.spawn(move || drop(count)));
    let seen = receive.recv().unwrap();
    assert_eq!((seen.tasks_cancelled(), seen.tasks_queued()), (1, 0));
    gate.open();
    soon(running).unwrap();
}

#[test]
fn each_stage_shows() {
    let pool = pool(2, 2);
    let gate = Gate::new();
    let running = [occupy(&pool, &gate), occupy(&pool, &gate)];
    let queued: Vec<_> = (0..7).map(|_| pool.spawn(|| ())).collect();
    let metrics = pool.metrics();
    assert_eq!((metrics.tasks_submitted(), metrics.tasks_queued(), metrics.tasks_running()), (9, 7, 2));
    assert_eq!((metrics.threads(), metrics.threads_idle(), metrics.threads_blocked()), (2, 0, 0));
    gate.open();
    all_well(running.into_iter().chain(queued));
    check_sound(&pool);
    eventually("both threads are idle", || pool.metrics().threads_idle() == 2);
}

#[test]
fn all_is_zero_after_a_shutdown() {
    for round in 0..50 {
        let pool = pool(2, 8);
        let gate = Gate::new();
        let tasks: Vec<_> = (0..40)
            .map(|number| {
                let pass = gate.clone();
                pool.spawn(move || {
                    if number < 4 {
                        pass.pass()
                    }
                })
            })
            .collect();
        let shutdown = pool.shutdown();
        gate.open();
        let shutdown = if round % 2 == 0 { shutdown } else { shutdown.discard_queued() };
        assert_eq!(shutdown.wait().still_running, 0);
        let metrics = pool.metrics();
        check_accounts(&metrics);
        assert_eq!((metrics.tasks_queued(), metrics.tasks_running()), (0, 0), "{metrics:?}");
        assert_eq!(
            (metrics.threads(), metrics.threads_idle(), metrics.threads_blocked()),
            (0, 0, 0),
            "{metrics:?}"
        );
        assert_eq!(metrics.tasks_submitted(), 40);
        drop(tasks);
        assert_eq!(pool.metrics(), metrics, "handles of ended tasks change nothing");
    }
}

#[test]
fn refused_tasks_were_not_submitted() {
    let pool = Pool::builder().max_threads(1).queue_limit(1).build().unwrap();
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let queued = pool.spawn(|| ());
    assert!(pool.spawn(|| ()).wait().unwrap_err().is_full());
    assert!(pool.try_spawn(|| ()).is_err());
    let metrics = pool.metrics();
    assert_eq!((metrics.tasks_submitted(), metrics.tasks_cancelled()), (2, 0));
    gate.open();
    soon(running).unwrap();
    soon(queued).unwrap();
    pool.shutdown().wait();
    assert!(pool.spawn(|| ()).wait().unwrap_err().is_shutdown());
    assert!(pool.try_spawn(|| ()).is_err());
    assert_eq!(pool.metrics().tasks_submitted(), 2);
}

#[test]
fn the_numbers_of_a_fresh_pool() {
    let pool = pool(2, 2);
    let metrics = pool.metrics();
    assert_eq!((metrics.tasks_submitted(), metrics.growth_steps(), metrics.spawn_failures()), (0, 0, 0));
    eventually("its first thread is idle", || pool.metrics().threads_idle() == 1);
    assert_eq!((pool.metrics().threads(), pool.metrics().threads_peak()), (1, 1));
    let shared = Arc::new(pool);
    assert_eq!(shared.clone().metrics(), shared.metrics());
}

/// An idle counter is raised twice, or runs below zero at shutdown: tokio.
// Origin: pitfall 6
#[test]
fn all_counts_are_zero_after_a_shutdown() {
    for round in 0..100 {
        let pool = Pool::builder().core_threads(2).max_threads(4).keep_alive(Duration::ZERO).build().unwrap();
        (0..round % 7).for_each(|_| pool.spawn(|| ()).detach());
        assert_eq!(pool.shutdown().timeout(PATIENCE).wait().still_running, 0);
        let metrics = pool.metrics();
        check_accounts(&metrics);
        assert_eq!((metrics.threads(), metrics.threads_idle(), metrics.threads_blocked()), (0, 0, 0));
        assert_eq!((metrics.tasks_queued(), metrics.tasks_running()), (0, 0));
    }
}
