//! Models of a wait for room, with a pool of one thread and a queue for one task. A wait that
//! nothing ends is a deadlock, which the checker reports.

use std::sync::Arc;

use loom::thread;

use super::RoomWait;
use crate::pool::{Pool, SpawnTarget};
use crate::sync::atomic::{Ordering, StaticU64};
use crate::sync::stand_in::model::check;
use crate::task::OnShutdown;

fn pool() -> Pool {
    Pool::builder().core_threads(1).max_threads(1).queue_limit(1).build().expect("the first thread starts")
}

/// Counts how often it has run.
fn counter(runs: &Arc<StaticU64>) -> impl FnOnce() + Send + use<> {
    let runs = Arc::clone(runs);
    move || _ = runs.fetch_add(1, Ordering::Relaxed)
}

/// A wait for room whose task does what a pump with bytes to write does: it runs, whatever becomes
/// of the pool.
fn wait(pool: &Pool, runs: &Arc<StaticU64>) -> Arc<RoomWait> {
    let (reserve, hold) = SpawnTarget::of(pool).reserve();
    let hold = hold.expect("the pool is open, or held by the caller");
    let (pool, runs) = (pool.clone(), Arc::clone(runs));
    let wait = RoomWait::new(reserve, move |room| match room {
        Ok(permit) => {
            let options = pool.options().on_shutdown(OnShutdown::AlwaysRun);
            let task = permit.spawn_with(&options, counter(&runs));
            task.on_complete(move |end| {
                if end.is_err() {
                    hold.spawn(counter(&runs)).detach();
                }
            });
        }
        Err(_) => hold.spawn(counter(&runs)).detach(),
    });
    wait.start();
    wait
}

/// The queue gets room, and the pool is shut down, while the wait begins: the task has run when the
/// shutdown reports, once.
#[test]
fn loom_a_shutdown_waits_for_what_waits_for_room() {
    check(Some(2), || {
        let (pool, runs) = (pool(), Arc::new(StaticU64::new(0)));
        pool.spawn(|| ()).detach();
        let hold = SpawnTarget::of(&pool).hold_open();
        let closing = pool.clone();
        let closer = thread::spawn(move || closing.shutdown().wait().still_running);
        drop(wait(&pool, &runs));
        drop(hold);
        assert_eq!(closer.join().unwrap(), 0);
        assert_eq!(runs.load(Ordering::Relaxed), 1);
    });
}

/// A wait is withdrawn while the queue gets room: its task runs once or never, and the permit goes
/// to the next who waits.
#[test]
fn loom_a_wait_that_is_withdrawn_keeps_no_permit() {
    check(Some(2), || {
        let (pool, runs) = (pool(), Arc::new(StaticU64::new(0)));
        pool.spawn(|| ()).detach();
        let wait = wait(&pool, &runs);
        wait.withdraw();
        let permit = pool.reserve().wait().expect("the pool is open");
        assert!(runs.load(Ordering::Relaxed) <= 1);
        drop(permit);
        let _ = pool.shutdown().wait();
    });
}

/// The last handle of the pool is in the wait: the wait ends with room, and the pool after it.
#[test]
fn loom_a_wait_keeps_its_pool() {
    check(Some(2), || {
        let (pool, runs) = (pool(), Arc::new(StaticU64::new(0)));
        pool.spawn(|| ()).detach();
        let wait = wait(&pool, &runs);
        drop((pool, wait));
        while runs.load(Ordering::Relaxed) == 0 {
            thread::yield_now();
        }
    });
}
