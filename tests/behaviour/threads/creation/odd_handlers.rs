//! Spawn handlers that panic, forget, delay, say one thing and do another, or use the pool they
//! work for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use sidestep::{NewThread, Pool};

use super::{Make, make, occupy, refused};
use crate::support::{Gate, PATIENCE, eventually};

#[test]
fn a_handler_that_panics_or_forgets_counts_as_a_failure() {
    let odd: [Make; 2] = [|_| panic!("out of hands"), |_| Ok(())];
    for fails in odd {
        let calls = AtomicUsize::new(0);
        let handler = move |new| {
            let call = calls.fetch_add(1, Ordering::SeqCst);
            if call == 1 || call == 2 { fails(new) } else { make(new) }
        };
        let pool = Pool::builder().core_threads(2).max_threads(2).spawn_handler(handler).build().unwrap();
        let gate = occupy(&pool, 1);
        let open = gate.clone();
        let task = pool.spawn(move || open.open());
        assert!(task.wait_timeout(PATIENCE).is_ok());
        assert_eq!(pool.metrics().spawn_failures(), 2);
        assert_eq!(pool.metrics().threads_peak(), 2);
    }
}

/// Where handlers put threads that they do not run at once.
type Shelf = Arc<Mutex<Vec<NewThread>>>;

#[test]
fn a_thread_that_is_run_later_is_waited_for() {
    for answer in [Ok(()), Err(())] {
        let shelf = Shelf::default();
        let (kept, calls) = (Arc::clone(&shelf), AtomicUsize::new(0));
        let handler = move |new| {
            if calls.fetch_add(1, Ordering::SeqCst) == 0 {
                return make(new);
            }
            kept.lock().unwrap().push(new);
            answer.map_err(|()| refused())
        };
        let pool = Pool::builder().core_threads(2).max_threads(2).spawn_handler(handler).build().unwrap();
        let gate = occupy(&pool, 1);
        let open = gate.clone();
        let task = pool.spawn(move || open.open());
        eventually("a thread is on the shelf", || !shelf.lock().unwrap().is_empty());
        assert_eq!(pool.metrics().threads(), 1);
        let new = shelf.lock().unwrap().pop().unwrap();
        thread::spawn(|| new.run());
        assert!(task.wait_timeout(PATIENCE).is_ok());
        assert_eq!((pool.metrics().threads_peak(), pool.metrics().spawn_failures()), (2, 0));
        assert!(shelf.lock().unwrap().is_empty(), "one was reserved");
        pool.shutdown().wait();
    }
}

#[test]
fn a_thread_that_is_dropped_later_is_a_failure_then() {
    let shelf = Shelf::default();
    let (kept, calls) = (Arc::clone(&shelf), AtomicUsize::new(0));
    let handler = move |new| {
        if calls.fetch_add(1, Ordering::SeqCst) == 1 {
            kept.lock().unwrap().push(new);
            return Ok(());
        }
        make(new)
    };
    let pool = Pool::builder().core_threads(2).max_threads(2).spawn_handler(handler).build().unwrap();
    let gate = occupy(&pool, 1);
    let open = gate.clone();
    let task = pool.spawn(move || open.open());
    eventually("a thread is on the shelf", || !shelf.lock().unwrap().is_empty());
    assert_eq!(pool.metrics().spawn_failures(), 0);
    shelf.lock().unwrap().clear();
    assert!(task.wait_timeout(PATIENCE).is_ok(), "another is made after the pause");
    assert_eq!((pool.metrics().threads_peak(), pool.metrics().spawn_failures()), (2, 1));
}

#[test]
fn a_handler_that_runs_the_thread_and_yet_fails() {
    let handler = |new: NewThread| {
        make(new)?;
        Err(refused())
    };
    let pool = Pool::builder().core_threads(2).max_threads(4).spawn_handler(handler).build().unwrap();
    let gate = Gate::new();
    let join = |_| {
        let gate = gate.clone();
        pool.spawn(move || gate.pass())
    };
    let tasks: Vec<_> = (0..4).map(join).collect();
    eventually("four run together", || pool.metrics().tasks_running() == 4);
    gate.open();
    for task in tasks {
        task.wait().unwrap();
    }
    pool.shutdown().wait();
    assert_eq!(pool.metrics().threads(), 0);
}

#[test]
fn a_handler_that_uses_the_pool_it_makes_threads_for() {
    let slot: Arc<Mutex<Option<Pool>>> = Arc::default();
    let inside = Arc::clone(&slot);
    let handler = move |new: NewThread| {
        if let Some(pool) = &*inside.lock().unwrap() {
            pool.spawn(|| ()).detach();
            assert!(pool.metrics().threads() > 0);
        }
        make(new)
    };
    let pool = Pool::builder().core_threads(1).max_threads(8).spawn_handler(handler).build().unwrap();
    *slot.lock().unwrap() = Some(pool.clone());
    let gate = Gate::new();
    let join = |_| {
        let gate = gate.clone();
        pool.spawn(move || gate.pass())
    };
    let tasks: Vec<_> = (0..8).map(join).collect();
    eventually("eight run together", || pool.metrics().tasks_running() >= 8);
    gate.open();
    for task in tasks {
        task.wait().unwrap();
    }
    slot.lock().unwrap().take();
}
