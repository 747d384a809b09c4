//! Cancelling and expiring, where the side allocation is the spawner's: hooks run once, and not
//! after their guard.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use sidestep::{Pool, Task, current};

use crate::support::{Drops, Gate, check_sound, counter, occupy, pool, soon};

/// A task with a side allocation from its spawner.
fn with_options<T: Send + 'static>(pool: &Pool, f: impl FnOnce() -> T + Send + 'static) -> Task<T> {
    pool.options().name("optional").expire_after(Duration::from_secs(3600)).spawn(f)
}

#[test]
fn a_hook_of_a_task_with_options_runs_once() {
    let pool = pool(1, 1);
    let (ready, gate) = (Gate::new(), Gate::new());
    let (announce, pass) = (ready.clone(), gate.clone());
    let (count, bump) = counter();
    let task = with_options(&pool, move || {
        let late = bump.clone();
        let _guard = current::on_cancel(bump);
        announce.open();
        pass.pass();
        drop(current::on_cancel(late));
    });
    ready.pass();
    let handle = task.cancel_handle();
    handle.cancel();
    handle.cancel();
    assert_eq!(count.load(Ordering::SeqCst), 1);
    gate.open();
    task.cancel().wait().unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 2, "a late hook runs at once");
    check_sound(&pool);
}

#[test]
fn a_cancel_before_the_first_hook_is_seen_by_it() {
    let pool = pool(1, 1);
    let (ready, gate) = (Gate::new(), Gate::new());
    let (announce, pass) = (ready.clone(), gate.clone());
    let task = with_options(&pool, move || {
        announce.open();
        pass.pass();
        let (count, bump) = counter();
        drop(current::on_cancel(bump));
        (count.load(Ordering::SeqCst), current::is_cancelled())
    });
    ready.pass();
    let end = task.cancel();
    gate.open();
    assert_eq!(end.wait().unwrap(), (1, true));
}

#[test]
fn a_hook_never_runs_after_its_guard() {
    let pool = pool(2, 2);
    for round in 0..2000 {
        let (runs, late, started) = (Arc::default(), Arc::default(), Gate::new());
        let (counted, counted_late): (Arc<AtomicUsize>, Arc<AtomicUsize>) =
            (Arc::clone(&runs), Arc::clone(&late));
        let announce = started.clone();
        let closure = move || {
            announce.open();
            for _ in 0..3 {
                let gone = Arc::new(AtomicBool::new(false));
                let (seen, counted, late) =
                    (Arc::clone(&gone), Arc::clone(&counted), Arc::clone(&counted_late));
                // A panic in a hook reaches nobody: it has to count.
                let guard = current::on_cancel(move || {
                    let count = if seen.load(Ordering::SeqCst) { late } else { counted };
                    count.fetch_add(1, Ordering::SeqCst);
                });
                drop(guard);
                gone.store(true, Ordering::SeqCst);
            }
        };
        let task = if round % 2 == 0 { with_options(&pool, closure) } else { pool.spawn(closure) };
        started.pass();
        let handles = [task.cancel_handle(), task.cancel_handle()];
        thread::scope(|scope| {
            for handle in &handles {
                scope.spawn(|| handle.cancel());
            }
        });
        soon(task).unwrap();
        assert!(runs.load(Ordering::SeqCst) <= 3);
        assert_eq!(late.load(Ordering::SeqCst), 0, "after its guard");
    }
    check_sound(&pool);
}

#[test]
fn expiry_and_cancellation_race_for_one_end() {
    let pool = pool(1, 1);
    let (drops, ran) = (Drops::new(), Arc::new(AtomicUsize::new(0)));
    let (mut expired, mut cancelled) = (0, 0);
    const ROUNDS: usize = 300;
    for round in 0..ROUNDS {
        let gate = Gate::new();
        let busy = occupy(&pool, &gate);
        let (token, counted) = (drops.token(), Arc::clone(&ran));
        let time = Duration::from_micros(round as u64);
        let task = pool.options().expire_after(time).spawn(move || {
            drop(token);
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let handle = task.cancel_handle();
        (0..round).for_each(|_| thread::yield_now());
        handle.cancel();
        let error = soon(task).unwrap_err();
        expired += usize::from(error.is_expired());
        cancelled += usize::from(error.is_cancelled());
        gate.open();
        soon(busy).unwrap();
    }
    assert_eq!((expired + cancelled, drops.count(), ran.load(Ordering::SeqCst)), (ROUNDS, ROUNDS, 0));
    assert_eq!(pool.metrics().tasks_cancelled(), ROUNDS as u64);
    check_sound(&pool);
}

#[test]
fn expiry_and_the_beginning_race_for_one_end() {
    let pool = pool(2, 2);
    let lane = pool.lane_builder("lane", 1).queue_limit(1000).build().unwrap();
    let (drops, ran) = (Drops::new(), Arc::new(AtomicUsize::new(0)));
    let tasks: Vec<_> = (0..4000)
        .map(|n| {
            let (token, counted) = (drops.token(), Arc::clone(&ran));
            let options = if n % 2 == 0 { pool.options() } else { lane.options() };
            options.expire_after(Duration::from_micros(n % 50)).spawn(move || {
                drop(token);
                counted.fetch_add(1, Ordering::SeqCst);
            })
        })
        .collect();
    let mut ends = 0;
    for task in tasks {
        match soon(task) {
            Ok(()) => ends += 1,
            Err(error) => assert!(error.is_expired() || error.is_full(), "{error}"),
        }
    }
    assert_eq!((ran.load(Ordering::SeqCst), drops.count()), (ends, 4000));
    check_sound(&pool);
    assert_eq!((lane.metrics().tasks_queued(), lane.metrics().tasks_running()), (0, 0));
}

#[test]
fn expiry_does_not_touch_what_runs() {
    let pool = pool(1, 1);
    let (gate, started) = (Gate::new(), Gate::new());
    let (pass, announce) = (gate.clone(), started.clone());
    let task = pool.options().expire_after(Duration::from_secs(3600)).spawn(move || {
        announce.open();
        pass.pass();
        current::is_cancelled()
    });
    started.pass();
    let late = pool.options().expire_after(Duration::ZERO).spawn(|| ());
    assert!(soon(late).unwrap_err().is_expired());
    gate.open();
    assert!(!soon(task).unwrap());
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let inner = pool.clone();
    let overdue =
        pool.spawn(move || inner.options().expire_after(Duration::ZERO).spawn(|| ()).wait().is_err());
    gate.open();
    soon(busy).unwrap();
    assert!(soon(overdue).unwrap(), "also in place");
    check_sound(&pool);
}
