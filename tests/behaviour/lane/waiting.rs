//! Tasks, wakers and callbacks that wait for tasks of a lane.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sidestep::{Lane, Pool, TaskError, current};

use crate::support::{
    Gate, PATIENCE, check_sound, eventually, nothing_happens, occupy, occupy_lane, pool, quiet_panic, soon,
};

#[test]
fn a_task_that_waits_for_its_own_lane_of_one_is_told() {
    let pool = pool(1, 4);
    let lane = pool.lane("serial", 1);
    let inner = lane.clone();
    let outer = lane.spawn(move || inner.spawn(|| ()).wait());
    let error = soon(outer).unwrap().unwrap_err();
    assert!(error.is_deadlock() && !error.is_cancelled(), "{error}");
    soon(lane.spawn(|| ())).unwrap();
    let inner = lane.clone();
    let outer = lane.spawn(move || current::will_block(|| inner.spawn(|| ()).wait()));
    assert!(soon(outer).unwrap().unwrap_err().is_deadlock());
    check_sound(&pool);
}

#[test]
fn whoever_holds_every_slot_and_waits_for_a_place_is_told() {
    let pool = pool(2, 4);
    let lane = pool.lane_builder("serial", 1).queue_limit(1).build().unwrap();
    let inner = lane.clone();
    let outer = lane.spawn(move || {
        let queued = inner.spawn(|| ());
        let told = inner.reserve().wait().map(drop);
        drop(queued);
        (told, inner.reserve().wait().is_ok())
    });
    let (told, free) = soon(outer).unwrap();
    assert!(told.is_err_and(|error| error.is_deadlock()), "the place is behind this very task");
    assert!(free, "it had been given back");
    check_sound(&pool);
}

#[test]
fn where_all_holders_wait_for_the_queue_the_last_one_is_told() {
    for (limit, max) in [(2, 2), (3, 3), (3, 8), (4, 16)] {
        let pool = pool(1, max.max(limit));
        let lane = pool.lane("narrow", limit);
        let barrier = Arc::new(std::sync::Barrier::new(limit));
        let outer: Vec<_> = (0..limit)
            .map(|number| {
                let (inner, all) = (lane.clone(), Arc::clone(&barrier));
                lane.spawn(move || {
                    all.wait();
                    inner.spawn(move || number).wait()
                })
            })
            .collect();
        let ends: Vec<Result<usize, TaskError>> = outer.into_iter().map(|task| soon(task).unwrap()).collect();
        let told = ends.iter().filter(|end| end.is_err()).count();
        assert!(told >= 1, "somebody is told");
        assert!(ends.into_iter().filter_map(Result::err).all(|error| error.is_deadlock()));
        let metrics = lane.metrics();
        assert_eq!(metrics.tasks_cancelled(), told as u64, "{metrics:?}");
        check_sound(&pool);
    }
}

#[test]
fn a_deadlock_is_seen_through_tasks_that_run_in_place() {
    let pool = pool(1, 1);
    let (one, two) = (pool.lane("one", 1), pool.lane("two", 2));
    let (inner, again) = (pool.clone(), one.clone());
    let outer = one.spawn(move || inner.spawn(move || again.spawn(|| ()).wait()).wait().unwrap());
    assert!(soon(outer).unwrap().unwrap_err().is_deadlock());
    let first = two.clone();
    let outer = two.spawn(move || {
        let second = first.clone();
        first.spawn(move || second.spawn(|| ()).wait()).wait().unwrap()
    });
    assert!(soon(outer).unwrap().unwrap_err().is_deadlock());
    check_sound(&pool);
}

#[test]
fn a_wait_for_a_running_task_is_no_deadlock() {
    let pool = pool(2, 4);
    let lane = pool.lane("two", 2);
    let (gate, go) = (Gate::new(), Gate::new());
    let running = occupy_lane(&lane, &gate);
    let begin = go.clone();
    let outer = lane.spawn(move || {
        begin.pass();
        running.wait()
    });
    let queued = lane.spawn(|| 3);
    go.open();
    eventually("it waits", || pool.metrics().threads_blocked() == 1);
    nothing_happens();
    assert!(!outer.is_finished() && !queued.is_finished());
    gate.open();
    soon(outer).unwrap().unwrap();
    assert_eq!(soon(queued).unwrap(), 3);
}

#[test]
fn a_holder_is_released_by_a_cancellation() {
    let pool = pool(2, 4);
    let lane = pool.lane("two", 2);
    let (gate, (send, receive)) = (Gate::new(), channel());
    let other = occupy_lane(&lane, &gate);
    let inner = lane.clone();
    let outer = lane.spawn(move || {
        let queued = inner.spawn(|| ());
        send.send(queued.cancel_handle()).unwrap();
        queued.wait()
    });
    let cancel = receive.recv().unwrap();
    eventually("it waits", || pool.metrics().threads_blocked() == 1);
    cancel.cancel();
    assert!(soon(outer).unwrap().unwrap_err().is_cancelled());
    gate.open();
    soon(other).unwrap();
    check_sound(&pool);
}

#[test]
fn a_wait_with_a_timeout_gives_the_handle_back() {
    let pool = pool(1, 1);
    let lane = pool.lane("serial", 1);
    let inner = lane.clone();
    let outer = lane.spawn(move || inner.spawn(|| 7).wait_timeout(Duration::from_millis(1)).unwrap_err());
    assert_eq!(soon(soon(outer).unwrap()).unwrap(), 7);
}

#[test]
fn the_only_thread_runs_the_lane_through_the_task_it_waits_for() {
    let pool = pool(1, 1);
    for limit in [1, 2, 50] {
        let lane = pool.lane("order", limit);
        let order = Arc::new(Mutex::new(Vec::new()));
        let (inner, noted) = (lane.clone(), Arc::clone(&order));
        let outer = pool.spawn(move || {
            let mut tasks: Vec<_> = (0..50)
                .map(|number| {
                    let order = Arc::clone(&noted);
                    inner.spawn(move || order.lock().unwrap().push(number))
                })
                .collect();
            tasks.remove(29).wait().unwrap();
            let seen = noted.lock().unwrap().clone();
            tasks.into_iter().for_each(|task| task.wait().unwrap());
            seen
        });
        assert_eq!(soon(outer).unwrap(), (0..30).collect::<Vec<_>>(), "through the target and no further");
        assert_eq!(*order.lock().unwrap(), (0..50).collect::<Vec<_>>());
    }
    check_sound(&pool);
}

#[test]
fn a_holder_of_one_slot_runs_the_lane_in_another() {
    let pool = pool(1, 1);
    let lane = pool.lane("two", 2);
    let inner = lane.clone();
    let outer = lane.spawn(move || inner.spawn(|| 7).wait().unwrap());
    assert_eq!(soon(outer).unwrap(), 7);
    check_sound(&pool);
}

/// Tasks that wait for tasks of the lanes, in turn: each end is good or a deadlock.
fn descend(lanes: &[Lane], depth: usize) -> Result<usize, TaskError> {
    let Some(rest) = depth.checked_sub(1) else { return Ok(0) };
    let next = lanes.to_vec();
    lanes[depth % lanes.len()].spawn(move || descend(&next, rest)).wait()?.map(|depth| depth + 1)
}

#[test]
fn waits_across_lanes_come_to_an_end_in_order_of_lanes() {
    // Each chain goes from the last lane to the first, so no two wait for each other.
    for (core, max) in [(1, 1), (1, 2), (2, 3), (4, 16)] {
        let pool = pool(core, max);
        let lanes: Vec<_> = (1..=4).map(|limit| pool.lane(format!("level {limit}"), limit)).collect();
        let roots: Vec<_> = (0..50)
            .map(|_| {
                let lanes = lanes.clone();
                pool.spawn(move || descend(&lanes, 3))
            })
            .collect();
        for root in roots {
            assert_eq!(soon(root).unwrap().unwrap(), 3);
        }
        check_sound(&pool);
    }
}

#[test]
fn a_chain_of_waits_that_is_longer_than_the_limit_is_told() {
    for (limit, max) in [(1, 1), (2, 1), (2, 4), (3, 8)] {
        let pool = pool(1, max);
        let lane = pool.lane("chain", limit);
        let lanes = [lane.clone()];
        let root = lane.spawn(move || descend(&lanes, limit));
        assert!(soon(root).unwrap().unwrap_err().is_deadlock(), "limit {limit}, {max} threads");
        check_sound(&pool);
    }
}

#[test]
fn waits_within_one_lane_end_well_or_are_told() {
    for (core, max, limit) in [(1, 1, 1), (1, 1, 3), (2, 2, 2), (2, 4, 3), (4, 8, 8)] {
        let pool = pool(core, max);
        let lane = pool.lane("self", limit);
        let roots: Vec<_> = (0..100)
            .map(|depth| {
                let lanes = [lane.clone()];
                pool.spawn(move || descend(&lanes, depth % 4))
            })
            .collect();
        for root in roots {
            assert!(soon(root).unwrap().err().is_none_or(|error| error.is_deadlock()));
        }
        check_sound(&pool);
        let metrics = lane.metrics();
        assert_eq!((metrics.tasks_queued(), metrics.tasks_running()), (0, 0), "{metrics:?}");
    }
}

#[test]
fn callbacks_use_the_lane_again() {
    fn again(lane: &Lane, left: usize, done: Gate) {
        let next = lane.clone();
        lane.spawn(|| ()).on_complete(move |_| match left {
            0 => done.open(),
            _ => again(&next, left - 1, done),
        });
    }
    let pool = pool(1, 1);
    let lane = pool.lane("serial", 1);
    let done = Gate::new();
    again(&lane, 500, done.clone());
    done.pass();
    assert_eq!(lane.metrics().tasks_completed(), 501);
    check_sound(&pool);
}

#[test]
fn callbacks_wait_for_the_lane() {
    for (core, max) in [(1, 1), (2, 2), (1, 4)] {
        let pool = pool(core, max);
        let lane = pool.lane("serial", 1);
        let gate = Gate::new();
        let first = occupy_lane(&lane, &gate);
        let (send, receive) = channel();
        let inner = lane.clone();
        first.on_complete(move |_| send.send(inner.spawn(|| 7).wait()).unwrap());
        let next: Vec<_> = (0..10).map(|number| lane.spawn(move || number)).collect();
        gate.open();
        assert_eq!(receive.recv_timeout(PATIENCE).unwrap().unwrap(), 7);
        assert_eq!(next.into_iter().map(|task| soon(task).unwrap()).sum::<i32>(), 45);
        check_sound(&pool);
    }
}

#[test]
fn a_callback_that_says_that_it_blocks_holds_no_slot() {
    let pool = pool(2, 2);
    let lane = pool.lane("serial", 1);
    let (gate, hold, called) = (Gate::new(), Gate::new(), Gate::new());
    let (open, pass) = (called.clone(), hold.clone());
    let first = occupy_lane(&lane, &gate);
    first.on_complete(move |_| {
        current::will_block(|| {
            open.open();
            pass.pass();
        });
    });
    let next = lane.spawn(|| 1);
    gate.open();
    called.pass();
    assert_eq!(soon(next).unwrap(), 1);
    hold.open();
    eventually("the callback has ended", || pool.metrics().threads_blocked() == 0);
    check_sound(&pool);
}

#[test]
fn a_callback_that_panics_or_blocks_in_silence_loses_no_slot() {
    let pool = pool(2, 2);
    let lane = pool.lane("serial", 1);
    let (gate, hold) = (Gate::new(), Gate::new());
    let first = occupy_lane(&lane, &gate);
    let pass = hold.clone();
    first.on_complete(|_| quiet_panic("in a callback"));
    lane.spawn(|| ()).on_complete(move |_| pass.pass());
    let next = lane.spawn(|| 1);
    gate.open();
    eventually("two have ended", || lane.metrics().tasks_completed() == 2);
    hold.open();
    assert_eq!(soon(next).unwrap(), 1);
    check_sound(&pool);
}

#[test]
fn a_lane_of_another_pool_is_waited_for_like_anything_else() {
    let (here, there) = (pool(1, 1), Pool::builder().max_threads(1).build().unwrap());
    let lane = there.lane("there", 1);
    let gate = Gate::new();
    let busy = occupy(&there, &gate);
    let inner = lane.clone();
    let outer = here.spawn(move || inner.spawn(|| 7).wait().unwrap());
    eventually("it waits", || here.metrics().threads_blocked() == 1);
    gate.open();
    assert_eq!(soon(outer).unwrap(), 7);
    soon(busy).unwrap();
}
