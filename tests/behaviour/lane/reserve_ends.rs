//! How threads in reserve come and go: idle, with their lane, with their pool; and what becomes of
//! a lane whose threads the system refuses.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::reserve::{is_reserve, lane};
#[cfg(target_os = "linux")]
use crate::support::threads_called;
use crate::support::{Gate, builder, check_sound, counter, eventually, occupy, occupy_lane, pool, soon};

#[test]
fn threads_of_a_reserve_leave_once_they_are_idle() {
    let (started, start) = counter();
    let (stopped, stop) = counter();
    let builder = builder().name("leaver").core_threads(1).max_threads(1);
    let builder = builder.keep_alive(Duration::from_millis(5)).on_thread_start(start).on_thread_stop(stop);
    let pool = builder.build().unwrap();
    let lane = lane(&pool, 2, 2);
    for round in 1..=3 {
        let gate = Gate::new();
        let hung = occupy(&pool, &gate);
        assert!(soon(lane.spawn(is_reserve)).unwrap());
        eventually("they leave although the pool still hangs", || pool.metrics().reserve_threads() == 0);
        gate.open();
        soon(hung).unwrap();
        assert!(stopped.load(Ordering::SeqCst) >= round, "the hook runs on them too");
    }
    assert_eq!(started.load(Ordering::SeqCst), stopped.load(Ordering::SeqCst) + 1, "the core thread stays");
    #[cfg(target_os = "linux")]
    eventually("no thread is left", || threads_called("leaver-spare-r") == 0);
}

#[test]
fn a_lane_of_a_closing_pool_goes_on() {
    for discards in [false, true] {
        let pool = pool(1, 1);
        let lane = lane(&pool, 1, 1);
        let (gate, second) = (Gate::new(), Gate::new());
        let hung = occupy(&pool, &gate);
        let first = occupy_lane(&lane, &second);
        let queued: Vec<_> = (0..10).map(|_| lane.spawn(is_reserve)).collect();
        let mut shutdown = pool.shutdown();
        if discards {
            shutdown = shutdown.discard_queued();
        }
        second.open();
        soon(first).unwrap();
        for task in queued {
            match soon(task) {
                Ok(on_reserve) => assert!(on_reserve && !discards),
                Err(error) => assert!(error.is_shutdown() && discards, "{error}"),
            }
        }
        assert!(!hung.is_finished());
        gate.open();
        let report = shutdown.wait();
        assert_eq!((report.still_running, pool.metrics().threads()), (0, 0), "{report:?}");
        assert_eq!(pool.metrics().reserve_threads(), 0, "they leave at the end");
        soon(hung).unwrap();
    }
}

#[test]
fn a_shutdown_waits_for_closures_on_a_reserve() {
    let pool = pool(1, 1);
    let lane = lane(&pool, 1, 1);
    let (gate, second) = (Gate::new(), Gate::new());
    let hung = occupy(&pool, &gate);
    let on_reserve = occupy_lane(&lane, &second);
    gate.open();
    soon(hung).unwrap();
    let report = pool.shutdown().timeout(Duration::from_millis(50)).wait();
    assert_eq!(report.still_running, 1, "{report:?}");
    second.open();
    let report = pool.shutdown().wait();
    assert_eq!((report.still_running, pool.metrics().reserve_threads()), (0, 0), "{report:?}");
    soon(on_reserve).unwrap();
}

#[test]
fn a_closure_on_a_reserve_may_wait_for_the_shutdown() {
    let pool = pool(1, 1);
    let lane = lane(&pool, 1, 1);
    let gate = Gate::new();
    let hung = occupy(&pool, &gate);
    let own = pool.clone();
    let waits = lane.spawn(move || (own.shutdown().wait(), is_reserve()));
    eventually("the shutdown has begun", || pool.try_spawn(|| ()).is_err());
    gate.open();
    let (report, on_reserve) = soon(waits).unwrap();
    assert!(on_reserve && report.still_running == 0, "{report:?}");
    soon(hung).unwrap();
}

#[test]
fn what_is_queued_in_a_lane_without_handles_runs_and_then_its_reserve_leaves() {
    let pool = builder().core_threads(1).max_threads(1).keep_alive(Duration::MAX).build().unwrap();
    let gate = Gate::new();
    let hung = occupy(&pool, &gate);
    let lane = lane(&pool, 1, 1);
    soon(lane.spawn(|| ())).unwrap();
    assert_eq!(pool.metrics().reserve_threads(), 1);
    let queued: Vec<_> = (0..10).map(|_| lane.spawn(is_reserve)).collect();
    drop(lane);
    for task in queued {
        assert!(soon(task).unwrap());
    }
    gate.open();
    soon(hung).unwrap();
    eventually("they have no lane any more", || pool.metrics().reserve_threads() == 0);
}

#[test]
fn the_last_handle_of_a_pool_ends_its_reserves() {
    let (gone, token) = counter();
    let pool = builder().core_threads(1).max_threads(1).on_thread_stop(token).keep_alive(Duration::MAX);
    let pool = pool.build().unwrap();
    let lane = lane(&pool, 1, 1);
    let gate = Gate::new();
    let hung = occupy(&pool, &gate);
    soon(lane.spawn(|| ())).unwrap();
    gate.open();
    soon(hung).unwrap();
    drop((lane, pool));
    eventually("both threads leave", || gone.load(Ordering::SeqCst) == 2);
}

#[test]
fn a_slot_whose_thread_is_refused_is_not_lost() {
    let refuses = Arc::new(AtomicBool::new(true));
    let asked = Arc::new(AtomicUsize::new(0));
    let (refusing, asking) = (Arc::clone(&refuses), Arc::clone(&asked));
    let pool = builder().core_threads(1).max_threads(1);
    let pool = pool.spawn_handler(move |new| {
        if new.name().contains("-spare-r") {
            let count = asking.fetch_add(1, Ordering::SeqCst);
            if refusing.load(Ordering::SeqCst) {
                // With an error, or without a word.
                drop(new);
                return if count % 2 == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) };
            }
        }
        thread::Builder::new().name(new.name().to_owned()).spawn(|| new.run()).map(drop)
    });
    let pool = pool.build().unwrap();
    let lane = lane(&pool, 2, 2);
    let gate = Gate::new();
    let hung = occupy(&pool, &gate);
    let tasks: Vec<_> = (0..10).map(|_| lane.spawn(is_reserve)).collect();
    eventually("it is tried again and again", || asked.load(Ordering::SeqCst) >= 3);
    eventually("none is counted between two tries", || pool.metrics().reserve_threads() == 0);
    assert!(pool.metrics().spawn_failures() >= 2);
    assert!(tasks.iter().all(|task| !task.is_finished()));
    refuses.store(false, Ordering::SeqCst);
    for task in tasks {
        assert!(soon(task).unwrap());
    }
    gate.open();
    soon(hung).unwrap();
    check_sound(&pool);
}
