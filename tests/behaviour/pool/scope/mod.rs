//! Scopes: what tasks borrow is theirs until they have been released, and the join cannot be
//! skipped.

mod cancel;
mod hostile;
mod refused;

use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;

use sidestep::Pool;

use crate::support::{
    Drops, Gate, PanicOnDrop, check_sound, eventually, nothing_happens, pool, quiet_panic, soon,
};

/// Writes into what it borrows when it is dropped.
pub(crate) struct Writes<'a>(pub(crate) &'a AtomicUsize);

impl Drop for Writes<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// What a panic of `f` carries.
pub(crate) fn payload_of<R>(f: impl FnOnce() -> R) -> &'static str {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(_) => "no panic",
        Err(payload) => match payload.downcast::<&'static str>() {
            Ok(text) => *text,
            Err(payload) => match payload.downcast::<String>() {
                Ok(text) => text.leak(),
                Err(_) => "something else",
            },
        },
    }
}

#[test]
fn tasks_borrow_and_their_results_do_too() {
    let pool = pool(2, 4);
    let mut numbers = vec![1, 2, 3];
    let texts = ["one".to_owned(), "two".to_owned()];
    let (first, second) = pool.scope(|scope| {
        scope.spawn(|| numbers.push(4));
        let first = scope.spawn(|| texts[0].as_str());
        let second = scope.spawn(|| &texts[1][1..]);
        (first.wait().unwrap(), second.wait().unwrap())
    });
    assert_eq!((first, second), ("one", "wo"));
    assert_eq!(numbers, [1, 2, 3, 4]);
    check_sound(&pool);
}

#[test]
fn a_scope_without_tasks_gives_its_value() {
    let pool = pool(1, 1);
    assert_eq!(pool.scope(|_| 42), 42);
    let inner = pool.clone();
    assert_eq!(soon(pool.spawn(move || inner.scope(|_| 43))).unwrap(), 43);
    assert_eq!(payload_of(|| pool.scope(|_| quiet_panic("the body"))), "the body");
}

#[test]
fn ten_thousand_tasks_end_before_it_returns() {
    for (core, max) in [(1, 1), (4, 8)] {
        let pool = pool(core, max);
        let (done, dropped) = (AtomicUsize::new(0), AtomicUsize::new(0));
        for on_the_pool in [false, true] {
            let work = || {
                pool.scope(|scope| {
                    for _ in 0..10_000 {
                        let captured = Writes(&dropped);
                        scope.spawn(|| {
                            let _captured = captured;
                            done.fetch_add(1, Ordering::SeqCst);
                            Writes(&dropped)
                        });
                    }
                });
            };
            if on_the_pool {
                pool.scope(|scope| scope.spawn(work).wait().unwrap())
            } else {
                work()
            }
            let ran = done.swap(0, Ordering::SeqCst);
            assert_eq!((ran, dropped.swap(0, Ordering::SeqCst)), (10_000, 20_000));
        }
        check_sound(&pool);
    }
}

#[test]
fn the_join_waits_for_the_destructors_of_closures_and_results() {
    let pool = pool(2, 2);
    struct Slow<'a>(&'a Gate, &'a Gate, &'a AtomicBool);
    impl Drop for Slow<'_> {
        fn drop(&mut self) {
            self.0.open();
            self.1.pass();
            self.2.store(true, Ordering::SeqCst);
        }
    }
    for in_result in [false, true] {
        let (inside, leave) = (Gate::new(), Gate::new());
        let (gone, returned) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|threads| {
            threads.spawn(|| {
                pool.scope(|scope| {
                    let slow = Slow(&inside, &leave, &gone);
                    if in_result {
                        drop(scope.spawn(move || slow));
                    } else {
                        drop(scope.spawn(move || drop(slow)));
                    }
                });
                assert!(gone.load(Ordering::SeqCst), "the destructor has ended");
                returned.store(true, Ordering::SeqCst);
            });
            inside.pass();
            nothing_happens();
            assert!(!returned.load(Ordering::SeqCst));
            leave.open();
        });
    }
    check_sound(&pool);
}

#[test]
fn a_leaked_handle_does_not_let_the_scope_end_early() {
    let pool = pool(2, 2);
    for _ in 0..200 {
        let (cell, dropped) = (AtomicUsize::new(0), AtomicUsize::new(0));
        pool.scope(|scope| {
            let captured = Writes(&dropped);
            forget(scope.spawn(|| {
                let _captured = captured;
                thread::yield_now();
                cell.fetch_add(1, Ordering::SeqCst)
            }));
            // One handle travels into the closure of another task, and one is in a cycle with
            // itself.
            let handle = scope.spawn(|| cell.fetch_add(1, Ordering::SeqCst));
            forget(scope.spawn(move || handle.wait()));
            let slot = Arc::new(Mutex::new(None));
            let cycle = Arc::clone(&slot);
            *slot.lock().unwrap() = Some(scope.spawn(move || drop(cycle)));
        });
        assert_eq!((cell.load(Ordering::SeqCst), dropped.load(Ordering::SeqCst)), (2, 1));
    }
    check_sound(&pool);
}

#[test]
fn handles_may_be_results_and_captures_of_other_tasks() {
    for max in [1, 4] {
        let pool = pool(1, max);
        let number = 20;
        let sum = pool.scope(|scope| {
            let deep = scope.spawn(|| scope.spawn(|| scope.spawn(|| number + 1)));
            let taken = scope.spawn(|| number + 1);
            let waits = scope.spawn(move || taken.wait().unwrap());
            deep.wait().unwrap().wait().unwrap().wait().unwrap() + waits.wait().unwrap()
        });
        assert_eq!(sum, 42);
        check_sound(&pool);
    }
}

#[test]
fn tasks_spawn_into_their_own_scope_to_any_number() {
    for (core, max) in [(1, 1), (2, 2), (4, 16)] {
        let pool = pool(core, max);
        let count = AtomicUsize::new(0);
        fn tree<'scope>(
            scope: &'scope sidestep::Scope<'scope, '_>,
            count: &'scope AtomicUsize,
            depth: usize,
        ) {
            count.fetch_add(1, Ordering::SeqCst);
            if depth > 0 {
                scope.spawn(move || tree(scope, count, depth - 1));
                scope.spawn(move || tree(scope, count, depth - 1));
            }
        }
        pool.scope(|scope| tree(scope, &count, 9));
        assert_eq!(count.swap(0, Ordering::SeqCst), 1023);
        let (inner, count) = (pool.clone(), Arc::new(count));
        let shared = Arc::clone(&count);
        soon(pool.spawn(move || inner.scope(|scope| tree(scope, &shared, 9)))).unwrap();
        assert_eq!(count.load(Ordering::SeqCst), 1023);
        check_sound(&pool);
    }
}

/// A number of the Fibonacci series by one scope for each step.
fn fib(pool: &Pool, n: u64) -> u64 {
    if n < 2 {
        return n;
    }
    let (mut a, mut b) = (0, 0);
    pool.scope(|scope| {
        scope.spawn(|| a = fib(pool, n - 1));
        scope.spawn(|| b = fib(pool, n - 2));
    });
    a + b
}

#[test]
fn scopes_inside_tasks_inside_scopes_do_not_deadlock() {
    for (core, max) in [(1, 1), (2, 2), (2, 8)] {
        let pool = pool(core, max);
        assert_eq!(fib(&pool, 12), 144);
        let inner = pool.clone();
        assert_eq!(soon(pool.spawn(move || fib(&inner, 12))).unwrap(), 144);
        check_sound(&pool);
    }
}

#[test]
fn the_only_thread_runs_the_tasks_of_its_scope_in_place() {
    let pool = pool(1, 1);
    let inner = pool.clone();
    let (here, there) = soon(pool.spawn(move || {
        let there = Mutex::new(Vec::new());
        inner.scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| there.lock().unwrap().push(thread::current().id()));
            }
        });
        (thread::current().id(), there.into_inner().unwrap())
    }))
    .unwrap();
    assert_eq!(there, [here; 3]);
    check_sound(&pool);
}

#[test]
fn a_scope_of_one_pool_on_a_thread_of_another_waits() {
    let (home, other) = (pool(1, 1), pool(1, 1));
    let away = other.clone();
    let same = home.spawn(move || {
        let mut id = None;
        away.scope(|scope| drop(scope.spawn(|| id = Some(thread::current().id()))));
        id == Some(thread::current().id())
    });
    assert!(!soon(same).unwrap());
    check_sound(&home);
    check_sound(&other);
}

#[test]
fn wait_gives_the_panic_and_the_scope_goes_on() {
    let pool = pool(2, 2);
    let value = pool.scope(|scope| {
        let error = scope.spawn(|| quiet_panic("seen")).wait().map(|(): ()| ()).unwrap_err();
        *error.try_into_panic().unwrap().downcast::<&str>().unwrap()
    });
    assert_eq!(value, "seen");
    check_sound(&pool);
}

#[test]
fn the_first_panic_that_nobody_has_seen_resumes_after_the_join() {
    let pool = pool(1, 1);
    let ended = AtomicUsize::new(0);
    let text = payload_of(|| {
        pool.scope(|scope| {
            let seen = scope.spawn(|| quiet_panic("seen"));
            scope.spawn(|| quiet_panic("first"));
            forget(scope.spawn(|| quiet_panic("second")));
            scope.spawn(|| ended.fetch_add(1, Ordering::SeqCst));
            let seen: Result<(), _> = seen.wait();
            assert!(seen.unwrap_err().is_panic());
        });
    });
    assert_eq!((text, ended.load(Ordering::SeqCst)), ("first", 1));
    check_sound(&pool);
}

#[test]
fn a_panic_of_the_body_waits_for_the_tasks_and_wins() {
    let pool = pool(2, 2);
    let (go, ended) = (Gate::new(), AtomicUsize::new(0));
    let text = payload_of(|| {
        pool.scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| {
                    go.pass();
                    ended.fetch_add(1, Ordering::SeqCst);
                });
            }
            scope.spawn(|| quiet_panic("a task"));
            let opener = go.clone();
            thread::spawn(move || {
                nothing_happens();
                opener.open();
            });
            quiet_panic("the body")
        });
    });
    assert_eq!((text, ended.load(Ordering::SeqCst)), ("the body", 10));
    check_sound(&pool);
}

#[test]
fn destructors_that_panic_are_nobodys_panic() {
    let pool = pool(2, 2);
    let drops = Drops::new();
    let error = catch_unwind(AssertUnwindSafe(|| {
        pool.scope(|scope| {
            for _ in 0..10 {
                let captured = PanicOnDrop(drops.clone());
                scope.spawn(move || forget(captured));
                scope.spawn(|| PanicOnDrop(drops.clone()));
                scope.spawn(|| quiet_panic(PanicOnDrop(drops.clone())));
            }
        });
    }));
    let payload = error.unwrap_err();
    forget(payload.downcast::<PanicOnDrop>().unwrap());
    // The first payload was the scope's; whoever lets go last drops the others.
    eventually("the rest is dropped", || drops.count() == 10 + 9);
    check_sound(&pool);
}

#[test]
fn the_handle_says_when_its_task_has_ended() {
    let pool = pool(1, 1);
    let (send, receive) = channel();
    pool.scope(|scope| {
        let task = scope.spawn(move || receive.recv());
        assert!(!task.is_finished());
        assert!(format!("{task:?} {scope:?}").contains("ScopedTask"));
        send.send(()).unwrap();
        eventually("it ends", || task.is_finished());
        task.wait().unwrap().unwrap();
    });
}

#[test]
fn large_and_strictly_aligned_values_pass() {
    #[repr(align(4096))]
    struct Page([u8; 4096]);
    let pool = pool(2, 2);
    let page = Page([7; 4096]);
    let (copy, borrowed) = pool.scope(|scope| {
        let page = &page;
        let copy = Page(page.0);
        let copy = scope.spawn(move || copy);
        let large = [1_u8; 100_000];
        let sum = scope.spawn(move || large.iter().map(|byte| usize::from(*byte)).sum::<usize>());
        let borrowed = scope.spawn(move || page);
        assert_eq!(sum.wait().unwrap(), 100_000);
        (copy.wait().unwrap(), borrowed.wait().unwrap())
    });
    assert!(copy.0 == page.0 && std::ptr::eq(borrowed, &raw const page));
    assert_eq!((&raw const copy).addr() % 4096, 0);
}

#[test]
fn the_body_may_wait_for_the_shutdown_of_its_own_pool() {
    for max in [1, 2] {
        let pool = pool(1, max);
        let inner = pool.clone();
        let task = pool.spawn(move || {
            let ran = AtomicUsize::new(0);
            let report = inner.scope(|scope| {
                for _ in 0..10 {
                    scope.spawn(|| ran.fetch_add(1, Ordering::SeqCst));
                }
                inner.shutdown().wait()
            });
            (ran.into_inner(), report.completed, report.still_running)
        });
        assert_eq!(soon(task).unwrap(), (10, 10, 0));
    }
}
