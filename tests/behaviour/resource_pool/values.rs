//! How values fail: to be made, a test, a call.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use sidestep::{ResourcePool, Task, TaskError};

use super::{Ledger, hold};
use crate::support::{
    Drops, Gate, PanicOnDrop, all_well, check_accounts, check_sound, pool, quiet_panic, soon,
};

#[test]
fn an_error_of_make_is_that_of_the_call_with_its_source_and_the_next_call_tries_again() {
    let pool = pool(1, 1);
    let ledger = Ledger::default();
    let (up, own) = (Arc::new(AtomicBool::new(false)), ledger.clone());
    let is_up = Arc::clone(&up);
    let values = ResourcePool::builder(&pool, 1, move || {
        if is_up.load(Ordering::SeqCst) {
            return Ok(own.value());
        }
        Err(io::Error::new(io::ErrorKind::ConnectionRefused, "no server"))
    });
    let values = values.build().unwrap();
    let drops = Drops::new();
    for round in 1..=3 {
        let token = drops.token();
        let error = soon(values.options().name("ask").call(move |_| drop(token))).unwrap_err();
        assert!(error.is_unavailable() && !error.is_shutdown() && !error.is_panic(), "{error}");
        assert!(error.to_string().contains("no server") && error.to_string().contains("\"ask\""), "{error}");
        let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        assert_eq!(source.map(io::Error::kind), Some(io::ErrorKind::ConnectionRefused));
        let as_io = io::Error::from(error);
        assert_eq!(as_io.kind(), io::ErrorKind::ConnectionRefused);
        assert!(as_io.get_ref().and_then(|inner| inner.downcast_ref::<TaskError>()).is_some());
        assert_eq!(drops.count(), round, "the closure is dropped");
    }
    let metrics = values.metrics();
    assert_eq!((metrics.make_failures(), metrics.values(), metrics.values_made()), (3, 0, 0));
    up.store(true, Ordering::SeqCst);
    soon(values.call(|value| value.work())).unwrap();
    let metrics = pool.metrics();
    check_accounts(&metrics);
    assert_eq!((metrics.tasks_panicked(), metrics.tasks_cancelled()), (0, 3), "{metrics:?}");
}

/// More calls at a time than values would find none.
#[test]
fn the_limit_of_the_lane_stays_within_the_size() {
    let pool = pool(2, 4);
    let ours = ResourcePool::<()>::builder(&pool, 2, || Ok::<_, io::Error>(())).build().unwrap();
    let lane = pool.lane("wide", 1);
    let in_lane = ResourcePool::<()>::builder(&lane, 2, || Ok::<_, io::Error>(())).build().unwrap();
    for values in [&ours, &in_lane] {
        let error = values.lane().set_limit(3).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains('3') && error.to_string().contains("at most 2"), "{error}");
        for limit in [0, 1, 2] {
            values.lane().set_limit(limit).unwrap();
        }
        soon(values.call(|()| ())).unwrap();
    }
    lane.set_limit(3).unwrap_err();
    // A second one that shares the lane has fewer values.
    drop(ResourcePool::<()>::builder(&lane, 1, || Ok::<_, io::Error>(())).build().unwrap_err());
}

#[test]
fn errors_of_any_kind_will_do_for_make() {
    let pool = pool(1, 1);
    let text = ResourcePool::<()>::builder(&pool, 1, || Err("just text")).build().unwrap();
    assert!(soon(text.call(|()| ())).unwrap_err().to_string().contains("just text"));
    let boxed = ResourcePool::<()>::builder(&pool, 1, || Err(Box::<dyn Error + Send + Sync>::from("boxed")));
    let error = soon(boxed.build().unwrap().call(|()| ())).unwrap_err();
    assert!(error.to_string().contains("boxed"));
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::Other);
}

#[test]
fn a_make_that_panics_is_the_panic_of_the_call_and_the_next_call_tries_again() {
    let pool = pool(1, 1);
    let ledger = Ledger::default();
    let (tries, own) = (AtomicUsize::new(0), ledger.clone());
    let values = ResourcePool::builder(&pool, 1, move || {
        if tries.fetch_add(1, Ordering::SeqCst) < 2 {
            quiet_panic("no driver");
        }
        io::Result::Ok(own.value())
    });
    let values = values.build().unwrap();
    for _ in 0..2 {
        let drops = Drops::new();
        let bomb = PanicOnDrop(drops.clone());
        let error = soon(values.call(move |_| drop(bomb))).unwrap_err();
        assert!(error.is_panic() && error.to_string().contains("no driver"), "{error}");
        assert_eq!(drops.count(), 1, "and its destructor harms nobody");
    }
    assert_eq!(soon(values.call(|value| value.work())).unwrap(), 0);
    assert_eq!(values.metrics().make_failures(), 2);
    check_sound(&pool);
}

#[test]
fn a_call_that_panics_drops_its_value_there_and_the_next_makes_another() {
    let pool = pool(2, 2);
    let ledger = Ledger::default();
    let values = ledger.pool(&pool, 2);
    let home = Arc::new(std::sync::Mutex::new(None));
    let seen = Arc::clone(&home);
    let broken: Task<()> = values.call(move |_| {
        *seen.lock().unwrap() = Some(thread::current().id());
        quiet_panic("half done")
    });
    let error = soon(broken).unwrap_err();
    assert_eq!(error.try_into_panic().unwrap().downcast_ref(), Some(&"half done"));
    assert_eq!(ledger.dropped_on(), [home.lock().unwrap().unwrap()], "before the error is seen");
    assert_eq!(soon(values.call(|value| value.work())).unwrap(), 1);
    let metrics = values.metrics();
    assert_eq!((metrics.values_made(), metrics.values_dropped(), metrics.values()), (2, 1, 1));
    // The others are as good as before.
    let gate = Gate::new();
    let held = hold(&values, &gate);
    let broken: Task<()> = values.call(|_| quiet_panic("half done"));
    assert!(soon(broken).unwrap_err().is_panic());
    gate.open();
    assert_eq!(soon(held).unwrap(), 1);
    assert_eq!((ledger.made(), ledger.dropped(), ledger.most()), (3, 2, 2));
    check_sound(&pool);
}

#[test]
fn a_value_that_fails_its_test_is_dropped_and_another_serves_the_call() {
    let pool = pool(2, 4);
    let ledger = Ledger::default();
    let values = ledger.builder(&pool, 3).check(|value| value.sound).build().unwrap();
    // Three idle ones, two of them broken.
    let gate = Gate::new();
    let held = [hold(&values, &gate), hold(&values, &gate), hold(&values, &gate)];
    gate.open();
    all_well(held);
    let mut order = Vec::new();
    let go = Gate::new();
    let breaks = |sound: bool| {
        let (pass, started) = (go.clone(), Gate::new());
        let announce = started.clone();
        let task = values.call(move |value| {
            value.sound = sound;
            announce.open();
            pass.pass();
            value.number
        });
        started.pass();
        task
    };
    let tasks = [breaks(false), breaks(false), breaks(false)];
    go.open();
    for task in tasks {
        order.push(soon(task).unwrap());
    }
    // Each call tests until one is sound; all three are not.
    let number = soon(values.call(|value| value.work())).unwrap();
    assert_eq!(number, 3, "another is made");
    assert_eq!(ledger.dropped(), 3);
    let metrics = values.metrics();
    assert_eq!((metrics.check_failures(), metrics.values_dropped(), metrics.values()), (3, 3, 1));
    assert_eq!(ledger.most(), 3);
    // A sound one is used again.
    assert_eq!(soon(values.call(|value| value.work())).unwrap(), 3);
    check_sound(&pool);
}

#[test]
fn a_fresh_value_is_not_tested() {
    let pool = pool(1, 1);
    let ledger = Ledger::default();
    let values = ledger.builder(&pool, 1).check(|_| false).build().unwrap();
    for number in 0..5 {
        assert_eq!(soon(values.call(|value| value.work())).unwrap(), number);
    }
    assert_eq!((ledger.made(), ledger.dropped(), ledger.most()), (5, 4, 1));
}

#[test]
fn a_test_that_panics_is_the_panic_of_the_call_and_its_value_is_dropped() {
    let pool = pool(1, 1);
    let ledger = Ledger::default();
    let values = ledger.builder(&pool, 1).check(|value| value.sound || quiet_panic("no answer"));
    let values = values.build().unwrap();
    soon(values.call(|value| value.sound = false)).unwrap();
    let error = soon(values.call(|value| value.work())).unwrap_err();
    assert!(error.is_panic() && error.to_string().contains("no answer"), "{error}");
    assert_eq!((ledger.dropped(), values.metrics().check_failures()), (1, 1));
    assert_eq!(soon(values.call(|value| value.work())).unwrap(), 1);
}

#[test]
fn a_test_may_repair_the_value() {
    let pool = pool(1, 1);
    let ledger = Ledger::default();
    let values = ledger.builder(&pool, 1).check(|value| {
        value.sound = true;
        true
    });
    let values = values.build().unwrap();
    soon(values.call(|value| value.sound = false)).unwrap();
    assert!(soon(values.call(|value| value.sound)).unwrap());
    assert_eq!(ledger.made(), 1);
}

/// In an outage a call is not served, the others are not held up, and all is well afterwards.
#[test]
fn an_outage_is_survived() {
    let pool = pool(2, 8);
    let ledger = Ledger::default();
    let (up, own) = (Arc::new(AtomicBool::new(true)), ledger.clone());
    let is_up = Arc::clone(&up);
    let make = move || if is_up.load(Ordering::SeqCst) { Ok(own.value()) } else { Err("down") };
    let is_up = Arc::clone(&up);
    let values = ResourcePool::builder(&pool, 4, make).check(move |_| is_up.load(Ordering::SeqCst));
    let values = values.build().unwrap();
    all_well((0..100).map(|_| values.call(|value| value.work())).collect::<Vec<_>>());
    up.store(false, Ordering::SeqCst);
    for task in (0..100).map(|_| values.call(|value| value.work())).collect::<Vec<_>>() {
        assert!(soon(task).unwrap_err().is_unavailable());
    }
    assert_eq!((ledger.made(), values.metrics().values()), (ledger.dropped(), 0));
    up.store(true, Ordering::SeqCst);
    all_well((0..100).map(|_| values.call(|value| value.work())).collect::<Vec<_>>());
    assert!(ledger.most() <= 4);
    check_sound(&pool);
}
