//! What is left of tasks, and of pools, that have ended: nothing.

use sidestep::Pool;

use super::{bytes, eventually, one_thread, turn, while_busy};

/// Tasks of every kind and end. All have ended when it returns.
fn use_everything(pool: &Pool, rounds: usize) {
    let payload = || vec![0_u8; 100];
    for _ in 0..rounds {
        assert_eq!(pool.spawn(payload).wait().unwrap().len(), 100);
        let panics = pool.spawn(move || std::panic::resume_unwind(Box::new(payload())));
        assert!(panics.wait().unwrap_err().is_panic());
        drop(pool.spawn(payload));
        pool.spawn(payload).detach();
        pool.spawn(payload).on_complete(drop);
        let _ = pool.spawn(payload).cancel().wait();
        let held = payload();
        let hooked = pool.spawn(move || {
            let _guard = sidestep::current::on_cancel(move || drop(held));
            drop(sidestep::current::on_cancel(|| ()));
        });
        drop(hooked.cancel_handle());
        hooked.wait().unwrap();
        let inner = pool.clone();
        pool.spawn(move || inner.spawn(payload).wait().unwrap()).wait().unwrap();
    }
    let ended = || {
        let metrics = pool.metrics();
        metrics.tasks_queued() + metrics.tasks_running() == 0
    };
    eventually("all tasks end", ended);
}

#[test]
fn nothing_is_left_of_tasks_that_have_ended() {
    let _turn = turn();
    let pool = one_thread();
    use_everything(&pool, 100);
    let before = bytes();
    use_everything(&pool, 2000);
    // The queue keeps a block or two of a few hundred bytes, which come and go; the 18,000 tasks do
    // not fit into this.
    eventually("the bytes of all tasks come back", || bytes() - before < 16 * 1024);
    pool.shutdown().wait();
}

#[test]
fn husks_of_cancelled_tasks_go_when_a_worker_comes() {
    const MANY: usize = 10_000;
    let _turn = turn();
    let pool = one_thread();
    let before = bytes();
    while_busy(&pool, || {
        for _ in 0..MANY {
            let held = [0_u8; 4096];
            drop(pool.spawn(move || held.len()));
        }
    });
    eventually("the husks are gone", || bytes() - before < 16 * 1024);
    pool.shutdown().wait();
}

#[test]
fn nothing_is_left_of_a_pool_that_has_ended() {
    const POOLS: usize = 200;
    let _turn = turn();
    let live = || {
        let pool = Pool::builder().core_threads(1).max_threads(4).build().unwrap();
        use_everything(&pool, 1);
        pool.shutdown().wait();
    };
    // The first few pay for what the process keeps.
    (0..5).for_each(|_| live());
    let before = bytes();
    (0..POOLS).for_each(|_| live());
    // The garbage of the lock-free queues is collected now and then; a pool has some thousand
    // bytes.
    eventually("the bytes of all pools come back", || bytes() - before < POOLS as isize * 1024);
}

#[test]
fn a_scope_inside_a_task_gives_everything_back() {
    const MANY: usize = 2_000;
    let _turn = turn();
    let pool = Pool::builder().core_threads(2).max_threads(2).build().unwrap();
    let scopes = |rounds: usize| {
        let inner = pool.clone();
        let task = pool.spawn(move || {
            for _ in 0..rounds {
                inner.scope(|scope| {
                    let task = scope.spawn(|| ());
                    // The other thread runs it, so that the join has nothing to do.
                    while !task.is_finished() {
                        std::thread::yield_now();
                    }
                });
            }
        });
        task.wait().unwrap();
    };
    scopes(MANY);
    let before = bytes();
    scopes(MANY);
    let each = (bytes() - before) as f64 / MANY as f64;
    assert!(each < 20.0, "{each:.1} bytes left of each scope");
}
