//! Whether a record shows the true lane that its thread is in, whatever becomes of the task.

use super::*;
use crate::current;
use crate::sync::atomic::Ordering;

/// The lane that the pool's only thread shows, inside the task that calls this.
fn shown(pool: &Pool) -> usize {
    let records = pool.inner.engine.workers.records();
    assert_eq!(records.len(), 1);
    records[0].lane.load(Ordering::Relaxed)
}

struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        std::panic::resume_unwind(Box::new("a destructor"));
    }
}

#[test]
fn a_record_forgets_the_lane_whatever_ends_its_task() {
    let pool = Pool::builder().core_threads(1).max_threads(1).build().unwrap();
    let lane = pool.lane("lane", 1);
    let outside = || {
        let inner = pool.clone();
        pool.spawn(move || shown(&inner)).wait().unwrap()
    };
    assert_eq!(outside(), 0);
    let inner = pool.clone();
    assert_ne!(lane.spawn(move || shown(&inner)).wait().unwrap(), 0);
    assert_eq!(outside(), 0, "after a task");

    let panics = lane.spawn(|| std::panic::resume_unwind(Box::new("a closure")));
    assert!(panics.wait().is_err());
    assert_eq!(outside(), 0, "after a panic");

    lane.spawn(|| PanicsOnDrop).detach();
    assert_eq!(outside(), 0, "after a panic of a result's drop");

    let guard = PanicsOnDrop;
    assert!(lane.spawn(move || std::mem::drop(guard)).wait().is_err());
    assert_eq!(outside(), 0, "after a panic of what a closure holds");

    lane.spawn(|| ()).on_complete(|_| std::panic::resume_unwind(Box::new("a callback")));
    assert_eq!(outside(), 0, "after a panic of a callback");

    lane.spawn(current::retire_thread).wait().unwrap();
    eventually("the thread has gone", || {
        pool.metrics().threads() == 0 || pool.inner.engine.workers.records().len() == 1
    });
    let _ = pool.spawn(|| ()).wait();
}

#[test]
fn a_record_shows_the_innermost_lane() {
    let pool = Pool::builder().core_threads(1).max_threads(1).build().unwrap();
    let (one, two) = (pool.lane("one", 1), pool.lane("two", 1));
    let inner = pool.clone();
    let seen = pool.spawn(move || {
        let look = || shown(&inner);
        let before = look();
        let pool = inner.clone();
        let two = two.clone();
        let nested = one.spawn(move || {
            let outer = shown(&pool);
            let again = pool.clone();
            let inside = two.spawn(move || shown(&again)).wait().unwrap();
            let panics = two.spawn(|| std::panic::resume_unwind(Box::new("a closure")));
            assert!(panics.wait().is_err());
            (outer, inside, shown(&pool))
        });
        let nested = nested.wait().unwrap();
        (before, nested, look())
    });
    let (before, (outer, inside, again), after) = seen.wait().unwrap();
    assert_eq!((before, after), (0, 0));
    assert_eq!(outer, again);
    assert!(inside != outer && inside != 0 && outer != 0, "{outer} {inside}");
}
