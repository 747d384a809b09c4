//! Batches that tasks are pushed onto: in whatever state, from whatever pool or lane, and for as
//! long as the program runs; and batches of lanes and options.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use futures_core::stream::FusedStream;
use sidestep::{Batch, Pool, Task, TaskError, block_on, current};

use crate::support::{
    Crowd, Drops, Gate, Wakes, all_well, check_sound, eventually, occupy, occupy_lane, poll, pool,
    quiet_panic, soon,
};

type Item<T> = (usize, Result<T, TaskError>);

fn poll_next<T>(batch: &mut Batch<T>, waker: &Waker) -> Poll<Option<Item<T>>> {
    Pin::new(batch).poll_next(&mut Context::from_waker(waker))
}

/// The next of a batch, which must come.
fn next<T>(batch: &mut Batch<T>) -> Option<Item<T>> {
    block_on(batch.join_next())
}

/// A task that waits for its gate and gives `number`.
fn behind(pool: &Pool, gate: &Gate, number: usize) -> Task<usize> {
    let gate = gate.clone();
    pool.spawn(move || {
        gate.pass();
        number
    })
}

/// A task that has left a bell for its own handle.
fn polled<T>(mut task: Task<T>) -> Task<T> {
    assert!(poll(&mut task, Waker::noop()).is_pending());
    task
}

#[test]
fn indices_count_the_tasks_as_they_came() {
    let pool = pool(4, 4);
    let gates: Vec<Gate> = (0..4).map(|_| Gate::new()).collect();
    let mut batch = pool.spawn_batch((0..2).map(|n| {
        let gate = gates[n].clone();
        move || {
            gate.pass();
            n
        }
    }));
    assert_eq!(batch.push(behind(&pool, &gates[2], 2)), 2);
    assert_eq!(batch.push(polled(behind(&pool, &gates[3], 3))), 3);
    assert_eq!((batch.len(), batch.size_hint()), (4, (4, Some(4))));
    for n in [3, 0, 2, 1] {
        gates[n].open();
        let (index, result) = next(&mut batch).unwrap();
        assert_eq!((index, result.unwrap()), (n, n));
    }
    assert!(next(&mut batch).is_none() && batch.is_terminated());
    // The stream has ended and goes on; numbers are not used again.
    assert_eq!(batch.push(pool.spawn(|| 4)), 4);
    assert!(!batch.is_terminated());
    assert_eq!(next(&mut batch).map(|(index, result)| (index, result.unwrap())), Some((4, 4)));
    check_sound(&pool);
}

#[test]
fn a_task_may_be_pushed_in_whatever_state_it_is() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let ended = pool.spawn(|| 0);
    eventually("it ends", || ended.is_finished());
    let failed = pool.spawn(|| -> usize { quiet_panic("failed") });
    eventually("it ends", || failed.is_finished());
    let running = behind(&pool, &gate, 2);
    let queued = polled(behind(&pool, &gate, 3));
    let cancelled = pool.spawn(|| 4);
    cancelled.cancel_handle().cancel();
    let mut batch = Batch::new();
    for task in [ended, failed, running, queued, cancelled] {
        batch.push(task);
    }
    gate.open();
    let mut ends = Vec::new();
    while let Some((index, end)) = next(&mut batch) {
        ends.push((index, end.map_err(|error| (error.is_panic(), error.is_cancelled()))));
    }
    ends.sort_by_key(|(index, _)| *index);
    let expected = [Ok(0), Err((true, false)), Ok(2), Ok(3), Err((false, true))];
    assert!(ends.into_iter().eq(expected.into_iter().enumerate()));
    check_sound(&pool);
}

#[test]
fn a_task_that_has_given_its_result_is_refused_and_the_batch_goes_on() {
    let pool = pool(1, 1);
    let mut spent = pool.spawn(|| 7);
    assert_eq!(block_on(&mut spent).unwrap(), 7);
    let mut batch = Batch::new();
    batch.push(pool.spawn(|| 8));
    let refused = catch_unwind(AssertUnwindSafe(|| batch.push(spent)));
    let message = refused.unwrap_err();
    assert!(message.downcast_ref::<&str>().is_some_and(|text| text.contains("push it before")));
    assert_eq!(batch.push(pool.spawn(|| 9)), 1);
    let results: Vec<_> = batch.wait().into_iter().map(Result::unwrap).collect();
    assert_eq!(results, [8, 9]);
}

/// The bell that such a task has in its cell is for its own handle. The waker of that handle is not
/// called any more, and that of the batch is.
#[test]
fn a_task_that_was_polled_before_wakes_the_batch_alone() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let mut task = behind(&pool, &gate, 7);
    let (own, batches) = (Wakes::new(), Wakes::new());
    assert!(poll(&mut task, &Waker::from(Arc::clone(&own))).is_pending());
    let mut batch = Batch::new();
    batch.push(task);
    assert_eq!(Arc::strong_count(&own), 1, "its waker is let go of");
    assert!(poll_next(&mut batch, &Waker::from(Arc::clone(&batches))).is_pending());
    gate.open();
    eventually("the batch is woken", || batches.count() == 1);
    assert_eq!(next(&mut batch).map(|(index, end)| (index, end.unwrap())), Some((0, 7)));
    assert_eq!(own.count(), 0);
    check_sound(&pool);
}

/// A waker whose destructor panics is in the bell of the task that is pushed.
#[test]
fn a_waker_that_panics_when_it_is_dropped_does_not_keep_a_task_from_being_pushed() {
    use crate::support::PanicOnDrop;

    struct Panics(#[expect(dead_code, reason = "its drop is what counts")] PanicOnDrop);
    impl std::task::Wake for Panics {
        fn wake(self: Arc<Self>) {}
    }
    let (pool, gate, drops) = (pool(1, 1), Gate::new(), Drops::new());
    let mut task = behind(&pool, &gate, 7);
    let waker = Waker::from(Arc::new(Panics(PanicOnDrop(drops.clone()))));
    assert!(poll(&mut task, &waker).is_pending());
    assert!(catch_unwind(AssertUnwindSafe(move || drop(waker))).is_ok(), "the bell has the last one");
    let mut batch = Batch::new();
    batch.push(task);
    assert_eq!(drops.count(), 1);
    let wakes = Wakes::new();
    assert!(poll_next(&mut batch, &Waker::from(Arc::clone(&wakes))).is_pending());
    gate.open();
    eventually("the batch is woken", || wakes.count() == 1);
    assert_eq!(next(&mut batch).unwrap().1.unwrap(), 7);
    check_sound(&pool);
}

#[test]
fn a_push_wakes_who_waits_if_the_task_has_ended() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let mut batch = Batch::new();
    batch.push(behind(&pool, &gate, 0));
    let wakes = Wakes::new();
    assert!(poll_next(&mut batch, &Waker::from(Arc::clone(&wakes))).is_pending());
    let elsewhere = Pool::builder().max_threads(1).build().unwrap();
    let ended = elsewhere.spawn(|| 1);
    eventually("it ends", || ended.is_finished());
    batch.push(ended);
    assert_eq!(wakes.count(), 1);
    assert_eq!(next(&mut batch).map(|(index, end)| (index, end.unwrap())), Some((1, 1)));
    gate.open();
    assert_eq!(batch.wait().len(), 1);
}

#[test]
fn waiting_gives_the_rest_in_the_order_in_which_they_came() {
    let pool = pool(2, 2);
    let lane = pool.lane("one", 1);
    let gate = Gate::new();
    let mut batch: Batch<usize> = (0..3).map(|n| lane.spawn(move || n)).collect();
    // An older task, whose id is smaller than those before it.
    let old = behind(&pool, &gate, 4);
    batch.push(polled(behind(&pool, &gate, 3)));
    batch.push(old);
    batch.extend((5..8).map(|n| lane.spawn(move || n)));
    let (first, end) = next(&mut batch).unwrap();
    assert_eq!(end.unwrap(), first);
    gate.open();
    let rest: Vec<_> = batch.wait().into_iter().map(Result::unwrap).collect();
    assert_eq!(rest, (0..8).filter(|n| *n != first).collect::<Vec<_>>());
    check_sound(&pool);
}

#[test]
fn tasks_are_collected_in_whatever_order_they_were_spawned() {
    let pool = pool(2, 2);
    let spawn = |n: usize| pool.spawn(move || n);
    for reversed in [false, true] {
        let mut tasks: Vec<_> = (0..100).map(spawn).collect();
        if reversed {
            tasks.reverse();
        }
        let expected = |index: usize| if reversed { 99 - index } else { index };
        let mut batch: Batch<usize> = tasks.into_iter().collect();
        let mut seen = Vec::new();
        for _ in 0..50 {
            let (index, end) = next(&mut batch).unwrap();
            assert_eq!(end.unwrap(), expected(index));
            seen.push(index);
        }
        let rest: Vec<_> = batch.wait().into_iter().map(Result::unwrap).collect();
        seen.sort_unstable();
        let unseen: Vec<_> =
            (0..100).filter(|index| seen.binary_search(index).is_err()).map(expected).collect();
        assert_eq!(rest, unseen);
    }
    // One that was polled is among them.
    let gate = Gate::new();
    let tasks = [spawn(0), polled(behind(&pool, &gate, 1)), spawn(2)];
    gate.open();
    let batch: Batch<usize> = tasks.into_iter().collect();
    assert_eq!(batch.wait().into_iter().map(Result::unwrap).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(std::iter::empty::<Task<()>>().collect::<Batch<()>>().is_empty());
    check_sound(&pool);
}

#[test]
fn a_batch_waits_for_pushed_tasks_inside_the_only_thread() {
    let pool = pool(1, 1);
    let inner = pool.clone();
    let sum = pool.spawn(move || {
        let mut batch = Batch::new();
        for n in 0..10 {
            let task = inner.spawn(move || n);
            batch.push(if n % 2 == 0 { polled(task) } else { task });
        }
        batch.wait().into_iter().map(Result::unwrap).sum::<usize>()
    });
    assert_eq!(soon(sum).unwrap(), 45);
    check_sound(&pool);
}

#[test]
fn a_task_in_a_batch_that_waits_for_it_is_a_deadlock_and_not_a_hang() {
    let pool = pool(1, 1);
    let (send, receive) = std::sync::mpsc::channel::<Batch<usize>>();
    let task = pool.spawn(move || {
        let batch = receive.recv().unwrap();
        batch.wait().into_iter().filter(|end| end.as_ref().is_err_and(TaskError::is_deadlock)).count()
    });
    let waits = task.detach_on_drop();
    let id = waits.id();
    let mut batch = Batch::new();
    let watch = waits.abort_handle();
    batch.push(waits.cancel_on_drop());
    send.send(batch).unwrap();
    eventually("it ends", || watch.is_finished());
    assert_eq!(watch.id(), id);
    check_sound(&pool);
}

#[test]
fn cancelling_all_keeps_the_tasks_and_gives_what_has_become_of_them() {
    let pool = pool(1, 1);
    let (began, drops) = (Gate::new(), Drops::new());
    let opens = began.clone();
    let mut batch: Batch<&str> = Batch::new();
    batch.push(pool.spawn(|| "ended"));
    eventually("the first ends", || pool.metrics().tasks_completed() == 1);
    batch.push(pool.spawn(move || {
        opens.open();
        eventually("it is cancelled", current::is_cancelled);
        "cleaned up"
    }));
    began.pass();
    let token = drops.token();
    batch.push(pool.spawn(move || {
        drop(token);
        "never"
    }));
    let together = drops.token();
    let apart = pool.spawn_batch([move || drop(together)]);
    // Before the thread is free for it.
    apart.cancel_all();
    batch.cancel_all();
    assert_eq!(drops.count(), 2, "at once");
    assert_eq!((batch.len(), apart.len()), (3, 1));
    let ends: Vec<_> = batch.wait();
    assert_eq!(ends[0].as_ref().unwrap(), &"ended");
    assert_eq!(ends[1].as_ref().unwrap(), &"cleaned up");
    assert!(ends[2].as_ref().unwrap_err().is_cancelled());
    assert!(apart.wait().remove(0).unwrap_err().is_cancelled());
    check_sound(&pool);
}

#[test]
fn dropping_and_detaching_reach_pushed_tasks() {
    let pool = pool(1, 1);
    let (gate, drops, ran) = (Gate::new(), Drops::new(), Drops::new());
    let busy = occupy(&pool, &gate);
    let fill = || {
        let mut batch = Batch::new();
        for n in 0..10 {
            let (token, runs) = (drops.token(), ran.token());
            let task = pool.spawn(move || {
                drop(token);
                runs
            });
            batch.push(if n % 2 == 0 { polled(task) } else { task });
        }
        batch
    };
    drop(fill());
    assert_eq!((drops.count(), ran.count()), (10, 10), "closures, unrun");
    let mut waits = fill();
    let wakes = Wakes::new();
    assert!(poll_next(&mut waits, &Waker::from(Arc::clone(&wakes))).is_pending());
    drop(waits);
    assert_eq!((drops.count(), Arc::strong_count(&wakes), wakes.count()), (20, 1, 0));
    fill().detach();
    gate.open();
    soon(busy).unwrap();
    check_sound(&pool);
    assert_eq!(drops.count(), 30);
    assert_eq!(pool.metrics().tasks_cancelled(), 20);
}

#[test]
fn a_lane_takes_a_batch_and_keeps_its_limit_and_order() {
    let pool = pool(4, 4);
    let (single, pair) = (pool.lane("single", 1), pool.lane("pair", 2));
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let ends = single.spawn_batch((0..100).map(|n| {
        let order = Arc::clone(&order);
        move || order.lock().unwrap().push(n)
    }));
    assert!(ends.wait().into_iter().all(|end| end.is_ok()));
    assert!(order.lock().unwrap().iter().copied().eq(0..100));
    let crowd = Arc::new(Crowd::default());
    let ends = pair.spawn_batch((0..100).map(|_| {
        let crowd = Arc::clone(&crowd);
        move || {
            crowd.enter();
            crowd.leave();
        }
    }));
    assert!(ends.wait().into_iter().all(|end| end.is_ok()));
    assert!(crowd.most() <= 2, "{} at once", crowd.most());
    assert_eq!(single.metrics().tasks_completed(), 100);
    check_sound(&pool);
}

#[test]
fn a_full_lane_refuses_the_rest_each_by_itself() {
    let pool = pool(1, 1);
    let lane = pool.lane_builder("small", 1).queue_limit(2).build().unwrap();
    let gate = Gate::new();
    let busy = occupy_lane(&lane, &gate);
    let batch = lane.options().name("rest").spawn_batch((0..5).map(|n| move || n));
    gate.open();
    let ends = batch.wait();
    assert_eq!(ends.iter().filter(|end| end.is_ok()).count(), 2);
    for error in ends.into_iter().filter_map(Result::err) {
        assert!(error.is_full() && error.to_string().contains("\"rest\""), "{error}");
    }
    soon(busy).unwrap();
    check_sound(&pool);
}

#[test]
fn each_task_of_a_batch_has_the_options() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let busy = occupy(&pool, &gate);
    let zero = std::time::Duration::ZERO;
    let late = pool.options().expire_after(zero).spawn_batch((0..3).map(|n| move || n));
    assert!(late.wait().into_iter().all(|end| end.unwrap_err().is_expired()));
    let named =
        pool.options().name("copy").spawn_batch((0..2).map(|_| || -> () { quiet_panic("full disk") }));
    gate.open();
    for end in named.wait() {
        assert!(end.unwrap_err().to_string().contains("\"copy\""));
    }
    soon(busy).unwrap();
    check_sound(&pool);
}

#[test]
fn a_dropped_future_of_a_join_loses_nothing() {
    let (pool, gate) = (pool(2, 2), Gate::new());
    let mut batch: Batch<usize> = (0..2).map(|n| behind(&pool, &gate, n)).collect();
    for _ in 0..3 {
        let mut join = Box::pin(batch.join_next());
        let polled = join.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
    }
    gate.open();
    assert_eq!(batch.wait().into_iter().map(Result::unwrap).sum::<usize>(), 1);
    all_well([pool.spawn(|| ())]);
}
