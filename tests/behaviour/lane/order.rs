//! The order of the tasks of a lane, and their turns beside the rest of the pool.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use sidestep::{Lane, Pool, Task, current};

use crate::support::{
    Drops, Gate, all_well, check_sound, eventually, keeps_to, nothing_happens, occupy, occupy_lane, pool,
    soon,
};

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

/// Kotlin: back and forth between computing and a view that blocks.
// Origin: Kotlin 9
#[test]
fn ping_pong_between_a_lane_and_its_pool_needs_few_threads() {
    const CORE: usize = 2;
    const LIMIT: usize = 2;
    keeps_to(CORE + LIMIT + 1, || {
        let pool = pool(CORE, 512);
        let lane = pool.lane("blocking", LIMIT);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..250 {
                        soon(lane.spawn(|| current::will_block(thread::yield_now))).unwrap();
                        soon(pool.spawn(|| ())).unwrap();
                    }
                });
            }
        });
        check_sound(&pool);
        pool.metrics().threads_peak()
    });
}

/// Where a task can be spawned.
#[derive(Clone)]
enum Place {
    Pool(Pool),
    Lane(Lane),
}

impl Place {
    fn spawn(&self, f: impl FnOnce() + Send + 'static) -> Task<()> {
        match self {
            Place::Pool(pool) => pool.spawn(f),
            Place::Lane(lane) => lane.spawn(f),
        }
    }

    /// A task that spawns itself again and again until it is stopped.
    fn go_on(self, stop: Arc<AtomicBool>) {
        let place = self.clone();
        let again = move || {
            if !stop.load(Ordering::SeqCst) {
                self.go_on(stop);
            }
        };
        place.spawn(again).detach();
    }
}

/// Kotlin: two views share one thread, and one of them never has nothing to do.
// Origin: Kotlin 22
#[test]
fn a_lane_that_never_ends_leaves_the_thread_to_others() {
    let pool = pool(1, 1);
    let places =
        [Place::Pool(pool.clone()), Place::Lane(pool.lane("one", 1)), Place::Lane(pool.lane("other", 1))];
    for endless in &places {
        let stop = Arc::new(AtomicBool::new(false));
        endless.clone().go_on(Arc::clone(&stop));
        for other in &places {
            for _ in 0..20 {
                soon(other.spawn(|| ())).unwrap();
            }
        }
        stop.store(true, Ordering::SeqCst);
        check_sound(&pool);
    }
}
