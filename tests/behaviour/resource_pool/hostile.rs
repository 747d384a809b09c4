//! Resource pools in the hands of odd users: impossible sizes, destructors that panic, handles that
//! go at any time, a pool that ends meanwhile, values that own other pools.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use sidestep::{ResourcePool, ResourcePoolBuilder, Strand, Task, current};

use super::{Ledger, hold};
use crate::support::{
    DropToken, Drops, Gate, PATIENCE, PanicOnDrop, all_well, check_accounts, check_sound, eventually, pool,
    quiet_panic, soon,
};

#[test]
fn impossible_settings_are_refused_by_name() {
    let pool = pool(1, 1);
    let ledger = Ledger::default();
    fn refused<T: Send + 'static>(builder: ResourcePoolBuilder<T>) -> String {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        error.to_string()
    }
    let message = refused(ledger.builder(&pool, 0));
    assert!(message.contains("size of a resource pool (0) must be at least 1"), "{message}");
    let message = refused(ledger.builder(&pool, 1).queue_limit(0));
    assert!(message.contains("queue_limit") && message.contains("(0)"), "{message}");
    let lane = pool.lane("wide", 3);
    let message = refused(ResourcePool::builder(&lane, 2, || Ok::<_, String>(())));
    assert!(message.contains("\"wide\" has limit 3") && message.contains("2 values"), "{message}");
    let own = ledger.clone();
    let builder = ResourcePool::builder(&lane, 3, move || io::Result::Ok(own.value())).queue_limit(7);
    let message = refused(builder);
    assert!(message.contains("queue_limit (7)") && message.contains("\"wide\""), "{message}");
    assert_eq!(ledger.made(), 0);
}

#[test]
fn the_largest_numbers_are_no_limits() {
    let pool = pool(2, 4);
    let ledger = Ledger::default();
    let values = ledger.builder(&pool, usize::MAX).queue_limit(usize::MAX).build().unwrap();
    assert_eq!((values.size(), values.lane().limit()), (usize::MAX, usize::MAX));
    all_well((0..100).map(|_| values.call(|value| value.work())).collect::<Vec<_>>());
    let permit = values.reserve().wait().unwrap();
    soon(permit.call(|value| value.work())).unwrap();
    values.close().wait().unwrap();
    assert_eq!(ledger.made(), ledger.dropped());
}

#[test]
fn a_destructor_that_panics_harms_neither_the_call_nor_the_places() {
    let pool = pool(2, 2);
    let (drops, made) = (Drops::new(), Arc::new(AtomicUsize::new(0)));
    let (own, count) = (drops.clone(), Arc::clone(&made));
    let make = move || {
        count.fetch_add(1, Ordering::SeqCst);
        Ok::<_, String>(PanicOnDrop(own.clone()))
    };
    let values = ResourcePool::builder(&pool, 1, make).max_age(Duration::ZERO).build().unwrap();
    for round in 1..=5 {
        assert_eq!(soon(values.call(move |_| round)).unwrap(), round, "its value goes with it");
        let broken: Task<()> = values.call(|_| quiet_panic("and the call panics too"));
        let error = soon(broken).unwrap_err();
        assert!(error.to_string().contains("and the call panics too"), "{error}");
        assert_eq!(drops.count(), 2 * round);
    }
    assert_eq!((made.load(Ordering::SeqCst), values.metrics().values()), (10, 0));
    check_sound(&pool);
}

#[test]
fn a_make_that_blocks_for_ever_keeps_one_place_and_the_others_go_on() {
    let pool = pool(2, 4);
    let ledger = Ledger::default();
    let (gate, own) = (Gate::new(), ledger.clone());
    let (pass, first) = (gate.clone(), AtomicUsize::new(0));
    let values = ResourcePool::builder(&pool, 2, move || {
        if first.fetch_add(1, Ordering::SeqCst) == 0 {
            pass.pass();
        }
        io::Result::Ok(own.value())
    });
    let values = values.build().unwrap();
    let stuck = values.call(|value| value.work());
    eventually("its value is being made", || values.metrics().values() == 1);
    for _ in 0..20 {
        soon(values.call(|value| value.work())).unwrap();
    }
    let metrics = values.metrics();
    assert_eq!((metrics.values(), metrics.values_made()), (2, 1));
    let report = pool.shutdown().timeout(Duration::from_millis(1)).wait();
    assert_eq!(report.still_running, 1);
    gate.open();
    soon(stuck).unwrap();
    pool.shutdown().wait();
}

#[test]
fn a_call_that_waits_for_the_shutdown_keeps_its_value_and_the_next_is_told() {
    let pool = pool(2, 2);
    let ledger = Ledger::default();
    let values = ledger.pool(&pool, 1);
    let (queued_up, closing) = (Gate::new(), pool.clone());
    let all_queued = queued_up.clone();
    let first = values.call(move |value| {
        all_queued.pass();
        closing.shutdown().wait();
        value.work()
    });
    let second = values.call(|value| value.work());
    queued_up.open();
    let error = soon(second).unwrap_err();
    assert!(error.is_deadlock(), "{error}");
    soon(first).unwrap();
    assert_eq!(ledger.most(), 1);
}

#[test]
fn handles_and_tasks_may_go_at_any_time_and_nothing_is_lost() {
    let pool = pool(2, 4);
    let drops = Drops::new();
    let mut calls = 0;
    let ledger = Ledger::default();
    for round in 0..60 {
        let values = ledger.pool(&pool, 1 + round % 3);
        let tasks: Vec<_> = (0..10)
            .map(|number: usize| {
                calls += 1;
                let token = drops.token();
                values.call(move |value| {
                    let _token = token;
                    value.work();
                    if number == 7 {
                        quiet_panic("now and then");
                    }
                })
            })
            .collect();
        match round % 4 {
            0 => drop(values),
            1 => drop(values.close()),
            2 => values.close().wait().unwrap(),
            _ => {}
        }
        for (number, task) in tasks.into_iter().enumerate() {
            match (number + round) % 3 {
                0 => drop(task),
                1 => task.detach(),
                _ => drop(task.wait_timeout(PATIENCE)),
            }
        }
    }
    eventually("every closure is dropped", || drops.count() == calls);
    eventually("every value is dropped", || ledger.dropped() == ledger.made());
    assert!(!ledger.dropped_on().contains(&thread::current().id()));
    check_sound(&pool);
}

#[test]
fn a_pool_that_ends_meanwhile_loses_neither_values_nor_calls() {
    for round in 0..60 {
        let pool = pool(2, 4);
        let ledger = Ledger::default();
        let values = ledger.pool(&pool, 2);
        let tasks: Vec<_> = (0..20).map(|_| values.call(|value| value.work())).collect();
        let late = values.clone();
        let caller = thread::spawn(move || {
            let tasks: Vec<_> = (0..20).map(|_| late.call(|value| value.work())).collect();
            tasks.into_iter().map(soon).collect::<Vec<_>>()
        });
        let shutdown = pool.shutdown();
        let report = if round % 2 == 0 { shutdown } else { shutdown.discard_queued() }.wait();
        assert_eq!(report.still_running, 0);
        for end in tasks.into_iter().map(soon).chain(caller.join().unwrap()) {
            assert!(end.is_ok() || end.is_err_and(|error| error.is_shutdown()));
        }
        check_accounts(&pool.metrics());
        drop(values);
        assert_eq!(ledger.dropped(), ledger.made());
        assert!(ledger.most() <= 2);
    }
}

/// A value that owns the last handle of another resource pool, and so on: no stack is overflowed.
struct Nested {
    _inner: Option<ResourcePool<Nested>>,
    _token: DropToken,
}

#[test]
fn values_that_own_resource_pools_are_dropped_to_any_depth() {
    const DEPTH: usize = 3000;
    let drops = Drops::new();
    let pool = pool(1, 1);
    let mut inner = None;
    for _ in 0..DEPTH {
        let value = Mutex::new(Some(Nested { _inner: inner.take(), _token: drops.token() }));
        let make = move || value.lock().unwrap().take().ok_or("only one");
        let values = ResourcePool::builder(&pool, 1, make).build().unwrap();
        soon(values.call(|_| ())).unwrap();
        inner = Some(values);
    }
    pool.shutdown().wait();
    drop(inner);
    assert_eq!(drops.count(), DEPTH, "here, since the pool has ended");
}

#[test]
fn a_call_may_drop_close_and_use_its_own_pool() {
    let pool = pool(2, 4);
    let ledger = Ledger::default();
    let values = ledger.pool(&pool, 2);
    let own = values.clone();
    soon(values.call(move |_| drop(own))).unwrap();
    let own = values.clone();
    let later = soon(values.call(move |_| own.call(|value| value.work()))).unwrap();
    soon(later).unwrap();
    let own = values.clone();
    soon(values.call(move |_| drop(own.close()))).unwrap();
    assert!(values.is_closed());
    values.close().wait().unwrap();
    assert_eq!(ledger.dropped(), ledger.made());
    // The last handle.
    let values = ledger.pool(&pool, 1);
    let own = values.clone();
    let call = values.call(move |_| drop(own));
    drop(values);
    soon(call).unwrap();
    eventually("the value is dropped", || ledger.dropped() == ledger.made());
}

#[test]
fn a_value_that_is_swapped_for_another_is_the_users_affair() {
    let pool = pool(1, 1);
    let ledger = Ledger::default();
    let values = ledger.pool(&pool, 1);
    let own = ledger.clone();
    let old = soon(values.call(move |value| std::mem::replace(value, own.value()))).unwrap();
    assert_eq!((old.number, ledger.dropped()), (0, 0));
    drop(old);
    values.close().wait().unwrap();
    assert_eq!((ledger.made(), ledger.dropped()), (2, 2));
}

#[test]
fn a_resource_pool_of_strands_and_a_strand_of_a_resource_pool() {
    let pool = pool(2, 4);
    let own = pool.clone();
    let strands = ResourcePool::builder(&pool, 2, move || Ok::<_, String>(Strand::on(&own, 0)));
    let strands = strands.build().unwrap();
    let call = soon(strands.call(|strand| strand.call(|count| *count + 1))).unwrap();
    assert_eq!(soon(call).unwrap(), 1);
    let strand = Strand::on(&pool, strands);
    let call = strand.call(|strands| strands.call(|strand| strand.call(|count| *count)));
    let call = soon(soon(call).unwrap()).unwrap();
    assert_eq!(soon(call).unwrap(), 0);
    soon(strand.close()).unwrap();
    check_sound(&pool);
}

#[test]
fn make_may_ask_whether_its_call_is_cancelled_and_spawn_on_its_pool() {
    let pool = pool(1, 1);
    let own = pool.clone();
    let values = ResourcePool::builder(&pool, 1, move || {
        assert!(!current::is_cancelled());
        own.spawn(|| 5).wait()
    });
    let values = values.build().unwrap();
    assert_eq!(soon(values.call(|value| *value)).unwrap(), 5);
}

#[cfg(unix)]
#[test]
fn in_a_forked_child_calls_end_with_an_error_and_no_value_is_dropped() {
    use crate::support::fork::in_child;

    let pool = pool(2, 2);
    let ledger = Ledger::default();
    let values = ledger.pool(&pool, 2);
    let gate = Gate::new();
    let held = hold(&values, &gate);
    soon(values.call(|value| value.work())).unwrap();
    let closing = values.clone();
    let status = in_child(|checks| {
        checks.no_thread(soon(values.call(|value| value.work())));
        checks.check(values.try_call(|_| ()).is_err_and(|rejected| rejected.error().is_no_thread()));
        checks.check(values.reserve().wait().is_err_and(|error| error.is_no_thread()));
        checks.check(closing.close().wait().is_err_and(|error| error.is_no_thread()));
        checks.check(values.metrics().values() == 0);
        drop(closing);
        checks.check(ledger.dropped() == 0);
    });
    assert_eq!(status, 0);
    gate.open();
    soon(held).unwrap();
    soon(values.call(|value| value.work())).unwrap();
}
