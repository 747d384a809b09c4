//! Lanes: their limits, order and fairness, and what they cost the pool.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use sidestep::{Lane, Task, current};

use crate::support::{
    Crowd, Drops, Gate, all_well, check_sound, counter, eventually, nothing_happens, occupy, occupy_lane,
    pool, quiet_panic, soon,
};

/// Tasks that are in `crowd` until `gate` opens.
fn crowd_into(lane: &Lane, count: usize, crowd: &Arc<Crowd>, gate: &Gate) -> Vec<Task<()>> {
    let one = |_| {
        let (crowd, pass) = (Arc::clone(crowd), gate.clone());
        lane.spawn(move || {
            crowd.enter();
            pass.pass();
            crowd.leave();
        })
    };
    (0..count).map(one).collect()
}

#[test]
fn impossible_limits_are_refused_by_name() {
    let pool = pool(1, 1);
    let error = pool.lane_builder("none", 0).build().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("\"none\" (0)"), "{error}");
    let error = pool.lane_builder("none", 1).queue_limit(0).build().unwrap_err();
    assert!(error.to_string().contains("queue_limit of lane \"none\" (0)"), "{error}");
    let lane = pool.lane_builder("a\0 b", usize::MAX).queue_limit(usize::MAX).build().unwrap();
    all_well((0..100).map(|_| lane.spawn(|| ())).collect::<Vec<_>>());
    assert_eq!((lane.name(), lane.limit()), ("a\0 b", usize::MAX));
    let (one, other) = (pool.lane("same", 1), pool.lane("same", 1));
    soon(one.spawn(|| ())).unwrap();
    assert_eq!((one.metrics().tasks_submitted(), other.metrics().tasks_submitted()), (1, 0));
}

#[test]
fn never_more_than_the_limit_run_at_once() {
    let pool = pool(4, 16);
    let lane = pool.lane("narrow", 3);
    let crowd = Arc::new(Crowd::default());
    let tasks: Vec<_> = (0..2000)
        .map(|_| {
            let crowd = Arc::clone(&crowd);
            lane.spawn(move || {
                crowd.enter();
                thread::yield_now();
                crowd.leave();
            })
        })
        .collect();
    all_well(tasks);
    assert!(crowd.most() <= 3, "{}", crowd.most());
    let metrics = lane.metrics();
    assert_eq!((metrics.tasks_completed(), metrics.tasks_running(), metrics.tasks_queued()), (2000, 0, 0));
}

/// Whatever a closure may do to its thread.
fn misbehave(number: usize) {
    match number % 5 {
        0 => current::retire_thread(),
        1 => current::will_block(thread::yield_now),
        2 => quiet_panic("in a lane"),
        3 => sidestep::block_on(async { thread::yield_now() }),
        _ => {}
    }
}

#[test]
fn a_storm_of_callers_that_give_up_does_not_pass_the_limit() {
    // Pitfall 20.
    for limit in [1, 2, 5] {
        let pool = pool(2, 12);
        let lane = pool.lane("fragile", limit);
        let crowd = Arc::new(Crowd::default());
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in 0..800 {
                        let crowd = Arc::clone(&crowd);
                        let task = lane.spawn(move || {
                            struct Leave(Arc<Crowd>);
                            impl Drop for Leave {
                                fn drop(&mut self) {
                                    self.0.leave();
                                }
                            }
                            crowd.enter();
                            let _leave = Leave(crowd);
                            thread::yield_now();
                            misbehave(number);
                        });
                        match number % 4 {
                            0 => drop(task),
                            1 => drop(task.wait_timeout(Duration::from_micros(number as u64))),
                            2 => drop(task.cancel()),
                            _ => task.detach(),
                        }
                    }
                });
            }
        });
        check_sound(&pool);
        assert!(crowd.most() <= limit && crowd.now() == 0, "{} of {limit}", crowd.most());
        let metrics = lane.metrics();
        assert_eq!(
            (metrics.tasks_submitted(), metrics.tasks_queued(), metrics.tasks_running()),
            (3200, 0, 0)
        );
        all_well((0..100).map(|_| lane.spawn(|| ())).collect::<Vec<_>>());
    }
}

#[test]
fn a_slot_belongs_to_the_closure_and_not_to_its_handle() {
    let pool = pool(4, 8);
    let lane = pool.lane("stuck", 2);
    let gate = Gate::new();
    let crowd = Arc::new(Crowd::default());
    let first = crowd_into(&lane, 2, &crowd, &gate);
    eventually("both run", || crowd.now() == 2);
    drop(first);
    let more = crowd_into(&lane, 3, &crowd, &gate);
    nothing_happens();
    let metrics = lane.metrics();
    assert_eq!((crowd.most(), metrics.tasks_running(), metrics.tasks_queued()), (2, 2, 3));
    gate.open();
    all_well(more);
    assert_eq!(crowd.most(), 2);
}

#[test]
fn what_is_cancelled_in_a_stuck_lane_is_dropped_at_once() {
    let pool = pool(1, 1);
    let lane = pool.lane("stuck", 1);
    let gate = Gate::new();
    let first = occupy_lane(&lane, &gate);
    let drops = Drops::new();
    let kept: Vec<_> = (0..100).map(|number| lane.spawn(move || number)).collect();
    for round in 1..=20_000 {
        let token = drops.token();
        drop(lane.spawn(move || drop(token)));
        assert_eq!(drops.count(), round);
    }
    assert_eq!((lane.metrics().tasks_cancelled(), lane.metrics().tasks_queued()), (20_000, 100));
    gate.open();
    soon(first).unwrap();
    let ends: Vec<_> = kept.into_iter().map(|task| soon(task).unwrap()).collect();
    assert_eq!(ends, (0..100).collect::<Vec<_>>());
}

#[test]
fn a_lane_of_one_keeps_the_order_of_each_submitter() {
    let pool = pool(4, 8);
    let lane = pool.lane("serial", 1);
    let order = Mutex::new(Vec::new());
    let order = Arc::new(order);
    thread::scope(|scope| {
        for producer in 0..4 {
            let (lane, order) = (&lane, &order);
            scope.spawn(move || {
                for number in 0..1000 {
                    let order = Arc::clone(order);
                    lane.spawn(move || order.lock().unwrap().push((producer, number))).detach();
                }
            });
        }
    });
    check_sound(&pool);
    for producer in 0..4 {
        let order = order.lock().unwrap();
        let mine = order.iter().filter(|(by, _)| *by == producer).map(|(_, number)| *number);
        assert_eq!(mine.collect::<Vec<_>>(), (0..1000).collect::<Vec<_>>());
    }
}

#[test]
fn a_lane_is_drained_by_a_task_of_it_that_waits_for_the_shutdown() {
    let pool = pool(2, 2);
    let lane = pool.lane("serial", 1);
    let gate = Gate::new();
    let waits = {
        let (pool, gate) = (pool.clone(), gate.clone());
        lane.spawn(move || {
            gate.pass();
            pool.shutdown().wait()
        })
    };
    let more: Vec<_> = (0..10).map(|_| lane.spawn(|| ())).collect();
    gate.open();
    let report = soon(waits).unwrap();
    assert!(more.iter().all(|task| task.is_finished()), "{report:?}");
    all_well(more);
    assert_eq!((report.completed, report.still_running), (10, 0));
    assert_eq!(lane.metrics().tasks_completed(), 11);
}

#[test]
fn a_saturated_lane_does_not_grow_the_pool() {
    let pool = pool(2, 64);
    let lane = pool.lane("stuck", 1);
    let gate = Gate::new();
    let first = occupy_lane(&lane, &gate);
    let more: Vec<_> = (0..1000).map(|_| lane.spawn(|| ())).collect();
    let other = occupy(&pool, &gate);
    nothing_happens();
    let metrics = pool.metrics();
    assert_eq!((metrics.threads(), metrics.growth_steps()), (2, 0), "{metrics:?}");
    gate.open();
    all_well(more);
    all_well([first, other]);
}

#[test]
fn beside_a_saturated_lane_tasks_and_other_lanes_make_the_pool_grow() {
    let pool = pool(1, 16);
    let (stuck, free) = (pool.lane("stuck", 1), pool.lane("free", 3));
    let (gate, crowd) = (Gate::new(), Arc::new(Crowd::default()));
    let first = occupy_lane(&stuck, &gate);
    let queued: Vec<_> = (0..1000).map(|_| stuck.spawn(|| ())).collect();
    let others = crowd_into(&free, 10, &crowd, &gate);
    eventually("the other lane has its limit", || crowd.now() == 3);
    let tasks: Vec<_> = (0..4).map(|_| occupy(&pool, &gate)).collect();
    nothing_happens();
    assert_eq!((crowd.most(), pool.metrics().tasks_running()), (3, 8));
    assert!(pool.metrics().threads() <= 9, "{:?}", pool.metrics());
    gate.open();
    all_well(queued.into_iter().chain(others).chain(tasks).chain([first]));
    assert_eq!(crowd.most(), 3);
}

#[test]
fn lanes_and_tasks_share_one_thread_fairly() {
    const EACH: usize = 2000;
    let pool = pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let order = Arc::new(Mutex::new(Vec::with_capacity(3 * EACH)));
    let note = |who: usize| {
        let order = Arc::clone(&order);
        move || order.lock().unwrap().push(who)
    };
    let mut tasks = Vec::new();
    let lanes = [pool.lane("first", 1), pool.lane("second", 4)];
    for (who, lane) in lanes.iter().enumerate() {
        tasks.extend((0..EACH).map(|_| lane.spawn(note(who))));
    }
    let late = pool.spawn(note(2));
    gate.open();
    all_well(tasks.into_iter().chain([running, late]));
    let order = order.lock().unwrap();
    let longest = order.chunk_by(|one, next| one == next).map(<[usize]>::len).take(16).max();
    assert!(longest <= Some(4 * 32), "a turn of {longest:?} tasks while others waited");
    let place = order.iter().position(|who| *who == 2);
    assert!(place < Some(10 * 32), "a task behind the lanes came at place {place:?}");
}

/// How often the pool's threads have gone to sleep by themselves.
#[cfg(target_os = "linux")]
fn naps(pool: &str) -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
    let statuses = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok());
    let own = statuses.filter(|status| status.contains(&format!("Name:\t{pool}")));
    let naps = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    own.map(naps).sum()
}

#[cfg(target_os = "linux")]
#[test]
fn a_busy_lane_wakes_nobody_for_what_joins_its_queue() {
    let pool = sidestep::Pool::builder().name("naps").core_threads(3).max_threads(3).build().unwrap();
    let lane = pool.lane("busy", 1);
    let (gate, all) = (Gate::new(), Gate::new());
    let three: Vec<_> = (0..3).map(|_| occupy(&pool, &all)).collect();
    all.open();
    all_well(three);
    let first = occupy_lane(&lane, &gate);
    eventually("the others sleep", || pool.metrics().threads_idle() == 2);
    nothing_happens();
    let before = naps("naps");
    let tasks: Vec<_> = (0..10_000).map(|_| lane.spawn(|| ())).collect();
    nothing_happens();
    let woken = naps("naps") - before;
    gate.open();
    all_well(tasks.into_iter().chain([first]));
    assert!(woken <= 2, "{woken} wake-ups");
}

#[test]
fn a_panic_or_a_retiring_thread_gives_the_slot_back() {
    let pool = pool(1, 2);
    let lane = pool.lane("serial", 1);
    let (ran, count) = counter();
    let tasks: Vec<_> = (0..300)
        .map(|number| {
            let count = count.clone();
            lane.spawn(move || {
                count();
                misbehave(number);
            })
        })
        .collect();
    let ends: Vec<_> = tasks.into_iter().map(soon).collect();
    assert_eq!(ran.load(Ordering::SeqCst), 300);
    assert_eq!(ends.iter().filter(|end| end.is_err()).count(), 60);
    assert_eq!((lane.metrics().tasks_panicked(), lane.metrics().tasks_completed()), (60, 240));
    check_sound(&pool);
}
