//! Batches with tasks from before a fork, in the child.
#![cfg(unix)]

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use sidestep::{Batch, Pool, Task, TaskError, block_on};

use crate::support::fork::in_child;
use crate::support::{Gate, check_sound, occupy, poll, pool, soon};

type Item<T> = (usize, Result<T, TaskError>);

fn poll_next<T>(batch: &mut Batch<T>, waker: &Waker) -> Poll<Option<Item<T>>> {
    Pin::new(batch).poll_next(&mut Context::from_waker(waker))
}

fn next<T>(batch: &mut Batch<T>) -> Option<Item<T>> {
    block_on(batch.join_next())
}

/// A task that has left a bell for its own handle.
fn polled<T>(mut task: Task<T>) -> Task<T> {
    assert!(poll(&mut task, Waker::noop()).is_pending());
    task
}

#[test]
fn in_a_child_old_tasks_are_dead_in_a_new_batch_too() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let running = occupy(&pool, &gate);
    let (mut collected, mut pushed) = (Vec::new(), Vec::new());
    for tasks in [&mut collected, &mut pushed] {
        tasks.extend((0..3).map(|_| pool.spawn(|| ())));
    }
    pushed.push(polled(pool.spawn(|| ())));
    let status = in_child(|list| {
        let mut of_pushed = Batch::new();
        pushed.into_iter().for_each(|task| _ = of_pushed.push(task));
        of_pushed.push(running);
        for (mut batch, expected) in [(collected.into_iter().collect(), 3), (of_pushed, 5)] {
            list.check(poll_next(&mut batch, Waker::noop()).is_ready());
            let mut dead = 1;
            while let Some((_, end)) = next(&mut batch) {
                dead += usize::from(end.is_err_and(|error| error.is_no_thread()));
            }
            list.check(dead == expected);
        }
    });
    assert_eq!(status, 0);
    gate.open();
    check_sound(&pool);
}

#[test]
fn in_a_child_old_tasks_are_dead_and_new_ones_can_be_pushed() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let busy = occupy(&pool, &gate);
    let mut batch = pool.spawn_batch((0..2).map(|n| move || n));
    batch.push(polled(pool.spawn(|| 2)));
    assert!(poll_next(&mut batch, Waker::noop()).is_pending());
    let mut fresh: Batch<usize> = (0..2).map(|n| pool.spawn(move || n)).collect();
    let status = in_child(|list| {
        for batch in [&mut batch, &mut fresh] {
            let own = Pool::builder().max_threads(1).build().unwrap();
            let old = batch.len();
            let index = batch.push(own.spawn(|| 7));
            list.check(index == old);
            let (mut dead, mut alive) = (0, 0);
            while let Some((index, end)) = next(batch) {
                match end {
                    Ok(value) => alive += usize::from((index, value) == (old, 7)),
                    Err(error) => dead += usize::from(error.is_no_thread()),
                }
            }
            list.check((dead, alive) == (old, 1));
        }
    });
    assert_eq!(status, 0);
    gate.open();
    soon(busy).unwrap();
    assert_eq!(batch.wait().len() + fresh.wait().len(), 5);
}
