//! The end of a pool, asked for on its own threads; and the end that the last handle brings.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::task::Waker;
use std::thread;
use std::time::Duration;

use sidestep::{Pool, Shutdown, ShutdownReport, current};

use crate::support::{Crowd, Drops, Gate, PATIENCE, counter, eventually, occupy, poll, pool, soon};

/// The ways to wait for a shutdown.
fn ways() -> [fn(Pool) -> ShutdownReport; 6] {
    [
        |pool| pool.shutdown().wait(),
        |pool| sidestep::block_on(pool.shutdown()),
        |pool| current::will_block(|| pool.shutdown().timeout(Duration::MAX).wait()),
        |pool| sidestep::block_on(async { pool.shutdown().timeout(PATIENCE).await }),
        |pool| futures_lite::future::block_on(pool.shutdown()),
        |pool| sidestep::block_on(async { futures_lite::future::block_on(pool.shutdown()) }),
    ]
}

/// The ways to run a future that awaits one beside other things.
fn executors() -> [fn(BoxFuture) -> bool; 3] {
    [
        |future| sidestep::block_on(future),
        |future| futures_lite::future::block_on(future),
        |future| runtime().block_on(future),
    ]
}

type BoxFuture = Pin<Box<dyn Future<Output = bool> + Send>>;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

#[test]
fn a_task_may_wait_for_the_end_of_its_own_pool() {
    for max in [1, 4] {
        for way in ways() {
            let pool = pool(1, max);
            let inner = pool.clone();
            let task = pool.spawn(move || way(inner));
            let report = soon(task).unwrap();
            assert_eq!(report.still_running, 0, "it counts as ended itself");
            eventually("its thread leaves", || pool.metrics().threads() == 0);
        }
    }
}

#[test]
fn what_is_queued_behind_it_is_run_by_its_own_thread() {
    for way in ways() {
        let pool = pool(1, 1);
        let (started, gate) = (Gate::new(), Gate::new());
        let (announce, pass, inner) = (started.clone(), gate.clone(), pool.clone());
        let task = pool.spawn(move || {
            announce.open();
            pass.pass();
            way(inner)
        });
        started.pass();
        let queued: Vec<_> = (0..100).map(|number| pool.spawn(move || number)).collect();
        gate.open();
        let report = soon(task).unwrap();
        assert_eq!((report.completed, report.discarded, report.still_running), (100, 0, 0));
        assert!(queued.into_iter().enumerate().all(|(number, task)| soon(task).unwrap() == number));
    }
}

#[test]
fn it_may_discard_what_is_queued_behind_it() {
    let pool = pool(1, 1);
    let (started, gate) = (Gate::new(), Gate::new());
    let (announce, pass, inner) = (started.clone(), gate.clone(), pool.clone());
    let task = pool.spawn(move || {
        announce.open();
        pass.pass();
        inner.shutdown().discard_queued().wait()
    });
    started.pass();
    let drops = Drops::new();
    let token = drops.token();
    let queued = pool.spawn(move || drop(token));
    gate.open();
    let report = soon(task).unwrap();
    assert_eq!((report.completed, report.discarded, report.still_running), (0, 1, 0));
    assert!(soon(queued).unwrap_err().is_shutdown());
    assert_eq!(drops.count(), 1);
}

#[test]
fn two_tasks_may_wait_for_it_at_once() {
    for max in [1, 2, 4] {
        for way in ways() {
            let pool = pool(1, max);
            let tasks: Vec<_> = (0..2)
                .map(|_| {
                    let inner = pool.clone();
                    pool.try_spawn(move || way(inner))
                })
                .collect();
            for task in tasks.into_iter().flatten() {
                match soon(task) {
                    Ok(report) => assert_eq!(report.still_running, 0, "max_threads = {max}"),
                    Err(error) => assert!(error.is_shutdown(), "{error}"),
                }
            }
            eventually("all threads leave", || pool.metrics().threads() == 0);
        }
    }
}

#[test]
fn one_inside_and_one_outside_wait_for_the_same_end() {
    for max in [1, 3] {
        let pool = pool(1, max);
        let (inside, gate) = (Gate::new(), Gate::new());
        let (announce, pass, inner) = (inside.clone(), gate.clone(), pool.clone());
        let task = pool.spawn(move || {
            // On a pool of one thread this runs inside the wait below.
            let nested = inner.spawn(move || {
                announce.open();
                pass.pass();
            });
            (inner.shutdown().wait().still_running, soon(nested).is_ok())
        });
        inside.pass();
        for _ in 0..10 {
            let report = pool.shutdown().timeout(Duration::from_millis(1)).wait();
            assert!((1..=2).contains(&report.still_running), "the nested one has not ended: {report:?}");
        }
        gate.open();
        assert_eq!(soon(task).unwrap(), (0, true), "max_threads = {max}");
        assert_eq!(pool.shutdown().timeout(PATIENCE).wait().still_running, 0);
    }
}

/// A task counts as ended while it waits for the shutdown, and not because it has once looked.
#[test]
fn a_task_that_gave_its_shutdown_away_counts_as_running() {
    let pool = pool(1, 1);
    let (send, receive) = channel();
    let (gate, inner) = (Gate::new(), pool.clone());
    let pass = gate.clone();
    let task = pool.spawn(move || {
        let mut shutdown = inner.shutdown();
        let _ = poll(&mut shutdown, Waker::noop());
        send.send(shutdown).unwrap();
        pass.pass();
    });
    let shutdown = receive.recv().unwrap();
    let report = shutdown.timeout(Duration::from_millis(20)).wait();
    assert_eq!(report.still_running, 1, "its closure is still inside the gate");
    gate.open();
    soon(task).unwrap();
    assert_eq!(pool.shutdown().timeout(PATIENCE).wait().still_running, 0);
}

/// A task that gets something else while it awaits the shutdown, and goes on with that, counts as
/// running, whatever has become of the shutdown that it has polled.
#[test]
fn a_task_that_goes_on_beside_its_shutdown_counts_as_running() {
    let fates: [fn(Shutdown); 2] = [drop, std::mem::forget];
    for (executor, fate) in executors().into_iter().flat_map(|way| fates.map(|fate| (way, fate))) {
        let pool = pool(2, 2);
        let (waits, goes_on, gate) = (Gate::new(), Gate::new(), Gate::new());
        let (ring, other) = tokio::sync::oneshot::channel();
        let busy = Gate::new();
        let neighbour = occupy(&pool, &busy);
        let (inner, polled, shown, pass) = (pool.clone(), waits.clone(), goes_on.clone(), gate.clone());
        let task = pool.spawn(move || {
            let mut shutdown = inner.shutdown();
            let (send, receive) = channel();
            let got = executor(Box::pin(async move {
                let got = futures_lite::future::or(
                    async {
                        let _ = (&mut shutdown).await;
                        false
                    },
                    async {
                        polled.open();
                        other.await.unwrap()
                    },
                );
                let got = got.await;
                send.send(shutdown).unwrap();
                got
            }));
            let kept = receive.recv().unwrap();
            shown.open();
            pass.pass();
            fate(kept);
            got
        });
        waits.pass();
        ring.send(true).unwrap();
        goes_on.pass();
        let still_running = || pool.shutdown().timeout(Duration::from_millis(10)).wait().still_running;
        assert_eq!(still_running(), 2, "it is past the wait");
        busy.open();
        soon(neighbour).unwrap();
        assert_eq!(
            (still_running(), still_running()),
            (1, 1),
            "nor is it taken to wait when another thread leaves"
        );
        gate.open();
        assert!(soon(task).unwrap(), "the other one came first");
        let report = pool.shutdown().timeout(PATIENCE).wait();
        assert_eq!((report.completed, report.still_running), (2, 0));
    }
}

/// The same with a wait of another kind on the same thread afterwards.
#[test]
fn a_shutdown_that_was_forgotten_does_not_count_in_later_waits() {
    let pool = pool(2, 2);
    let (waits, inner, busy) = (Gate::new(), pool.clone(), Gate::new());
    let neighbour = occupy(&pool, &busy);
    let (polled, (ring, other)) = (waits.clone(), tokio::sync::oneshot::channel::<()>());
    let task = pool.spawn(move || {
        let (mut awaited, mut polled_once) = (inner.shutdown(), inner.shutdown());
        sidestep::block_on(async { assert!(poll(&mut awaited, Waker::noop()).is_pending()) });
        assert!(poll(&mut polled_once, Waker::noop()).is_pending());
        std::mem::forget((awaited, polled_once));
        polled.open();
        sidestep::block_on(other).unwrap();
    });
    waits.pass();
    busy.open();
    soon(neighbour).unwrap();
    for _ in 0..3 {
        let report = pool.shutdown().timeout(Duration::from_millis(10)).wait();
        assert_eq!(report.still_running, 1, "it waits for something else");
    }
    ring.send(()).unwrap();
    soon(task).unwrap();
    assert_eq!(pool.shutdown().timeout(PATIENCE).wait().still_running, 0);
}

/// Counts the threads of a pool that have stopped.
fn counted(core: usize, max: usize) -> (Pool, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let ((starts, started), (stops, stopped)) = (counter(), counter());
    let pool = Pool::builder()
        .core_threads(core)
        .max_threads(max)
        .on_thread_start(started)
        .on_thread_stop(stopped)
        .build()
        .unwrap();
    (pool, starts, stops)
}

#[test]
fn the_last_handle_drops_without_waiting_and_the_queue_still_runs() {
    let (pool, starts, stops) = counted(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let queued: Vec<_> = (0..100).map(|number| pool.spawn(move || number)).collect();
    let detached = Drops::new();
    let token = detached.token();
    pool.spawn(move || drop(token)).detach();
    let clone = pool.clone();
    drop(pool);
    let late = clone.spawn(|| 42);
    drop(clone);
    gate.open();
    soon(running).unwrap();
    assert_eq!(soon(late).unwrap(), 42);
    assert!(queued.into_iter().enumerate().all(|(number, task)| soon(task).unwrap() == number));
    eventually("the detached one has run", || detached.count() == 1);
    eventually("the thread leaves", || stops.load(Ordering::SeqCst) == 1);
    assert_eq!(starts.load(Ordering::SeqCst), 1);
}

#[test]
fn handles_may_be_dropped_after_the_pool_is_gone() {
    let (pool, _, stops) = counted(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let drops = Drops::new();
    let (kept, cancelled) = (drops.token(), drops.token());
    let kept = pool.spawn(move || kept);
    let cancelled = pool.spawn(move || drop(cancelled));
    let handle = cancelled.cancel_handle();
    drop(pool);
    drop(cancelled);
    assert_eq!(drops.count(), 1, "cancelling needs no handle of the pool");
    gate.open();
    soon(running).unwrap();
    eventually("the thread leaves", || stops.load(Ordering::SeqCst) == 1);
    handle.cancel();
    assert_eq!(drops.count(), 1, "the result waits to be read");
    drop(kept);
    assert_eq!(drops.count(), 2);
}

#[test]
fn the_last_handle_may_be_dropped_inside_a_task() {
    for max in [1, 2, 8] {
        let (pool, starts, stops) = counted(1, max);
        let (started, gate) = (Gate::new(), Gate::new());
        let (announce, pass, inner) = (started.clone(), gate.clone(), pool.clone());
        let task = pool.spawn(move || {
            announce.open();
            pass.pass();
            let nested = inner.spawn(|| 41);
            drop(inner);
            nested.wait().unwrap() + 1
        });
        started.pass();
        let behind = pool.spawn(|| thread::current().id());
        drop(pool);
        gate.open();
        assert_eq!(soon(task).unwrap(), 42, "max_threads = {max}");
        soon(behind).unwrap();
        eventually("all threads leave", || starts.load(Ordering::SeqCst) == stops.load(Ordering::SeqCst));
    }
}

#[test]
fn the_last_handle_may_be_in_a_result_a_closure_or_a_callback() {
    let (pool, starts, stops) = counted(1, 1);
    let in_result = pool.clone();
    pool.spawn(move || in_result).detach();
    let in_closure = pool.clone();
    pool.spawn(move || in_closure.metrics()).detach();
    let in_callback = pool.clone();
    pool.spawn(|| ()).on_complete(move |_| drop(in_callback));
    drop(pool);
    eventually("the thread leaves", || stops.load(Ordering::SeqCst) == 1);
    assert_eq!(starts.load(Ordering::SeqCst), 1);
}

#[test]
fn the_last_handle_may_be_in_a_queued_closure_that_is_cancelled() {
    let (pool, _, stops) = counted(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let captured = pool.clone();
    let queued = pool.spawn(move || drop(captured));
    drop(pool);
    drop(queued);
    gate.open();
    soon(running).unwrap();
    eventually("the thread leaves", || stops.load(Ordering::SeqCst) == 1);
}

#[test]
fn what_is_queued_runs_after_the_last_handle_although_the_only_thread_retires() {
    let (pool, starts, stops) = counted(1, 1);
    let (started, gate) = (Gate::new(), Gate::new());
    let (announce, pass) = (started.clone(), gate.clone());
    let running = pool.spawn(move || {
        announce.open();
        pass.pass();
        current::retire_thread();
    });
    started.pass();
    let queued = pool.spawn(|| 42);
    drop(pool);
    gate.open();
    soon(running).unwrap();
    assert_eq!(soon(queued).map_err(|error| error.to_string()), Ok(42));
    eventually("both threads leave", || stops.load(Ordering::SeqCst) == 2);
    assert_eq!(starts.load(Ordering::SeqCst), 2);
}

/// A pool that is dropped on its own worker joins itself, or leaks its threads: iroh, yatp,
/// surrealdb.
// Origin: pitfall 9
#[test]
fn the_last_handle_may_go_inside_a_task() {
    let (stops, stopped) = counter();
    for _ in 0..50 {
        let pool =
            Pool::builder().core_threads(1).max_threads(1).on_thread_stop(stopped.clone()).build().unwrap();
        let (gate, inner) = (Gate::new(), pool.clone());
        let pass = gate.clone();
        let task = pool.spawn(move || {
            pass.pass();
            drop(inner);
            42
        });
        drop(pool);
        gate.open();
        assert_eq!(soon(task).unwrap(), 42);
    }
    eventually("no thread is leaked", || stops.load(Ordering::SeqCst) == 50);
}

/// Chromium joins threads that say during the shutdown that they block.
// Origin: Chromium 88
#[test]
fn closures_may_say_that_they_block_while_the_pool_shuts_down() {
    for discards in [false, true] {
        let pool = pool(2, 4);
        let (gate, inside) = (Gate::new(), Arc::new(Crowd::default()));
        let block = |_| {
            let (gate, inside) = (gate.clone(), Arc::clone(&inside));
            pool.spawn(move || {
                inside.enter();
                current::will_block(|| gate.pass());
                current::will_block(thread::yield_now);
                inside.leave();
            })
        };
        let tasks: Vec<_> = (0..40).map(block).collect();
        eventually("four are inside", || inside.now() == 4);
        let shutdown = pool.shutdown().timeout(PATIENCE);
        let shutdown = if discards { shutdown.discard_queued() } else { shutdown };
        gate.open();
        let report = shutdown.wait();
        let discarded = if discards { 36 } else { 0 };
        assert_eq!(
            (report.completed, report.discarded, report.still_running),
            (40 - discarded, discarded, 0)
        );
        assert_eq!(tasks.into_iter().filter_map(|task| soon(task).err()).count() as u64, discarded);
        let metrics = pool.metrics();
        assert_eq!((metrics.threads(), metrics.threads_blocked(), inside.now()), (0, 0, 0));
        assert!(inside.most() <= 4);
    }
}
