//! Lanes in the hands of odd users: user code at odd places, while a slot is held or a count is
//! due.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use sidestep::{Lane, Pool};

use crate::support::{
    Calls, Gate, HoldOnDrop, PATIENCE, check_sound, eventually, occupy, occupy_lane, poll, pool, soon,
};

#[test]
fn a_waker_inside_a_cancellation_may_drop_the_last_handle_of_the_lane() {
    let pool = pool(1, 1);
    let lane = pool.lane_builder("doomed", 1).queue_limit(1).build().unwrap();
    let gate = Gate::new();
    let running = occupy_lane(&lane, &gate);
    let queued = lane.spawn(|| ());
    let mut turn = lane.reserve();
    let calls = Calls::new();
    assert!(poll(&mut turn, &Waker::from(Arc::clone(&calls))).is_pending());
    let view = pool.clone();
    calls.set(move || {
        gate.open();
        soon(running).unwrap();
        eventually("the worker has left the lane", || view.metrics().threads_idle() == 1);
        drop((turn, lane));
    });
    let (send, done) = channel();
    thread::spawn(move || {
        drop(queued);
        send.send(()).unwrap();
    });
    done.recv_timeout(PATIENCE).expect("the cancellation waits for its own count");
    check_sound(&pool);
}

#[cfg(target_os = "linux")]
#[test]
fn a_waker_inside_a_cancellation_may_drop_the_last_handle_of_the_pool() {
    let pool = Pool::builder().name("doomed").max_threads(1).queue_limit(1).build().unwrap();
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let queued = pool.spawn(|| ());
    let mut turn = pool.reserve();
    let calls = Calls::new();
    assert!(poll(&mut turn, &Waker::from(Arc::clone(&calls))).is_pending());
    calls.set(move || {
        gate.open();
        soon(running).unwrap();
        let shutdown = pool.shutdown();
        #[cfg(target_os = "linux")]
        eventually("its threads are gone", || crate::support::threads_called("doomed") == 0);
        drop((turn, pool, shutdown));
    });
    let (send, done) = channel();
    thread::spawn(move || {
        drop(queued);
        send.send(()).unwrap();
    });
    done.recv_timeout(PATIENCE).expect("the cancellation waits for its own count");
}

#[test]
fn a_callback_of_a_task_that_a_worker_finds_overdue_may_wait_for_the_lane() {
    let pool = pool(2, 2);
    let lane = pool.lane("serial", 1);
    let gate = Gate::new();
    let running = occupy_lane(&lane, &gate);
    let (hold, begun, leave) = HoldOnDrop::new();
    // The timer's thread is busy from here on.
    let held = lane.options().expire_after(Duration::ZERO).spawn(move || drop(hold));
    begun.pass();
    let (send, receive) = channel();
    let again = lane.clone();
    lane.options().expire_after(Duration::ZERO).spawn(|| ()).on_complete(move |end| {
        assert!(end.unwrap_err().is_expired());
        send.send(again.spawn(|| 7).wait()).unwrap();
    });
    gate.open();
    soon(running).unwrap();
    let end = receive.recv_timeout(PATIENCE).expect("the slot was held through the callback");
    assert_eq!(end.unwrap(), 7);
    leave.open();
    assert!(soon(held).unwrap_err().is_expired());
    check_sound(&pool);
}

#[test]
fn a_waker_of_a_reservation_may_wait_for_the_lane() {
    let pool = pool(2, 2);
    let lane = pool.lane_builder("serial", 1).queue_limit(1).build().unwrap();
    let gate = Gate::new();
    let running = occupy_lane(&lane, &gate);
    let queued = lane.spawn(|| 6);
    let mut turn = lane.reserve();
    let calls = Calls::new();
    let waker = Waker::from(Arc::clone(&calls));
    assert!(poll(&mut turn, &waker).is_pending());
    let (send, receive) = channel();
    calls.set(move || {
        let Poll::Ready(Ok(permit)) = poll(&mut turn, Waker::noop()) else { panic!("it has been granted") };
        send.send(permit.spawn(|| 7).wait()).unwrap();
    });
    gate.open();
    soon(running).unwrap();
    let end = receive.recv_timeout(PATIENCE).expect("the slot of the task that has not begun was held");
    assert!(end.is_ok() || end.is_err_and(|error| error.is_deadlock()));
    assert_eq!(soon(queued).unwrap(), 6);
    check_sound(&pool);
}

#[test]
fn a_callback_may_wait_for_the_lane_inside_a_scope() {
    let pool = pool(1, 1);
    let lane = pool.lane("serial", 1);
    let gate = Gate::new();
    let first = occupy_lane(&lane, &gate);
    let next = lane.spawn(|| 1);
    let (send, receive) = channel();
    let (inner, again) = (pool.clone(), lane.clone());
    first.on_complete(move |_| {
        let mut end = None;
        inner.scope(|scope| {
            drop(scope.spawn(|| end = Some(again.spawn(|| 7).wait())));
        });
        send.send(end).unwrap();
    });
    gate.open();
    let end = receive.recv_timeout(PATIENCE).expect("the slot was kept while the scope ran");
    assert_eq!(end.unwrap().unwrap(), 7);
    assert_eq!(soon(next).unwrap(), 1);
}

#[test]
fn a_callback_that_waits_for_the_shutdown_lets_the_lane_drain() {
    let pool = pool(1, 1);
    let lane = pool.lane("serial", 1);
    let gate = Gate::new();
    let first = occupy_lane(&lane, &gate);
    let next = lane.spawn(|| 1);
    let (send, receive) = channel();
    let inner = pool.clone();
    first.on_complete(move |_| {
        let report = inner.shutdown().wait();
        send.send((report, inner.metrics().tasks_queued())).unwrap();
    });
    gate.open();
    let (report, queued) = receive.recv_timeout(PATIENCE).unwrap();
    assert_eq!((report.still_running, queued), (0, 0), "{report:?}");
    assert_eq!(soon(next).unwrap(), 1);
}

#[test]
fn a_shutdown_that_a_lane_task_waits_for_does_not_overlook_the_rest_of_the_lane() {
    let pool = pool(2, 2);
    let lane = pool.lane("serial", 1);
    let (inner, gate) = (pool.clone(), Gate::new());
    let go = gate.clone();
    let first = lane.spawn(move || {
        go.pass();
        let report = inner.shutdown().wait();
        (report, inner.metrics().tasks_queued())
    });
    let next = lane.spawn(|| 1);
    gate.open();
    let (report, queued) = soon(first).unwrap();
    assert_eq!(
        (report.completed, report.still_running, queued),
        (1, 0, 0),
        "{report:?}: its slot was given away"
    );
    assert_eq!(soon(next).unwrap(), 1);
}

#[test]
fn a_lane_never_shows_more_running_than_its_limit() {
    let pool = pool(4, 4);
    let lane = pool.lane("narrow", 2);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut most = 0;
            while !stop.load(Ordering::SeqCst) {
                most = most.max(lane.metrics().tasks_running());
            }
            most
        });
        let tasks: Vec<_> = (0..100_000).map(|_| lane.spawn(|| ())).collect();
        tasks.into_iter().for_each(|task| soon(task).unwrap());
        stop.store(true, Ordering::SeqCst);
        assert!(reader.join().unwrap() <= 2, "`LaneMetrics::tasks_running` promises it");
    });
}

/// How long it takes to queue many tasks in a lane whose slot is held.
fn time_to_queue(lane: &Lane) -> Duration {
    let gate = Gate::new();
    let running = occupy_lane(lane, &gate);
    let begun = Instant::now();
    let queued: Vec<_> = (0..8000).map(|_| lane.spawn(|| ())).collect();
    let took = begun.elapsed();
    gate.open();
    soon(running).unwrap();
    queued.into_iter().for_each(|task| soon(task).unwrap());
    took
}

#[test]
fn tasks_that_a_worker_found_overdue_do_not_make_the_lane_slow_for_ever() {
    let pool = pool(2, 2);
    let (fresh, used) = (pool.lane("fresh", 1), pool.lane("used", 1));
    let (hold, begun, leave) = HoldOnDrop::new();
    let gate = Gate::new();
    let running = occupy_lane(&used, &gate);
    let expiring = used.options().expire_after(Duration::ZERO);
    let held = expiring.spawn(move || drop(hold));
    begun.pass();
    let late: Vec<_> = (0..8000).map(|_| expiring.spawn(|| ())).collect();
    gate.open();
    soon(running).unwrap();
    late.into_iter().for_each(|task| assert!(soon(task).unwrap_err().is_expired()));
    leave.open();
    assert!(soon(held).unwrap_err().is_expired());
    // By a factor of hundreds, if it were so. A machine that holds this thread up does not do so
    // each time.
    let is_quick = |_| time_to_queue(&used) < 10 * time_to_queue(&fresh);
    assert!((0..5).any(is_quick), "queueing is slow after so many tasks have expired");
}

#[test]
fn a_deadlock_through_a_task_of_the_pool_on_another_thread() {
    let pool = pool(2, 4);
    let lane = pool.lane("serial", 1);
    let (inner, again) = (pool.clone(), lane.clone());
    let outer = lane.spawn(move || {
        let between = inner.spawn(move || again.spawn(|| ()).wait());
        // Whoever waits last closes the circle, and is told.
        between.wait().flatten()
    });
    assert!(soon(outer).unwrap().unwrap_err().is_deadlock());
}

#[test]
fn a_waiter_for_a_place_helps_although_a_waker_blocks() {
    let pool = Pool::builder().core_threads(2).max_threads(2).queue_limit(1).build().unwrap();
    let (go, ready, reserved, calling) = (Gate::new(), Gate::new(), Gate::new(), Gate::new());
    let (announce, pass) = (calling.clone(), reserved.clone());
    occupy(&pool, &go).on_complete(move |_| {
        announce.open();
        pass.pass();
    });
    let (inner, begin, open) = (pool.clone(), ready.clone(), reserved.clone());
    let waits = pool.spawn(move || {
        begin.pass();
        drop(inner.reserve().wait().unwrap());
        open.open();
    });
    let permit = pool.reserve().wait().unwrap();
    ready.open();
    eventually("it waits for a place", || pool.metrics().threads_blocked() == 1);
    go.open();
    calling.pass();
    let queued = permit.spawn(|| 7);
    soon(waits).unwrap();
    assert_eq!(soon(queued).unwrap(), 7);
    check_sound(&pool);
}

#[test]
fn a_row_of_wakers_that_give_their_places_away_needs_no_deep_stack() {
    const ROW: usize = 50_000;
    let pool = Pool::builder().max_threads(1).queue_limit(1).build().unwrap();
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let queued = pool.spawn(|| ());
    for _ in 0..ROW {
        let calls = Calls::new();
        let mut turn = pool.reserve();
        assert!(poll(&mut turn, &Waker::from(Arc::clone(&calls))).is_pending());
        calls.set(move || drop(turn));
    }
    drop(queued);
    let last = pool.try_spawn(|| ()).unwrap();
    gate.open();
    soon(running).unwrap();
    soon(last).unwrap();
}
