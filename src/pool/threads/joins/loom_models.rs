//! Models of joining: whoever waits returns after the last instruction of every thread that has
//! left.

use std::sync::Arc;

use loom::thread;

use super::{Joins, ThreadRole};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::stand_in::model::check;
use crate::sync::{Parker, thread as own};
use crate::sys::attributes::Inherit;

/// A worker that leaves, counts itself out, and ends with a destructor, in which `end` is called.
fn worker(joins: &Arc<Joins>, out: &Arc<Parker>, end: impl FnOnce() + Send + 'static) {
    let (leaves, counts) = (Arc::clone(joins), Arc::clone(out));
    joins
        .start(
            own::Builder::new(),
            (ThreadRole::Worker, Inherit::default()),
            Box::new(move || {
                leaves.leave();
                counts.unpark();
                end();
            }),
        )
        .expect("loom has threads");
}

/// The maker puts the handle into the list, while the thread leaves, and a waiter that has seen it
/// counted out joins: the waiter sees what the thread did last.
#[test]
fn the_maker_against_the_waiter() {
    check(Some(3), || {
        let (joins, out) = (Arc::new(Joins::new()), Arc::new(Parker::new()));
        let ended = Arc::new(AtomicUsize::new(0));
        let waiter = {
            let (joins, out, ended) = (Arc::clone(&joins), Arc::clone(&out), Arc::clone(&ended));
            thread::spawn(move || {
                out.park(None);
                joins.join_all(true, None);
                assert_eq!(ended.load(Ordering::Relaxed), 1, "joined");
            })
        };
        let ends = Arc::clone(&ended);
        worker(&joins, &out, move || ends.store(1, Ordering::Relaxed));
        waiter.join().unwrap();
    });
}

/// Two waiters: one of them joins the thread, and both return after that.
#[test]
fn two_waiters() {
    check(Some(2), || {
        let (joins, out) = (Arc::new(Joins::new()), Arc::new(Parker::new()));
        let ended = Arc::new(AtomicUsize::new(0));
        let ends = Arc::clone(&ended);
        worker(&joins, &out, move || ends.store(1, Ordering::Relaxed));
        out.park(None);
        let other = {
            let (joins, ended) = (Arc::clone(&joins), Arc::clone(&ended));
            thread::spawn(move || {
                joins.join_all(true, None);
                assert_eq!(ended.load(Ordering::Relaxed), 1, "joined by the other, perhaps");
            })
        };
        joins.join_all(true, None);
        assert_eq!(ended.load(Ordering::Relaxed), 1, "joined");
        other.join().unwrap();
    });
}

/// A thread that has left waits for the pool's end in its last instructions, while it is joined:
/// both return.
#[test]
fn a_wait_in_a_thread_that_is_joined() {
    check(Some(3), || {
        let (joins, out) = (Arc::new(Joins::new()), Arc::new(Parker::new()));
        let waits = Arc::clone(&joins);
        worker(&joins, &out, move || waits.join_all(true, None));
        out.park(None);
        joins.join_all(true, None);
    });
}
