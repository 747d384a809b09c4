//! The end of a resource pool: closed, or its last handle dropped.

use std::sync::Arc;
use std::thread;

use sidestep::{ResourcePool, Task};

use super::{Ledger, Value, hold};
use crate::support::{
    Drops, Gate, HoldOnDrop, PanicOnDrop, Wakes, all_well, check_sound, eventually, nothing_happens, occupy,
    poll, pool, soon,
};

#[test]
fn close_runs_what_is_queued_refuses_what_comes_later_and_drops_the_values_on_the_pool() {
    let pool = pool(2, 2);
    let ledger = Ledger::default();
    let values = ledger.pool(&pool, 2);
    let gate = Gate::new();
    let held = [hold(&values, &gate), hold(&values, &gate)];
    let other = values.clone();
    let queued: Vec<_> = (0..10).map(|_| values.call(|value| value.work())).collect();
    assert!(!values.is_closed());
    let mut closing = values.close();
    assert!(other.is_closed());
    let drops = Drops::new();
    let token = drops.token();
    let late = other.call(move |_| drop(token));
    let wakes = Wakes::new();
    assert!(poll(&mut closing, &Arc::clone(&wakes).into()).is_pending());
    nothing_happens();
    assert_eq!((ledger.dropped(), wakes.count()), (0, 0));
    gate.open();
    all_well(held);
    all_well(queued);
    let error = soon(late).unwrap_err();
    assert!(error.is_shutdown() && error.to_string().contains("closed"), "{error}");
    assert_eq!(drops.count(), 1);
    eventually("the values are dropped", || wakes.count() == 1);
    closing.wait().unwrap();
    assert_eq!((ledger.made(), ledger.dropped()), (2, 2));
    assert!(!ledger.dropped_on().contains(&thread::current().id()));
    assert_eq!(wakes.count(), 1);
    // Whoever closes again, or asks for the numbers, gets an answer.
    values.close().wait().unwrap();
    sidestep::block_on(other.close()).unwrap();
    let metrics = values.metrics();
    assert_eq!((metrics.values(), metrics.values_made(), metrics.values_dropped()), (0, 2, 2));
    check_sound(&pool);
}

#[test]
fn a_resource_pool_without_values_is_closed_at_once() {
    let pool = pool(1, 1);
    let values = Ledger::default().pool(&pool, 2);
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    values.close().wait().unwrap();
    assert!(values.try_call(|_| ()).is_ok_and(|task| !task.is_finished()), "its turn has not come");
    gate.open();
    soon(busy).unwrap();
    assert!(soon(values.call(|_| ())).unwrap_err().is_shutdown());
}

#[test]
fn a_make_that_returns_after_the_close_serves_its_call_and_its_value_is_dropped() {
    let pool = pool(2, 2);
    let ledger = Ledger::default();
    let (started, gate, own) = (Gate::new(), Gate::new(), ledger.clone());
    let (announce, pass) = (started.clone(), gate.clone());
    let values = ResourcePool::builder(&pool, 1, move || {
        announce.open();
        pass.pass();
        std::io::Result::Ok(own.value())
    });
    let values = values.build().unwrap();
    let call = values.call(|value| value.work());
    started.pass();
    let mut closing = values.close();
    let late = values.call(|value| value.work());
    drop(values);
    assert!(poll(&mut closing, std::task::Waker::noop()).is_pending());
    gate.open();
    assert_eq!(soon(call).unwrap(), 0);
    closing.wait().unwrap();
    assert!(soon(late).unwrap_err().is_shutdown());
    assert_eq!((ledger.made(), ledger.dropped()), (1, 1));
}

#[test]
fn a_close_that_is_given_up_closes_all_the_same() {
    let pool = pool(2, 2);
    let ledger = Ledger::default();
    let values = ledger.pool(&pool, 1);
    let gate = Gate::new();
    let held = hold(&values, &gate);
    let mut closing = values.close();
    let wakes = Wakes::new();
    assert!(poll(&mut closing, &Arc::clone(&wakes).into()).is_pending());
    drop(closing);
    gate.open();
    soon(held).unwrap();
    eventually("the value is dropped", || ledger.dropped() == 1);
    assert_eq!((wakes.count(), Arc::strong_count(&wakes)), (0, 1), "its waker is gone");
}

#[test]
fn close_waits_for_destructors_and_reports_the_one_that_panics() {
    let pool = pool(2, 2);
    let (value, begun, leave) = HoldOnDrop::new();
    let value = std::sync::Mutex::new(Some(value));
    let values = ResourcePool::builder(&pool, 1, move || value.lock().unwrap().take().ok_or("only one"));
    let values = values.build().unwrap();
    soon(values.call(|_| ())).unwrap();
    let mut closing = values.close();
    begun.pass();
    assert!(poll(&mut closing, std::task::Waker::noop()).is_pending());
    leave.open();
    closing.wait().unwrap();

    let drops = Drops::new();
    let own = drops.clone();
    let values = ResourcePool::builder(&pool, 2, move || Ok::<_, String>(PanicOnDrop(own.clone())));
    let values = values.build().unwrap();
    let gate = Gate::new();
    let calls = [(); 2].map(|()| {
        let (pass, started) = (gate.clone(), Gate::new());
        let announce = started.clone();
        let call = values.call(move |_| {
            announce.open();
            pass.pass();
        });
        started.pass();
        call
    });
    gate.open();
    all_well(calls);
    let error = values.close().wait().unwrap_err();
    assert!(error.is_panic() && error.to_string().contains(file!()), "{error}");
    assert_eq!(drops.count(), 2, "the other one is dropped as well");
    assert!(values.close().wait().unwrap_err().is_panic());
    check_sound(&pool);
}

#[test]
fn a_call_that_waits_for_the_close_of_its_own_pool_is_told() {
    let pool = pool(2, 4);
    let values = Ledger::default().pool(&pool, 2);
    let own = values.clone();
    let error = soon(values.call(move |_| own.close().wait())).unwrap().unwrap_err();
    assert!(error.is_deadlock(), "{error}");
    values.close().wait().unwrap();
    // Of another one it may wait, on the only thread too.
    for max in [1, 4] {
        let pool = self::pool(1, max);
        let (here, there) = (Ledger::default().pool(&pool, 1), Ledger::default().pool(&pool, 1));
        let other = there.clone();
        let end = here.call(move |_| {
            let queued: Task<usize> = other.call(|value: &mut Value| value.work());
            other.close().wait().map(|()| queued)
        });
        assert_eq!(soon(soon(end).unwrap().unwrap()).unwrap(), 0);
        check_sound(&pool);
    }
}

#[test]
fn a_permit_does_not_hold_a_close_up_and_is_refused_afterwards() {
    let pool = pool(1, 1);
    let ledger = Ledger::default();
    let values = ledger.pool(&pool, 1);
    soon(values.call(|value| value.work())).unwrap();
    let permit = values.reserve().wait().unwrap();
    values.close().wait().unwrap();
    assert_eq!(ledger.dropped(), 1);
    assert!(soon(permit.call(|value| value.work())).unwrap_err().is_shutdown());
}

#[test]
fn a_shutdown_runs_what_is_queued_and_the_last_handle_drops_the_values() {
    let pool = pool(2, 2);
    let ledger = Ledger::default();
    let values = ledger.pool(&pool, 1);
    let gate = Gate::new();
    let held = hold(&values, &gate);
    let queued = values.call(|value| value.work());
    let shutdown = pool.shutdown();
    assert!(soon(values.call(|_| ())).unwrap_err().is_shutdown());
    gate.open();
    all_well([held, queued]);
    assert_eq!(shutdown.wait().still_running, 0);
    assert_eq!(ledger.dropped(), 0);
    values.close().wait().unwrap();
    assert_eq!((ledger.made(), ledger.dropped()), (1, 1));
    drop(values);
    assert_eq!(ledger.dropped(), 1);
}

#[test]
fn a_shutdown_that_discards_calls_drops_no_value_twice() {
    let pool = pool(1, 1);
    let ledger = Ledger::default();
    let values = ledger.pool(&pool, 1);
    soon(values.call(|value| value.work())).unwrap();
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let queued = values.call(|value| value.work());
    let closing = values.close();
    let shutdown = pool.shutdown().discard_queued();
    assert!(soon(queued).unwrap_err().is_shutdown());
    gate.open();
    soon(busy).unwrap();
    shutdown.wait();
    closing.wait().unwrap();
    assert_eq!((ledger.made(), ledger.dropped()), (1, 1));
}

#[test]
fn values_that_are_left_over_are_dropped_on_the_pool_though_its_shutdown_discards() {
    let pool = pool(1, 1);
    let home = soon(pool.spawn(|| thread::current().id())).unwrap();
    let ledger = Ledger::default();
    let values = ledger.pool(&pool, 1);
    soon(values.call(|value| value.work())).unwrap();
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    drop(values);
    let shutdown = pool.shutdown().discard_queued();
    assert_eq!(ledger.dropped(), 0, "its destructor may block");
    gate.open();
    soon(busy).unwrap();
    shutdown.wait();
    assert_eq!(ledger.dropped_on(), [home]);
}
