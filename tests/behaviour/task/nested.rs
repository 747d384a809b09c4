//! Tasks that spawn tasks.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, OnceLock};
use std::thread;

use sidestep::{Pool, PoolBuilder, current};

use crate::support::{Gate, PATIENCE, all_well, check_sound, counter, eventually, occupy, pool, soon};

/// A task spawns another and blocks at once, in a way the pool cannot see, until the other has run.
fn spawn_then_block(pool: &Pool) {
    let inner = pool.clone();
    let task = pool.spawn(move || {
        let gate = Gate::new();
        let open = gate.clone();
        let nested = inner.spawn(move || open.open());
        gate.pass();
        nested.detach();
    });
    soon(task).unwrap();
}

#[test]
fn a_task_is_found_although_its_spawner_blocks_straight_afterwards() {
    let pool = pool(2, 2);
    for _ in 0..500 {
        spawn_then_block(&pool);
    }
    check_sound(&pool);
}

#[test]
fn a_task_is_found_although_all_core_threads_block() {
    let pool = pool(1, 2);
    for _ in 0..50 {
        spawn_then_block(&pool);
    }
    check_sound(&pool);
}

#[test]
fn a_task_is_found_on_a_fresh_pool_and_after_idleness() {
    for round in 0..50 {
        let pool = pool(2, 2);
        if round % 2 == 0 {
            soon(pool.spawn(|| ())).unwrap();
            eventually("its thread is idle", || pool.metrics().threads_idle() == 1);
        }
        spawn_then_block(&pool);
    }
}

#[test]
fn a_task_that_keeps_running_does_not_keep_what_it_has_spawned() {
    let pool = pool(2, 2);
    for _ in 0..100 {
        let inner = pool.clone();
        let task = pool.spawn(move || {
            let done = Arc::new(AtomicBool::new(false));
            let mark = Arc::clone(&done);
            let nested = inner.spawn(move || {
                mark.store(true, Ordering::SeqCst);
                thread::current().id()
            });
            // Busy, not blocked.
            eventually("another thread takes it", || done.load(Ordering::SeqCst));
            (thread::current().id(), soon(nested).unwrap())
        });
        let (spawner, other) = soon(task).unwrap();
        assert_ne!(spawner, other);
    }
    check_sound(&pool);
}

/// Spawns two tasks that do the same, down to `depth`.
fn grow(pool: Pool, depth: u32, nodes: Arc<AtomicUsize>) {
    nodes.fetch_add(1, Ordering::SeqCst);
    if depth > 0 {
        for _ in 0..2 {
            let (inner, nodes) = (pool.clone(), Arc::clone(&nodes));
            pool.spawn(move || grow(inner, depth - 1, nodes)).detach();
        }
    }
}

#[test]
fn a_tree_of_thousands_is_run_whole() {
    for (core, max) in [(1, 1), (2, 2), (2, 8), (4, 4)] {
        let pool = pool(core, max);
        let nodes = Arc::new(AtomicUsize::new(0));
        let (inner, count) = (pool.clone(), Arc::clone(&nodes));
        pool.spawn(move || grow(inner, 12, count)).detach();
        eventually("the tree is complete", || nodes.load(Ordering::SeqCst) == 8191);
        check_sound(&pool);
        assert_eq!(pool.metrics().tasks_submitted(), 8191 + 100);
    }
}

#[test]
fn a_tree_is_drained_although_the_last_handle_goes_early() {
    let pool = pool(2, 2);
    let nodes = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&nodes);
    let gate = Gate::new();
    let running = [occupy(&pool, &gate), occupy(&pool, &gate)];
    let inner = pool.clone();
    pool.spawn(move || grow(inner, 10, count)).detach();
    drop(pool);
    gate.open();
    all_well(running);
    eventually("the tree is complete", || nodes.load(Ordering::SeqCst) == 2047);
}

/// Spawns on the pool when it is dropped.
struct SpawnOnDrop {
    pool: Pool,
    ran: Arc<AtomicUsize>,
}

impl Drop for SpawnOnDrop {
    fn drop(&mut self) {
        let ran = Arc::clone(&self.ran);
        self.pool.spawn(move || ran.fetch_add(1, Ordering::SeqCst)).detach();
    }
}

#[test]
fn a_closure_may_spawn_when_it_is_dropped() {
    let pool = pool(1, 1);
    let ran = Arc::new(AtomicUsize::new(0));
    let spawner = || SpawnOnDrop { pool: pool.clone(), ran: Arc::clone(&ran) };
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let (cancelled, captured, returned, unread) = (spawner(), spawner(), spawner(), spawner());
    drop(pool.spawn(move || drop(cancelled)));
    let runs = pool.spawn(move || drop(captured));
    let returns = pool.spawn(move || returned);
    pool.spawn(move || unread).detach();
    gate.open();
    soon(running).unwrap();
    soon(runs).unwrap();
    drop(soon(returns).unwrap());
    eventually("each has spawned one", || ran.load(Ordering::SeqCst) == 4);
    check_sound(&pool);
}

#[test]
fn a_closure_that_spawns_when_discarded_finds_the_pool_closed() {
    let pool = pool(1, 1);
    let ran = Arc::new(AtomicUsize::new(0));
    let spawner = SpawnOnDrop { pool: pool.clone(), ran: Arc::clone(&ran) };
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let queued = pool.spawn(move || drop(spawner));
    let shutdown = pool.shutdown().discard_queued();
    assert!(soon(queued).unwrap_err().is_shutdown());
    gate.open();
    soon(running).unwrap();
    assert_eq!(shutdown.wait().discarded, 1);
    assert_eq!(ran.load(Ordering::SeqCst), 0);
}

/// Where a hook of a pool finds the pool, once it is built.
#[derive(Clone, Default)]
struct Later(Arc<OnceLock<Pool>>, Gate);

impl Later {
    fn build(&self, builder: PoolBuilder) -> Pool {
        let pool = builder.core_threads(1).max_threads(1).build().unwrap();
        self.0.set(pool.clone()).unwrap();
        self.1.open();
        pool
    }

    fn pool(&self) -> &Pool {
        self.1.pass();
        self.0.get().unwrap()
    }
}

#[test]
fn a_start_hook_may_spawn_and_wait() {
    let (later, (count, raise)) = (Later::default(), counter());
    let hook = later.clone();
    let pool = later.build(Pool::builder().on_thread_start(move || {
        hook.pool().spawn(raise.clone()).detach();
        hook.pool().spawn(raise.clone()).wait().unwrap();
    }));
    soon(pool.spawn(|| ())).unwrap();
    eventually("both have run", || count.load(Ordering::SeqCst) == 2);
    check_sound(&pool);
}

#[test]
fn a_stop_hook_may_spawn() {
    let (later, (count, raise)) = (Later::default(), counter());
    let hook = later.clone();
    let pool = later.build(Pool::builder().on_thread_stop(move || hook.pool().spawn(raise.clone()).detach()));
    soon(pool.spawn(current::retire_thread)).unwrap();
    eventually("the hook's task has run", || count.load(Ordering::SeqCst) == 1);
    check_sound(&pool);
}

#[test]
fn a_stop_hook_may_wait() {
    let (later, (count, raise)) = (Later::default(), counter());
    let hook = later.clone();
    let pool = later.build(Pool::builder().on_thread_stop(move || {
        // After the shutdown the answer is an error.
        let _ = hook.pool().spawn(raise.clone()).wait();
    }));
    soon(pool.spawn(current::retire_thread)).unwrap();
    eventually("the hook's task has run", || count.load(Ordering::SeqCst) == 1);
    check_sound(&pool);
    assert_eq!(pool.shutdown().timeout(PATIENCE).wait().still_running, 0);
}

#[test]
fn a_task_may_spawn_on_another_pool() {
    let (mine, other) = (pool(1, 1), pool(1, 1));
    for _ in 0..100 {
        let inner = other.clone();
        let task = mine.spawn(move || {
            let here = thread::current().id();
            (here, inner.spawn(|| thread::current().id()).wait().unwrap())
        });
        let (here, there) = soon(task).unwrap();
        assert_ne!(here, there);
    }
    check_sound(&mine);
    check_sound(&other);
}

/// A spawn from inside wakes nobody, and the spawner then blocks: tokio, affinitypool.
// Origin: pitfall 2
#[test]
fn a_self_spawn_wakes_a_parked_peer() {
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

/// A submission from inside panics or deadlocks; the pool is exhausted by its own waiters: tokio,
/// delta-kernel, reth.
// Origin: pitfall 16
#[test]
fn tasks_may_submit_and_wait_on_a_pool_of_one_thread() {
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
