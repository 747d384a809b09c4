//! Tests of `observer`.

use super::*;
use crate::{Pool, Task};
use std::sync::mpsc::{Sender, channel};

/// A task that runs until the sender is gone, in a pool that warns after `limit`.
#[expect(clippy::unwrap_used, reason = "a test fails where an unwrap does")]
fn running(limit: Duration) -> (Pool, Task<()>, Sender<()>) {
    let pool = Pool::builder().max_threads(1).warn_after(limit).build().unwrap();
    let ((started, wait), (go, gate)) = (channel(), channel());
    let task = pool.spawn(move || {
        started.send(()).unwrap();
        let _ = gate.recv();
    });
    wait.recv().unwrap();
    (pool, task, go)
}

#[test]
fn a_task_that_goes_on_is_warned_of_until_it_ends() {
    let (pool, task, go) = running(Duration::ZERO);
    let inner = &pool.inner;
    assert_eq!(inner.stats.observer().scan(&inner.engine.workers), None, "there is nothing more to warn of");
    assert!(inner.stats.observer().warned.lock().contains(task.id().as_u64()));
    drop(go);
    task.wait().unwrap();
    assert_eq!(inner.stats.observer().scan(&inner.engine.workers), None);
    assert!(inner.stats.observer().warned.lock().numbers().is_empty());
}

#[test]
fn the_next_look_is_due_when_the_time_of_a_task_is_up() {
    const HOUR: Duration = Duration::from_secs(3600);
    let (pool, task, go) = running(HOUR);
    let due = pool.inner.stats.observer().scan(&pool.inner.engine.workers).unwrap();
    let left = due.saturating_duration_since(Instant::now());
    assert!(left > HOUR / 2 && left <= HOUR, "{left:?}");
    assert!(pool.inner.stats.observer().warned.lock().numbers().is_empty());
    drop(go);
    task.wait().unwrap();
}
