//! One name is one lane, as long as the lane lives.

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use sidestep::{Dedicated, Strand};

use crate::support::{Crowd, Gate, all_well, check_sound, eventually, occupy_lane, pool, soon};

#[test]
fn a_name_is_one_lane_for_all_who_ask() {
    let pool = pool(2, 4);
    let (one, again) = (pool.lane("same", 1), pool.lane("same", 1));
    let (gate, crowd) = (Gate::new(), Arc::new(Crowd::default()));
    let running = occupy_lane(&one, &gate);
    let enter = Arc::clone(&crowd);
    let queued = again.spawn(move || enter.enter());
    assert_eq!((one.metrics().tasks_queued(), again.metrics().tasks_running()), (1, 1));
    let other = pool.lane("other", 1);
    soon(other.spawn(|| ())).unwrap();
    gate.open();
    all_well([running, queued]);
    assert_eq!((crowd.now(), one.metrics().tasks_completed(), other.metrics().tasks_completed()), (1, 2, 1));
    assert_eq!(pool.metrics().tasks_completed(), 3, "each is counted once");
    check_sound(&pool);
}

#[test]
fn other_settings_for_a_living_name_are_an_error_that_names_them() {
    let pool = pool(1, 4);
    let lane = pool.lane_builder("database", 4).queue_limit(9).share(2).build().unwrap();
    let error = pool.lane_builder("database", 8).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(
        error.to_string().contains("\"database\"") && error.to_string().contains("limit 4, and not 8"),
        "{error}"
    );
    let panics = catch_unwind(AssertUnwindSafe(|| pool.lane("database", 8))).unwrap_err();
    let message = panics.downcast_ref::<String>().unwrap();
    assert!(message.contains("limit 4, and not 8"), "{message}");
    for (builder, message) in [
        (pool.lane_builder("database", 4).queue_limit(10), "queue_limit 9, and not 10"),
        (pool.lane_builder("database", 4).reserve(1), "reserve 0, and not 1"),
        (pool.lane_builder("database", 4).share(3), "share 2, and not 3"),
    ] {
        let error = builder.build().unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
    // What is left open agrees, and so does what is equal.
    assert!(pool.lane_builder("database", 4).build().is_ok());
    assert!(pool.lane_builder("database", 4).queue_limit(9).share(2).reserve(0).build().is_ok());
    // The limit that counts is that with which the lane was made.
    lane.set_limit(7).unwrap();
    assert_eq!(pool.lane("database", 4).limit(), 7);
    assert!(pool.lane_builder("database", 7).build().is_err());
    check_sound(&pool);
}

#[test]
fn a_name_is_free_once_no_handle_and_no_task_is_left() {
    let pool = pool(2, 2);
    for limit in 1..200 {
        let lane = pool.lane("again", limit);
        assert_eq!(lane.limit(), limit);
        soon(lane.spawn(|| ())).unwrap();
    }
    // A task keeps the lane alive, queued or running.
    let gate = Gate::new();
    let (running, queued) = {
        let lane = pool.lane("again", 1);
        (occupy_lane(&lane, &gate), lane.spawn(|| ()))
    };
    assert!(pool.lane_builder("again", 2).build().is_err());
    let same = pool.lane("again", 1);
    assert_eq!((same.metrics().tasks_running(), same.metrics().tasks_queued()), (1, 1));
    drop(same);
    gate.open();
    all_well([running, queued]);
    assert_eq!(pool.lane("again", 2).limit(), 2);
    check_sound(&pool);
}

#[test]
fn many_threads_that_ask_at_once_get_one_lane() {
    const THREADS: usize = 8;
    let pool = pool(2, 8);
    for round in 0..50 {
        let (crowd, ran) = (Arc::new(Crowd::default()), Arc::new(AtomicUsize::new(0)));
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    let lane = pool.lane(format!("round {round}"), 1);
                    let (crowd, ran) = (Arc::clone(&crowd), Arc::clone(&ran));
                    let task = lane.spawn(move || {
                        crowd.enter();
                        ran.fetch_add(1, Ordering::SeqCst);
                        crowd.leave();
                    });
                    drop(lane);
                    soon(task).unwrap();
                });
            }
        });
        assert_eq!((crowd.most(), ran.load(Ordering::SeqCst)), (1, THREADS));
    }
    check_sound(&pool);
}

#[test]
fn strands_share_no_name_with_each_other_or_with_lanes() {
    let pool = pool(2, 4);
    let (one, other) = (Strand::on(&pool, 1), Strand::on(&pool, 2));
    assert_eq!(one.lane().name(), "strand");
    let lane = pool.lane("strand", 5);
    let gate = Gate::new();
    let pass = gate.clone();
    let held = one.call(move |_| pass.pass());
    assert_eq!(soon(other.call(|value| *value)).unwrap(), 2, "the other strand does not wait");
    soon(lane.spawn(|| ())).unwrap();
    gate.open();
    soon(held).unwrap();
    assert_eq!(lane.metrics().tasks_submitted(), 1);
    let two = [Dedicated::new(|| 1).unwrap(), Dedicated::new(|| 2).unwrap()];
    let values = two.map(|value| soon(value.call(|value| *value)).unwrap());
    assert_eq!(values, [1, 2]);
    check_sound(&pool);
}

#[cfg(feature = "fs")]
#[test]
fn names_of_the_library_s_own_lanes_are_free() {
    let pool = sidestep::Pool::global();
    assert_eq!(sidestep::block_on(sidestep::fs::read("Cargo.toml")).unwrap()[0], b'[');
    let mine = pool.lane("fs", 3);
    soon(mine.spawn(|| ())).unwrap();
    assert_eq!((mine.limit(), mine.metrics().tasks_submitted()), (3, 1));
}

#[test]
fn a_lane_that_is_dropped_and_asked_for_at_once_keeps_its_limit() {
    let pool = pool(2, 8);
    let crowd = Arc::new(Crowd::default());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let crowd = Arc::clone(&crowd);
                    // The handle goes at once; the task runs all the same.
                    pool.lane("short", 2)
                        .spawn(move || {
                            crowd.enter();
                            thread::yield_now();
                            crowd.leave();
                        })
                        .detach();
                }
            });
        }
    });
    eventually("all have run", || pool.metrics().tasks_completed() == 2000);
    assert!(crowd.most() <= 2, "{}", crowd.most());
    check_sound(&pool);
}
