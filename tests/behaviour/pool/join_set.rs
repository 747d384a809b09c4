//! `JoinSet`: closures under tokio's names, whose results come as they end.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use sidestep::task::{AbortHandle, Id, JoinSet};
use sidestep::{Pool, block_on, current};

use crate::support::{
    Drops, Gate, PanicOnDrop, Wakes, check_sound, eventually, nothing_happens, occupy, pool, quiet_panic,
    soon,
};

/// A task of the set that has begun, and ends when it is cancelled.
fn runs_until_cancelled(set: &mut JoinSet<&'static str>, pool: &Pool) -> AbortHandle {
    let began = Gate::new();
    let opens = began.clone();
    let abort = set.spawn_blocking_on(
        move || {
            opens.open();
            eventually("it is cancelled", current::is_cancelled);
            "cleaned up"
        },
        pool,
    );
    began.pass();
    abort
}

#[test]
fn results_come_as_tasks_end_and_the_set_can_be_filled_again() {
    let mut set = JoinSet::new();
    assert!(set.is_empty() && block_on(set.join_next()).is_none() && set.try_join_next().is_none());
    for round in 0..3 {
        let gates: Vec<Gate> = (0..3).map(|_| Gate::new()).collect();
        for (n, gate) in gates.iter().cloned().enumerate() {
            set.spawn_blocking(move || {
                gate.pass();
                (round, n)
            });
            assert_eq!(set.len(), n + 1);
        }
        assert!(set.try_join_next().is_none());
        for n in [2, 0, 1] {
            gates[n].open();
            assert_eq!(block_on(set.join_next()).unwrap().unwrap(), (round, n));
        }
        assert!(set.is_empty() && block_on(set.join_next()).is_none());
    }
}

#[test]
fn ids_say_which_task_it_was_and_errors_have_theirs() {
    let mut set = JoinSet::new();
    let mut numbers: BTreeMap<Id, u32> = BTreeMap::new();
    for n in 0..100_u32 {
        let abort = set.spawn_blocking(move || if n % 3 == 0 { quiet_panic(n) } else { n });
        assert!(numbers.insert(abort.id(), n).is_none(), "an id twice");
    }
    while let Some(joined) = block_on(set.join_next_with_id()) {
        let (id, n) = joined.unwrap_or_else(|error| (error.id(), *error.into_panic().downcast().unwrap()));
        assert_eq!(numbers.remove(&id), Some(n));
    }
    assert!(numbers.is_empty());
}

#[test]
fn dropping_a_set_that_is_waited_for_cancels_its_tasks_and_calls_no_waker() {
    let pool = pool(1, 1);
    let (mut set, drops, wakes) = (JoinSet::new(), Drops::new(), Wakes::new());
    let running = runs_until_cancelled(&mut set, &pool);
    let token = drops.token();
    let queued = set.spawn_blocking_on(
        move || {
            drop(token);
            "never"
        },
        &pool,
    );
    // The future of a join is dropped with the set, by a timeout around both, say.
    let mut joining = Box::pin(async move { while set.join_next().await.is_some() {} });
    let waker = Waker::from(Arc::clone(&wakes));
    assert!(joining.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(waker);
    drop(joining);
    assert_eq!((drops.count(), wakes.count(), Arc::strong_count(&wakes)), (1, 0, 1));
    assert!(queued.is_finished());
    eventually("the other sees it", || running.is_finished());
    assert_eq!(wakes.count(), 0);
    check_sound(&pool);
}

#[test]
fn a_join_that_is_given_up_loses_nothing() {
    let (mut set, gate) = (JoinSet::new(), Gate::new());
    for n in 0..3 {
        let pass = gate.clone();
        set.spawn_blocking(move || {
            pass.pass();
            n
        });
    }
    for _ in 0..3 {
        let mut join = Box::pin(set.join_next());
        assert!(join.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    gate.open();
    let mut values = block_on(set.join_all());
    values.sort_unstable();
    assert_eq!(values, [0, 1, 2]);
}

#[test]
fn aborting_all_keeps_the_tasks_and_shutting_down_waits_for_them() {
    let pool = pool(1, 1);
    let mut set = JoinSet::new();
    let running = runs_until_cancelled(&mut set, &pool);
    let queued = set.spawn_blocking_on(|| "never", &pool);
    set.abort_all();
    assert!(queued.is_finished());
    assert_eq!(set.len(), 2);
    let mut ends = Vec::new();
    while let Some(end) = block_on(set.join_next()) {
        ends.push(end.map_err(|error| error.is_cancelled()));
    }
    ends.sort_unstable();
    assert_eq!(ends, [Ok("cleaned up"), Err(true)]);
    assert!(running.is_finished());

    let running = runs_until_cancelled(&mut set, &pool);
    block_on(set.shutdown());
    assert!(set.is_empty() && running.is_finished(), "it has waited for the end");
    // Nothing is left to do, and nothing to wait for.
    block_on(set.shutdown());
    check_sound(&pool);
}

#[test]
fn an_abort_handle_ends_one_task_of_many() {
    let pool = pool(1, 1);
    let (mut set, gate) = (JoinSet::new(), Gate::new());
    let busy = occupy(&pool, &gate);
    let aborts: Vec<_> = (0..10).map(|n| set.spawn_blocking_on(move || n, &pool)).collect();
    aborts.iter().step_by(2).for_each(AbortHandle::abort);
    gate.open();
    let (mut values, mut cancelled) = (Vec::new(), Vec::new());
    while let Some(end) = block_on(set.join_next()) {
        match end {
            Ok(value) => values.push(value),
            Err(error) => cancelled.push(error.id()),
        }
    }
    assert_eq!(values, [1, 3, 5, 7, 9]);
    assert_eq!(cancelled, aborts.iter().step_by(2).map(AbortHandle::id).collect::<Vec<_>>());
    soon(busy).unwrap();
    check_sound(&pool);
}

#[test]
fn detached_tasks_run_on_without_the_set() {
    let pool = pool(1, 1);
    let (mut set, gate, values) = (JoinSet::new(), Gate::new(), Drops::new());
    let busy = occupy(&pool, &gate);
    for _ in 0..10 {
        let value = values.token();
        set.spawn_blocking_on(
            move || {
                assert!(!current::is_cancelled());
                value
            },
            &pool,
        );
    }
    set.detach_all();
    assert!(set.is_empty() && block_on(set.join_next()).is_none());
    // It may be filled again.
    let value = values.token();
    set.spawn_blocking_on(move || value, &pool);
    drop(set);
    assert_eq!(values.count(), 1, "the one that was in the set is cancelled");
    gate.open();
    eventually("the others run", || values.count() == 11);
    soon(busy).unwrap();
    check_sound(&pool);
}

#[test]
fn asking_without_waiting_leaves_the_waker_of_a_wait_alone() {
    let (mut set, gate, wakes) = (JoinSet::new(), Gate::new(), Wakes::new());
    let pass = gate.clone();
    set.spawn_blocking(move || {
        pass.pass();
        7
    });
    let waker = Waker::from(Arc::clone(&wakes));
    assert!(set.poll_join_next(&mut Context::from_waker(&waker)).is_pending());
    assert!(set.try_join_next().is_none());
    assert!(set.try_join_next_with_id().is_none());
    gate.open();
    eventually("it is called", || wakes.count() == 1);
    assert_eq!(set.try_join_next().unwrap().unwrap(), 7);
    assert!(matches!(set.poll_join_next(&mut Context::from_waker(&waker)), Poll::Ready(None)));
}

#[test]
fn the_waker_of_the_last_poll_is_called() {
    let (mut set, gate) = (JoinSet::new(), Gate::new());
    let pass = gate.clone();
    let abort = set.spawn_blocking(move || pass.pass());
    let (first, last) = (Wakes::new(), Wakes::new());
    for wakes in [&first, &last] {
        let waker = Waker::from(Arc::clone(wakes));
        assert!(set.poll_join_next_with_id(&mut Context::from_waker(&waker)).is_pending());
    }
    assert_eq!(Arc::strong_count(&first), 1);
    gate.open();
    eventually("the last is called", || last.count() == 1);
    assert_eq!(first.count(), 0);
    let Poll::Ready(Some(Ok((id, ())))) = set.poll_join_next_with_id(&mut Context::from_waker(Waker::noop()))
    else {
        panic!("it has ended")
    };
    assert_eq!(id, abort.id());
}

/// Its destructor runs user code on the thread that polls: a runtime is driven there, say.
#[test]
fn a_waker_whose_destructor_uses_a_set_is_dropped_outside_of_every_lock() {
    struct DrivesOnDrop;
    impl std::task::Wake for DrivesOnDrop {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for DrivesOnDrop {
        fn drop(&mut self) {
            let mut other = JoinSet::new();
            other.spawn_blocking(|| 7);
            assert_eq!(block_on(other.join_next()).unwrap().unwrap(), 7);
        }
    }
    let (mut set, gate) = (JoinSet::new(), Gate::new());
    let pass = gate.clone();
    set.spawn_blocking(move || pass.pass());
    let waker = Waker::from(Arc::new(DrivesOnDrop));
    assert!(set.poll_join_next(&mut Context::from_waker(&waker)).is_pending());
    drop(waker);
    assert!(set.poll_join_next(&mut Context::from_waker(Waker::noop())).is_pending());
    gate.open();
    block_on(set.join_next()).unwrap().unwrap();
}

#[test]
fn joining_all_resumes_a_panic_and_cancels_the_others() {
    let pool = pool(1, 1);
    let (mut set, drops) = (JoinSet::<()>::new(), Drops::new());
    set.spawn_blocking_on(|| quiet_panic("the first"), &pool);
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let token = drops.token();
    set.spawn_blocking_on(move || drop(token), &pool);
    let panic = catch_unwind(AssertUnwindSafe(|| block_on(set.join_all()))).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"the first"));
    assert_eq!(drops.count(), 1, "the other is cancelled");
    gate.open();
    soon(busy).unwrap();

    let mut set = JoinSet::new();
    let busy = occupy(&pool, &Gate::new());
    set.spawn_blocking_on(|| 7, &pool).abort();
    let panic = catch_unwind(AssertUnwindSafe(|| block_on(set.join_all()))).unwrap_err();
    assert!(panic.downcast_ref::<String>().is_some_and(|text| text.contains("was cancelled")));
    drop(busy);
}

#[test]
fn what_tasks_give_to_a_set_that_shuts_down_may_panic_when_it_is_dropped() {
    let pool = pool(2, 2);
    let (mut set, drops) = (JoinSet::<Box<dyn Any + Send>>::new(), Drops::new());
    for n in 0..4 {
        let odd = PanicOnDrop(drops.clone());
        set.spawn_blocking_on(move || if n % 2 == 0 { quiet_panic(odd) } else { Box::new(odd) }, &pool);
    }
    eventually("all have ended", || {
        let metrics = pool.metrics();
        (metrics.tasks_queued(), metrics.tasks_running()) == (0, 0)
    });
    block_on(set.shutdown());
    assert_eq!(drops.count(), 4);
    check_sound(&pool);
}

#[test]
fn a_set_has_tasks_of_pools_lanes_and_options_side_by_side() {
    let (one, two) = (pool(2, 2), pool(1, 1));
    let lane = one.lane("single", 1);
    let mut set = JoinSet::new();
    set.spawn_blocking(|| "global");
    set.spawn_blocking_on(|| "pool", &two);
    set.spawn_blocking_on(|| "lane", &lane);
    set.spawn_blocking_on(|| "options", &two.options().name("named"));
    let boxed: Box<dyn sidestep::Spawner> = Box::new(lane.clone());
    set.spawn_blocking_on(|| "boxed", &boxed);
    let mut values = block_on(set.join_all());
    values.sort_unstable();
    assert_eq!(values, ["boxed", "global", "lane", "options", "pool"]);
    assert_eq!(lane.metrics().tasks_completed(), 2);
    let mut set = JoinSet::new();
    set.spawn_blocking_on(|| -> () { quiet_panic("full disk") }, &two.options().name("copy"));
    let error = block_on(set.join_next()).unwrap().unwrap_err();
    assert!(error.to_string().contains("\"copy\""), "{error}");
    two.shutdown().wait();
    set.spawn_blocking_on(|| (), &two);
    let error = block_on(set.join_next()).unwrap().unwrap_err();
    assert!(error.is_cancelled() && error.task_error().is_shutdown());
}

#[test]
fn a_set_can_go_anywhere() {
    fn free<T: Send + Sync + Unpin + std::panic::UnwindSafe + Default + 'static>() {}
    free::<JoinSet<std::cell::Cell<u8>>>();
    let mut set = JoinSet::default();
    set.spawn_blocking(|| 7);
    assert_eq!(format!("{set:?}"), "JoinSet { len: 1 }");
    let elsewhere = std::thread::spawn(move || block_on(set.join_next()).unwrap().unwrap());
    assert_eq!(elsewhere.join().unwrap(), 7);
    nothing_happens();
}
