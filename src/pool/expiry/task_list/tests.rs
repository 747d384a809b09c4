//! Tests of `task_list`.

use super::*;
use crate::Pool;

#[test]
fn what_has_ended_is_swept_out() {
    let pool = Pool::builder().max_threads(1).build().unwrap();
    let roll = TaskList::new();
    for _ in 0..if cfg!(miri) { 2 * FEW } else { 10_000 } {
        let task = pool.spawn(|| ());
        assert!(roll.add(task.task_ref().unwrap().clone()));
        task.wait().unwrap();
    }
    assert!(roll.0.lock().tasks.as_ref().unwrap().len() <= FEW);
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let busy = pool.spawn(move || gate.recv().is_ok());
    let queued = pool.spawn(|| ());
    assert!(roll.add(queued.task_ref().unwrap().clone()));
    assert!(roll.close().iter().any(|task| task.is_same(queued.task_ref().unwrap())));
    drop(go);
    busy.detach();
    let task = pool.spawn(|| ());
    assert!(!roll.add(task.task_ref().unwrap().clone()), "closed");
    task.detach();
}
