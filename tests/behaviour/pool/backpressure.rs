//! Limited queues of pools and lanes: refusals, reservations, permits.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use sidestep::{Lane, Pool, Reserve};

use crate::support::{
    Drops, Gate, PATIENCE, Wakes, all_well, check_sound, counter, eventually, nothing_happens, occupy,
    occupy_lane, poll, quiet_panic, soon,
};

fn limited(max: usize, queue: usize) -> Pool {
    Pool::builder().core_threads(1).max_threads(max).queue_limit(queue).build().unwrap()
}

fn narrow(pool: &Pool, limit: usize, queue: usize) -> Lane {
    pool.lane_builder("narrow", limit).queue_limit(queue).build().unwrap()
}

fn granted(turn: &mut Reserve) -> bool {
    matches!(poll(turn, Waker::noop()), Poll::Ready(Ok(_)))
}

#[test]
fn a_full_lane_refuses_and_hands_the_closure_back() {
    let pool = limited(2, 1);
    let lane = narrow(&pool, 1, 2);
    let gate = Gate::new();
    let running = occupy_lane(&lane, &gate);
    let queued = [lane.spawn(|| ()), lane.spawn(|| ())];
    let drops = Drops::new();
    let token = drops.token();
    let rejected = lane.try_spawn(move || drop(token)).unwrap_err();
    assert!(rejected.error().is_full() && drops.count() == 0);
    rejected.into_inner()();
    let token = drops.token();
    let full = lane.spawn(move || drop(token));
    assert!(full.is_finished() && drops.count() == 2);
    assert!(soon(full).unwrap_err().is_full());
    assert!(lane.options().try_spawn(|| ()).unwrap_err().error().is_full());
    assert_eq!((lane.metrics().tasks_submitted(), lane.metrics().tasks_cancelled()), (3, 0));
    // The pool's own place is still there.
    soon(pool.spawn(|| ())).unwrap();
    gate.open();
    all_well(queued.into_iter().chain([running]));
    check_sound(&pool);
}

#[test]
fn a_cancelled_or_expired_task_frees_its_place_at_once_and_wakes_the_next() {
    let pool = limited(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let lane = narrow(&pool, 1, 1);
    let queued = [pool.spawn(|| ()), lane.spawn(|| ())];
    let mut turns = [pool.reserve(), lane.reserve()];
    let wakes = Wakes::new();
    let waker = Waker::from(Arc::clone(&wakes));
    turns.iter_mut().for_each(|turn| assert!(poll(turn, &waker).is_pending()));
    drop(queued);
    assert_eq!(wakes.count(), 2);
    let places: Vec<_> = turns.iter_mut().map(|turn| poll(turn, &waker)).collect();
    assert!(places.iter().all(|place| matches!(place, Poll::Ready(Ok(_)))));
    assert!(pool.try_spawn(|| ()).is_err() && lane.try_spawn(|| ()).is_err(), "the permits have them");
    drop(places);
    let soon_over = [
        pool.options().expire_after(Duration::from_millis(5)).spawn(|| ()),
        lane.options().expire_after(Duration::from_millis(5)).spawn(|| ()),
    ];
    let (pool_place, lane_place) = (pool.reserve().wait().unwrap(), lane.reserve().wait().unwrap());
    assert!(soon_over.into_iter().all(|task| soon(task).unwrap_err().is_expired()));
    let both = [pool_place.spawn(|| ()), lane_place.spawn(|| ())];
    gate.open();
    all_well(both.into_iter().chain([running]));
    check_sound(&pool);
}

#[test]
fn places_are_given_in_order_and_before_any_spawn() {
    let pool = limited(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let first = pool.spawn(|| ());
    let mut turns: Vec<_> = (0..50).map(|_| pool.reserve()).collect();
    turns.iter_mut().for_each(|turn| assert!(poll(turn, Waker::noop()).is_pending()));
    drop(first);
    for number in 0..50 {
        assert!(pool.try_spawn(|| ()).is_err(), "somebody waits");
        for (later, turn) in turns.iter_mut().enumerate().skip(number + 1) {
            assert!(!granted(turn), "{later} before {number}");
        }
        // The permit is dropped here: the next one has its place.
        assert!(granted(&mut turns[number]), "{number}");
    }
    let last = pool.try_spawn(|| ()).unwrap();
    gate.open();
    all_well([running, last]);
}

#[test]
fn a_turn_that_is_given_up_costs_nobody_a_place() {
    let pool = limited(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let first = pool.spawn(|| ());
    let mut turns: Vec<_> = (0..1000).map(|_| pool.reserve()).collect();
    turns.iter_mut().for_each(|turn| assert!(poll(turn, Waker::noop()).is_pending()));
    let mut last = turns.pop().unwrap();
    // Half of them before the place comes, the rest while it is theirs.
    turns.drain(..500).for_each(drop);
    drop(first);
    turns.into_iter().for_each(drop);
    let Poll::Ready(Ok(permit)) = poll(&mut last, Waker::noop()) else { panic!("it is the only one left") };
    let task = permit.spawn(|| ());
    gate.open();
    all_well([running, task]);
    check_sound(&pool);
}

#[test]
fn a_permit_is_never_refused_for_want_of_room() {
    let pool = limited(1, 3);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let permits: Vec<_> = (0..3).map(|_| pool.reserve().wait().unwrap()).collect();
    assert!(soon(pool.spawn(|| ())).unwrap_err().is_full());
    let tasks: Vec<_> = permits.into_iter().map(|permit| permit.spawn(|| ())).collect();
    assert!(soon(pool.spawn(|| ())).unwrap_err().is_full());
    gate.open();
    all_well(tasks.into_iter().chain([running]));
    let lane = narrow(&pool, 1, 1);
    let permit = lane.reserve().wait().unwrap();
    assert!(lane.try_spawn(|| ()).is_err());
    drop(permit);
    assert_eq!(lane.reserve().wait().unwrap().unblock(|| 7).wait(), 7);
    soon(lane.try_spawn(|| ()).unwrap()).unwrap();
}

#[test]
fn without_a_limit_there_is_always_a_place() {
    let pool = crate::support::pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let lane = pool.lane("wide", 1);
    let mut tasks = vec![running];
    for _ in 0..1000 {
        tasks.push(sidestep::block_on(pool.reserve()).unwrap().spawn(|| ()));
        tasks.push(lane.reserve().wait().unwrap().spawn(|| ()));
    }
    gate.open();
    all_well(tasks);
}

#[test]
fn everybody_who_waits_is_told_of_the_shutdown() {
    let pool = limited(1, 1);
    let lane = narrow(&pool, 1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let queued = [pool.spawn(|| ()), lane.spawn(|| ())];
    let wakes = Wakes::new();
    let waker = Waker::from(Arc::clone(&wakes));
    let mut turns: Vec<_> = (0..2000).flat_map(|_| [pool.reserve(), lane.reserve()]).collect();
    turns.iter_mut().for_each(|turn| assert!(poll(turn, &waker).is_pending()));
    let (inner, narrow) = (pool.clone(), lane.clone());
    let blocked = [
        thread::spawn(move || inner.reserve().wait().map(drop)),
        thread::spawn(move || narrow.reserve().wait().map(drop)),
    ];
    nothing_happens();
    let shutdown = pool.shutdown();
    assert_eq!(wakes.count(), 4000, "each once");
    for turn in &mut turns {
        assert!(matches!(poll(turn, &waker), Poll::Ready(Err(error)) if error.is_shutdown()));
    }
    blocked.into_iter().for_each(|wait| assert!(wait.join().unwrap().unwrap_err().is_shutdown()));
    gate.open();
    all_well(queued.into_iter().chain([running]));
    assert_eq!(shutdown.wait().still_running, 0);
    assert!(pool.reserve().wait().unwrap_err().is_shutdown());
    assert_eq!(wakes.count(), 4000);
}

#[test]
fn a_permit_does_not_keep_a_shutdown_waiting() {
    let pool = limited(1, 1);
    let lane = narrow(&pool, 1, 1);
    let permits = [pool.reserve().wait().unwrap(), lane.reserve().wait().unwrap()];
    assert_eq!(pool.shutdown().wait().still_running, 0);
    let (ran, count) = counter();
    for permit in permits {
        assert!(soon(permit.spawn(count.clone())).unwrap_err().is_shutdown());
    }
    assert_eq!((ran.load(Ordering::SeqCst), pool.metrics().tasks_submitted()), (0, 0));
}

#[test]
fn wakers_that_panic_cost_no_place() {
    struct Panics;
    impl std::task::Wake for Panics {
        fn wake(self: Arc<Self>) {
            quiet_panic("a waker");
        }
    }
    let pool = limited(1, 1);
    let waker = Waker::from(Arc::new(Panics));
    for _ in 0..100 {
        let gate = Gate::new();
        let running = occupy(&pool, &gate);
        let queued = pool.spawn(|| ());
        let mut turn = pool.reserve();
        assert!(poll(&mut turn, &waker).is_pending());
        gate.open();
        all_well([running, queued]);
        assert!(granted(&mut turn));
    }
    check_sound(&pool);
}

#[test]
fn a_task_waits_for_a_place_in_the_queue_of_its_own_full_pool() {
    for max in [1, 2, 3] {
        let pool = limited(max, 1);
        let inner = pool.clone();
        let task = pool.spawn(move || {
            let tasks: Vec<_> =
                (0..50).map(|number| inner.reserve().wait().unwrap().spawn(move || number)).collect();
            tasks.into_iter().map(|task| task.wait().unwrap()).sum::<i32>()
        });
        assert_eq!(soon(task).unwrap(), 1225);
        check_sound(&pool);
    }
}

#[test]
fn tasks_that_run_in_place_wait_for_places_too() {
    fn deeper(pool: &Pool, depth: usize) -> usize {
        let Some(rest) = depth.checked_sub(1) else { return 0 };
        let inner = pool.clone();
        let next = pool.reserve().wait().unwrap().spawn(move || deeper(&inner, rest));
        // The queue is full: the thread runs `next`, which is to get the place, while this waits.
        drop(pool.reserve().wait().unwrap());
        next.wait().unwrap() + 1
    }
    for max in [1, 2] {
        let pool = limited(max, 1);
        let inner = pool.clone();
        assert_eq!(soon(pool.spawn(move || deeper(&inner, 3))).unwrap(), 3);
        check_sound(&pool);
    }
}

#[test]
fn a_task_waits_for_a_place_in_a_full_lane_of_its_pool() {
    let pool = limited(1, 1);
    let lane = narrow(&pool, 2, 1);
    let (inner, order) = (lane.clone(), Arc::new(Mutex::new(Vec::new())));
    let noted = Arc::clone(&order);
    let task = pool.spawn(move || {
        let tasks: Vec<_> = (0..50)
            .map(|number| {
                let order = Arc::clone(&noted);
                inner.reserve().wait().unwrap().spawn(move || order.lock().unwrap().push(number))
            })
            .collect();
        tasks.into_iter().for_each(|task| task.wait().unwrap());
    });
    soon(task).unwrap();
    assert_eq!(*order.lock().unwrap(), (0..50).collect::<Vec<_>>());
    check_sound(&pool);
}

#[test]
fn a_waiting_task_helps_when_something_is_queued_later() {
    let pool = limited(1, 1);
    let go = Gate::new();
    let (inner, ready) = (pool.clone(), go.clone());
    let waits = pool.spawn(move || {
        ready.pass();
        inner.reserve().wait().map(drop)
    });
    let permit = pool.reserve().wait().unwrap();
    go.open();
    eventually("it waits for a place", || pool.metrics().threads_blocked() == 1);
    nothing_happens();
    let task = permit.spawn(|| 7);
    soon(waits).unwrap().unwrap();
    assert_eq!(soon(task).unwrap(), 7);
    check_sound(&pool);
}

#[test]
fn no_place_is_lost_or_made_in_a_storm() {
    const LIMIT: usize = 4;
    let pool = limited(3, LIMIT);
    let lane = narrow(&pool, 2, LIMIT);
    thread::scope(|scope| {
        for seed in 0..6 {
            let (pool, lane) = (&pool, &lane);
            scope.spawn(move || {
                for round in 0..600 {
                    let mut turn = if (round + seed) % 2 == 0 { pool.reserve() } else { lane.reserve() };
                    match round % 6 {
                        0 => turn.wait().unwrap().spawn(|| ()).detach(),
                        1 => drop(poll(&mut turn, Waker::noop())),
                        2 => drop(sidestep::block_on(turn).unwrap()),
                        3 => drop(sidestep::block_on(turn).unwrap().spawn(|| ())),
                        4 => {
                            let task = turn.wait().unwrap().spawn(|| quiet_panic("counted"));
                            assert!(soon(task).unwrap_err().is_panic());
                        }
                        _ => {
                            let nothing = || ();
                            let tries = [pool.try_spawn(nothing), lane.try_spawn(nothing)];
                            let refused = tries.into_iter().filter_map(|tried| tried.map(drop).err());
                            assert!(refused.into_iter().all(|rejected| rejected.error().is_full()));
                        }
                    }
                }
            });
        }
    });
    check_sound(&pool);
    let gate = Gate::new();
    let busy: Vec<_> = (0..3).map(|_| occupy(&pool, &gate)).collect();
    let mine: Vec<_> = (0..2 * LIMIT).filter_map(|_| pool.try_spawn(|| ()).ok()).collect();
    let lanes: Vec<_> = (0..2 * LIMIT).filter_map(|_| lane.try_spawn(|| ()).ok()).collect();
    assert_eq!((mine.len(), lanes.len()), (LIMIT, LIMIT), "all places are there, and no more");
    gate.open();
    all_well(busy.into_iter().chain(mine).chain(lanes));
}

#[test]
fn thousands_of_producers_share_few_places() {
    const PRODUCERS: usize = 5000;
    let pool = limited(2, 3);
    let (ran, count) = counter();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|_| {
                let (pool, count) = (pool.clone(), count.clone());
                tokio::spawn(async move { pool.reserve().await.unwrap().spawn(count).await.unwrap() })
            })
            .collect();
        for producer in producers {
            producer.await.unwrap();
        }
    });
    assert_eq!(ran.load(Ordering::SeqCst), PRODUCERS);
    check_sound(&pool);
}

#[test]
fn the_latest_waker_is_called() {
    let pool = limited(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let queued = pool.spawn(|| ());
    let (old, new) = (Wakes::new(), Wakes::new());
    let mut turn = pin!(pool.reserve());
    for wakes in [&old, &new] {
        let waker = Waker::from(Arc::clone(wakes));
        assert!(turn.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    gate.open();
    all_well([running, queued]);
    eventually("it is woken", || new.count() == 1);
    assert_eq!(old.count(), 0);
    let (send, receive) = channel();
    thread::scope(|scope| {
        scope.spawn(|| send.send(sidestep::block_on(turn).is_ok()).unwrap());
    });
    assert!(receive.recv_timeout(PATIENCE).unwrap());
}
