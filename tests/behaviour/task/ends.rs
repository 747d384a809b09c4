//! The bugs that other pools had, by their number in the table of pitfalls: those about tasks and
//! results. Those about threads are in `pitfalls_threads`.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use sidestep::Pool;

use crate::support::{
    Drops, Gate, PATIENCE, PanicOnDrop, all_well, check_sound, eventually, occupy, pool, quiet_panic, soon,
};

/// A spawn from inside wakes nobody, and the spawner then blocks: tokio, affinitypool.
#[test]
fn pitfall_02_a_self_spawn_wakes_a_parked_peer() {
    let pool = pool(2, 2);
    let gate = Gate::new();
    let both = [occupy(&pool, &gate), occupy(&pool, &gate)];
    gate.open();
    all_well(both);
    for _ in 0..200 {
        eventually("the peers are parked", || pool.metrics().threads_idle() == 2);
        let inner = pool.clone();
        let task = pool.spawn(move || {
            let (send, receive) = channel();
            inner.spawn(move || send.send(42).unwrap()).detach();
            receive.recv_timeout(PATIENCE)
        });
        assert_eq!(soon(task).unwrap(), Ok(42));
    }
}

/// Tasks queued at the shutdown are forgotten, or a push slips in behind the seal: tokio.
#[test]
fn pitfall_07_every_handle_resolves_when_pushes_race_the_shutdown() {
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

/// A user's destructor runs under the pool's lock: tokio.
#[test]
fn pitfall_08_a_closure_may_use_the_pool_when_it_is_dropped() {
    struct UsesPool(Pool, Drops);
    impl Drop for UsesPool {
        fn drop(&mut self) {
            let token = self.1.token();
            self.0.spawn(move || drop(token)).detach();
            assert!(self.0.metrics().tasks_submitted() > 0);
            let _ = format!("{:?}", self.0);
            drop(self.0.clone());
        }
    }
    let pool = pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let drops = Drops::new();
    let closure = || {
        let captured = UsesPool(pool.clone(), drops.clone());
        move || drop(captured)
    };
    let handle = pool.spawn(closure());
    drop(pool.spawn(closure()));
    handle.cancel_handle().cancel();
    gate.open();
    soon(running).unwrap();
    eventually("both have spawned", || drops.count() == 2);
    drop(pool.spawn(closure()).cancel().wait());
    assert_eq!(pool.shutdown().discard_queued().timeout(PATIENCE).wait().still_running, 0);
}

/// A panic kills a worker or hangs a waiter; destructors of results and payloads panic: glommio,
/// futures-rs, tikv.
#[test]
fn pitfall_11_a_panic_anywhere_costs_one_task_only() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let drops = Drops::new();
    let bomb = || PanicOnDrop(drops.clone());
    let (result, payload, captured, late) = (bomb(), bomb(), bomb(), bomb());
    pool.spawn(move || result).detach();
    pool.spawn(move || quiet_panic(payload)).detach();
    pool.spawn(|| ()).on_complete(|_| quiet_panic("a callback"));
    drop(pool.spawn(move || drop(captured)));
    let awaited = pool.spawn(|| quiet_panic("a closure"));
    gate.open();
    soon(running).unwrap();
    assert!(soon(awaited).unwrap_err().is_panic());
    let unread = pool.spawn(move || late);
    eventually("it ends", || unread.is_finished());
    drop(unread);
    check_sound(&pool);
    assert_eq!(drops.count(), 4);
    assert_eq!(pool.metrics().threads_peak(), 1);
}

/// A spurious wake-up eats a notification: tokio. A wait neither needs nor takes the thread's own
/// token.
#[test]
fn pitfall_12_a_wait_and_the_tokens_of_its_thread_do_not_mix() {
    let pool = pool(1, 1);
    for _ in 0..20 {
        let gate = Gate::new();
        let running = occupy(&pool, &gate);
        let waiter = thread::spawn(move || {
            thread::current().unpark();
            running.wait().unwrap();
            let begin = Instant::now();
            thread::park_timeout(PATIENCE);
            begin.elapsed()
        });
        for _ in 0..100 {
            waiter.thread().unpark();
        }
        gate.open();
        assert!(waiter.join().unwrap() < PATIENCE / 2, "the wait has taken a token that was not its own");
    }
    check_sound(&pool);
}

/// A submission from inside panics or deadlocks; the pool is exhausted by its own waiters: tokio,
/// delta-kernel, reth.
#[test]
fn pitfall_16_tasks_may_submit_and_wait_on_a_pool_of_one_thread() {
    let pool = pool(1, 1);
    let tasks: Vec<_> = (0..50)
        .map(|number| {
            let inner = pool.clone();
            pool.spawn(move || {
                let deeper = inner.clone();
                let nested = inner.spawn(move || deeper.spawn(move || number).wait().unwrap());
                nested.wait().unwrap()
            })
        })
        .collect();
    for (number, task) in tasks.into_iter().enumerate() {
        assert_eq!(soon(task).unwrap(), number);
    }
    check_sound(&pool);
}

/// The receiver goes while the sender sends: futures-rs, kanal. The value must be dropped once, by
/// one of them.
#[test]
fn pitfall_17_a_handle_dropped_during_the_send_drops_the_value_once() {
    const MANY: usize = 20_000;
    let pool = pool(1, 1);
    let (made, drops) = (Arc::new(AtomicUsize::new(0)), Drops::new());
    for _ in 0..MANY {
        let started = Arc::new(AtomicUsize::new(0));
        let (mark, made, results) = (Arc::clone(&started), Arc::clone(&made), drops.clone());
        let task = pool.spawn(move || {
            mark.store(1, Ordering::SeqCst);
            made.fetch_add(1, Ordering::SeqCst);
            results.token()
        });
        while started.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
        drop(task);
    }
    check_sound(&pool);
    assert_eq!(made.load(Ordering::SeqCst), MANY);
    assert_eq!(drops.count(), MANY);
}

async fn use_in_a_future(pool: Pool) {
    assert_eq!(pool.spawn(|| 1).await.unwrap(), 1);
    assert_eq!(pool.unblock(|| 2).await, 2);
    // Blocking calls inside of a future block its thread, and that is all.
    assert_eq!(pool.spawn(|| 3).wait().unwrap(), 3);
    assert_eq!(sidestep::block_on(pool.spawn(|| 4)).unwrap(), 4);
    assert!(pool.spawn(|| 5).wait_timeout(PATIENCE).is_ok());
    let (send, receive) = channel();
    pool.spawn(|| 6).on_complete(move |end| send.send(end).unwrap());
    assert_eq!(receive.recv().unwrap().unwrap(), 6);
    assert_eq!(pool.shutdown().await.still_running, 0);
}

/// The bridge hangs on a single-threaded runtime: tokio.
#[test]
fn pitfall_23_everything_works_on_three_kinds_of_executor() {
    let new_pool = || pool(1, 1);
    let one = tokio::runtime::Builder::new_current_thread().build().unwrap();
    one.block_on(use_in_a_future(new_pool()));
    let many = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    many.block_on(async { tokio::spawn(boxed(use_in_a_future(new_pool()))).await.unwrap() });
    sidestep::block_on(use_in_a_future(new_pool()));
}

fn boxed(
    future: impl Future<Output = ()> + Send + 'static,
) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(future)
}

/// A timeout is added to a clock and runs over: tokio.
#[test]
fn pitfall_24_no_duration_is_too_long() {
    for longest in [Duration::MAX, Duration::MAX - Duration::from_nanos(1), Duration::from_secs(u64::MAX / 2)]
    {
        let pool = Pool::builder().core_threads(1).max_threads(2).keep_alive(longest).build().unwrap();
        let gate = Gate::new();
        let running = [occupy(&pool, &gate), occupy(&pool, &gate)];
        let opener = {
            let gate = gate.clone();
            thread::spawn(move || gate.open())
        };
        for task in running {
            assert!(task.wait_timeout(longest).is_ok());
        }
        opener.join().unwrap();
        assert_eq!(pool.shutdown().timeout(longest).wait().still_running, 0);
        assert_eq!(sidestep::block_on(pool.shutdown().timeout(longest)).still_running, 0);
    }
}

/// A forked child waits for threads that it does not have: tokio, lancedb.
#[test]
#[cfg(unix)]
fn pitfall_26_a_forked_child_gets_an_error() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let old = pool.spawn(|| 1);
    let status = crate::support::fork::in_child(|list| {
        list.no_thread(pool.spawn(|| 1).wait());
        list.no_thread(old.wait());
    });
    assert_eq!(status, 0);
    gate.open();
    soon(running).unwrap();
    check_sound(&pool);
}
