//! Shares: turns in proportion among the lanes that have them.

use std::sync::{Arc, Mutex};

use sidestep::{Lane, Pool, Task};

use crate::support::{Gate, all_well, check_sound, occupy, occupy_lane, pool, soon};

fn shared(pool: &Pool, name: &str, limit: usize, weight: usize) -> Lane {
    pool.lane_builder(name, limit).share(weight).build().unwrap()
}

/// Spawns `each` tasks in each lane while the threads of the pool are held up, and returns the
/// lanes of the tasks in the order in which they ran. A task that is waited for takes longer, and a
/// turn ends after some time: so none is waited for before all have run.
fn order(pool: &Pool, threads: usize, lanes: &[Lane], each: usize) -> Vec<usize> {
    let gate = Gate::new();
    let held: Vec<Task<()>> = (0..threads).map(|_| occupy(pool, &gate)).collect();
    let count = lanes.len() * each;
    let (order, all) = (Arc::new(Mutex::new(Vec::with_capacity(count))), Gate::new());
    let mut tasks = Vec::new();
    for (who, lane) in lanes.iter().enumerate() {
        for _ in 0..each {
            let (order, all) = (Arc::clone(&order), all.clone());
            tasks.push(lane.spawn(move || {
                let mut order = order.lock().unwrap();
                order.push(who);
                if order.len() == count {
                    all.open();
                }
            }));
        }
    }
    gate.open();
    all.pass();
    all_well(held.into_iter().chain(tasks));
    std::mem::take(&mut *order.lock().unwrap())
}

fn part_of(who: usize, order: &[usize]) -> f64 {
    order.iter().filter(|other| **other == who).count() as f64 / order.len() as f64
}

#[test]
fn impossible_weights_are_refused_by_name() {
    let pool = pool(1, 1);
    for weight in [0, 10_001, usize::MAX] {
        let error = pool.lane_builder("greedy", 1).share(weight).build().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains(&format!("share of lane \"greedy\" ({weight})")), "{error}");
    }
    for weight in [1, 10_000] {
        let lane = shared(&pool, &format!("weight {weight}"), 1, weight);
        all_well((0..200).map(|_| lane.spawn(|| ())).collect::<Vec<_>>());
    }
    check_sound(&pool);
}

#[test]
fn two_lanes_with_weights_1_and_3_have_a_quarter_and_three_quarters() {
    const EACH: usize = 8000;
    // With one slot each, and with many; the number of slots is no weight.
    for limits in [[1, 1], [4, 1], [1, 4], [8, 8]] {
        let pool = pool(1, 1);
        let lanes = [shared(&pool, "one", limits[0], 1), shared(&pool, "three", limits[1], 3)];
        let order = order(&pool, 1, &lanes, EACH);
        // As long as both have work.
        let part = part_of(0, &order[..EACH]);
        assert!((part - 0.25).abs() <= 0.03, "{part} for limits {limits:?}");
        check_sound(&pool);
    }
}

#[test]
fn on_two_threads_it_is_so_too() {
    const EACH: usize = 8000;
    let pool = pool(2, 2);
    let lanes = [shared(&pool, "one", 2, 1), shared(&pool, "three", 2, 3)];
    let order = order(&pool, 2, &lanes, EACH);
    let part = part_of(0, &order[..EACH]);
    // A thread that gets no CPU in the middle of a turn makes that turn short.
    assert!((part - 0.25).abs() <= 0.06, "{part}");
    check_sound(&pool);
}

#[test]
fn who_has_no_work_takes_nothing_from_the_others() {
    const EACH: usize = 4000;
    let pool = pool(1, 1);
    let idle = shared(&pool, "idle", 1, 10_000);
    let lanes = [shared(&pool, "one", 1, 1), shared(&pool, "other", 1, 1)];
    soon(idle.spawn(|| ())).unwrap();
    let order = order(&pool, 1, &lanes, EACH);
    let part = part_of(0, &order[..EACH]);
    assert!((part - 0.5).abs() <= 0.05, "{part}");
}

#[test]
fn none_starves_beside_the_greatest_weight() {
    let pool = pool(1, 1);
    let (small, great) = (shared(&pool, "small", 1, 1), shared(&pool, "great", 1, 10_000));
    let gate = Gate::new();
    let held = occupy(&pool, &gate);
    let tasks: Vec<_> = (0..20_000).map(|_| great.spawn(|| ())).collect();
    let one = small.spawn(|| ());
    gate.open();
    soon(one).unwrap();
    all_well(tasks.into_iter().chain([held]));
    check_sound(&pool);
}

#[test]
fn a_lane_with_a_share_works_beside_lanes_without_and_the_pool() {
    const EACH: usize = 2000;
    let pool = pool(1, 1);
    let lanes = [shared(&pool, "shared", 1, 5), pool.lane("plain", 1)];
    let gate = Gate::new();
    let held = occupy(&pool, &gate);
    let tasks: Vec<_> = (0..EACH).flat_map(|_| lanes.each_ref().map(|lane| lane.spawn(|| ()))).collect();
    let late = pool.spawn(|| ());
    gate.open();
    soon(late).unwrap();
    let left: u64 = lanes.iter().map(|lane| lane.metrics().tasks_queued()).sum();
    assert!(left > 0, "the pool's own task did not wait for both lanes to the end");
    all_well(tasks.into_iter().chain([held]));
    check_sound(&pool);
}

#[test]
fn limits_and_reserves_hold_with_shares() {
    let pool = pool(1, 1);
    let builder = pool.lane_builder("reserve", 1).share(2).reserve(1);
    let (reserve, other) = (builder.build().unwrap(), shared(&pool, "other", 1, 1));
    let gate = Gate::new();
    let hung = occupy(&pool, &gate);
    let waits = other.spawn(|| ());
    assert_eq!(soon(reserve.spawn(|| 7)).unwrap(), 7, "by a thread of its own");
    reserve.set_limit(0).unwrap();
    let paused = reserve.spawn(|| 8);
    gate.open();
    all_well([hung, waits]);
    assert!(!paused.is_finished());
    reserve.set_limit(1).unwrap();
    assert_eq!(soon(paused).unwrap(), 8);
    check_sound(&pool);
}

#[test]
fn a_wait_inside_takes_slots_of_lanes_with_shares_over() {
    let pool = pool(1, 1);
    let (one, other) = (shared(&pool, "one", 2, 1), shared(&pool, "other", 2, 3));
    for _ in 0..200 {
        let (inner, beside) = (one.clone(), other.clone());
        let outer = pool.spawn(move || {
            let tasks: Vec<_> = (0..4)
                .map(|number| if number % 2 == 0 { inner.spawn(|| ()) } else { beside.spawn(|| ()) })
                .collect();
            tasks.into_iter().rev().for_each(|task| task.wait().unwrap());
        });
        soon(outer).unwrap();
    }
    check_sound(&pool);
}

#[test]
fn lanes_with_shares_may_come_and_go_while_they_work() {
    let pool = pool(2, 4);
    let gate = Gate::new();
    let stays = shared(&pool, "stays", 1, 1);
    let held = occupy_lane(&stays, &gate);
    for round in 0..300 {
        let lane = shared(&pool, &format!("round {round}"), 2, round % 7 + 1);
        for number in 0..10 {
            let task = lane.spawn(|| ());
            if number % 2 == 0 { task.detach() } else { drop(task) }
        }
    }
    gate.open();
    soon(held).unwrap();
    check_sound(&pool);
}

#[test]
fn a_shutdown_drains_lanes_with_shares() {
    let pool = pool(1, 1);
    let lanes = [shared(&pool, "one", 1, 1), shared(&pool, "other", 3, 9)];
    let gate = Gate::new();
    let held = occupy(&pool, &gate);
    let tasks: Vec<_> = (0..500).flat_map(|_| lanes.each_ref().map(|lane| lane.spawn(|| ()))).collect();
    lanes[1].set_limit(0).unwrap();
    let shutdown = pool.shutdown();
    gate.open();
    let report = shutdown.wait();
    assert_eq!((report.completed, report.still_running), (1001, 0));
    all_well(tasks.into_iter().chain([held]));
}
