//! Values that are idle, or live, for too long.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use sidestep::{Pool, ResourcePool};

use super::{Ledger, hold};
use crate::support::{Gate, all_well, check_sound, eventually, nothing_happens, occupy, pool, soon};

const SHORT: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(3600);

#[test]
fn a_value_that_is_idle_for_too_long_is_dropped_on_the_pool_without_a_call() {
    let pool = pool(1, 1);
    let home = soon(pool.spawn(|| std::thread::current().id())).unwrap();
    let ledger = Ledger::default();
    let values = ledger.builder(&pool, 2).max_idle(SHORT).build().unwrap();
    for round in 1..=3 {
        soon(values.call(|value| value.work())).unwrap();
        eventually("it is dropped", || ledger.dropped() == ledger.made());
        assert!(ledger.made() >= round);
    }
    assert!(ledger.dropped_on().iter().all(|thread| *thread == home));
    eventually("its place is free", || values.metrics().values() == 0);
    check_sound(&pool);
}

#[test]
fn a_value_that_is_used_again_in_time_stays() {
    let pool = pool(1, 1);
    let ledger = Ledger::default();
    let values = ledger.builder(&pool, 2).max_idle(LONG).max_age(LONG).build().unwrap();
    for _ in 0..10 {
        assert_eq!(soon(values.call(|value| value.work())).unwrap(), 0);
    }
    nothing_happens();
    assert_eq!((ledger.made(), ledger.dropped()), (1, 0));
}

#[test]
fn a_value_that_is_too_old_is_dropped_when_it_is_idle() {
    let pool = pool(2, 2);
    let ledger = Ledger::default();
    let values = ledger.builder(&pool, 1).max_age(SHORT).build().unwrap();
    let gate = Gate::new();
    let held = hold(&values, &gate);
    nothing_happens();
    assert_eq!(ledger.dropped(), 0, "it is in use");
    gate.open();
    soon(held).unwrap();
    assert_eq!(ledger.dropped(), 1, "it went with its call");
    soon(values.call(|value| value.work())).unwrap();
    eventually("the next is dropped in time", || ledger.dropped() == 2);
}

#[test]
fn zero_keeps_no_value_and_the_longest_time_is_no_limit() {
    let pool = pool(1, 1);
    for limit in [ResourcePoolLimit::Idle, ResourcePoolLimit::Age] {
        let ledger = Ledger::default();
        let values = limit.set(&ledger, &pool, Duration::ZERO);
        for number in 0..3 {
            assert_eq!(soon(values.call(|value| value.work())).unwrap(), number);
            assert_eq!(ledger.dropped(), number + 1);
        }
        let ledger = Ledger::default();
        let values = limit.set(&ledger, &pool, Duration::MAX);
        for _ in 0..3 {
            assert_eq!(soon(values.call(|value| value.work())).unwrap(), 0);
        }
    }
}

#[derive(Clone, Copy)]
enum ResourcePoolLimit {
    Idle,
    Age,
}

impl ResourcePoolLimit {
    fn set(self, ledger: &Ledger, pool: &Pool, time: Duration) -> ResourcePool<super::Value> {
        let builder = ledger.builder(pool, 2);
        match self {
            ResourcePoolLimit::Idle => builder.max_idle(time),
            ResourcePoolLimit::Age => builder.max_age(time),
        }
        .build()
        .unwrap()
    }
}

/// The timer can have no thread, so it is the next call that comes upon the value.
#[test]
fn a_call_comes_upon_an_overdue_value_where_the_timer_does_not() {
    let pool = pool(2, 2);
    let ledger = Ledger::default();
    let values = ledger.builder(&pool, 1).max_idle(Duration::from_millis(20)).build().unwrap();
    soon(values.call(|value| value.work())).unwrap();
    // Its sweep waits behind this one.
    let gate = Gate::new();
    let own = gate.clone();
    let held = values.lane().spawn(move || own.pass());
    nothing_happens();
    let next = values.call(|value| value.work());
    gate.open();
    soon(held).unwrap();
    assert_eq!(soon(next).unwrap(), 1, "the overdue one is not used");
    assert!(ledger.dropped() >= 1 && ledger.most() == 1);
}

#[test]
fn a_sweep_that_is_refused_is_made_up_for() {
    let pool = pool(2, 2);
    let ledger = Ledger::default();
    let values = ledger.builder(&pool, 2).queue_limit(1).max_idle(SHORT).build().unwrap();
    // Two values, and then calls of which one keeps a place while the queue is full.
    let gate = Gate::new();
    let held = [hold(&values, &gate), hold(&values, &gate)];
    gate.open();
    all_well(held);
    let gate = Gate::new();
    let held = [(); 2].map(|()| {
        let (started, pass) = (Gate::new(), gate.clone());
        let announce = started.clone();
        // A sweep may have the one place in the queue.
        let task = values.reserve().wait().unwrap().call(move |_| {
            announce.open();
            pass.pass();
        });
        started.pass();
        task
    });
    let queued = values.try_call(|value| value.work()).ok();
    nothing_happens();
    gate.open();
    all_well(held);
    queued.into_iter().for_each(|queued| assert!(soon(queued).is_ok()));
    eventually("all values leave in the end", || values.metrics().values() == 0);
    assert_eq!(ledger.made(), ledger.dropped());
}

#[test]
fn many_values_are_swept_while_calls_go_on() {
    let pool = pool(4, 8);
    let ledger = Ledger::default();
    let values = ledger.builder(&pool, 4).max_idle(Duration::from_micros(200)).build().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..200 {
                    soon(values.call(|value| value.work())).unwrap();
                    std::thread::yield_now();
                }
            });
        }
    });
    eventually("all values leave in the end", || values.metrics().values() == 0);
    assert_eq!(ledger.made(), ledger.dropped());
    assert!(ledger.most() <= 4, "{} at a time", ledger.most());
    check_sound(&pool);
}

#[test]
fn an_alarm_keeps_neither_the_values_nor_the_pool() {
    let pool = pool(1, 1);
    let ledger = Ledger::default();
    let values = ledger.builder(&pool, 1).max_idle(LONG).build().unwrap();
    soon(values.call(|value| value.work())).unwrap();
    drop(values);
    eventually("it is dropped with the last handle", || ledger.dropped() == 1);
    assert_eq!(pool.shutdown().wait().still_running, 0);
}

#[test]
fn a_sweep_does_not_outlive_a_shutdown() {
    let pool = pool(1, 1);
    let ledger = Ledger::default();
    let own = ledger.clone();
    let values = ResourcePool::builder(&pool, 1, move || io::Result::Ok(own.value())).max_idle(SHORT);
    let values = Arc::new(values.build().unwrap());
    soon(values.call(|value| value.work())).unwrap();
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    nothing_happens();
    let shutdown = pool.shutdown().discard_queued();
    gate.open();
    soon(busy).unwrap();
    assert_eq!(shutdown.wait().still_running, 0);
    drop(values);
    assert_eq!((ledger.made(), ledger.dropped()), (1, 1));
}
