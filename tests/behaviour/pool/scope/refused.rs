//! Scopes on pools that refuse: full, closed, discarding, without a thread.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use sidestep::{OnShutdown, Pool};

use crate::pool::scope::{Writes, payload_of};
use crate::support::{Drops, Gate, check_sound, eventually, occupy, pool, soon};

#[test]
fn refused_tasks_that_nobody_has_asked_make_the_scope_panic() {
    let closed = pool(1, 1);
    closed.shutdown().wait();
    let full = Pool::builder().max_threads(1).queue_limit(1).build().unwrap();
    let gate = Gate::new();
    let busy = occupy(&full, &gate);
    let queued = full.spawn(|| ());
    for (pool, sentence) in [(&closed, "the pool is shut down"), (&full, "the queue is full")] {
        let drops = Drops::new();
        let token = drops.token();
        let text = payload_of(|| pool.scope(|scope| drop(scope.spawn(|| drop(token)))));
        assert!(text.contains(sentence) && text.contains("refused.rs"), "{text}");
        assert_eq!(drops.count(), 1, "its closure has been dropped");
        let looked_at = pool.scope(|scope| scope.spawn(|| ()).wait().unwrap_err());
        assert!(looked_at.to_string().contains(sentence));
    }
    gate.open();
    soon(busy).unwrap();
    soon(queued).unwrap();
    check_sound(&full);
}

#[test]
fn without_a_thread_the_scope_says_so() {
    let pool = Pool::builder()
        .core_threads(1)
        .max_threads(1)
        .spawn_handler({
            let first = AtomicBool::new(true);
            move |new| match first.swap(false, Ordering::SeqCst) {
                true => thread::Builder::new().spawn(|| new.run()).map(drop),
                false => Err(std::io::Error::other("no more of them")),
            }
        })
        .build()
        .unwrap();
    soon(pool.spawn(sidestep::current::retire_thread)).unwrap();
    eventually("the only thread leaves", || pool.metrics().threads() == 0);
    let text = payload_of(|| pool.scope(|scope| drop(scope.spawn(|| ()))));
    assert!(text.contains("no more of them"), "{text}");
}

#[test]
fn a_shutdown_that_drains_lets_the_scope_end_well() {
    let pool = pool(1, 1);
    let (gate, ended) = (Gate::new(), AtomicUsize::new(0));
    let busy = occupy(&pool, &gate);
    let (report, late) = pool.scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| ended.fetch_add(1, Ordering::SeqCst));
        }
        let shutdown = pool.shutdown();
        let late = scope.spawn(|| ()).wait();
        gate.open();
        (shutdown.wait(), late)
    });
    assert_eq!((report.completed, report.discarded, report.still_running), (101, 0, 0));
    assert!(late.unwrap_err().is_shutdown());
    assert_eq!(ended.load(Ordering::SeqCst), 100);
    soon(busy).unwrap();
}

#[test]
fn a_shutdown_that_discards_frees_what_is_borrowed_and_the_scope_says_so() {
    let pool = pool(1, 1);
    let (gate, dropped) = (Gate::new(), AtomicUsize::new(0));
    let busy = occupy(&pool, &gate);
    let keep = pool.options().on_shutdown(OnShutdown::AlwaysRun).spawn(|| 7);
    let text = payload_of(|| {
        pool.scope(|scope| {
            for _ in 0..100 {
                let captured = Writes(&dropped);
                scope.spawn(move || drop(captured));
            }
            let shutdown = pool.shutdown().discard_queued();
            assert_eq!(dropped.load(Ordering::SeqCst), 100, "at once");
            gate.open();
            assert_eq!(shutdown.wait().discarded, 100);
        });
    });
    assert!(text.contains("the pool is shut down"), "{text}");
    soon(busy).unwrap();
    assert_eq!(soon(keep).unwrap(), 7);
}
