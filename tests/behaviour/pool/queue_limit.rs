//! The limit of the queue holds at every instant, and what is refused comes back.

use std::sync::Barrier;
use std::thread;

use sidestep::Pool;

use crate::support::{Drops, Gate, all_well, check_sound, occupy, soon};

fn queue_of(limit: usize) -> Pool {
    Pool::builder().core_threads(1).max_threads(1).queue_limit(limit).build().unwrap()
}

#[test]
fn a_full_queue_refuses_and_hands_the_closure_back() {
    let pool = queue_of(2);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let queued = [pool.spawn(|| 1), pool.try_spawn(|| 2).unwrap_or_else(|_| panic!("there is room"))];
    let drops = Drops::new();
    let token = drops.token();
    let refused = pool.spawn(move || drop(token));
    assert_eq!(drops.count(), 1, "spawn drops what it cannot queue");
    assert!(refused.is_finished());
    let error = soon(refused).unwrap_err();
    assert!(error.is_full() && !error.is_shutdown() && !error.is_cancelled(), "{error}");
    assert!(error.to_string().contains("full"), "{error}");
    let token = drops.token();
    let rejected = pool.try_spawn(move || token).unwrap_err();
    assert!(rejected.error().is_full() && rejected.to_string().contains("full"), "{rejected}");
    assert_eq!(drops.count(), 1);
    drop(rejected.into_inner()());
    assert_eq!(drops.count(), 2, "try_spawn has handed the very closure back");
    gate.open();
    soon(running).unwrap();
    assert_eq!(queued.map(|task| soon(task).unwrap()), [1, 2]);
    check_sound(&pool);
}

#[test]
fn a_start_frees_a_place() {
    let pool = queue_of(1);
    let (first, second) = (Gate::new(), Gate::new());
    let running = occupy(&pool, &first);
    let started = Gate::new();
    let (announce, pass) = (started.clone(), second.clone());
    let next = pool.spawn(move || {
        announce.open();
        pass.pass();
    });
    assert!(pool.try_spawn(|| ()).is_err());
    first.open();
    started.pass();
    let last = pool.try_spawn(|| ()).unwrap_or_else(|_| panic!("the place is free while it runs"));
    assert!(pool.try_spawn(|| ()).is_err());
    second.open();
    all_well([running, next, last]);
    check_sound(&pool);
}

#[test]
fn a_cancellation_frees_a_place_at_once() {
    let pool = queue_of(1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    for _ in 0..100 {
        let queued = pool.try_spawn(|| ()).unwrap_or_else(|_| panic!("the place is free"));
        assert!(pool.try_spawn(|| ()).is_err());
        drop(queued);
    }
    gate.open();
    soon(running).unwrap();
    check_sound(&pool);
}

#[test]
fn a_run_in_place_frees_a_place() {
    let pool = queue_of(1);
    let inner = pool.clone();
    let task =
        pool.spawn(move || (0..100).all(|number| inner.spawn(move || number).wait().unwrap() == number));
    assert!(soon(task).unwrap());
    check_sound(&pool);
}

#[test]
fn tasks_that_spawn_meet_the_same_limit() {
    let pool = queue_of(3);
    let inner = pool.clone();
    let task = pool.spawn(move || (0..10).map(|_| inner.spawn(|| ())).collect::<Vec<_>>());
    let ends: Vec<_> = soon(task).unwrap().into_iter().map(soon).collect();
    assert_eq!(ends.iter().filter(|end| end.is_ok()).count(), 3);
    assert!(ends.into_iter().filter_map(Result::err).all(|error| error.is_full()));
    check_sound(&pool);
}

#[test]
fn a_queue_limit_is_never_exceeded_under_a_race() {
    const LIMIT: usize = 5;
    let pool = queue_of(LIMIT);
    for _ in 0..200 {
        let gate = Gate::new();
        let running = occupy(&pool, &gate);
        let start = Barrier::new(4);
        let accepted: Vec<_> = thread::scope(|scope| {
            let spawn_some = || {
                start.wait();
                (0..4).filter_map(|_| pool.try_spawn(|| ()).ok()).collect::<Vec<_>>()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(spawn_some)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(accepted.len(), LIMIT);
        assert_eq!(pool.metrics().tasks_queued(), LIMIT as u64);
        gate.open();
        soon(running).unwrap();
        all_well(accepted);
    }
    check_sound(&pool);
}

#[test]
fn no_place_is_lost_in_a_storm_of_cancellations() {
    const LIMIT: usize = 8;
    let pool = queue_of(LIMIT);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..2000 {
                    match pool.try_spawn(|| ()) {
                        Ok(task) if round % 2 == 0 => drop(task),
                        Ok(task) => task.detach(),
                        Err(rejected) => assert!(rejected.error().is_full()),
                    }
                }
            });
        }
    });
    check_sound(&pool);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let accepted: Vec<_> = (0..2 * LIMIT).filter_map(|_| pool.try_spawn(|| ()).ok()).collect();
    assert_eq!(accepted.len(), LIMIT, "all places are still there, and no more");
    gate.open();
    soon(running).unwrap();
    all_well(accepted);
}
