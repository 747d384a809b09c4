//! What a pool does all day, in small: bursts, blocking, lanes, waits, values, a loop, the end; and
//! what must hold of it under any condition. Nothing in it waits for a time: what hangs is ended
//! from outside.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Instant;

use sidestep::{EventLoop, Metrics, Pool, Strand};

use crate::support::{Crowd, check_accounts};

const CORE: usize = 2;
/// Threads that tiny work may take above core: rule E5 of the pool's growth adds one where nothing
/// completes for long, and a machine that gives no CPU looks like that at times.
const FEW: usize = 4;
/// From twice core on, E5 adds one in so many milliseconds at most.
const SLOW_STEP: u128 = 500;

/// All of it.
pub(crate) fn everything() {
    tiny(20);
    blocking(32);
    lanes();
    waits();
    values();
}

/// A little of it, for where it takes long.
#[cfg(target_os = "linux")]
pub(crate) fn something() {
    tiny(1);
    blocking(8);
    waits();
}

static TAKES_SIGNALS: AtomicBool = AtomicBool::new(false);

/// From now on the threads of these pools take signals.
#[cfg(target_os = "linux")]
pub(crate) fn take_signals() {
    TAKES_SIGNALS.store(true, Ordering::Relaxed);
}

fn pool(max: usize) -> Pool {
    let blocks = !TAKES_SIGNALS.load(Ordering::Relaxed);
    Pool::builder().block_signals(blocks).core_threads(CORE).max_threads(max).build().unwrap()
}

/// Ends a pool and checks its books.
fn close(pool: &Pool) -> Metrics {
    let report = pool.shutdown().wait();
    let metrics = pool.metrics();
    assert_eq!(report.still_running, 0, "{metrics:?}");
    check_accounts(&metrics);
    assert_eq!((metrics.tasks_queued(), metrics.tasks_running()), (0, 0), "{metrics:?}");
    assert_eq!(metrics.threads(), 0, "{metrics:?}");
    metrics
}

/// Bursts of closures that do nothing, awaited in every way. They are no reason for threads.
pub(crate) fn tiny(rounds: usize) {
    const BURST: usize = 500;
    let (pool, start) = (pool(256), Instant::now());
    for _ in 0..rounds {
        let burst: Vec<_> = (0..BURST).map(|number| pool.spawn(move || number)).collect();
        for (number, task) in burst.into_iter().enumerate() {
            assert_eq!(task.wait().unwrap(), number);
        }
        let batch = pool.spawn_batch((0..BURST).map(|number| move || number));
        assert_eq!(sidestep::block_on(async { batch.wait() }).len(), BURST);
        for _ in 0..10 {
            sidestep::block_on(pool.unblock(|| ()));
        }
    }
    let metrics = close(&pool);
    assert_eq!(metrics.tasks_completed(), (rounds * (2 * BURST + 10)) as u64);
    let most = (CORE + FEW) as u128 + start.elapsed().as_millis() / SLOW_STEP;
    assert!(metrics.threads_peak() as u128 <= most, "{metrics:?} in {:?}", start.elapsed());
}

/// Closures that wait until all of them run: only as many threads will do.
fn blocking(threads: usize) {
    let pool = pool(threads);
    let all = Arc::new(Barrier::new(threads));
    let tasks: Vec<_> = (0..threads)
        .map(|_| {
            let all = Arc::clone(&all);
            pool.spawn(move || all.wait().is_leader())
        })
        .collect();
    let leaders = tasks.into_iter().map(|task| task.wait().unwrap()).filter(|leads| *leads);
    assert_eq!(leaders.count(), 1);
    assert_eq!(close(&pool).threads_peak(), threads);
}

/// Narrow lanes beside each other; none exceeds its limit.
fn lanes() {
    let pool = pool(16);
    let lanes: Vec<_> = (1..4)
        .map(|limit| (pool.lane(format!("narrow {limit}"), limit), Arc::new(Crowd::default())))
        .collect();
    let tasks: Vec<_> = (0..600)
        .map(|number| {
            let (lane, crowd) = &lanes[number % lanes.len()];
            let crowd = Arc::clone(crowd);
            lane.spawn(move || {
                crowd.enter();
                std::thread::yield_now();
                crowd.leave();
            })
        })
        .collect();
    for task in tasks {
        task.wait().unwrap();
    }
    for (lane, crowd) in &lanes {
        assert!(crowd.most() <= lane.limit());
        assert_eq!(lane.metrics().tasks_completed(), 200);
    }
    close(&pool);
}

/// Tasks that wait for tasks, deeper than there can be threads; and some that are given up.
fn waits() {
    fn tree(pool: &Pool, depth: usize) -> usize {
        if depth == 0 {
            return 1;
        }
        let branch = || {
            let inner = pool.clone();
            pool.spawn(move || tree(&inner, depth - 1))
        };
        let (left, right) = (branch(), branch());
        drop(branch());
        left.wait().unwrap() + right.wait().unwrap()
    }
    let pool = pool(6);
    assert_eq!(tree(&pool, 7), 128);
    close(&pool);
}

/// A strand and an event loop on one pool.
fn values() {
    let pool = pool(8);
    let total = Strand::on(&pool, 0_u64);
    for number in 0..300 {
        total.call(move |total| *total += number).detach();
    }
    let mut ev = EventLoop::on(&pool);
    for _ in 0..100 {
        ev.offload(|| 1, |ev, one| ev.post(move |_| assert_eq!(one.unwrap(), 1)));
    }
    ev.run();
    drop(ev);
    assert_eq!(total.into_inner().wait().unwrap(), (0..300).sum::<u64>());
    close(&pool);
}

#[test]
fn the_workload_passes_under_good_conditions() {
    everything();
}
