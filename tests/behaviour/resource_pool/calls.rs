//! Calls on a resource pool: which value serves them, in what order, how they are cancelled.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use sidestep::{OnShutdown, ResourcePool, Task, current};

use super::{Ledger, hold};
use crate::support::{
    Drops, Gate, Rendezvous, Wakes, all_well, check_accounts, check_sound, eventually, nothing_happens,
    occupy, poll, pool, quiet_panic, soon,
};

#[test]
fn values_are_made_on_demand_and_the_one_used_last_serves_the_next_call() {
    let pool = pool(2, 8);
    let ledger = Ledger::default();
    let values = ledger.pool(&pool, 3);
    assert_eq!((ledger.made(), values.size()), (0, 3));
    for _ in 0..20 {
        assert_eq!(soon(values.call(|value| value.work())).unwrap(), 0, "one will do");
    }
    let gate = Gate::new();
    let held = [hold(&values, &gate), hold(&values, &gate), hold(&values, &gate)];
    assert_eq!(ledger.made(), 3);
    let metrics = values.metrics();
    assert_eq!((metrics.values(), metrics.values_idle(), metrics.values_in_use()), (3, 0, 3));
    let queued = values.call(|value| value.work());
    nothing_happens();
    assert!(!queued.is_finished(), "all values are in use");
    gate.open();
    let mut numbers: Vec<_> = held.into_iter().map(|task| soon(task).unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1, 2]);
    soon(queued).unwrap();
    assert_eq!((ledger.made(), ledger.dropped(), ledger.most()), (3, 0, 3));
    let metrics = values.metrics();
    assert_eq!((metrics.values_made(), metrics.values_dropped(), metrics.values_idle()), (3, 0, 3));
    check_sound(&pool);
}

#[test]
fn each_value_serves_one_call_at_a_time_and_there_are_never_more_than_the_size() {
    let pool = pool(4, 16);
    for size in [1, 2, 5] {
        let ledger = Ledger::default();
        let values = ledger.pool(&pool, size);
        let calls = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        soon(values.call(|value| value.work())).unwrap();
                        calls.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(calls.into_inner(), 800);
        assert!(ledger.most() <= size && ledger.dropped() == 0, "{} of {size}", ledger.most());
        soon(values.call(|_| ())).unwrap();
        assert_eq!(values.lane().limit(), size);
    }
    check_sound(&pool);
}

#[test]
fn calls_that_wait_hold_no_thread() {
    let pool = pool(2, 64);
    let ledger = Ledger::default();
    let values = ledger.pool(&pool, 2);
    let gate = Gate::new();
    let held = [hold(&values, &gate), hold(&values, &gate)];
    let queued: Vec<_> = (0..500).map(|_| values.call(|value| value.work())).collect();
    nothing_happens();
    let metrics = pool.metrics();
    assert_eq!((metrics.tasks_running(), metrics.tasks_queued()), (2, 500), "{metrics:?}");
    assert!(metrics.threads() <= 4, "{metrics:?}");
    gate.open();
    all_well(held);
    all_well(queued);
    assert_eq!(ledger.made(), 2);
}

#[test]
fn a_queued_call_is_cancelled_at_once_and_a_running_one_is_told() {
    let pool = pool(2, 2);
    let ledger = Ledger::default();
    let values = ledger.pool(&pool, 1);
    let (started, interrupted, drops) = (Gate::new(), Gate::new(), Drops::new());
    let announce = started.clone();
    let running = values.call(move |value| {
        let interrupt = interrupted.clone();
        let _guard = current::on_cancel(move || interrupt.open());
        announce.open();
        interrupted.pass();
        value.work();
    });
    started.pass();
    let token = drops.token();
    drop(values.call(move |_| drop(token)));
    assert_eq!(drops.count(), 1);
    drop(running);
    assert_eq!(soon(values.call(|value| value.uses)).unwrap(), 1, "the value is as good as before");
    assert_eq!(ledger.made(), 1);
    check_sound(&pool);
}

#[test]
fn a_call_cancelled_while_its_value_is_made_never_begins_and_the_value_serves_the_next() {
    let pool = pool(2, 2);
    let ledger = Ledger::default();
    let (started, interrupted) = (Gate::new(), Gate::new());
    let (announce, own) = (started.clone(), ledger.clone());
    let values = ResourcePool::builder(&pool, 1, move || {
        let interrupt = interrupted.clone();
        let _guard = current::on_cancel(move || interrupt.open());
        announce.open();
        interrupted.pass();
        std::io::Result::Ok(own.value())
    });
    let values = values.build().unwrap();
    let drops = Drops::new();
    let token = drops.token();
    let call = values.call(move |_| drop(token));
    started.pass();
    let end = call.cancel();
    let error = end.wait().unwrap_err();
    assert!(error.is_cancelled(), "{error}");
    assert_eq!(drops.count(), 1);
    assert_eq!((ledger.made(), ledger.dropped()), (1, 0));
    assert_eq!(soon(values.call(|value| value.uses)).unwrap(), 0);
    assert_eq!(ledger.made(), 1);
    check_accounts(&pool.metrics());
}

#[test]
fn a_call_cancelled_while_its_value_is_tested_never_begins() {
    let pool = pool(2, 2);
    let ledger = Ledger::default();
    let (started, interrupted) = (Gate::new(), Gate::new());
    let announce = started.clone();
    let values = ledger.builder(&pool, 1).check(move |_| {
        let interrupt = interrupted.clone();
        let _guard = current::on_cancel(move || interrupt.open());
        announce.open();
        interrupted.pass();
        true
    });
    let values = values.build().unwrap();
    soon(values.call(|_| ())).unwrap();
    let call = values.call(|value| value.work());
    started.pass();
    assert!(call.cancel().wait().unwrap_err().is_cancelled());
    assert_eq!(soon(values.call(|value| value.uses)).unwrap(), 0);
    assert_eq!((ledger.made(), ledger.dropped()), (1, 0));
}

#[test]
fn calls_have_names_time_limits_and_a_shutdown_policy() {
    let pool = pool(1, 1);
    let ledger = Ledger::default();
    let values = ledger.pool(&pool, 1);
    let gate = Gate::new();
    let held = hold(&values, &gate);
    let late = values.options().name("late").expire_after(Duration::ZERO).call(|value| value.work());
    let error = soon(late).unwrap_err();
    assert!(error.is_expired() && error.to_string().contains("\"late\""), "{error}");
    assert!(error.to_string().contains(file!()), "{error}");
    let needed = values.options().on_shutdown(OnShutdown::AlwaysRun).call(|value| value.work());
    let idle = values.options().on_shutdown(OnShutdown::Discard).call(|value| value.work());
    let shutdown = pool.shutdown().discard_queued();
    assert!(soon(idle).unwrap_err().is_shutdown());
    gate.open();
    all_well([held, needed]);
    shutdown.wait();
    assert!(soon(values.call(|_| ())).unwrap_err().is_shutdown());
}

#[test]
fn options_of_the_spawner_are_those_of_all_calls() {
    let pool = pool(1, 1);
    let ledger = Ledger::default();
    let own = ledger.clone();
    let values =
        ResourcePool::builder(&pool.options().name("query"), 1, move || std::io::Result::Ok(own.value()));
    let values = values.build().unwrap();
    let broken: Task<()> = values.call(|_| quiet_panic("no row"));
    assert!(soon(broken).unwrap_err().to_string().contains("\"query\""));
}

#[test]
fn a_full_queue_refuses_and_a_permit_waits_for_room() {
    let pool = pool(2, 2);
    let ledger = Ledger::default();
    let values = ledger.builder(&pool, 1).queue_limit(1).build().unwrap();
    let gate = Gate::new();
    let held = hold(&values, &gate);
    let permit = values.reserve().wait().unwrap();
    assert!(soon(values.call(|_| ())).unwrap_err().is_full());
    let rejected = values.try_call(|value| value.work()).unwrap_err();
    assert!(rejected.error().is_full());
    let mut value = Ledger::default().value();
    assert_eq!(rejected.into_inner()(&mut value), 0, "the closure comes back");
    let mut waits = values.reserve();
    let wakes = Wakes::new();
    assert!(poll(&mut waits, &Arc::clone(&wakes).into()).is_pending());
    let first = permit.call(|value| value.work());
    gate.open();
    soon(held).unwrap();
    soon(first).unwrap();
    soon(waits.wait().unwrap().call(|value| value.work())).unwrap();
    assert_eq!(ledger.made(), 1);
}

#[test]
fn a_call_inside_a_call_gets_another_value_and_a_circle_is_told() {
    for (core, max) in [(1, 1), (2, 8)] {
        let pool = pool(core, max);
        let ledger = Ledger::default();
        let values = ledger.pool(&pool, 2);
        let own = values.clone();
        let inner = values.call(move |outer| {
            let inner = own.call(|value| value.number).wait();
            (outer.number, inner.unwrap())
        });
        let (outer, inner) = soon(inner).unwrap();
        assert_ne!(outer, inner);
        // Three deep there is none.
        let own = values.clone();
        let end = values.call(move |_| {
            let deeper = own.clone();
            // The wait that comes last is told: the inner one, or the outer one of a late thread.
            own.call(move |_| deeper.call(|_| ()).wait()).wait().and_then(|end| end)
        });
        let error = soon(end).unwrap().unwrap_err();
        assert!(error.is_deadlock(), "{error}");
        soon(values.call(|value| value.work())).unwrap();
        assert_eq!((ledger.made(), ledger.dropped()), (2, 0));
        check_sound(&pool);
    }
}

#[test]
fn two_calls_that_wait_for_each_others_values_are_told() {
    let pool = pool(4, 8);
    let ledger = Ledger::default();
    let values = ledger.pool(&pool, 2);
    let both = Rendezvous::new(2);
    let calls = [(); 2].map(|()| {
        let (own, both) = (values.clone(), Arc::clone(&both));
        values.call(move |_| {
            both.meet();
            own.call(|_| ()).wait()
        })
    });
    let ends = calls.map(|call| soon(call).unwrap());
    let told = ends.iter().filter(|end| end.as_ref().is_err_and(|error| error.is_deadlock())).count();
    assert_eq!(told, 1, "one is told, and the other gets the value: {ends:?}");
    check_sound(&pool);
}

#[test]
fn calls_run_in_a_lane_of_the_program_beside_its_other_tasks() {
    let pool = pool(2, 4);
    let lane = pool.lane_builder("database", 2).queue_limit(5).build().unwrap();
    let ledger = Ledger::default();
    let own = ledger.clone();
    let values = ResourcePool::builder(&lane, 3, move || std::io::Result::Ok(own.value())).build().unwrap();
    let gate = Gate::new();
    let held = [hold(&values, &gate), hold(&values, &gate)];
    let other = lane.spawn(|| ());
    nothing_happens();
    assert!(!other.is_finished(), "the lane runs two at a time");
    assert_eq!((values.lane().name(), values.lane().metrics().tasks_running()), ("database", 2));
    gate.open();
    all_well(held);
    soon(other).unwrap();
    assert_eq!(ledger.made(), 2, "the third is never needed");
}

#[test]
fn a_resource_pool_keeps_its_pool_alive_and_its_last_handle_drops_the_values_there() {
    let pool = pool(1, 1);
    let home = soon(pool.spawn(|| thread::current().id())).unwrap();
    let ledger = Ledger::default();
    let values = ledger.pool(&pool, 2);
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    drop(pool);
    let ran = Gate::new();
    let run = ran.clone();
    values.call(move |_| run.open()).detach();
    drop(values);
    assert!(!ran.is_open());
    gate.open();
    soon(busy).unwrap();
    ran.pass();
    eventually("the value is dropped", || ledger.dropped() == 1);
    assert_eq!(ledger.dropped_on(), [home]);
}

#[test]
fn handles_are_send_sync_unwind_safe_and_shown() {
    fn check<T: Send + Sync + Unpin + std::panic::UnwindSafe + std::panic::RefUnwindSafe>(_: &T) {}
    let pool = pool(1, 1);
    let builder = ResourcePool::builder(&pool, 2, || Ok::<_, String>(std::cell::Cell::new(1)));
    assert!(format!("{builder:?}").starts_with("ResourcePoolBuilder { size: 2"), "{builder:?}");
    let values = builder.build().unwrap();
    check(&values);
    assert!(
        format!("{values:?}").starts_with("ResourcePool { lane: \"resource pool\", size: 2"),
        "{values:?}"
    );
    let reserve = values.reserve();
    check(&reserve);
    assert!(format!("{reserve:?}").starts_with("ReserveCall {"));
    let permit = reserve.wait().unwrap();
    check(&permit);
    assert!(format!("{permit:?}").starts_with("CallPermit {"));
    assert_eq!(soon(permit.call(|value| value.get())).unwrap(), 1);
    let closing = values.close();
    check(&closing);
    assert!(format!("{closing:?}").starts_with("Closing"));
    closing.wait().unwrap();
}
