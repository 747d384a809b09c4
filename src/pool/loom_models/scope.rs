//! Models of the cancellation of a task that has opened a scope.

use super::*;
use crate::error::TaskError;
use crate::task::current;

/// The cancellation against the scope's spawn: the task that is spawned runs or is dropped, once,
/// and the scope ends after it.
#[test]
fn a_cancellation_against_the_spawn_of_a_scope() {
    check(Some(1), || {
        let pool = pool(1, 1);
        let inner = pool.clone();
        let (ran, dropped) = (Arc::new(StaticU64::new(0)), Arc::new(StaticU64::new(0)));
        let (runs, drops) = (Arc::clone(&ran), Arc::clone(&dropped));
        let opener = pool.spawn(move || {
            let drops = Counted(&drops);
            let ended = inner.scope(|scope| {
                let child = scope.spawn(|| {
                    let _drops = &drops;
                    runs.fetch_add(1, Ordering::Relaxed);
                });
                child.wait()
            });
            assert!(ended.as_ref().err().is_none_or(TaskError::is_cancelled), "{ended:?}");
            u64::from(ended.is_ok())
        });
        let handle = opener.cancel_handle();
        let canceller = thread::spawn(move || handle.cancel());
        let ended = opener.wait();
        canceller.join().unwrap();
        drop(pool);
        // If the opener did not run, nor did the child.
        assert_eq!(ran.load(Ordering::Relaxed), ended.unwrap_or(0));
        assert!(dropped.load(Ordering::Relaxed) <= 1);
    });
}

/// Counts its drop.
struct Counted<'a>(&'a StaticU64);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A task of the scope runs when the cancellation comes: it sees that, and its hook has run by
/// then, or runs at once.
#[test]
fn a_cancellation_against_a_running_task_of_a_scope() {
    check(Some(2), || {
        let pool = pool(1, 1);
        let inner = pool.clone();
        let hooks = Arc::new(StaticU64::new(0));
        let calls = Arc::clone(&hooks);
        let (gate, opener_of_gate) = {
            let gate = Arc::new(Parker::new());
            (Arc::clone(&gate), gate)
        };
        let opener = pool.spawn(move || {
            inner.scope(|scope| {
                let child = scope.spawn(|| {
                    let calls = Arc::clone(&calls);
                    let _hook = current::on_cancel(move || _ = calls.fetch_add(1, Ordering::Relaxed));
                    gate.park(None);
                    assert!(current::is_cancelled());
                });
                _ = child.wait();
            });
        });
        let handle = opener.cancel_handle();
        handle.cancel();
        opener_of_gate.unpark();
        let ran = opener.wait().is_ok();
        drop(pool);
        assert!(hooks.load(Ordering::Relaxed) <= u64::from(ran));
    });
}
