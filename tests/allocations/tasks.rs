//! How many allocations a task makes, and how many bytes it has while it waits.

use std::pin::Pin;
use std::sync::mpsc::channel;
use std::task::{Context, Waker};

use futures_util::Stream;
use sidestep::Task;
use sidestep::task::JoinSet;

use super::{bytes, calls, eventually, one_thread, turn, while_busy};

#[test]
fn a_task_costs_little_more_than_one_allocation() {
    const MANY: usize = 10_000;
    let _turn = turn();
    let pool = one_thread();
    let before = calls();
    for number in 0..MANY {
        assert_eq!(pool.spawn(move || number).wait().unwrap(), number);
    }
    let spent = calls() - before;
    // The oneshot of a wait takes one, and the cells and the queue's entries share theirs by the
    // dozen.
    assert!(spent < MANY + MANY / 5, "{spent} allocations for {MANY} tasks");
    pool.shutdown().wait();
}

/// A oneshot is an allocation of its own.
#[test]
fn tasks_that_no_handle_waits_for_make_no_oneshot() {
    const MANY: usize = 10_000;
    let _turn = turn();
    let pool = one_thread();
    while_busy(&pool, || {
        let before = calls();
        (0..MANY).for_each(|_| drop(pool.spawn(|| ())));
        let spent = calls() - before;
        assert!(spent < MANY / 5, "{spent} for {MANY} cancelled tasks");
        let before = calls();
        (0..MANY).for_each(|_| pool.spawn(|| ()).detach());
        let spent = calls() - before;
        assert!(spent < MANY / 5, "{spent} for {MANY} detached tasks");
    });
    let before = calls();
    let tasks: Vec<_> = (0..MANY).map(|number| pool.spawn(move || number)).collect();
    eventually("all tasks end", || tasks.iter().all(Task::is_finished));
    sidestep::block_on(async {
        for (number, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.unwrap(), number);
        }
    });
    let spent = calls() - before;
    assert!(spent < MANY / 5, "{spent} for {MANY} tasks that ended before they were awaited");
    pool.shutdown().wait();
}

/// Neither where the batch is there before the ends, nor where its stream is polled before them.
#[test]
fn the_tasks_of_a_batch_make_no_oneshot() {
    const MANY: usize = 10_000;
    let _turn = turn();
    let pool = one_thread();
    let before = calls();
    let batch = while_busy(&pool, || pool.spawn_batch((0..MANY).map(|number| move || number)));
    let sum: usize = batch.wait().into_iter().map(Result::unwrap).sum();
    assert_eq!(sum, MANY * (MANY - 1) / 2);
    let spent = calls() - before;
    assert!(spent < MANY / 5, "{spent} for {MANY} tasks of a batch that is waited for");

    let before = calls();
    let mut batch = while_busy(&pool, || {
        let mut batch = pool.spawn_batch((0..MANY).map(|number| move || number));
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut batch).poll_next(&mut context).is_pending());
        batch
    });
    sidestep::block_on(async {
        for number in 0..MANY {
            let next = std::future::poll_fn(|context| Pin::new(&mut batch).poll_next(context)).await;
            assert_eq!(next.map(|(index, result)| (index, result.unwrap())), Some((number, number)));
        }
    });
    let spent = calls() - before;
    assert!(spent < MANY / 5, "{spent} for {MANY} tasks of a batch that is polled before they end");
    pool.shutdown().wait();
}

/// Although one of its tasks does not end.
#[test]
fn a_set_that_lives_long_keeps_nothing_of_what_it_has_given() {
    const MANY: usize = 10_000;
    let _turn = turn();
    let (pool, busy) = (one_thread(), one_thread());
    let (go, gate) = channel::<()>();
    let mut set = JoinSet::new();
    set.spawn_blocking_on(move || gate.recv().map_or(0, |()| 0), &busy);
    let mut fill = |rounds: usize, burst: usize| {
        for number in 0..rounds {
            (0..burst).for_each(|_| _ = set.spawn_blocking_on(move || number, &pool));
            for _ in 0..burst {
                assert_eq!(sidestep::block_on(set.join_next()).unwrap().unwrap(), number);
            }
        }
    };
    fill(1000, 1);
    let before = bytes();
    fill(MANY, 1);
    eventually("the bytes of all tasks come back", || bytes() - before < 16 * 1024);
    fill(1, MANY);
    eventually("those of a burst come back", || bytes() - before < 16 * 1024);
    drop(go);
    assert_eq!(sidestep::block_on(set.join_all()), [0]);
    pool.shutdown().wait();
    busy.shutdown().wait();
}

#[cfg(feature = "tokio")]
#[test]
fn a_task_that_takes_its_runtime_along_costs_one_allocation_more_and_outside_of_one_none() {
    const MANY: usize = 10_000;
    let _turn = turn();
    let pool =
        sidestep::Pool::builder().core_threads(1).max_threads(1).propagate_runtime(true).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let spawn_many = || {
        let before = calls();
        (0..MANY).for_each(|_| pool.spawn(|| ()).detach());
        calls() - before
    };
    // The first tasks of a thread pay for what lasts.
    spawn_many();
    while_busy(&pool, || {
        let outside = spawn_many();
        assert!(outside < MANY / 5, "{outside} for {MANY} tasks outside of a runtime");
        let _entered = runtime.enter();
        let inside = spawn_many();
        let more = inside.saturating_sub(outside);
        assert!(
            (MANY * 9 / 10..MANY * 11 / 10).contains(&more),
            "{more} more for {MANY} tasks inside of one"
        );
    });
    pool.shutdown().wait();
}

#[test]
fn a_queued_task_costs_at_most_112_bytes() {
    const MANY: usize = 100_000;
    let _turn = turn();
    let pool = one_thread();
    let mut tasks: Vec<Task<()>> = Vec::with_capacity(MANY);
    while_busy(&pool, || {
        let before = bytes();
        tasks.extend((0..MANY).map(|_| pool.spawn(|| ())));
        let each = (bytes() - before) as f64 / MANY as f64;
        println!("{each:.1} bytes for a queued task");
        assert!(each <= 112.0, "{each:.1} bytes for a queued task");
        assert!(each >= 56.0, "{each:.1} bytes: the account is wrong");
    });
    tasks.into_iter().for_each(|task| task.wait().unwrap());
    pool.shutdown().wait();
}
