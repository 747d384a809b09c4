//! On the way into a queue: tasks that others can see before the pool has admitted them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sidestep::{OnShutdown, Pool};

use crate::support::{Gate, all_well, check_accounts, check_sound, occupy, pool, soon};

#[test]
fn a_discardable_task_is_not_counted_as_cancelled_before_it_is_submitted() {
    for round in 0..40 {
        let pool = pool(1, 1);
        let gate = Gate::new();
        let running = occupy(&pool, &gate);
        let options = pool.options().on_shutdown(OnShutdown::Discard);
        // The next one makes the list of discardable tasks let go of all these, which takes its
        // time.
        drop((1..65_536).map(|_| options.spawn(|| ())).collect::<Vec<_>>());
        let started = AtomicBool::new(false);
        thread::scope(|scope| {
            let last = scope.spawn(|| {
                started.store(true, Ordering::SeqCst);
                options.spawn(|| ())
            });
            while !started.load(Ordering::SeqCst) {
                std::hint::spin_loop();
            }
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_micros(50 * round) {
                std::hint::spin_loop();
            }
            let shutdown = pool.shutdown();
            // Overflows, or gives the greatest of numbers, where a task is cancelled that was not
            // submitted.
            let queued = (0..100).map(|_| pool.metrics().tasks_queued()).max();
            assert!(queued < Some(1000), "{queued:?}");
            drop(shutdown);
            assert!(soon(last.join().unwrap()).unwrap_err().is_shutdown());
        });
        gate.open();
        soon(running).unwrap();
        pool.shutdown().wait();
    }
}

/// A scope on one of the pool's own threads, whose tasks spawn into it from others.
fn nested_scope(pool: &Pool) {
    let inner = pool.clone();
    let task = pool.reserve().wait().unwrap().spawn(move || {
        inner.scope(|scope| {
            for _ in 0..3 {
                drop(scope.spawn(|| (0..300).for_each(|_| drop(scope.spawn(|| ())))));
            }
        });
    });
    // Tasks that the queue has no place for make the scope panic.
    drop(soon(task));
}

#[test]
fn a_scope_runs_nothing_that_has_not_been_submitted() {
    let pool = pool(3, 3);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                let metrics = pool.metrics();
                assert!(metrics.tasks_queued() < 100_000, "{metrics:?}");
                check_accounts(&metrics);
            }
        });
        (0..300).for_each(|_| nested_scope(&pool));
        stop.store(true, Ordering::SeqCst);
        assert!(reader.join().is_ok(), "more were started than submitted");
    });
    check_sound(&pool);
}

#[test]
fn a_scope_runs_nothing_that_has_no_place() {
    let pool = Pool::builder().core_threads(3).max_threads(3).queue_limit(64).build().unwrap();
    (0..300).for_each(|_| nested_scope(&pool));
    let gate = Gate::new();
    let busy: Vec<_> = (0..3).map(|_| occupy_in_turn(&pool, &gate)).collect();
    let places: Vec<_> = (0..100).filter_map(|_| pool.try_spawn(|| ()).ok()).collect();
    gate.open();
    assert_eq!(places.len(), 64, "all places are there, and no more");
    all_well(busy.into_iter().chain(places));
}

/// As `occupy`, where the queue may be full.
fn occupy_in_turn(pool: &Pool, gate: &Gate) -> sidestep::Task<()> {
    let (started, pass) = (Gate::new(), gate.clone());
    let announce = started.clone();
    let task = pool.reserve().wait().unwrap().spawn(move || {
        announce.open();
        pass.pass();
    });
    started.pass();
    task
}
