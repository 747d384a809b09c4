//! The limit of a lane: how many of its tasks run at once, and what that costs the pool.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;
use std::{io, thread};

use sidestep::{Lane, NewThread, Pool, Task, current};

use crate::support::{
    Crowd, Drops, Gate, Rendezvous, all_well, check_sound, counter, eventually, nothing_happens, occupy,
    occupy_lane, pool, quiet_panic, soon,
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
    let (one, other) = (pool.lane("one", 1), pool.lane("other", 1));
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

// Origin: pitfall 20
#[test]
fn a_storm_of_callers_that_give_up_does_not_pass_the_limit() {
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

/// A caller that gives up frees its permit while its work goes on: xberg, ironclaw.
// Origin: pitfall 20
#[test]
fn callers_with_permits_that_give_up_do_not_pass_the_limit() {
    const LIMIT: usize = 3;
    let pool = pool(2, 12);
    let lane = pool.lane_builder("fragile", LIMIT).queue_limit(8).build().unwrap();
    let (crowd, drops) = (Arc::new(Crowd::default()), Drops::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for number in 0..300 {
                    let (crowd, token) = (Arc::clone(&crowd), drops.token());
                    let task = lane.reserve().wait().unwrap().spawn(move || {
                        let _held = token;
                        crowd.enter();
                        thread::yield_now();
                        crowd.leave();
                    });
                    match number % 4 {
                        0 => drop(task),
                        1 => drop(task.wait_timeout(Duration::from_micros(number))),
                        2 => drop(task.cancel()),
                        _ => task.detach(),
                    }
                }
            });
        }
    });
    eventually("the lane is empty", || {
        let metrics = lane.metrics();
        (metrics.tasks_queued(), metrics.tasks_running()) == (0, 0)
    });
    assert!(crowd.most() <= LIMIT && crowd.now() == 0, "{} at once", crowd.most());
    assert_eq!((drops.count(), lane.metrics().tasks_submitted()), (1200, 1200));
    soon(lane.spawn(|| ())).unwrap();
    check_sound(&pool);
}

/// trio gives the token of its limiter back where no thread could be started.
// Origin: trio 66
#[test]
fn a_refused_thread_keeps_no_slot_of_a_lane() {
    let refuse = Arc::new(AtomicBool::new(false));
    let refused = Arc::clone(&refuse);
    let handler = move |new: NewThread| match refused.load(Ordering::SeqCst) {
        true => Err(io::Error::other("no more threads")),
        false => thread::Builder::new().spawn(move || new.run()).map(drop),
    };
    let pool = Pool::builder().core_threads(2).max_threads(2).spawn_handler(handler).build().unwrap();
    let lane = pool.lane("two", 2);
    soon(lane.spawn(current::retire_thread)).unwrap();
    eventually("no thread is left", || pool.metrics().threads() == 0);
    refuse.store(true, Ordering::SeqCst);
    for _ in 0..10 {
        assert!(soon(lane.spawn(|| ())).unwrap_err().is_no_thread());
    }
    assert_eq!((lane.metrics().tasks_running(), lane.metrics().tasks_queued()), (0, 0));
    refuse.store(false, Ordering::SeqCst);
    eventually("the pause is over", || soon(lane.spawn(|| ())).is_ok());
    let meeting = Arc::new(Barrier::new(2));
    let meet = || {
        let meeting = Arc::clone(&meeting);
        lane.spawn(move || meeting.wait().is_leader())
    };
    all_well([meet(), meet()]);
    check_sound(&pool);
}

/// Kotlin: a task joins the queue of a view while the last one leaves it.
// Origin: Kotlin 8
#[test]
fn pairs_of_calls_neither_overlap_in_a_lane_of_one_nor_stay_behind() {
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

/// Kotlin: as many tasks of a view as its limit wait for each other, again and again.
// Origin: Kotlin 14
#[test]
fn a_lane_has_its_limit_every_time() {
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
// Origin: Kotlin 21
#[test]
fn the_limits_of_lanes_add_up_to_that_of_the_pool() {
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

/// Kotlin: what should run the tasks of a view cannot always be had. Here that is a thread.
// Origin: Kotlin 24
#[test]
fn a_lane_reaches_its_limit_although_threads_are_refused() {
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
// Origin: libuv 56
#[test]
fn slow_calls_in_a_lane_leave_threads_to_fast_ones() {
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
