//! What the suites of other systems check about limited views of a pool, which are lanes here. By
//! the numbers of `docs/TESTING.md`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use std::{io, thread};

use sidestep::{Lane, NewThread, Pool, Task, current};

use crate::support::{
    Crowd, Gate, Rendezvous, all_well, check_sound, counter, eventually, keeps_to, nothing_happens, pool,
    soon,
};

/// Kotlin: a task joins the queue of a view while the last one leaves it.
#[test]
fn case_08_pairs_of_calls_neither_overlap_in_a_lane_of_one_nor_stay_behind() {
    const EACH: u64 = 2000;
    let pool = pool(2, 4);
    let lane = pool.lane("one", 1);
    let crowd = Arc::new(Crowd::default());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..EACH {
                    let crowd = Arc::clone(&crowd);
                    let task = lane.spawn(move || {
                        crowd.enter();
                        crowd.leave();
                    });
                    soon(task).unwrap();
                }
            });
        }
    });
    assert_eq!(crowd.most(), 1);
    assert_eq!(lane.metrics().tasks_completed(), 2 * EACH);
    check_sound(&pool);
}

/// Kotlin: back and forth between computing and a view that blocks.
#[test]
fn case_09_ping_pong_between_a_lane_and_its_pool_needs_few_threads() {
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

/// Kotlin: as many tasks of a view as its limit wait for each other, again and again.
#[test]
fn case_14_a_lane_has_its_limit_every_time() {
    const LIMIT: usize = 3;
    for beside in [0, 2] {
        let pool = pool(1, 16);
        let lane = pool.lane("three", LIMIT);
        for _ in 0..500 {
            let meeting = Rendezvous::new(LIMIT);
            let meet = |_| {
                let meeting = Arc::clone(&meeting);
                lane.spawn(move || current::will_block(|| meeting.meet()))
            };
            let mut tasks: Vec<_> = (0..LIMIT).map(meet).collect();
            tasks.extend((0..beside).map(|_| pool.spawn(|| ())));
            all_well(tasks);
        }
        check_sound(&pool);
    }
}

/// Tasks that stay until the gate opens, among all and among those of their lane.
fn stay(lane: &Lane, tasks: usize, all: &Arc<Crowd>, gate: &Gate) -> (Arc<Crowd>, Vec<Task<()>>) {
    let own = Arc::new(Crowd::default());
    let one = |_| {
        let (crowds, pass) = ([Arc::clone(all), Arc::clone(&own)], gate.clone());
        lane.spawn(move || {
            crowds.iter().for_each(|crowd| crowd.enter());
            current::will_block(|| pass.pass());
            crowds.iter().for_each(|crowd| crowd.leave());
        })
    };
    let tasks = (0..tasks).map(one).collect();
    (own, tasks)
}

/// Kotlin: the limits of views add up, but not beyond that of the pool.
#[test]
fn case_21_the_limits_of_lanes_add_up_to_that_of_the_pool() {
    const LIMIT: usize = 6;
    for max in [8, 64] {
        let pool = pool(1, max);
        let (gate, all) = (Gate::new(), Arc::new(Crowd::default()));
        let lanes = [pool.lane("one", LIMIT), pool.lane("other", LIMIT)];
        let (crowds, tasks): (Vec<_>, Vec<_>) =
            lanes.iter().map(|lane| stay(lane, 4 * LIMIT, &all, &gate)).unzip();
        let most = max.min(2 * LIMIT);
        eventually("as many run as may", || all.now() == most);
        nothing_happens();
        gate.open();
        all_well(tasks.into_iter().flatten());
        assert_eq!(all.most(), most);
        assert!(crowds.iter().all(|crowd| crowd.most() <= LIMIT));
        check_sound(&pool);
    }
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
#[test]
fn case_22_a_lane_that_never_ends_leaves_the_thread_to_others() {
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

/// Kotlin: what should run the tasks of a view cannot always be had. Here that is a thread.
#[test]
fn case_24_a_lane_reaches_its_limit_although_threads_are_refused() {
    const LIMIT: usize = 5;
    let made = AtomicUsize::new(0);
    let handler = move |new: NewThread| {
        if made.fetch_add(1, Ordering::SeqCst) % 3 == 2 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        thread::Builder::new().spawn(move || new.run()).map(drop)
    };
    let builder = Pool::builder().core_threads(1).max_threads(16).keep_alive(Duration::ZERO);
    let pool = builder.spawn_handler(handler).build().unwrap();
    let lane = pool.lane("five", LIMIT);
    let crowd = Arc::new(Crowd::default());
    for _ in 0..2 {
        let meeting = Rendezvous::new(LIMIT);
        let meet = |_| {
            let (meeting, crowd) = (Arc::clone(&meeting), Arc::clone(&crowd));
            lane.spawn(move || {
                crowd.enter();
                current::will_block(|| meeting.meet());
                crowd.leave();
            })
        };
        all_well((0..LIMIT).map(meet).collect::<Vec<_>>());
        all_well((0..100).map(|_| lane.spawn(|| ())).collect::<Vec<_>>());
    }
    assert!(pool.metrics().spawn_failures() > 0);
    assert_eq!(crowd.most(), LIMIT);
    check_sound(&pool);
}

/// libuv: slow calls have part of the threads at most, however many are queued.
#[test]
fn case_56_slow_calls_in_a_lane_leave_threads_to_fast_ones() {
    const LIMIT: usize = 2;
    let pool = pool(4, 4);
    let (gate, crowd) = (Gate::new(), Arc::new(Crowd::default()));
    let (ran, count) = counter();
    let (slow, tasks) = stay(&pool.lane("slow", LIMIT), 50, &crowd, &gate);
    eventually("slow ones run", || slow.now() == LIMIT);
    all_well((0..500).map(|_| pool.spawn(count.clone())).collect::<Vec<_>>());
    assert_eq!((ran.load(Ordering::SeqCst), slow.now()), (500, LIMIT), "none of the slow ones has ended");
    gate.open();
    all_well(tasks);
    assert_eq!(slow.most(), LIMIT);
    check_sound(&pool);
}
