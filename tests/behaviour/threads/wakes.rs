//! Which threads are woken for a task, and that no task waits for a thread that sleeps.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::thread::{self};
use std::time::Duration;

use sidestep::{Pool, PoolBuilder};

#[cfg(target_os = "linux")]
use crate::support::sleeps;
use crate::support::{
    Crowd, Gate, PATIENCE, all_well, check_sound, counter, eventually, nothing_happens, occupy, pool, soon,
};

fn small(core: usize, max: usize) -> PoolBuilder {
    Pool::builder().core_threads(core).max_threads(max)
}

/// Grows a pool to `count` threads and lets them idle.
fn grow_to(pool: &Pool, count: usize) {
    let (gate, running) = (Gate::new(), Arc::new(Crowd::default()));
    // All at once: one after the other they would take as many turns of a busy CPU.
    let tasks: Vec<_> = (0..count)
        .map(|_| {
            let (pass, running) = (gate.clone(), Arc::clone(&running));
            pool.spawn(move || {
                running.enter();
                pass.pass();
            })
        })
        .collect();
    eventually("all run", || running.now() == count);
    gate.open();
    all_well(tasks);
}

/// A submitter counts an idle thread that another has claimed already, and starts none: tokio,
/// rusty_pool.
// Origin: pitfall 1
#[test]
fn two_tasks_that_need_each_other_both_run() {
    for round in 0..200 {
        let pool = small(1 + round % 2, 4).build().unwrap();
        (0..round % 5).for_each(|_| pool.spawn(|| ()).detach());
        let (left, right) = (Gate::new(), Gate::new());
        let meet = |mine: &Gate, other: &Gate| {
            let (mine, other) = (mine.clone(), other.clone());
            pool.spawn(move || {
                mine.open();
                other.pass();
            })
        };
        let both = [meet(&left, &right), meet(&right, &left)];
        all_well(both);
    }
}

/// One thread only, for ever; or a thread for each call: async-std.
// Origin: pitfall 3
#[test]
fn threads_follow_need() {
    let (starts, started) = counter();
    let pool = small(2, 16).on_thread_start(started).keep_alive(Duration::MAX).build().unwrap();
    for _ in 0..500 {
        soon(pool.spawn(|| ())).unwrap();
    }
    // Where no call ends for long since no thread gets a CPU, one is added.
    assert!(starts.load(Ordering::SeqCst) < 8, "no churn: one call at a time needs one thread");
    grow_to(&pool, 16);
    let grown = starts.load(Ordering::SeqCst);
    assert_eq!(grown, 16, "as many as calls that block");
    for _ in 0..500 {
        soon(pool.spawn(|| ())).unwrap();
    }
    assert_eq!(starts.load(Ordering::SeqCst), grown, "they are kept");
}

/// Idle threads poll, or spin in a steal loop: affinitypool, rayon.
// Origin: pitfall 25
#[test]
#[cfg(target_os = "linux")]
fn idle_threads_never_wake() {
    let pool = small(64, 65).name("calm").keep_alive(Duration::MAX).build().unwrap();
    grow_to(&pool, 65);
    eventually("all threads are idle", || pool.metrics().threads_idle() == 65);
    eventually("nobody wakes any more", || {
        let before = sleeps("calm-");
        (0..6).for_each(|_| nothing_happens());
        assert!(before.len() >= 65, "{before:?}");
        before == sleeps("calm-")
    });
    assert_eq!(pool.metrics().threads_idle(), 65);
    check_sound(&pool);
}

/// The monitor moves a stalled thread's deque while another thread goes to sleep: what is in its
/// hands is seen by neither look, so somebody has to be told afterwards.
#[test]
fn evacuating_a_deque_loses_no_wake_up() {
    let pool = pool(2, 2);
    let inner = pool.clone();
    let stalled = pool.spawn(move || {
        let (send, receive) = channel();
        for round in 0..20_000 {
            let send = send.clone();
            inner.spawn(move || send.send(round).unwrap()).detach();
            assert_eq!(receive.recv_timeout(PATIENCE), Ok(round), "it lies in a queue and all sleep");
        }
    });
    stalled.wait().unwrap();
    check_sound(&pool);
}

/// How much CPU time the calling process has used.
#[cfg(unix)]
fn process_cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writing.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(status, 0);
    Duration::new(u64::try_from(time.tv_sec).unwrap(), u32::try_from(time.tv_nsec).unwrap())
}

/// In a process of its own, where no other test uses the CPU.
#[cfg(unix)]
#[test]
fn an_idle_pool_uses_no_cpu() {
    const CHILD: &str = "SIDESTEP_TEST_IDLE";
    if std::env::var_os(CHILD).is_none() {
        let output = crate::support::alone::this_program()
            .args(["--exact", "threads::wakes::an_idle_pool_uses_no_cpu", "--test-threads=1"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let pool = Pool::builder().core_threads(2).max_threads(64).build().unwrap();
    let gate = Gate::new();
    let join = |_| {
        let gate = gate.clone();
        pool.spawn(move || gate.pass())
    };
    let tasks: Vec<_> = (0..64).map(join).collect();
    eventually("all run together", || pool.metrics().tasks_running() == 64);
    gate.open();
    for task in tasks {
        task.wait().unwrap();
    }
    eventually("all rest", || pool.metrics().threads_idle() == 64);
    // The monitor takes some looks to see that it is over, and on a busy machine some threads have
    // yet to fall asleep.
    eventually("300 ms pass without using 5 ms of a CPU", || {
        let before = process_cpu_time();
        #[expect(clippy::disallowed_methods, reason = "the sleep is to show that nothing happens")]
        thread::sleep(Duration::from_millis(300));
        process_cpu_time() - before < Duration::from_millis(5)
    });
}

/// cats-effect's stress of a thousand calls that block at once.
// Origin: cats-effect 107
#[test]
fn a_thousand_calls_that_block_all_end() {
    let pool = pool(2, 64);
    let (ends, bump) = counter();
    let block = |number| {
        let bump = bump.clone();
        pool.spawn(move || {
            let (_send, receive) = channel::<()>();
            assert!(receive.recv_timeout(Duration::from_millis(1)).is_err());
            bump();
            number
        })
    };
    let tasks: Vec<_> = (0..1000).map(block).collect();
    assert!(tasks.into_iter().enumerate().all(|(number, task)| soon(task).unwrap() == number));
    assert_eq!(ends.load(Ordering::SeqCst), 1000);
    assert!(pool.metrics().threads_peak() <= 64);
    check_sound(&pool);
}

/// SwiftNIO's pool woke all its threads for each job that came alone.
// Origin: SwiftNIO 109
#[cfg(target_os = "linux")]
#[test]
fn one_job_at_a_time_wakes_one_thread_at_a_time() {
    const JOBS: u64 = 300;
    let naps = || sleeps("lone-").into_iter().map(|(_, count)| count).sum::<u64>();
    let pool = Pool::builder().name("lone").core_threads(16).max_threads(16).build().unwrap();
    let gate = Gate::new();
    let all: Vec<_> = (0..16).map(|_| occupy(&pool, &gate)).collect();
    gate.open();
    all_well(all);
    eventually("all sleep", || pool.metrics().threads_idle() == 16);
    let before = naps();
    for _ in 0..JOBS {
        soon(pool.spawn(|| ())).unwrap();
        eventually("all sleep again", || pool.metrics().threads_idle() == 16);
    }
    let naps = naps() - before;
    // One for each job, and others for locks: more of them where other tests want the memory map or
    // the CPUs.
    assert!(naps < 8 * JOBS, "{naps} sleeps of 16 threads for {JOBS} jobs");
    check_sound(&pool);
}
