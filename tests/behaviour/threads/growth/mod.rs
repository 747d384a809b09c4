//! When the pool has more threads and when it has not. The policy alone has its own tables and
//! simulations beside it.

mod beside_blocked;
mod computing;
mod machine;
mod need;
mod progress;
mod races;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sidestep::{Pool, Task};

use crate::support::{
    Gate, PATIENCE, Rendezvous, also_by_time_alone, builder, eventually, keeps_to, thread_states,
};

/// A pool with `core` threads of 512.
fn pool(core: usize) -> Pool {
    builder().core_threads(core).build().unwrap()
}

/// About a microsecond of work.
fn tiny() -> u64 {
    (0..200_u64).fold(0, |sum, number| std::hint::black_box(sum ^ number))
}

/// Keeps a CPU busy for so long, by the thread's own count of rounds rather than the clock.
fn compute(millis: u64) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(millis) {
        std::hint::black_box(tiny());
    }
}

/// A blocking call of this length.
fn block_for(time: Duration) {
    #[expect(clippy::disallowed_methods, reason = "the sleep is the blocking call under test")]
    std::thread::sleep(time);
}

fn wait_all<T>(tasks: Vec<Task<T>>) -> Vec<T> {
    tasks.into_iter().map(|task| task.wait().unwrap()).collect()
}

/// 100,000 tiny tasks from `submitters` threads.
fn burst(pool: &Pool, submitters: usize) {
    std::thread::scope(|scope| {
        for _ in 0..submitters {
            scope.spawn(|| wait_all((0..100_000 / submitters).map(|_| pool.spawn(tiny)).collect()));
        }
    });
}

#[test]
fn tiny_tasks_use_the_core_threads() {
    for core in [2, 4] {
        for submitters in [1, 8] {
            keeps_to(core + 1, || {
                let pool = pool(core);
                burst(&pool, submitters);
                let cold = pool.metrics().threads_peak();
                burst(&pool, submitters);
                cold.max(pool.metrics().threads_peak())
            });
        }
    }
}

#[test]
fn tiny_tasks_use_the_core_threads_of_a_default_pool() {
    let core = std::thread::available_parallelism().map_or(1, usize::from).max(2);
    keeps_to(core + 1, || {
        let pool = builder().build().unwrap();
        burst(&pool, 1);
        pool.metrics().threads_peak()
    });
}

#[test]
fn a_lock_that_all_want_is_no_reason_to_grow() {
    for core in [2, 4] {
        keeps_to(2 * core, || {
            let pool = pool(core);
            let lock = Arc::new(Mutex::new(0));
            let print = |_| {
                let lock = Arc::clone(&lock);
                pool.spawn(move || {
                    let mut printed = lock.lock().unwrap();
                    (0..10).for_each(|_| *printed += tiny() % 2 + 1);
                })
            };
            wait_all((0..500).map(print).collect());
            assert!(*lock.lock().unwrap() >= 5000);
            pool.metrics().threads_peak()
        });
    }
}

#[test]
fn all_512_blocked_tasks_run_together() {
    for core in [2, 8] {
        let pool = pool(core);
        let meeting = Rendezvous::new(512);
        let join = |_| {
            let meeting = Arc::clone(&meeting);
            pool.spawn(move || meeting.meet())
        };
        wait_all((0..512).map(join).collect());
        let metrics = pool.metrics();
        assert_eq!(metrics.threads_peak(), 512);
        assert!(metrics.growth_steps() >= 1);
        assert!(metrics.growth_steps() < 100, "it multiplies: {} steps", metrics.growth_steps());
    }
}

#[test]
fn blocked_tasks_run_together_up_to_a_smaller_maximum_and_never_above() {
    let pool = builder().core_threads(2).max_threads(40).build().unwrap();
    let running = Arc::new(AtomicUsize::new(0));
    let meeting = Rendezvous::new(40);
    let join = |number| {
        let (meeting, running) = (Arc::clone(&meeting), Arc::clone(&running));
        pool.spawn(move || {
            assert!(running.fetch_add(1, Ordering::SeqCst) < 40);
            if number < 40 {
                meeting.meet();
            }
            running.fetch_sub(1, Ordering::SeqCst);
        })
    };
    wait_all((0..400).map(join).collect());
    assert_eq!(pool.metrics().threads_peak(), 40);
}

#[test]
fn sleeping_tasks_run_together() {
    let pool = pool(2);
    let sleeping = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    // By time alone a pool grows while a CPU is to spare, and beside other tests that is now and
    // then.
    let all = if thread_states() { 512 } else { 64 };
    // Feeds sleeps until all threads sleep at once: one round does where the machine is not
    // crowded.
    eventually("all sleep at once", || {
        let sleep = |_| {
            let (sleeping, most) = (Arc::clone(&sleeping), Arc::clone(&most));
            pool.spawn(move || {
                most.fetch_max(sleeping.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                block_for(Duration::from_millis(50));
                sleeping.fetch_sub(1, Ordering::SeqCst);
            })
        };
        wait_all((0..512).map(sleep).collect());
        most.load(Ordering::SeqCst) >= all
    });
}

#[test]
fn short_blocking_calls_get_more_threads() {
    let core = 2;
    let peak = || {
        let pool = pool(core);
        let call = |_| pool.spawn(|| block_for(Duration::from_micros(200)));
        wait_all((0..10_000).map(call).collect());
        pool.metrics().threads_peak()
    };
    // Where other work takes the CPUs away a step may seem not to pay, and the next ones are small.
    let mut peaks = Vec::new();
    while !peaks.iter().any(|&peak| peak >= 4 * core) {
        assert!(peaks.len() < 8, "{peaks:?} threads");
        peaks.push(peak());
    }
}

#[test]
fn computing_is_no_blocking() {
    let core = 2;
    keeps_to(2 * core, || {
        let pool = pool(core);
        wait_all((0..200).map(|_| pool.spawn(|| compute(5))).collect());
        pool.metrics().threads_peak()
    });
}

#[test]
fn long_computing_gets_threads_up_to_a_bound() {
    let core = 2;
    let pool = pool(core);
    let start = Instant::now();
    wait_all((0..8).map(|_| pool.spawn(|| compute(400))).collect());
    let slow_steps = start.elapsed().as_millis() / 500 + 1;
    let peak = pool.metrics().threads_peak();
    assert!(peak as u128 <= 4 * core as u128 + 1 + slow_steps, "{peak} threads in {:?}", start.elapsed());
}

#[test]
fn blocked_tasks_that_return_at_once_among_tiny_ones_lose_none() {
    let pool = builder().core_threads(2).max_threads(64).build().unwrap();
    let gate = Gate::new();
    let block = |_| {
        let gate = gate.clone();
        pool.spawn(move || gate.pass())
    };
    let blocked: Vec<_> = (0..64).map(block).collect();
    eventually("all threads are blocked", || pool.metrics().tasks_running() == 64);
    let tiny: Vec<_> = (0..10_000).map(|_| pool.spawn(tiny)).collect();
    gate.open();
    let more: Vec<_> = (0..10_000).map(|_| pool.spawn(|| ())).collect();
    wait_all(blocked);
    wait_all(tiny);
    wait_all(more);
    let metrics = pool.metrics();
    assert_eq!((metrics.tasks_completed(), metrics.tasks_queued()), (20_064, 0));
    assert_eq!(metrics.threads_peak(), 64);
}

#[test]
fn declared_blockers_released_at_once_leave_the_counts_right() {
    let pool = builder().core_threads(1).build().unwrap();
    for round in 0..2 {
        let gate = Gate::new();
        let declare = |number| {
            let gate = gate.clone();
            pool.spawn(move || {
                sidestep::current::will_block(|| {
                    sidestep::current::will_block(|| gate.pass());
                    assert!(number % 3 > 0, "every third panics inside of it");
                });
            })
        };
        let tasks: Vec<_> = (0..511).map(declare).collect();
        eventually("all have declared", || pool.metrics().threads_blocked() == 511);
        assert!(pool.spawn(|| true).wait().unwrap(), "one thread more is not blocked");
        assert!(pool.metrics().threads() <= 512);
        gate.open();
        let panics = tasks.into_iter().map(Task::wait).filter(Result::is_err).count();
        assert_eq!(panics, 171);
        assert_eq!(pool.metrics().threads_blocked(), 0, "round {round}");
        assert_eq!(pool.metrics().threads_peak(), 512);
    }
}

#[test]
fn declared_blockers_need_no_monitor() {
    let pool = builder().core_threads(1).max_threads(9).build().unwrap();
    let meeting = Rendezvous::new(9);
    let join = |_| {
        let meeting = Arc::clone(&meeting);
        pool.spawn(move || sidestep::current::will_block(|| meeting.meet()))
    };
    wait_all((0..9).map(join).collect());
    assert_eq!(pool.metrics().threads_peak(), 9);
}

#[test]
fn nothing_grows_while_somebody_is_idle() {
    let pool = builder().core_threads(4).build().unwrap();
    wait_all((0..100).map(|_| pool.spawn(tiny)).collect());
    let gate = Gate::new();
    let block = || {
        let gate = gate.clone();
        pool.spawn(move || gate.pass())
    };
    let blocked: Vec<_> = (0..3).map(|_| block()).collect();
    eventually("three are blocked", || pool.metrics().tasks_running() == 3);
    for _ in 0..1000 {
        let task = pool.spawn(tiny);
        assert!(task.wait_timeout(PATIENCE).is_ok());
    }
    assert!(pool.metrics().threads_peak() <= 5, "{} threads", pool.metrics().threads_peak());
    gate.open();
    wait_all(blocked);
}

also_by_time_alone! {
    tiny_tasks_use_the_core_threads,
    tiny_tasks_use_the_core_threads_of_a_default_pool,
    a_lock_that_all_want_is_no_reason_to_grow,
    all_512_blocked_tasks_run_together,
    blocked_tasks_run_together_up_to_a_smaller_maximum_and_never_above,
    sleeping_tasks_run_together,
    short_blocking_calls_get_more_threads,
    computing_is_no_blocking,
    long_computing_gets_threads_up_to_a_bound,
    blocked_tasks_that_return_at_once_among_tiny_ones_lose_none,
    declared_blockers_released_at_once_leave_the_counts_right,
    declared_blockers_need_no_monitor,
    nothing_grows_while_somebody_is_idle,
}
