//! The tokio runtime of the caller inside the closure: for which spawns, which runtime, and what
//! one that has ended does.
#![cfg(feature = "tokio")]

use std::mem::forget;
use std::sync::Arc;
use std::time::Duration;

use sidestep::task::{JoinSet, spawn_blocking};
use sidestep::{Batch, OnShutdown, Pool, block_on};
use tokio::runtime::{Builder, Handle, Id, Runtime};

use crate::support::alone::alone_as;
use crate::support::{Gate, builder, check_sound, eventually, occupy, soon};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// The runtime that this code is inside of.
fn inside() -> Option<Id> {
    Handle::try_current().ok().map(|handle| handle.id())
}

/// A pool of one thread whose closures run inside the runtimes of their spawners.
fn propagating() -> Pool {
    builder().core_threads(1).max_threads(1).propagate_runtime(true).build().unwrap()
}

/// sqlx, tokio: one runtime for ever.
#[test]
fn the_global_pool_follows_each_caller() {
    for _ in 0..2 {
        let runtime = runtime();
        let seven = runtime.block_on(async {
            let nap = async {
                tokio::time::sleep(Duration::from_millis(1)).await;
                7
            };
            sidestep::spawn(|| Handle::current().block_on(nap)).await
        });
        assert_eq!(seven.unwrap(), 7);
        let id = runtime.handle().id();
        assert_eq!(runtime.block_on(sidestep::unblock(inside)), None, "spawned outside");
        assert_eq!(runtime.block_on(async { sidestep::unblock(inside).await }), Some(id));
        assert_eq!(runtime.block_on(async { spawn_blocking(inside).await }).unwrap(), Some(id));
    }
    assert_eq!(sidestep::spawn(inside).wait().unwrap(), None);
    assert_eq!(block_on(spawn_blocking(inside)).unwrap(), None);
}

#[test]
fn every_way_to_spawn_on_a_pool_that_propagates_takes_the_runtime_along() {
    let (pool, runtime) = (propagating(), runtime());
    let (lane, id) = (pool.lane("single", 1), Some(runtime.handle().id()));
    let _entered = runtime.enter();
    let tasks = [
        pool.spawn(inside),
        pool.try_spawn(inside).unwrap(),
        pool.options().name("named").spawn(inside),
        pool.options().on_shutdown(OnShutdown::AlwaysRun).try_spawn(inside).unwrap(),
        pool.reserve().wait().unwrap().spawn(inside),
        lane.spawn(inside),
        lane.try_spawn(inside).unwrap(),
        lane.options().spawn(inside),
        lane.reserve().wait().unwrap().spawn(inside),
    ];
    for task in tasks {
        let site = format!("{task:?}");
        assert_eq!(soon(task).unwrap(), id, "{site}");
    }
    assert_eq!(pool.unblock(inside).wait(), id);
    let batches: [Batch<_>; 3] = [
        pool.spawn_batch([inside]),
        lane.spawn_batch([inside]),
        lane.options().name("named").spawn_batch([inside]),
    ];
    for batch in batches {
        assert_eq!(batch.wait().remove(0).unwrap(), id);
    }
    assert_eq!(pool.scope(|scope| scope.spawn(inside).wait()).unwrap(), id);
    assert_eq!(sidestep::Strand::on(&pool, ()).call(|()| inside()).wait().unwrap(), id);
    check_sound(&pool);
}

#[test]
fn other_pools_do_not_unless_the_call_says_so() {
    let (pool, runtime) = (crate::support::pool(1, 1), runtime());
    let (lane, id) = (pool.lane("single", 1), Some(runtime.handle().id()));
    runtime.block_on(async {
        assert_eq!(pool.spawn(inside).await.unwrap(), None);
        assert_eq!(lane.spawn(inside).await.unwrap(), None);
        let mut set = JoinSet::new();
        set.spawn_blocking(inside);
        set.spawn_blocking_on(inside, &pool);
        set.spawn_blocking_on(inside, &lane);
        set.spawn_blocking_on(inside, &pool.options().name("named"));
        assert_eq!(set.join_all().await, [id; 4]);
    });
    check_sound(&pool);
}

#[test]
fn a_pool_with_a_runtime_of_its_own_has_it_for_callers_without_one() {
    let (own, callers) = (runtime(), runtime());
    let pool =
        Pool::builder().max_threads(1).runtime(own.handle().clone()).propagate_runtime(true).build().unwrap();
    for _ in 0..2 {
        assert_eq!(soon(pool.spawn(inside)).unwrap(), Some(own.handle().id()));
        let there = callers.block_on(async { pool.spawn(inside).await });
        assert_eq!(there.unwrap(), Some(callers.handle().id()));
    }
}

#[test]
fn the_global_pool_can_be_built_not_to_and_tokios_names_still_do() {
    alone_as(
        "pool::caller_runtime::the_global_pool_can_be_built_not_to_and_tokios_names_still_do",
        &[],
        || {
            Pool::builder().propagate_runtime(false).build_global().unwrap();
            let runtime = runtime();
            let id = Some(runtime.handle().id());
            runtime.block_on(async {
                assert_eq!(sidestep::spawn(inside).await.unwrap(), None);
                assert_eq!(spawn_blocking(inside).await.unwrap(), id);
                // The next one has its settings.
                Pool::global().shutdown().await;
                assert_eq!(sidestep::spawn(inside).await.unwrap(), None);
            });
        },
    );
}

#[test]
fn a_global_pool_that_was_built_by_hand_follows_its_callers_too() {
    alone_as(
        "pool::caller_runtime::a_global_pool_that_was_built_by_hand_follows_its_callers_too",
        &[],
        || {
            Pool::builder().max_threads(2).build_global().unwrap();
            let runtime = runtime();
            let there = runtime.block_on(async { sidestep::spawn(inside).await });
            assert_eq!(there.unwrap(), Some(runtime.handle().id()));
        },
    );
}

#[test]
fn what_a_closure_spawns_is_inside_the_runtime_too() {
    let (pool, runtime) = (propagating(), runtime());
    let inner = pool.clone();
    let nested = runtime.block_on(async { pool.spawn(move || inner.spawn(inside).wait()).await });
    assert_eq!(nested.unwrap().unwrap(), Some(runtime.handle().id()));
    check_sound(&pool);
}

/// Each contexts' function runs on the pool's thread, inside the runtime.
#[test]
fn contexts_are_installed_inside_of_the_runtime() {
    let pool = Pool::builder()
        .propagate_runtime(true)
        .propagate(|| {
            |run: &mut dyn FnMut()| {
                assert!(inside().is_some());
                run();
                assert!(inside().is_some());
            }
        })
        .build()
        .unwrap();
    let runtime = runtime();
    let there = runtime.block_on(async { pool.spawn(inside).await });
    assert_eq!(there.unwrap(), Some(runtime.handle().id()));
}

#[test]
fn a_runtime_that_has_ended_is_the_error_of_the_task_that_wants_it() {
    let (pool, gate) = (propagating(), Gate::new());
    let busy = occupy(&pool, &gate);
    let runtime = runtime();
    let (id, guard) = (runtime.handle().id(), runtime.enter());
    let does_not_care = pool.spawn(inside);
    let spawns = pool.spawn(|| block_on(Handle::current().spawn(async { 7 })).unwrap_err().is_cancelled());
    let sleeps = pool.spawn(|| {
        Handle::current().block_on(tokio::time::sleep(Duration::from_millis(1)));
    });
    let mut set = JoinSet::new();
    set.spawn_blocking_on(|| Handle::current().block_on(tokio::time::sleep(Duration::ZERO)), &pool);
    drop(guard);
    drop(runtime);
    gate.open();
    assert_eq!(soon(does_not_care).unwrap(), Some(id), "it runs all the same");
    assert!(soon(spawns).unwrap());
    assert!(soon(sleeps).unwrap_err().is_panic());
    assert!(block_on(set.join_next()).unwrap().unwrap_err().is_panic());
    soon(busy).unwrap();
    check_sound(&pool);
    assert_eq!(soon(pool.spawn(inside)).unwrap(), None, "the thread has left it");
}

#[test]
fn a_closure_may_have_runtimes_of_its_own() {
    let (pool, callers) = (propagating(), runtime());
    let _entered = callers.enter();
    let id = Some(callers.handle().id());
    let other = pool.spawn(move || {
        let own = runtime();
        let there = own.block_on(async { inside() });
        let entered = own.enter();
        let here = inside();
        drop(entered);
        assert_eq!((there, inside()), (here, id));
        here
    });
    assert_ne!(soon(other).unwrap(), id);
    let panics = pool.spawn(|| {
        let own = runtime();
        let _entered = own.enter();
        crate::support::quiet_panic("inside")
    });
    let error = soon::<()>(panics).unwrap_err();
    assert_eq!(error.try_into_panic().unwrap().downcast_ref(), Some(&"inside"));
    assert_eq!(soon(pool.spawn(inside)).unwrap(), id);
    check_sound(&pool);
}

/// tokio panics when a guard is dropped out of order: that is ours, around the closure.
#[test]
fn a_guard_that_a_closure_forgets_harms_neither_its_value_nor_the_pool() {
    let (pool, callers, other) = (propagating(), runtime(), Arc::new(runtime()));
    for _ in 0..3 {
        let forgotten = Arc::clone(&other);
        let value = callers.block_on(async {
            pool.spawn(move || {
                forget(forgotten.enter());
                7
            })
            .await
        });
        assert_eq!(value.unwrap(), 7);
        let there = callers.block_on(async { pool.spawn(inside).await });
        assert_eq!(there.unwrap(), Some(callers.handle().id()), "whatever was left behind");
    }
    check_sound(&pool);
}

#[test]
fn a_task_that_has_ended_keeps_nothing_of_its_runtime() {
    let (pool, gate) = (propagating(), Gate::new());
    let busy = occupy(&pool, &gate);
    let kept = Arc::new(());
    let hook = Arc::clone(&kept);
    let runtime = Builder::new_current_thread().on_thread_start(move || _ = &hook).build().unwrap();
    let guard = runtime.enter();
    let (ran, cancelled) = (pool.spawn(inside), pool.spawn(inside));
    let refused = {
        let full = Pool::builder().propagate_runtime(true).max_threads(1).queue_limit(1).build().unwrap();
        let _held = full.reserve().wait().unwrap();
        full.try_spawn(inside).unwrap_err()
    };
    cancelled.cancel_handle().cancel();
    drop(guard);
    drop(runtime);
    gate.open();
    eventually("it ends", || ran.is_finished());
    soon(busy).unwrap();
    eventually("the runtime is gone", || Arc::strong_count(&kept) == 1);
    drop((ran, cancelled, refused));
}
