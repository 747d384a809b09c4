//! What is left of a pool when a wait for its end has returned: no thread of the operating system.
#![cfg(target_os = "linux")]

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use sidestep::{Pool, current};

use crate::support::{Gate, PATIENCE, eventually, occupy, soon};

/// The threads of this process whose names begin with `name`.
fn named(name: &str) -> Vec<String> {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let names = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("comm")).ok());
    names.filter(|comm| comm.starts_with(name)).collect()
}

/// What a destructor does that takes its time.
#[expect(clippy::disallowed_methods, reason = "a slow destructor is what is tested here")]
fn linger(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

fn called(name: &str) -> Pool {
    Pool::builder().name(name).core_threads(8).max_threads(8).build().unwrap()
}

/// Does `f` when it is dropped with its thread.
struct AtEnd(Option<Box<dyn FnOnce()>>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(|f| f());
    }
}

thread_local! { static AT_END: RefCell<AtEnd> = const { RefCell::new(AtEnd(None)) } }

fn at_end(f: impl FnOnce() + 'static) {
    AT_END.with(|end| end.borrow_mut().0 = Some(Box::new(f)));
}

/// Has each of the eight threads of `pool` run `f` once.
fn on_all(pool: &Pool, f: impl Fn() + Clone + Send + 'static) {
    let barrier = Arc::new(Barrier::new(8));
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (barrier, f) = (Arc::clone(&barrier), f.clone());
            pool.spawn(move || {
                f();
                current::will_block(|| barrier.wait());
            })
        })
        .collect();
    tasks.into_iter().for_each(|task| soon(task).unwrap());
}

/// rayon, napi-rs: threads that are still there after the end.
#[test]
fn no_thread_is_left_however_slow_its_last_destructors_are() {
    for _ in 0..20 {
        let (pool, ended) = (called("gone"), Arc::new(AtomicUsize::new(0)));
        let ends = Arc::clone(&ended);
        on_all(&pool, move || {
            let ends = Arc::clone(&ends);
            at_end(move || {
                linger(5);
                ends.fetch_add(1, Ordering::SeqCst);
            });
        });
        pool.shutdown().wait();
        assert_eq!(named("gone"), Vec::<String>::new());
        assert_eq!(ended.load(Ordering::SeqCst), 8, "their destructors have run");
    }
}

#[test]
fn helpers_are_gone_too() {
    for _ in 0..20 {
        let pool = Pool::builder().name("helped").core_threads(1).max_threads(4).build().unwrap();
        let gate = Gate::new();
        let busy: Vec<_> = (0..4).map(|_| occupy(&pool, &gate)).collect();
        pool.options().expire_after(Duration::from_secs(3600)).spawn(|| ()).detach();
        eventually("monitor and timer are there", || {
            let threads = named("helped");
            threads.iter().any(|name| name.contains("-mon"))
                && threads.iter().any(|name| name.contains("-tim"))
        });
        gate.open();
        busy.into_iter().for_each(|task| soon(task).unwrap());
        pool.shutdown().wait();
        assert_eq!(named("helped"), Vec::<String>::new());
    }
}

#[test]
fn every_waiter_returns_after_the_last_thread() {
    for _ in 0..10 {
        let pool = called("waited");
        on_all(&pool, || at_end(|| linger(5)));
        let waiters: Vec<_> = (0..4)
            .map(|_| {
                let shutdown = pool.shutdown();
                std::thread::spawn(move || {
                    shutdown.wait();
                    named("waited").len()
                })
            })
            .collect();
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), 0);
        }
    }
}

#[test]
fn a_wait_with_a_timeout_joins_as_long_as_it_has_time() {
    let pool = called("timely");
    on_all(&pool, || at_end(|| linger(20)));
    pool.shutdown().timeout(PATIENCE).wait();
    assert_eq!(named("timely"), Vec::<String>::new());
    let (pool, (hold, held)) = (called("late"), channel::<()>());
    soon(pool.spawn(move || at_end(move || _ = held.recv()))).unwrap();
    let report = pool.shutdown().timeout(Duration::from_millis(300)).wait();
    assert_eq!(report.still_running, 0, "its tasks have ended");
    assert_eq!(named("late").len(), 1, "a thread that does not end is not waited for");
    drop(hold);
    pool.shutdown().wait();
    assert_eq!(named("late"), Vec::<String>::new());
}

#[test]
fn a_destructor_of_a_thread_may_wait_for_the_end_of_its_pool() {
    let (pool, (send, receive)) = (called("selfish"), channel());
    let inner = pool.clone();
    on_all(&pool, move || {
        let (inner, send) = (inner.clone(), send.clone());
        at_end(move || {
            let report = inner.shutdown().wait();
            let refused = inner.spawn(|| ()).wait().is_err_and(|error| error.is_shutdown());
            send.send(refused && report.still_running == 0).unwrap();
        });
    });
    pool.shutdown().wait();
    assert_eq!(named("selfish"), Vec::<String>::new());
    assert_eq!(receive.try_iter().collect::<Vec<_>>(), [true; 8]);
}

/// Each of two pools has a thread whose last destructor waits for the end of the other.
#[test]
fn threads_that_wait_for_the_end_of_each_others_pools_end() {
    let (one, two) = (called("one-of-two"), called("two-of-two"));
    for (pool, other) in [(&one, two.clone()), (&two, one.clone())] {
        soon(pool.spawn(move || at_end(move || _ = other.shutdown().wait()))).unwrap();
    }
    let (first, second) = (one.shutdown(), two.shutdown());
    first.wait();
    second.wait();
    assert_eq!((named("one-of-two").len(), named("two-of-two").len()), (0, 0));
}

#[test]
fn a_task_that_waits_for_the_end_keeps_its_thread_and_no_other() {
    let pool = called("crew");
    on_all(&pool, || at_end(|| linger(5)));
    let inner = pool.clone();
    let task = pool.spawn(move || {
        inner.shutdown().wait();
        named("crew").into_iter().filter(|name| !name.contains("mon") && !name.contains("tim")).count()
    });
    assert_eq!(soon(task).unwrap(), 1, "its own");
    pool.shutdown().wait();
    assert_eq!(named("crew"), Vec::<String>::new());
}

#[test]
fn threads_that_leave_early_are_not_kept() {
    let builder = Pool::builder().name("brief").core_threads(1).max_threads(64).keep_alive(Duration::ZERO);
    let pool = builder.build().unwrap();
    let stacks = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
    let mut before = None;
    for round in 0..30 {
        let gate = Gate::new();
        let busy: Vec<_> = (0..16)
            .map(|_| {
                let pass = gate.clone();
                pool.spawn(move || current::will_block(|| pass.pass()))
            })
            .collect();
        eventually("all block", || pool.metrics().threads_blocked() == 16);
        gate.open();
        busy.into_iter().for_each(|task| soon(task).unwrap());
        eventually("the others have left", || pool.metrics().threads() == 1);
        if round == 5 {
            before = Some(stacks());
        }
    }
    // A stack is two mappings; if none were given back there would be 24 * 15 more of them. Other
    // tests of this process have threads of their own.
    assert!(stacks() < before.unwrap() + 300, "{} mappings, after {before:?}", stacks());
    pool.shutdown().wait();
    assert_eq!(named("brief"), Vec::<String>::new());
}

/// The threads that a lane has in reserve are threads of the pool.
#[test]
fn threads_of_a_reserve_are_gone_too() {
    for _ in 0..10 {
        let pool = Pool::builder().name("spare").core_threads(1).max_threads(1).build().unwrap();
        let lane = pool.lane_builder("kept", 3).reserve(2).build().unwrap();
        let gate = Gate::new();
        let general = occupy(&pool, &gate);
        let kept: Vec<_> = (0..2)
            .map(|_| {
                let pass = gate.clone();
                lane.spawn(move || {
                    at_end(|| linger(5));
                    pass.pass();
                })
            })
            .collect();
        eventually("they run beside it", || lane.metrics().tasks_running() == 2);
        gate.open();
        kept.into_iter().for_each(|task| soon(task).unwrap());
        soon(general).unwrap();
        pool.shutdown().wait();
        assert_eq!(named("spare"), Vec::<String>::new());
    }
}
