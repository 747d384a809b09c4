//! What a shutdown does to each task: the table of `OnShutdown`, its numbers, and its races.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use sidestep::OnShutdown::{self, AlwaysRun, Discard, Drain};
use sidestep::{Lane, Pool, Task};

use crate::support::{
    Drops, Gate, PATIENCE, all_well, check_accounts, check_sound, eventually, nothing_happens, occupy, pool,
    soon,
};

/// A task in the pool or in a lane, with this policy.
fn spawn(pool: &Pool, lane: Option<&Lane>, policy: OnShutdown) -> Task<i32> {
    let options = lane.map_or_else(|| pool.options(), Lane::options);
    options.on_shutdown(policy).spawn(|| 42)
}

#[test]
fn the_table_holds_in_the_pool_and_in_lanes() {
    for in_lane in [false, true] {
        for discards in [false, true] {
            let pool = pool(1, 1);
            let gate = Gate::new();
            let busy = occupy(&pool, &gate);
            let lane = in_lane.then(|| pool.lane("lane", 1));
            let all: Vec<_> = (0..10)
                .flat_map(|_| [Drain, Discard, AlwaysRun])
                .map(|policy| (policy, spawn(&pool, lane.as_ref(), policy)))
                .collect();
            let shutdown = pool.shutdown();
            for (policy, task) in &all {
                assert_eq!(task.is_finished(), *policy == Discard, "{policy:?}: at once");
            }
            let shutdown = if discards { shutdown.discard_queued() } else { shutdown };
            for (policy, task) in &all {
                assert_eq!(task.is_finished(), *policy == Discard || *policy == Drain && discards);
            }
            gate.open();
            let report = shutdown.wait();
            let discarded = if discards { 20 } else { 10 };
            assert_eq!(
                (report.completed, report.discarded, report.still_running),
                (31 - discarded, discarded, 0)
            );
            for (policy, task) in all {
                let runs = policy == AlwaysRun || policy == Drain && !discards;
                match soon(task) {
                    Ok(value) => assert!(runs && value == 42),
                    Err(error) => assert!(!runs && error.is_shutdown()),
                }
            }
            soon(busy).unwrap();
            check_accounts(&pool.metrics());
            assert_eq!(pool.metrics().tasks_cancelled(), discarded);
        }
    }
}

#[test]
fn a_task_that_was_cancelled_before_is_not_among_the_discarded() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let mut tasks: Vec<_> =
        (0..10).flat_map(|_| [Drain, Discard]).map(|policy| spawn(&pool, None, policy)).collect();
    tasks.truncate(15);
    let shutdown = pool.shutdown().discard_queued();
    gate.open();
    assert_eq!(shutdown.wait().discarded, 15);
    soon(busy).unwrap();
}

#[test]
fn every_call_of_shutdown_tells_the_same_numbers() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let doomed = spawn(&pool, None, Discard);
    let drained = spawn(&pool, None, Drain);
    let first = pool.shutdown();
    let second = pool.shutdown().discard_queued();
    gate.open();
    let third = pool.shutdown();
    let reports = [first.wait(), second.wait(), third.wait(), pool.shutdown().wait()];
    for report in reports {
        assert_eq!((report.completed, report.discarded, report.still_running), (1, 2, 0));
    }
    for task in [doomed, drained] {
        assert!(soon(task).unwrap_err().is_shutdown());
    }
    soon(busy).unwrap();
}

#[test]
fn dropping_the_last_handle_runs_everything() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let lane = pool.lane("lane", 1);
    let tasks: Vec<_> = [Drain, Discard, AlwaysRun]
        .into_iter()
        .flat_map(|policy| [spawn(&pool, None, policy), spawn(&pool, Some(&lane), policy)])
        .collect();
    drop((pool, lane));
    gate.open();
    all_well(tasks);
    soon(busy).unwrap();
}

#[test]
fn spawns_that_race_with_a_shutdown_end_in_one_way() {
    for round in 0..100 {
        let pool = Pool::builder().core_threads(2).max_threads(2).queue_limit(100).build().unwrap();
        let lane = pool.lane_builder("lane", 1).queue_limit(100).build().unwrap();
        let (ran, drops) = (Arc::new(AtomicUsize::new(0)), Drops::new());
        let made = AtomicUsize::new(0);
        let report = thread::scope(|scope| {
            for on_lane in [false, true] {
                let (pool, lane, ran, drops, made) = (&pool, &lane, &ran, &drops, &made);
                scope.spawn(move || {
                    for n in 0_usize.. {
                        let policy = [Drain, Discard, AlwaysRun][n % 3];
                        let (ran, token) = (Arc::clone(ran), drops.token());
                        let options = if on_lane { lane.options() } else { pool.options() };
                        made.fetch_add(1, Ordering::SeqCst);
                        let task = options.on_shutdown(policy).spawn(move || {
                            drop(token);
                            ran.fetch_add(1, Ordering::SeqCst);
                        });
                        if task.is_finished() && task.wait().is_err_and(|error| error.is_shutdown()) {
                            return;
                        }
                    }
                });
            }
            (0..round).for_each(|_| thread::yield_now());
            let shutdown = pool.shutdown();
            if round % 2 == 0 { shutdown.wait() } else { shutdown.discard_queued().wait() }
        });
        assert_eq!(report.still_running, 0);
        let metrics = pool.metrics();
        check_accounts(&metrics);
        assert_eq!((metrics.tasks_queued(), metrics.tasks_running()), (0, 0));
        assert_eq!(metrics.tasks_completed(), ran.load(Ordering::SeqCst) as u64);
        eventually("every closure is dropped", || drops.count() == made.load(Ordering::SeqCst));
    }
}

#[test]
fn block_tasks_run_after_the_threads_have_left() {
    for _ in 0..200 {
        let pool = pool(2, 2);
        let tasks: Vec<_> = (0..20).map(|_| spawn(&pool, None, AlwaysRun)).collect();
        let closer = pool.clone();
        let closer = thread::spawn(move || closer.shutdown().discard_queued().wait());
        let report = pool.shutdown().discard_queued().wait();
        assert_eq!((report.discarded, report.still_running), (0, 0));
        all_well(tasks);
        closer.join().unwrap();
        assert_eq!(pool.metrics().threads(), 0);
    }
}

/// Blocks in its destructor.
struct SlowDrop(Gate, Gate);

impl Drop for SlowDrop {
    fn drop(&mut self) {
        self.0.open();
        self.1.pass();
    }
}

/// A pool whose only thread is busy until the first gate opens.
fn busy() -> (Pool, Gate, Task<()>) {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let task = occupy(&pool, &gate);
    (pool, gate, task)
}

#[test]
fn what_any_shutdown_drops_does_not_run_while_another_is_being_dropped() {
    let (pool, gate, running) = busy();
    let (dropping, go) = (Gate::new(), Gate::new());
    let slow = SlowDrop(dropping.clone(), go.clone());
    let first = pool.options().on_shutdown(Discard).spawn(move || drop(slow));
    let second = spawn(&pool, None, Discard);
    let closer = pool.clone();
    let closer = thread::spawn(move || closer.shutdown().wait());
    dropping.pass();
    gate.open();
    soon(running).unwrap();
    eventually("the thread has found nothing and left", || pool.metrics().threads() == 0);
    go.open();
    let second = soon(second);
    assert_eq!(closer.join().unwrap().discarded, 2, "both were queued when the shutdown began");
    assert!(second.unwrap_err().is_shutdown(), "it was queued when the shutdown began");
    assert!(soon(first).unwrap_err().is_shutdown());
}

#[test]
fn what_is_to_be_discarded_does_not_run_while_another_is_being_dropped() {
    let (pool, gate, running) = busy();
    let (dropping, go) = (Gate::new(), Gate::new());
    let slow = SlowDrop(dropping.clone(), go.clone());
    let first = pool.spawn(move || drop(slow));
    let second = pool.spawn(|| 42);
    let closer = pool.clone();
    let closer = thread::spawn(move || closer.shutdown().discard_queued().wait());
    dropping.pass();
    gate.open();
    soon(running).unwrap();
    eventually("the thread has found nothing and left", || pool.metrics().threads() == 0);
    go.open();
    let second = soon(second);
    assert_eq!(closer.join().unwrap().discarded, 2);
    assert!(second.unwrap_err().is_shutdown());
    assert!(soon(first).unwrap_err().is_shutdown());
}

#[test]
fn a_timeout_bounds_the_wait_for_blocking_tasks() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let pass = gate.clone();
    let endless = pool.options().on_shutdown(AlwaysRun).spawn(move || pass.pass());
    let queued = spawn(&pool, None, AlwaysRun);
    let shutdown = pool.shutdown().discard_queued().timeout(Duration::from_millis(20));
    assert_eq!(shutdown.wait().still_running, 2);
    gate.open();
    soon(endless).unwrap();
    assert_eq!(soon(queued).unwrap(), 42);
}

#[test]
fn a_timeout_bounds_the_wait_while_another_shutdown_discards() {
    let (pool, gate, running) = busy();
    let (dropping, go) = (Gate::new(), Gate::new());
    let slow = SlowDrop(dropping.clone(), go.clone());
    let task = pool.spawn(move || drop(slow));
    let closer = pool.clone();
    let closer = thread::spawn(move || closer.shutdown().discard_queued().wait());
    dropping.pass();
    gate.open();
    soon(running).unwrap();
    eventually("the thread leaves", || pool.metrics().threads() == 0);
    nothing_happens();
    let (send, receive) = channel();
    let waiter = pool.clone();
    thread::spawn(move || send.send(waiter.shutdown().timeout(Duration::from_millis(20)).wait()));
    let in_time = receive.recv_timeout(PATIENCE / 2);
    go.open();
    closer.join().unwrap();
    assert!(in_time.is_ok(), "it has waited for somebody's destructor");
    assert!(soon(task).unwrap_err().is_shutdown());
}

#[test]
fn a_shutdown_that_others_wait_for_is_over_when_what_it_drops_has_been_dropped() {
    let (pool, gate, running) = busy();
    let (dropping, go) = (Gate::new(), Gate::new());
    let slow = SlowDrop(dropping.clone(), go.clone());
    let task = pool.options().on_shutdown(Discard).spawn(move || drop(slow));
    let closer = pool.clone();
    let closer = thread::spawn(move || closer.shutdown().wait());
    dropping.pass();
    gate.open();
    soon(running).unwrap();
    let (send, receive) = channel();
    let waiter = pool.clone();
    thread::spawn(move || send.send(waiter.shutdown().wait()));
    nothing_happens();
    let early = receive.try_recv();
    go.open();
    let report = closer.join().unwrap();
    assert!(soon(task).unwrap_err().is_shutdown());
    let other = early.unwrap_or_else(|_| receive.recv_timeout(PATIENCE).unwrap());
    assert_eq!(other, report, "two reports of one end");
}

#[test]
fn discard_tasks_that_have_ended_do_not_pile_up() {
    let pool = pool(2, 2);
    let lane = pool.lane("lane", 1);
    let drops = Drops::new();
    for n in 0..10_000 {
        let options = if n % 2 == 0 { pool.options() } else { lane.options() };
        let token = drops.token();
        // What is retained of a task is retained with the payload of its panic.
        options.on_shutdown(Discard).spawn(move || crate::support::quiet_panic(token)).detach();
        if n % 64 == 0 {
            soon(spawn(&pool, Some(&lane), Discard)).unwrap();
        }
    }
    eventually("all end", || pool.metrics().tasks_running() + pool.metrics().tasks_queued() == 0);
    // Two waves of the list's least length sweep out what has ended.
    for _ in 0..20_000 {
        soon(spawn(&pool, None, Discard)).unwrap();
    }
    assert_eq!(drops.count(), 10_000);
    check_sound(&pool);
}

#[test]
fn a_policy_for_a_task_in_place_is_its_own() {
    let pool = pool(1, 1);
    let inner = pool.clone();
    let task = pool.spawn(move || {
        let doomed = spawn(&inner, None, Discard);
        let keep = spawn(&inner, None, AlwaysRun);
        let drained = spawn(&inner, None, Drain);
        let shutdown = inner.shutdown();
        let ends = (doomed.wait().is_err(), keep.wait().is_ok(), drained.wait().is_ok());
        (ends, shutdown.discard_queued().wait())
    });
    let (ends, report) = soon(task).unwrap();
    assert_eq!(ends, (true, true, true));
    assert_eq!((report.completed, report.discarded, report.still_running), (2, 1, 0));
}

#[test]
fn an_expired_task_is_not_among_the_discarded_and_a_long_one_is_no_reason_to_wait() {
    let (pool, gate, running) = busy();
    let options = pool.options();
    let late = options.clone().expire_after(Duration::ZERO).on_shutdown(AlwaysRun).spawn(|| ());
    let never = options.expire_after(Duration::MAX).on_shutdown(Discard).spawn(|| ());
    assert!(soon(late).unwrap_err().is_expired());
    let begin = Instant::now();
    let shutdown = pool.shutdown();
    assert!(soon(never).unwrap_err().is_shutdown());
    gate.open();
    assert_eq!(shutdown.wait().discarded, 1);
    assert!(begin.elapsed() < PATIENCE);
    soon(running).unwrap();
}

#[test]
fn a_destructor_that_spawns_during_the_discard_is_refused() {
    struct Spawns(Pool, Arc<Mutex<Vec<bool>>>);
    impl Drop for Spawns {
        fn drop(&mut self) {
            let refused = soon(spawn(&self.0, None, Discard)).is_err_and(|error| error.is_shutdown());
            self.1.lock().unwrap().push(refused);
        }
    }
    let (pool, gate, running) = busy();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let tasks: Vec<_> = [Drain, Discard, Discard]
        .into_iter()
        .map(|policy| {
            let spawns = Spawns(pool.clone(), Arc::clone(&seen));
            pool.options().on_shutdown(policy).spawn(move || drop(spawns))
        })
        .collect();
    let shutdown = pool.shutdown().discard_queued();
    assert_eq!(*seen.lock().unwrap(), [true; 3]);
    gate.open();
    assert_eq!(shutdown.wait().discarded, 3);
    assert!(tasks.into_iter().all(|task| soon(task).is_err()));
    soon(running).unwrap();
}
