//! The end of a pool, asked for from outside: nothing is lost, whatever the race.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use sidestep::{Pool, ShutdownReport, current};

use crate::support::{
    Drops, Gate, PATIENCE, Wakes, all_well, counter, eventually, nothing_happens, occupy, occupy_lane, poll,
    pool, quiet_panic, soon,
};

fn figures(report: ShutdownReport) -> (u64, u64, u64) {
    (report.completed, report.discarded, report.still_running)
}

/// Waits, but not for ever.
fn finish(shutdown: sidestep::Shutdown) -> (u64, u64, u64) {
    figures(shutdown.timeout(PATIENCE).wait())
}

#[test]
fn what_is_queued_is_still_run() {
    let pool = pool(1, 1);
    soon(pool.spawn(|| ())).unwrap();
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let queued: Vec<_> = (0..100).map(|number| pool.spawn(move || number)).collect();
    let panics = pool.spawn(|| quiet_panic("it counts as completed"));
    let shutdown = pool.shutdown();
    assert!(!running.is_finished());
    gate.open();
    assert_eq!(finish(shutdown), (102, 0, 0), "only what ended since the call");
    soon(running).unwrap();
    assert!(queued.into_iter().enumerate().all(|(number, task)| soon(task).unwrap() == number));
    assert!(soon(panics).unwrap_err().is_panic());
    assert_eq!(pool.metrics().threads(), 0);
}

#[test]
fn admission_closes_at_the_call() {
    let pool = pool(1, 1);
    let other = pool.clone();
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    drop(pool.shutdown());
    let drops = Drops::new();
    let token = drops.token();
    let refused = other.spawn(move || drop(token));
    assert_eq!(drops.count(), 1);
    let error = soon(refused).unwrap_err();
    assert!(error.is_shutdown() && error.to_string().contains("shut down"), "{error}");
    let token = drops.token();
    let rejected = other.try_spawn(move || token).unwrap_err();
    assert!(rejected.error().is_shutdown());
    assert_eq!(drops.count(), 1);
    drop(rejected.into_inner()());
    gate.open();
    soon(running).unwrap();
    assert_eq!(finish(pool.shutdown()).2, 0, "dropping the first future has changed nothing");
    assert_eq!(pool.metrics().threads(), 0);
    assert!(pool.try_spawn(|| ()).unwrap_err().error().is_shutdown());
}

#[test]
fn discarding_resolves_every_queued_handle() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let drops = Drops::new();
    let queued: Vec<_> = (0..1000)
        .map(|_| {
            let token = drops.token();
            pool.spawn(move || drop(token))
        })
        .collect();
    let shutdown = pool.shutdown().discard_queued();
    assert_eq!(drops.count(), 1000, "at the call, on the caller's thread");
    assert!(queued.iter().all(|task| task.is_finished()));
    assert!(queued.into_iter().all(|task| soon(task).unwrap_err().is_shutdown()));
    gate.open();
    assert_eq!(finish(shutdown), (1, 1000, 0));
    soon(running).unwrap();
    assert_eq!(pool.metrics().tasks_cancelled(), 1000);
}

#[test]
fn discarding_may_come_later() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let queued = pool.spawn(|| ());
    let first = pool.shutdown();
    let second = pool.shutdown().discard_queued();
    assert!(soon(queued).unwrap_err().is_shutdown());
    gate.open();
    assert_eq!(finish(first), (1, 1, 0));
    assert_eq!(finish(second), (1, 1, 0), "both tell of the same end");
    soon(running).unwrap();
}

#[test]
fn a_timeout_leaves_running_closures_alone_and_says_so() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let queued = pool.spawn(|| 42);
    let report = pool.shutdown().timeout(Duration::ZERO).wait();
    assert_eq!(figures(report), (0, 0, 2));
    let report = pool.shutdown().timeout(Duration::from_millis(20)).wait();
    assert_eq!(figures(report), (0, 0, 2));
    let report = sidestep::block_on(pool.shutdown().timeout(Duration::from_millis(20)));
    assert_eq!(figures(report), (0, 0, 2));
    assert!(!running.is_finished());
    gate.open();
    soon(running).unwrap();
    assert_eq!(soon(queued).unwrap(), 42, "it went on");
    assert_eq!(figures(pool.shutdown().timeout(Duration::MAX).wait()), (2, 0, 0));
}

#[test]
fn a_timeout_resolves_in_a_runtime_without_a_timer() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let pool = pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    for timeout in [Duration::ZERO, Duration::from_millis(10)] {
        let report = runtime.block_on(pool.shutdown().timeout(timeout));
        assert_eq!(figures(report), (0, 0, 1));
    }
    gate.open();
    let report = runtime.block_on(pool.shutdown().timeout(Duration::MAX));
    assert_eq!(figures(report), (1, 0, 0));
    soon(running).unwrap();
}

#[test]
fn an_awaited_shutdown_is_woken_at_the_end_and_only_then_ready() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let (old, new) = (Wakes::new(), Wakes::new());
    let mut shutdown = pool.shutdown();
    assert!(poll(&mut shutdown, &Waker::from(Arc::clone(&old))).is_pending());
    let waker = Waker::from(Arc::clone(&new));
    assert!(poll(&mut shutdown, &waker).is_pending());
    assert_eq!(Arc::strong_count(&old), 1, "the replaced waker is dropped");
    nothing_happens();
    assert_eq!(new.count(), 0);
    gate.open();
    eventually("it wakes", || new.count() > 0);
    eventually("the end", || pool.metrics().threads() == 0);
    let report = sidestep::block_on(&mut shutdown);
    assert_eq!(figures(report), (1, 0, 0));
    drop(shutdown);
    soon(running).unwrap();
    drop(waker);
    assert_eq!((old.count(), Arc::strong_count(&new)), (0, 1), "no waker is left behind");
}

#[test]
fn a_dropped_future_leaves_no_waker() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let wakes = Wakes::new();
    for timeout in [None, Some(PATIENCE)] {
        let shutdown = pool.shutdown();
        let mut shutdown = match timeout {
            Some(timeout) => shutdown.timeout(timeout),
            None => shutdown,
        };
        assert!(poll(&mut shutdown, &Waker::from(Arc::clone(&wakes))).is_pending());
        drop(shutdown);
        eventually("the waker is gone", || Arc::strong_count(&wakes) == 1);
    }
    gate.open();
    soon(running).unwrap();
    assert_eq!(finish(pool.shutdown()).2, 0);
    assert_eq!(wakes.count(), 0);
}

#[test]
fn it_is_idempotent() {
    let pool = pool(2, 2);
    soon(pool.spawn(|| ())).unwrap();
    for _ in 0..3 {
        assert_eq!(finish(pool.shutdown()), (0, 0, 0));
        assert_eq!(finish(pool.clone().shutdown().discard_queued()), (0, 0, 0));
        let mut shutdown = pool.shutdown();
        assert!(matches!(poll(&mut shutdown, Waker::noop()), Poll::Ready(_)));
    }
}

#[test]
fn many_threads_may_shut_down_at_once() {
    for _ in 0..50 {
        let pool = pool(2, 4);
        let tasks: Vec<_> = (0..50).map(|number| pool.spawn(move || number)).collect();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_eq!(finish(pool.shutdown()).2, 0));
            }
        });
        assert!(tasks.into_iter().all(|task| soon(task).is_ok()));
    }
}

#[test]
fn all_threads_have_left_when_it_resolves() {
    for _ in 0..20 {
        let ((starts, started), (stops, stopped)) = (counter(), counter());
        let pool = Pool::builder()
            .core_threads(4)
            .max_threads(16)
            .on_thread_start(started)
            .on_thread_stop(stopped)
            .build()
            .unwrap();
        let gate = Gate::new();
        let running: Vec<_> = (0..8).map(|_| occupy(&pool, &gate)).collect();
        let shutdown = pool.shutdown();
        gate.open();
        finish(shutdown);
        assert!(starts.load(Ordering::SeqCst) >= 8);
        assert_eq!(starts.load(Ordering::SeqCst), stops.load(Ordering::SeqCst));
        assert_eq!(pool.metrics().threads(), 0);
        all_well(running);
    }
}

/// What became of tasks that were submitted while the pool was shut down.
fn race_submitters(discard: bool) {
    const THREADS: usize = 3;
    let pool = pool(2, 2);
    let start = Barrier::new(THREADS + 1);
    let (ran, drops) = (AtomicUsize::new(0), Drops::new());
    let ran = Arc::new(ran);
    let submit = || {
        start.wait();
        (0..200)
            .map(|number| {
                let (ran, token) = (Arc::clone(&ran), drops.token());
                let closure = move || {
                    let _token = token;
                    ran.fetch_add(1, Ordering::SeqCst);
                };
                if number % 2 == 0 { Some(pool.spawn(closure)) } else { pool.try_spawn(closure).ok() }
            })
            .collect::<Vec<_>>()
    };
    let tasks: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(submit)).collect();
        start.wait();
        let shutdown = if discard { pool.shutdown().discard_queued() } else { pool.shutdown() };
        assert_eq!(finish(shutdown).2, 0);
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let ends: Vec<_> = tasks.into_iter().flatten().map(soon).collect();
    let completed = ends.iter().filter(|end| end.is_ok()).count();
    assert!(ends.into_iter().filter_map(Result::err).all(|error| error.is_shutdown()));
    assert_eq!(ran.load(Ordering::SeqCst), completed, "each handle tells the truth");
    assert_eq!(drops.count(), THREADS * 200, "each closure is dropped exactly once");
    let metrics = pool.metrics();
    assert_eq!(metrics.tasks_completed() as usize, completed);
    assert_eq!(
        (metrics.tasks_queued(), metrics.tasks_running(), metrics.threads()),
        (0, 0, 0),
        "{metrics:?}"
    );
}

#[test]
fn every_submission_in_a_race_has_exactly_one_end() {
    for _ in 0..100 {
        race_submitters(false);
        race_submitters(true);
    }
}

#[test]
fn it_drains_although_its_only_thread_retires() {
    let pool = pool(1, 1);
    let (started, gate) = (Gate::new(), Gate::new());
    let (announce, pass) = (started.clone(), gate.clone());
    let running = pool.spawn(move || {
        announce.open();
        pass.pass();
        current::retire_thread();
    });
    started.pass();
    let queued: Vec<_> = (0..10).map(|number| pool.spawn(move || number)).collect();
    let shutdown = pool.shutdown();
    gate.open();
    soon(running).unwrap();
    let ends: Result<Vec<_>, _> = queued.into_iter().map(soon).collect();
    assert_eq!(ends.map_err(|error| error.to_string()), Ok((0..10).collect()));
    assert_eq!(finish(shutdown), (11, 0, 0));
}

#[test]
fn it_can_be_sent_and_awaited_elsewhere() {
    fn check<F: Future + Send + Unpin + 'static>(future: F) -> F {
        future
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let pool = pool(1, 1);
    let shutdown = check(pool.shutdown());
    let report = runtime.block_on(async { tokio::spawn(shutdown).await.unwrap() });
    assert_eq!(figures(report), (0, 0, 0));
}

/// Java: an immediate shutdown while others are in the middle of a join.
// Origin: Java 41
#[test]
fn everybody_who_waits_is_told_of_a_shutdown_that_discards() {
    let pool = pool(2, 2);
    let (lane, gate) = (pool.lane("one", 1), Gate::new());
    let holder = occupy_lane(&lane, &gate);
    let in_lane = lane.spawn(|| ());
    let inside = pool.spawn(move || in_lane.wait());
    eventually("it waits on a thread of the pool", || pool.metrics().threads_blocked() == 1);
    let plain: Vec<_> = (0..3)
        .map(|_| {
            let queued = pool.spawn(|| ());
            thread::spawn(move || soon(queued))
        })
        .collect();
    let wakes = Wakes::new();
    let waker = Waker::from(Arc::clone(&wakes));
    let mut awaited = pool.spawn(|| ());
    assert!(poll(&mut awaited, &waker).is_pending());
    nothing_happens();
    assert!(!inside.is_finished() && plain.iter().all(|thread| !thread.is_finished()));

    let shutdown = pool.shutdown().discard_queued();
    assert_eq!(wakes.count(), 1);
    let Poll::Ready(Err(error)) = poll(&mut awaited, &waker) else { panic!("it has ended") };
    assert!(error.is_shutdown(), "{error}");
    for thread in plain {
        assert!(thread.join().unwrap().unwrap_err().is_shutdown());
    }
    assert!(soon(inside).unwrap().unwrap_err().is_shutdown(), "while the slot is still held");
    gate.open();
    all_well([holder]);
    let report = shutdown.timeout(PATIENCE).wait();
    assert_eq!((report.discarded, report.still_running), (5, 0));
}

/// Tasks queued at the shutdown are forgotten, or a push slips in behind the seal: tokio.
// Origin: pitfall 7
#[test]
fn every_handle_resolves_when_pushes_race_the_shutdown() {
    for _ in 0..200 {
        let pool = pool(1, 2);
        let submitter = {
            let pool = pool.clone();
            thread::spawn(move || (0..50).map(|number| pool.spawn(move || number)).collect::<Vec<_>>())
        };
        let shutdown = pool.shutdown();
        let tasks = submitter.join().unwrap();
        assert_eq!(shutdown.timeout(PATIENCE).wait().still_running, 0);
        for (number, task) in tasks.into_iter().enumerate() {
            match soon(task) {
                Ok(value) => assert_eq!(value, number),
                Err(error) => assert!(error.is_shutdown(), "{error}"),
            }
        }
    }
}

#[test]
fn reports_made_at_once_count_from_the_same_moment() {
    const TASKS: u64 = 64;
    for _ in 0..300 {
        let pool = pool(2, 2);
        (0..TASKS).for_each(|_| pool.spawn(|| ()).detach());
        eventually("all have ended", || pool.metrics().tasks_completed() == TASKS);
        let begin = Barrier::new(4);
        let report = || {
            begin.wait();
            pool.shutdown().timeout(Duration::ZERO).wait()
        };
        let reports: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(report)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(reports.iter().all(|report| report.completed == 0), "{reports:?}");
    }
}

#[test]
fn a_shorter_timeout_given_after_a_poll_is_kept() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let wakes = Wakes::new();
    let waker = Waker::from(Arc::clone(&wakes));
    let mut long = pool.shutdown().timeout(10 * PATIENCE);
    assert!(poll(&mut long, &waker).is_pending());
    let mut short = long.timeout(Duration::from_millis(20));
    let _ = poll(&mut short, &waker);
    eventually("the timer rings", || wakes.count() > 0);
    assert!(poll(&mut short, &waker).is_ready());
    gate.open();
    soon(running).unwrap();
}
