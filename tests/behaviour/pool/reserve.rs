//! Places of limited queues whose owners are forgotten: they are nobody's any more.

use std::mem::forget;
use std::task::{Poll, Waker};

use sidestep::{Lane, Permit, Pool, Reserve};

use crate::support::{Gate, all_well, check_sound, nothing_happens, occupy, occupy_lane, poll, soon};

/// A pool with one thread, and a lane of it with one slot; so many tasks may wait in each.
fn limited(queue: usize) -> (Pool, Lane) {
    let pool = Pool::builder().core_threads(1).max_threads(1).queue_limit(queue).build().unwrap();
    let lane = pool.lane_builder("narrow", 1).queue_limit(queue).build().unwrap();
    (pool, lane)
}

/// The permit, if the place has come.
fn granted(turn: &mut Reserve) -> Option<Permit> {
    match poll(turn, Waker::noop()) {
        Poll::Ready(permit) => Some(permit.unwrap()),
        Poll::Pending => None,
    }
}

fn is_full(pool: &Pool) -> bool {
    pool.try_spawn(|| ()).is_err_and(|rejected| rejected.error().is_full())
}

fn is_lane_full(lane: &Lane) -> bool {
    lane.try_spawn(|| ()).is_err_and(|rejected| rejected.error().is_full())
}

#[test]
fn a_forgotten_reservation_takes_a_place_with_it_and_the_others_go_on() {
    let (pool, _) = limited(2);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let (first, second) = (pool.spawn(|| ()), pool.spawn(|| ()));
    let mut forgotten = pool.reserve();
    let mut next = pool.reserve();
    assert!(granted(&mut forgotten).is_none() && granted(&mut next).is_none());
    forget(forgotten);
    drop(first);
    nothing_happens();
    assert!(
        granted(&mut next).is_none() && is_full(&pool),
        "the place has gone to the one that is forgotten"
    );
    drop(second);
    let task = granted(&mut next).unwrap().spawn(|| ());
    gate.open();
    all_well([running, task]);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let last = pool.try_spawn(|| ()).unwrap();
    assert!(is_full(&pool), "there is one place, not two");
    gate.open();
    all_well([running, last]);
    check_sound(&pool);
    assert_eq!(pool.shutdown().wait().still_running, 0);
}

#[test]
fn where_the_last_place_is_forgotten_others_wait_until_the_shutdown() {
    let (pool, lane) = limited(1);
    let gate = Gate::new();
    let running = occupy_lane(&lane, &gate);
    let queued = lane.spawn(|| ());
    let mut turns = [lane.reserve(), lane.reserve()];
    assert!(turns.iter_mut().all(|turn| granted(turn).is_none()));
    let [forgotten, mut waits] = turns;
    forget(forgotten);
    gate.open();
    all_well([running, queued]);
    assert!(granted(&mut waits).is_none() && is_lane_full(&lane), "nothing is queued, and nothing can be");
    soon(pool.spawn(|| ())).unwrap();
    let shutdown = pool.shutdown();
    assert!(waits.wait().unwrap_err().is_shutdown());
    assert_eq!(shutdown.wait().still_running, 0);
}

#[test]
fn a_forgotten_permit_takes_its_place_with_it() {
    let (pool, lane) = limited(1);
    forget(pool.reserve().wait().unwrap());
    forget(lane.reserve().wait().unwrap());
    assert!(is_full(&pool) && is_lane_full(&lane));
    let mut turns = [pool.reserve(), lane.reserve()];
    assert!(turns.iter_mut().all(|turn| granted(turn).is_none()));
    let shutdown = pool.shutdown();
    assert!(turns.into_iter().all(|turn| turn.wait().is_err_and(|error| error.is_shutdown())));
    assert_eq!(shutdown.wait().still_running, 0);
}

#[test]
fn a_reservation_that_is_forgotten_before_its_first_poll_has_no_place() {
    let (pool, lane) = limited(1);
    forget((pool.reserve(), lane.reserve()));
    let permits = [pool.reserve().wait().unwrap(), lane.reserve().wait().unwrap()];
    all_well(permits.map(|permit| permit.spawn(|| ())));
    assert_eq!(pool.shutdown().wait().still_running, 0);
}
