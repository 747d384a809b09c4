//! Readiness is room in the queue: who has it, who waits for it, and that none is ever lost.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;

use sidestep::BlockingService;
use tower::Service;

use super::{full, narrow, poll_ready};
use crate::support::{Drops, Gate, Wakes, all_well, check_sound, nothing_happens, occupy_lane, pool, soon};

#[test]
fn a_ready_service_has_room_and_its_call_spends_it() {
    let pool = pool(2, 2);
    let lane = narrow(&pool);
    let mut double = lane.service(|number: u32| number * 2);
    assert!(poll_ready(&mut double, Waker::noop()).is_ready());
    assert!(lane.try_spawn(|| ()).is_err(), "the room is the service's");
    assert!(poll_ready(&mut double, Waker::noop()).is_ready(), "and it takes no more");
    assert_eq!(soon(double.call(21)).unwrap(), 42);
    soon(lane.try_spawn(|| ()).unwrap()).unwrap();
    check_sound(&pool);
}

#[test]
fn readiness_comes_in_the_order_in_which_services_asked() {
    let pool = pool(2, 2);
    let gate = Gate::new();
    let (lane, busy) = full(&pool, &gate);
    let service = lane.service(|number: u32| number);
    let (mut first, mut second) = (service.clone(), service);
    let wakes = [Wakes::new(), Wakes::new()];
    assert!(poll_ready(&mut first, &Arc::clone(&wakes[0]).into()).is_pending());
    assert!(poll_ready(&mut second, &Arc::clone(&wakes[1]).into()).is_pending());
    gate.open();
    all_well(busy);
    crate::support::eventually("the first is woken", || wakes[0].count() == 1);
    assert!(poll_ready(&mut first, Waker::noop()).is_ready());
    nothing_happens();
    assert_eq!(wakes[1].count(), 0);
    assert!(poll_ready(&mut second, &Arc::clone(&wakes[1]).into()).is_pending());
    soon(first.call(1)).unwrap();
    crate::support::eventually("the second is woken", || wakes[1].count() == 1);
    assert!(poll_ready(&mut second, Waker::noop()).is_ready());
    soon(second.call(2)).unwrap();
}

#[test]
fn a_wait_that_nobody_polls_any_more_keeps_its_place_and_goes_on() {
    let pool = pool(2, 2);
    let gate = Gate::new();
    let (lane, busy) = full(&pool, &gate);
    let mut early = lane.service(|number: u32| number);
    assert!(poll_ready(&mut early, Waker::noop()).is_pending());
    let mut late = lane.service(|number: u32| number);
    assert!(poll_ready(&mut late, Waker::noop()).is_pending());
    gate.open();
    all_well(busy);
    crate::support::eventually("its turn comes first", || poll_ready(&mut early, Waker::noop()).is_ready());
    soon(early.call(1)).unwrap();
    crate::support::eventually("then the other's", || poll_ready(&mut late, Waker::noop()).is_ready());
    soon(late.call(2)).unwrap();
}

/// Unready, waiting, granted and not fetched, ready: dropped in each of them.
#[test]
fn a_service_that_is_dropped_before_its_call_loses_no_room() {
    let pool = pool(2, 2);
    for round in 0..50 {
        let gate = Gate::new();
        let (lane, busy) = full(&pool, &gate);
        let unready = lane.service(|number: u32| number);
        let mut waiting = unready.clone();
        let mut granted = unready.clone();
        let mut last = unready.clone();
        let wakes = Wakes::new();
        assert!(poll_ready(&mut granted, &Arc::clone(&wakes).into()).is_pending());
        assert!(poll_ready(&mut waiting, Waker::noop()).is_pending());
        assert!(poll_ready(&mut last, Waker::noop()).is_pending());
        drop(unready);
        if round % 2 == 0 {
            drop(waiting);
            gate.open();
            crate::support::eventually("it is granted", || wakes.count() == 1);
            drop(granted);
        } else {
            drop(granted);
            drop(waiting);
            gate.open();
        }
        all_well(busy);
        crate::support::eventually("the last gets it", || poll_ready(&mut last, Waker::noop()).is_ready());
        drop(last);
        // The room is there again, all of it and no more.
        let gate = Gate::new();
        let held = occupy_lane(&lane, &gate);
        let queued = lane.try_spawn(|| ()).unwrap();
        assert!(lane.try_spawn(|| ()).is_err());
        gate.open();
        all_well([held, queued]);
    }
    check_sound(&pool);
}

#[test]
fn a_clone_has_no_permit() {
    let pool = pool(1, 1);
    let lane = narrow(&pool);
    let mut service = lane.service(|number: u32| number);
    assert!(poll_ready(&mut service, Waker::noop()).is_ready());
    let mut clone = service.clone();
    assert!(poll_ready(&mut clone, Waker::noop()).is_pending());
    soon(service.call(1)).unwrap();
    crate::support::eventually("room for the clone", || poll_ready(&mut clone, Waker::noop()).is_ready());
    soon(clone.call(2)).unwrap();
}

#[test]
fn a_call_without_readiness_panics_and_breaks_nothing() {
    let pool = pool(1, 1);
    let lane = narrow(&pool);
    let mut service = lane.service(|number: u32| number);
    let call = |service: &mut BlockingService<_>| {
        let panic = catch_unwind(AssertUnwindSafe(|| drop(Service::call(service, 1)))).unwrap_err();
        panic.downcast_ref::<&str>().is_some_and(|message| message.contains("poll_ready"))
    };
    assert!(call(&mut service));
    assert!(poll_ready(&mut service, Waker::noop()).is_ready());
    soon(service.call(1)).unwrap();
    assert!(call(&mut service), "one permit is one call");
    // One that waits goes on waiting.
    let gate = Gate::new();
    let held = occupy_lane(&lane, &gate);
    let queued = lane.spawn(|| ());
    assert!(poll_ready(&mut service, Waker::noop()).is_pending());
    assert!(call(&mut service));
    gate.open();
    all_well([held, queued]);
    crate::support::eventually("it is ready", || poll_ready(&mut service, Waker::noop()).is_ready());
    soon(service.call(2)).unwrap();
}

#[test]
fn a_queue_without_a_limit_is_always_ready() {
    let pool = pool(1, 1);
    let mut service = pool.service(|number: u32| number + 1);
    let tasks: Vec<_> = (0..100)
        .map(|number| {
            assert!(poll_ready(&mut service, Waker::noop()).is_ready());
            service.call(number)
        })
        .collect();
    for (number, task) in (1..).zip(tasks) {
        assert_eq!(soon(task).unwrap(), number);
    }
}

#[test]
fn a_shutdown_is_an_error_of_the_readiness_or_of_the_call() {
    let pool = pool(1, 1);
    let lane = narrow(&pool);
    let mut ready = lane.service(|number: u32| number);
    assert!(poll_ready(&mut ready, Waker::noop()).is_ready());
    let mut waiting = ready.clone();
    let wakes = Wakes::new();
    assert!(poll_ready(&mut waiting, &Arc::clone(&wakes).into()).is_pending());
    pool.shutdown().wait();
    assert_eq!(wakes.count(), 1);
    for _ in 0..2 {
        let polled = poll_ready(&mut waiting, Waker::noop());
        assert!(matches!(polled, std::task::Poll::Ready(Err(error)) if error.is_shutdown()), "and again");
    }
    assert!(soon(ready.call(1)).unwrap_err().is_shutdown());
}

#[test]
fn calls_have_the_options_of_the_service_and_dropping_one_cancels() {
    let pool = pool(1, 1);
    let lane = narrow(&pool);
    let mut service = lane.options().name("lookup").service(|number: u32| {
        assert!(number < 5, "out of range");
        number
    });
    let gate = Gate::new();
    let held = occupy_lane(&lane, &gate);
    assert!(poll_ready(&mut service, Waker::noop()).is_ready());
    let drops = Drops::new();
    let token = drops.token();
    drop(service.call(1));
    let mut keeps = lane.service(move |_: u32| {
        let _kept = &token;
    });
    assert!(poll_ready(&mut keeps, Waker::noop()).is_ready(), "the place is free at once");
    let call = keeps.call(1);
    drop((call, keeps));
    assert_eq!(drops.count(), 1, "the function goes with the last service and call");
    gate.open();
    soon(held).unwrap();
    assert!(format!("{service:?}").starts_with("BlockingService { readiness: \"unready\""), "{service:?}");
}
