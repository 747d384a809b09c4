//! tokio's paused clock: it stands still while anything that was spawned in its runtime is queued
//! or runs, and goes on afterwards.
#![cfg(feature = "tokio-test-util")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use sidestep::task::{JoinSet, spawn_blocking};
use sidestep::{Pool, Strand};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{
    Gate, PATIENCE, check_sound, eventually, nothing_happens, occupy, pool, quiet_panic, soon,
};

/// No test takes so long.
const LONG: Duration = Duration::from_secs(100_000);

fn paused() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// Opens the gate from outside, after what would have let the clock move on.
fn open_late(gate: &Gate) {
    let gate = gate.clone();
    std::thread::spawn(move || {
        nothing_happens();
        gate.open();
    });
}

/// tokio: the paused clock does not know of the work.
#[test]
fn no_time_passes_while_a_task_runs() {
    let ways: [fn(Gate) -> sidestep::Task<()>; 3] = [
        |gate| sidestep::spawn(move || gate.pass()),
        |gate| spawn_blocking(move || gate.pass()).cancel_on_drop(),
        |gate| Pool::global().lane("paused", 1).spawn(move || gate.pass()),
    ];
    for way in ways {
        paused().block_on(async {
            let (gate, before) = (Gate::new(), Instant::now());
            let task = way(gate.clone());
            open_late(&gate);
            timeout(Duration::from_millis(1), task).await.expect("time has passed").unwrap();
            assert_eq!(before.elapsed(), Duration::ZERO);
            // It is paused, and goes on by itself.
            sleep(LONG).await;
            assert_eq!(before.elapsed(), LONG);
        });
    }
}

#[test]
fn no_time_passes_while_a_task_is_queued_or_nobody_waits_for_it() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let busy = occupy(&pool, &gate);
    paused().block_on(async {
        let order = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&order);
        pool.spawn(move || seen.store(1, Ordering::SeqCst)).detach();
        open_late(&gate);
        sleep(LONG).await;
        assert_eq!(order.load(Ordering::SeqCst), 1, "the sleep has not waited for the task");
    });
    soon(busy).unwrap();
    check_sound(&pool);
}

/// However a task ends, it lets go of the clock: else this test would hang.
#[test]
fn time_goes_on_after_every_end() {
    let (pool, gate) = (Pool::builder().max_threads(1).queue_limit(8).build().unwrap(), Gate::new());
    let busy = occupy(&pool, &gate);
    paused().block_on(async {
        let before = Instant::now();
        drop(pool.spawn(|| ()));
        pool.spawn(|| ()).cancel().await.unwrap_err();
        let late = pool.options().expire_after(Duration::ZERO).spawn(|| ()).await;
        assert!(late.unwrap_err().is_expired());
        let mut set = JoinSet::new();
        set.spawn_blocking_on(|| (), &pool);
        set.shutdown().await;
        let permits: Vec<_> = std::iter::from_fn(|| pool.try_spawn(|| ()).ok()).take(20).collect();
        let refused = pool.try_spawn(|| ()).unwrap_err();
        assert!(refused.error().is_full() && pool.spawn(|| ()).await.unwrap_err().is_full());
        drop(permits);
        sleep(LONG).await;
        assert_eq!(before.elapsed(), LONG);
    });
    gate.open();
    soon(busy).unwrap();
    paused().block_on(async {
        let before = Instant::now();
        assert!(pool.spawn(|| -> () { quiet_panic("no such drive") }).await.unwrap_err().is_panic());
        pool.spawn_batch((0..3).map(|_| || ())).detach();
        pool.scope(|scope| drop(scope.spawn(|| ())));
        assert_eq!(Strand::on(&pool, 7).call(|seven| *seven).await.unwrap(), 7);
        pool.shutdown().await;
        assert!(pool.spawn(|| ()).await.unwrap_err().is_shutdown());
        sleep(LONG).await;
        assert_eq!(before.elapsed(), LONG);
    });
}

/// The pool's threads are in no runtime; what a task spawns there belongs to it.
#[test]
fn what_a_task_spawns_holds_the_clock_as_well() {
    let (pool, gate) = (pool(2, 2), Gate::new());
    let inner = pool.clone();
    paused().block_on(async {
        let (send, receive) = channel();
        let pass = gate.clone();
        let outer = pool.spawn(move || {
            assert!(Handle::try_current().is_err());
            let nested = inner.spawn(move || {
                pass.pass();
                send.send(()).unwrap();
            });
            nested.detach();
        });
        outer.await.unwrap();
        open_late(&gate);
        sleep(LONG).await;
        receive.try_recv().expect("the sleep has not waited for the second task");
    });
    check_sound(&pool);
}

#[test]
fn a_runtime_has_one_closure_of_tokios_own_however_many_tasks_there_are() {
    let begun = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&begun);
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .max_blocking_threads(4)
        .on_thread_start(move || _ = counts.fetch_add(1, Ordering::SeqCst))
        .build()
        .unwrap();
    let (pool, gate) = (pool(1, 1), Gate::new());
    let busy = occupy(&pool, &gate);
    runtime.block_on(async {
        let tasks: Vec<_> = (0..1000).map(|n| pool.spawn(move || n)).collect();
        open_late(&gate);
        for (n, task) in tasks.into_iter().enumerate() {
            assert_eq!(timeout(Duration::from_millis(1), task).await.expect("time has passed").unwrap(), n);
        }
        sleep(LONG).await;
    });
    assert_eq!(begun.load(Ordering::SeqCst), 1);
    soon(busy).unwrap();
}

#[test]
fn runtimes_have_clocks_of_their_own() {
    let (held, gate) = (paused(), Gate::new());
    let pass = gate.clone();
    let guard = held.enter();
    let task = sidestep::spawn(move || pass.pass());
    drop(guard);
    paused().block_on(async {
        let before = Instant::now();
        sleep(LONG).await;
        assert_eq!(before.elapsed(), LONG);
        sidestep::spawn(|| ()).await.unwrap();
        sleep(LONG).await;
    });
    open_late(&gate);
    held.block_on(async { timeout(Duration::from_millis(1), task).await }).expect("time has passed").unwrap();
}

/// tokio waits for its own closures. Those of a pool are not the runtime's.
#[test]
fn the_end_of_a_runtime_does_not_wait_for_the_tasks_of_a_pool() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let (task, second) = {
        let runtime = paused();
        let _entered = runtime.enter();
        let pass = gate.clone();
        (pool.spawn(move || pass.pass()), pool.spawn(|| ()))
    };
    let (send, receive) = channel();
    let runtime = paused();
    let guard = runtime.enter();
    let third = pool.spawn(|| ());
    drop(guard);
    std::thread::spawn(move || {
        drop(runtime);
        send.send(()).unwrap();
    });
    receive.recv_timeout(PATIENCE).expect("the drop waits");
    assert!(!task.is_finished());
    gate.open();
    for task in [task, second, third] {
        soon(task).unwrap();
    }
    check_sound(&pool);
}

#[test]
fn a_runtime_with_many_threads_is_left_alone() {
    let begun = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&begun);
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .on_thread_start(move || _ = counts.fetch_add(1, Ordering::SeqCst))
        .build()
        .unwrap();
    eventually("its worker has begun", || begun.load(Ordering::SeqCst) == 1);
    runtime.block_on(async { sidestep::spawn(|| ()).await }).unwrap();
    nothing_happens();
    assert_eq!(begun.load(Ordering::SeqCst), 1);
}

#[test]
#[cfg(feature = "fs")]
fn no_time_passes_while_a_file_is_read() {
    paused().block_on(async {
        let before = Instant::now();
        for _ in 0..20 {
            let text = timeout(Duration::from_millis(1), sidestep::fs::read_to_string("Cargo.toml")).await;
            assert!(text.expect("time has passed").unwrap().contains("sidestep"));
        }
        assert_eq!(before.elapsed(), Duration::ZERO);
    });
}

/// Tasks with all kinds of ends, in runtimes that are dropped while some are queued or run: each
/// clock stands still as long as it should, goes on then, and no runtime's end waits.
#[test]
fn runtimes_come_and_go_while_their_tasks_end() {
    let pool = pool(2, 4);
    let lane = pool.lane("limited", 1);
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (pool, lane) = (&pool, &lane);
            scope.spawn(move || {
                for round in 0..if cfg!(miri) { 3 } else { 60 } {
                    let runtime = paused();
                    runtime.block_on(async {
                        let before = Instant::now();
                        let mut set = JoinSet::new();
                        for number in 0..10 {
                            let spawned = lane.options().expire_after(Duration::from_micros(100 * number));
                            let inner = pool.clone();
                            let abort = set.spawn_blocking_on(
                                move || {
                                    let nested = inner.spawn(|| ());
                                    if number % 2 == 0 { nested.detach() } else { drop(nested) }
                                },
                                &spawned,
                            );
                            if (number + thread) % 3 == 0 {
                                abort.abort();
                            }
                            pool.spawn(|| ()).await.unwrap();
                        }
                        let joins = async { while set.join_next().await.is_some() {} };
                        timeout(Duration::from_millis(1), joins).await.expect("time has passed");
                        assert_eq!(before.elapsed(), Duration::ZERO);
                        if round % 2 == 0 {
                            sleep(LONG).await;
                            assert_eq!(before.elapsed(), LONG);
                        }
                        set.spawn_blocking_on(|| (), pool);
                        set.spawn_blocking_on(|| (), lane);
                        set.detach_all();
                    });
                    drop(runtime);
                }
            });
        }
    });
    check_sound(&pool);
    // Nothing holds a clock any more.
    paused().block_on(async { sleep(LONG).await });
}
