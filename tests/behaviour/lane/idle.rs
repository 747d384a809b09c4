//! Waiting until a lane or a pool has nothing to do.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Waker;
use std::thread;
use std::time::Duration;

use sidestep::{Pool, UntilIdle};

use crate::support::{
    Gate, Wakes, all_well, check_sound, counter, eventually, nothing_happens, occupy, occupy_lane, poll,
    pool, quiet_panic, soon,
};

#[test]
fn what_has_nothing_to_do_is_idle_at_once() {
    let pool = pool(1, 2);
    let lane = pool.lane("lane", 1);
    pool.idle().wait();
    lane.idle().wait();
    soon(lane.spawn(|| ())).unwrap();
    assert!(poll(&mut lane.idle(), Waker::noop()).is_ready());
    assert!(poll(&mut pool.idle(), Waker::noop()).is_ready());
    check_sound(&pool);
}

#[test]
fn a_pool_is_idle_when_the_last_of_its_tasks_and_lanes_has_ended() {
    let pool = pool(2, 8);
    let lane = pool.lane("lane", 1);
    let (in_lane, outside) = (Gate::new(), Gate::new());
    let running = [occupy_lane(&lane, &in_lane), occupy(&pool, &outside)];
    let queued = lane.spawn(|| ());
    let wakes = Wakes::new();
    let waker = Waker::from(Arc::clone(&wakes));
    let (mut all, mut one) = (pool.idle(), lane.idle());
    assert!(poll(&mut all, &waker).is_pending() && poll(&mut one, &waker).is_pending());
    in_lane.open();
    eventually("the lane is idle", || wakes.count() == 1);
    assert!(poll(&mut one, &waker).is_ready());
    assert!(poll(&mut all, &waker).is_pending(), "the pool is not");
    outside.open();
    eventually("the pool is idle", || wakes.count() == 2);
    assert!(poll(&mut all, &waker).is_ready());
    all_well(running.into_iter().chain([queued]));
    check_sound(&pool);
}

#[test]
fn it_waits_for_every_kind_of_end() {
    let pool = pool(2, 4);
    let lane = pool.lane("lane", 2);
    for round in 0..200 {
        let (ran, count) = counter();
        for number in 0..20 {
            let place = if number % 2 == 0 { lane.options() } else { pool.options() };
            let count = count.clone();
            let task = place.spawn(move || {
                count();
                if number % 5 == 0 {
                    quiet_panic("counted");
                }
            });
            match number % 4 {
                0 => drop(task),
                1 => drop(task.wait_timeout(Duration::from_micros(round))),
                _ => task.detach(),
            }
        }
        pool.idle().wait();
        let metrics = pool.metrics();
        assert_eq!((metrics.tasks_queued(), metrics.tasks_running()), (0, 0));
        assert_eq!(metrics.tasks_submitted(), 20 * (round + 1));
        let before = ran.load(Ordering::SeqCst);
        lane.idle().wait();
        assert_eq!(ran.load(Ordering::SeqCst), before);
    }
    check_sound(&pool);
}

#[test]
fn a_cancellation_can_be_the_end_that_is_waited_for() {
    let pool = pool(1, 1);
    let lane = pool.lane("paused", 1);
    lane.set_limit(0).unwrap();
    for _ in 0..200 {
        let task = lane.spawn(|| ());
        let (one, all) = (lane.idle(), pool.idle());
        let waiters = [one, all].map(|idle| thread::spawn(move || idle.wait()));
        drop(task);
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    }
    let expired = lane.options().expire_after(Duration::from_millis(1)).spawn(|| ());
    lane.idle().wait();
    assert!(soon(expired).unwrap_err().is_expired());
    lane.set_limit(1).unwrap();
    check_sound(&pool);
}

#[test]
fn a_paused_lane_with_a_task_is_not_idle() {
    let pool = pool(1, 2);
    let lane = pool.lane("paused", 1);
    lane.set_limit(0).unwrap();
    let task = lane.spawn(|| ());
    let mut idle = lane.idle();
    assert!(poll(&mut idle, Waker::noop()).is_pending());
    nothing_happens();
    assert!(poll(&mut idle, Waker::noop()).is_pending());
    lane.set_limit(1).unwrap();
    idle.wait();
    assert_eq!(lane.metrics().tasks_completed(), 1);
    soon(task).unwrap();
}

#[test]
fn work_that_comes_later_does_not_matter() {
    let pool = pool(1, 2);
    let lane = pool.lane("lane", 1);
    let (first, second) = (Gate::new(), Gate::new());
    let running = occupy_lane(&lane, &first);
    let wakes = Wakes::new();
    let mut idle = lane.idle();
    assert!(poll(&mut idle, &Waker::from(Arc::clone(&wakes))).is_pending());
    first.open();
    soon(running).unwrap();
    eventually("it has been idle", || wakes.count() == 1);
    let again = occupy_lane(&lane, &second);
    assert!(poll(&mut idle, Waker::noop()).is_ready(), "it was idle since the wait began");
    assert!(poll(&mut lane.idle(), Waker::noop()).is_pending());
    second.open();
    soon(again).unwrap();
}

#[test]
fn it_is_awaited_by_many_and_dropped_by_some() {
    const WAITERS: usize = 1000;
    let pool = pool(1, 2);
    let lane = pool.lane("lane", 1);
    for _ in 0..5 {
        let gate = Gate::new();
        let running = occupy_lane(&lane, &gate);
        let wakes = Wakes::new();
        let waker = Waker::from(Arc::clone(&wakes));
        let mut waits: Vec<UntilIdle> =
            (0..WAITERS).map(|number| if number % 2 == 0 { lane.idle() } else { pool.idle() }).collect();
        assert!(waits.iter_mut().all(|idle| poll(idle, &waker).is_pending()));
        // Half of each kind.
        waits = waits.into_iter().enumerate().filter(|(at, _)| at % 4 < 2).map(|(_, idle)| idle).collect();
        assert_eq!((waits.len(), wakes.count()), (WAITERS / 2, 0));
        gate.open();
        soon(running).unwrap();
        eventually("all are woken", || wakes.count() == WAITERS / 2);
        assert!(waits.iter_mut().all(|idle| poll(idle, &waker).is_ready()));
    }
    check_sound(&pool);
}

#[test]
fn a_waker_is_replaced_by_that_of_the_next_poll() {
    let pool = pool(1, 2);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let mut idle = pool.idle();
    let (old, new) = (Wakes::new(), Wakes::new());
    assert!(poll(&mut idle, &Waker::from(Arc::clone(&old))).is_pending());
    assert!(poll(&mut idle, &Waker::from(Arc::clone(&new))).is_pending());
    gate.open();
    soon(running).unwrap();
    eventually("the new one is woken", || new.count() == 1);
    assert_eq!(old.count(), 0);
}

#[test]
fn submitters_race_with_waits() {
    const ROUNDS: usize = 2000;
    let pool = pool(2, 4);
    let lane = pool.lane("lane", 2);
    let (done, ended) = (AtomicBool::new(false), Arc::new(AtomicUsize::new(0)));
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..2)
            .map(|number| {
                let (pool, lane, done) = (&pool, &lane, &done);
                scope.spawn(move || {
                    let mut waits = 0;
                    while !done.load(Ordering::SeqCst) {
                        if number == 0 {
                            pool.idle().wait()
                        } else {
                            lane.idle().wait()
                        }
                        waits += 1;
                    }
                    waits
                })
            })
            .collect();
        let submitters: Vec<_> = (0..2)
            .map(|number| {
                let (pool, lane, ended) = (&pool, &lane, &ended);
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let count = Arc::clone(ended);
                        let f = move || _ = count.fetch_add(1, Ordering::SeqCst);
                        let task = if number == 0 { pool.spawn(f) } else { lane.spawn(f) };
                        if round % 3 == 0 { drop(task) } else { soon(task).unwrap() }
                    }
                })
            })
            .collect();
        submitters.into_iter().for_each(|submitter| submitter.join().unwrap());
        done.store(true, Ordering::SeqCst);
        // No wait hangs.
        assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap() > 0));
    });
    check_sound(&pool);
}

#[test]
fn a_task_that_waits_for_itself_panics_and_one_elsewhere_does_not() {
    let pool = pool(2, 4);
    let (lane, other) = (pool.lane("lane", 1), pool.lane("other", 1));
    let inner = lane.clone();
    let end = soon(lane.spawn(move || catch_unwind(AssertUnwindSafe(|| inner.idle().wait())).is_err()));
    assert!(end.unwrap());
    let inner = pool.clone();
    let end = soon(
        other.spawn(move || catch_unwind(AssertUnwindSafe(|| sidestep::block_on(inner.idle()))).is_err()),
    );
    assert!(end.unwrap());
    let (inner, task) = (lane.clone(), lane.spawn(|| ()));
    soon(other.spawn(move || inner.idle().wait())).unwrap();
    assert_eq!((lane.metrics().tasks_queued(), lane.metrics().tasks_running()), (0, 0));
    soon(task).unwrap();
    check_sound(&pool);
}

#[test]
fn a_callback_may_wait_on_the_only_thread() {
    let pool = pool(1, 1);
    let (sent, received) = std::sync::mpsc::channel();
    let inner = pool.clone();
    let gate = Gate::new();
    let first = occupy(&pool, &gate);
    first.on_complete(move |_| {
        let queued = inner.spawn(|| 7);
        inner.idle().wait();
        sent.send(inner.metrics().tasks_completed() == 2).unwrap();
        soon(queued).unwrap();
    });
    gate.open();
    assert!(received.recv_timeout(crate::support::PATIENCE).unwrap());
    check_sound(&pool);
}

#[test]
fn a_pool_that_has_ended_is_idle() {
    let pool = Pool::builder().core_threads(1).max_threads(2).build().unwrap();
    let lane = pool.lane("lane", 1);
    let gate = Gate::new();
    let running = occupy_lane(&lane, &gate);
    let (one, all) = (lane.idle(), pool.idle());
    let shutdown = pool.shutdown();
    gate.open();
    shutdown.wait();
    soon(running).unwrap();
    one.wait();
    all.wait();
    assert!(soon(lane.spawn(|| ())).unwrap_err().is_shutdown());
    pool.idle().wait();
}
