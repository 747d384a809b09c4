//! Permits with options, and permits without waiting.

use std::sync::mpsc::channel;
use std::task::{Poll, Waker};
use std::time::Duration;

use sidestep::{OnShutdown, Pool, current};

use crate::support::{
    Drops, Gate, all_well, check_sound, nothing_happens, occupy, occupy_lane, poll, pool, soon,
};

fn limited(queue: usize) -> Pool {
    Pool::builder().core_threads(1).max_threads(1).queue_limit(queue).build().unwrap()
}

#[test]
fn a_permit_takes_options() {
    let pool = limited(2);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let options = pool.options().name("import").expire_after(Duration::from_millis(1));
    let late = pool.reserve().wait().unwrap().spawn_with(&options, || ());
    let error = soon(late).unwrap_err();
    assert!(error.is_expired() && error.to_string().contains("\"import\""), "{error}");
    // Its place is free again.
    let saved = pool.options().on_shutdown(OnShutdown::AlwaysRun);
    let saved = pool.try_reserve().unwrap().spawn_with(&saved, || 7);
    let dropped = pool.try_reserve().unwrap().spawn(|| ());
    assert!(pool.try_reserve().unwrap_err().is_full());
    let shutdown = pool.shutdown().discard_queued();
    gate.open();
    soon(running).unwrap();
    assert_eq!(soon(saved).unwrap(), 7);
    assert!(soon(dropped).unwrap_err().is_shutdown());
    shutdown.wait();
}

#[test]
fn the_permit_says_where_and_the_options_say_how() {
    let (one, other) = (pool(1, 2), pool(1, 2));
    let lane = one.lane_builder("mine", 1).queue_limit(1).build().unwrap();
    let elsewhere = other.options().name("elsewhere");
    let task =
        lane.reserve().wait().unwrap().spawn_with(&elsewhere, || std::thread::current().name().is_some());
    assert!(soon(task).unwrap());
    assert_eq!((lane.metrics().tasks_completed(), other.metrics().tasks_submitted()), (1, 0));
    let of_lane = lane.options().name("of a lane");
    soon(other.reserve().wait().unwrap().spawn_with(&of_lane, || ())).unwrap();
    assert_eq!((lane.metrics().tasks_submitted(), other.metrics().tasks_completed()), (1, 1));
    check_sound(&one);
    check_sound(&other);
}

#[test]
fn those_who_wait_go_before_those_who_try() {
    let pool = limited(1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let permit = pool.try_reserve().unwrap();
    let mut waits = pool.reserve();
    assert!(poll(&mut waits, Waker::noop()).is_pending());
    assert!(pool.try_reserve().unwrap_err().is_full());
    drop(permit);
    assert!(pool.try_reserve().unwrap_err().is_full(), "it is the waiter's");
    let Poll::Ready(Ok(permit)) = poll(&mut waits, Waker::noop()) else { panic!("it has been granted") };
    drop(permit);
    let free = pool.try_reserve().unwrap();
    let task = free.spawn(|| 7);
    gate.open();
    assert_eq!(soon(task).unwrap(), 7);
    soon(running).unwrap();
    check_sound(&pool);
}

#[test]
fn permits_come_at_once_where_there_is_no_limit() {
    let pool = pool(1, 2);
    let lane = pool.lane("open", 1);
    let permits: Vec<_> = (0..1000).map(|_| lane.try_reserve().unwrap()).collect();
    all_well(permits.into_iter().map(|permit| permit.spawn(|| ())).collect::<Vec<_>>());
    drop(pool.try_reserve().unwrap());
    check_sound(&pool);
}

#[test]
fn permits_that_are_dropped_in_all_ways_free_their_places() {
    let pool = limited(3);
    let lane = pool.lane_builder("narrow", 1).queue_limit(2).build().unwrap();
    let gate = Gate::new();
    let running = occupy_lane(&lane, &gate);
    for round in 0..200 {
        let (first, second) = (lane.try_reserve().unwrap(), lane.try_reserve().unwrap());
        assert!(lane.try_reserve().unwrap_err().is_full());
        let drops = Drops::new();
        let token = drops.token();
        let task = first.spawn_with(&lane.options().name("held"), move || drop(token));
        if round % 2 == 0 {
            drop(second)
        } else {
            drop(second.spawn(|| ()))
        }
        assert!(lane.try_reserve().is_ok());
        drop(task);
        assert_eq!(drops.count(), 1);
    }
    gate.open();
    soon(running).unwrap();
    check_sound(&pool);
}

#[test]
fn a_permit_is_held_through_a_shutdown_and_spawns_nothing() {
    let pool = limited(1);
    let (permit, options) = (pool.try_reserve().unwrap(), pool.options().name("late"));
    let drops = Drops::new();
    let token = drops.token();
    pool.shutdown().wait();
    assert!(soon(permit.spawn_with(&options, move || drop(token))).unwrap_err().is_shutdown());
    assert_eq!(drops.count(), 1);
    assert!(pool.try_reserve().unwrap_err().is_shutdown());
    let other = limited(1);
    let permit = other.try_reserve().unwrap();
    drop(other.clone());
    let (sent, received) = channel();
    // The permit is a handle to the pool.
    drop(other);
    nothing_happens();
    permit.spawn(move || sent.send(current::is_cancelled()).unwrap()).detach();
    assert!(!received.recv_timeout(crate::support::PATIENCE).unwrap());
}
