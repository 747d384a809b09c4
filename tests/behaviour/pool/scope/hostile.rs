//! Scopes in the hands of odd users.

use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;

use sidestep::{Pool, current};

use crate::support::{
    DropToken, Drops, Gate, PATIENCE, check_accounts, check_sound, eventually, nothing_happens, pool,
    quiet_panic, soon,
};

/// Ends a task with a payload whose drop is counted.
fn fail(token: DropToken) {
    quiet_panic(token)
}

#[test]
fn a_payload_that_the_bodys_panic_wins_over_is_dropped() {
    let pool = pool(1, 1);
    let drops = Drops::new();
    let end = catch_unwind(AssertUnwindSafe(|| {
        pool.scope(|scope| {
            let token = drops.token();
            scope.spawn(|| fail(token));
            quiet_panic("the body")
        })
    }));
    assert!(end.map(|(): ()| ()).is_err());
    check_sound(&pool);
    // It is not if the scope and its tasks hold each other.
    eventually("the payload is dropped", || drops.count() == 1);
}

#[test]
fn a_scope_inside_a_task_leaves_nothing_behind() {
    let pool = pool(2, 2);
    let (inner, drops) = (pool.clone(), Drops::new());
    let tokens: Vec<_> = (0..2).map(|_| drops.token()).collect();
    let first = soon(pool.spawn(move || {
        let end = catch_unwind(AssertUnwindSafe(|| {
            inner.scope(|scope| {
                let task = |token| scope.spawn(|| fail(token));
                let tasks: Vec<_> = tokens.into_iter().map(task).collect();
                // The other thread runs them both, so that the join finds nothing to do.
                while !tasks.iter().all(sidestep::ScopedTask::is_finished) {
                    thread::yield_now();
                }
            });
        }));
        drop(end.unwrap_err());
    }));
    first.unwrap();
    check_sound(&pool);
    // They are not if the scope's list of queued tasks keeps what has ended.
    eventually("both payloads are dropped", || drops.count() == 2);
}

/// A thread that waits for its scope must not run a task before that has been submitted.
#[test]
fn a_nested_spawn_is_counted_before_the_joiner_runs_it() {
    for limit in [None, Some(1_000_000)] {
        let builder = Pool::builder().core_threads(2).max_threads(2);
        let builder = match limit {
            Some(limit) => builder.queue_limit(limit),
            None => builder,
        };
        let pool = builder.build().unwrap();
        let (inner, count) = (pool.clone(), Arc::new(AtomicUsize::new(0)));
        let shared = Arc::clone(&count);
        soon(pool.spawn(move || {
            let (scope_pool, shared) = (&inner, &*shared);
            for _ in 0..20 {
                scope_pool.scope(|scope| {
                    scope.spawn(|| {
                        for _ in 0..2000 {
                            scope.spawn(|| shared.fetch_add(1, Ordering::SeqCst));
                        }
                    });
                    // The other thread takes the spawner; this one has nothing to do but join.
                    thread::yield_now();
                });
            }
        }))
        .unwrap();
        assert_eq!(count.load(Ordering::SeqCst), 40_000);
        check_sound(&pool);
    }
}

#[test]
fn a_nested_spawn_that_is_refused_is_refused_although_the_joiner_looks_on() {
    let pool = Pool::builder().core_threads(2).max_threads(2).queue_limit(1).build().unwrap();
    let inner = pool.clone();
    let (ran, refused) = soon(pool.spawn(move || {
        let (ran, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
        for _ in 0..20 {
            let (spawner, ran, refused) = (&inner, &ran, &refused);
            spawner.scope(|scope| {
                scope.spawn(move || {
                    let tasks = (0..500).map(|_| {
                        scope.spawn(|| {
                            ran.fetch_add(1, Ordering::SeqCst);
                        })
                    });
                    let tasks: Vec<_> = tasks.collect();
                    for task in tasks {
                        refused.fetch_add(usize::from(task.wait().is_err()), Ordering::SeqCst);
                    }
                });
            });
        }
        (ran.into_inner(), refused.into_inner())
    }))
    .unwrap();
    assert_eq!(ran + refused, 10_000);
    check_sound(&pool);
}

#[test]
fn a_nested_spawn_into_a_pool_that_closes_is_refused_or_runs() {
    for round in 0..400 {
        let pool = pool(2, 2);
        let inner = pool.clone();
        let (send, receive) = channel();
        let task = pool.spawn(move || {
            let ran = AtomicUsize::new(0);
            let end = catch_unwind(AssertUnwindSafe(|| {
                inner.scope(|scope| {
                    scope.spawn(|| {
                        send.send(()).unwrap();
                        for _ in 0..1000 {
                            scope.spawn(|| ran.fetch_add(1, Ordering::SeqCst));
                        }
                    });
                });
            }));
            let text = end
                .err()
                .map(|payload| payload.downcast::<String>().map_or_else(|_| "?".into(), |text| *text));
            (ran.into_inner(), text)
        });
        receive.recv().unwrap();
        (0..round % 40).for_each(|_| thread::yield_now());
        let shutdown = pool.shutdown();
        let (ran, text) = soon(task).unwrap();
        match text {
            None => assert_eq!(ran, 1000),
            Some(text) => assert!(text.contains("the pool is shut down"), "{text}"),
        }
        assert_eq!(shutdown.wait().still_running, 0);
        let metrics = pool.metrics();
        check_accounts(&metrics);
        assert_eq!((metrics.tasks_queued(), metrics.tasks_running()), (0, 0));
    }
}

/// As above, without a limit: it shows in the numbers.
#[test]
fn the_accounts_agree_while_a_joiner_looks_on() {
    let pool = pool(2, 2);
    let inner = pool.clone();
    let task = pool.spawn(move || {
        for _ in 0..50 {
            inner.scope(|scope| {
                scope.spawn(|| (0..2000).for_each(|_| drop(scope.spawn(|| ()))));
            });
        }
    });
    while !task.is_finished() {
        check_accounts(&pool.metrics());
    }
    soon(task).unwrap();
    check_sound(&pool);
}

/// Plain spawns begin in order on the only thread of a pool: what is passed on from one to the next
/// arrives.
#[test]
fn a_later_task_may_wait_for_what_an_earlier_one_sends_on_the_only_thread() {
    let pool = pool(1, 1);
    let inner = pool.clone();
    let task = pool.spawn(move || {
        inner.scope(|scope| {
            let (send, receive) = channel();
            scope.spawn(move || send.send(7));
            scope.spawn(move || assert_eq!(receive.recv_timeout(PATIENCE / 2), Ok(7)));
        });
    });
    soon(task).unwrap();
}

#[test]
fn a_panic_of_a_task_that_waited_for_itself_is_not_lost() {
    let pool = pool(1, 1);
    let end = catch_unwind(AssertUnwindSafe(|| {
        pool.scope(|scope| {
            let (send, receive) = channel::<sidestep::ScopedTask<'_, ()>>();
            let task = scope.spawn(move || {
                let deadlock = receive.recv().unwrap().wait().unwrap_err();
                assert!(deadlock.is_deadlock());
                quiet_panic("nobody has seen this one")
            });
            send.send(task).unwrap();
        });
    }));
    assert!(end.is_err(), "only the deadlock has been looked at");
}

#[test]
fn a_scope_that_races_with_discard_ends_and_frees_what_it_borrows() {
    for round in 0..200 {
        let pool = pool(2, 2);
        let (ran, dropped) = (AtomicUsize::new(0), AtomicUsize::new(0));
        struct Counts<'a>(&'a AtomicUsize);
        impl Drop for Counts<'_> {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        thread::scope(|threads| {
            let (pool, ran, dropped) = (&pool, &ran, &dropped);
            threads.spawn(move || {
                let end = catch_unwind(AssertUnwindSafe(|| {
                    pool.scope(|scope| {
                        for _ in 0..50 {
                            let captured = Counts(dropped);
                            scope.spawn(move || {
                                let _captured = captured;
                                ran.fetch_add(1, Ordering::SeqCst);
                            });
                        }
                    });
                }));
                assert_eq!(dropped.load(Ordering::SeqCst), 50);
                assert_eq!(end.is_ok(), ran.load(Ordering::SeqCst) == 50);
            });
            threads.spawn(move || {
                (0..round).for_each(|_| thread::yield_now());
                pool.shutdown().discard_queued().wait();
            });
        });
    }
}

#[test]
fn a_hook_of_a_scoped_task_never_runs_since_nobody_cancels_it() {
    let pool = pool(1, 1);
    let drops = Drops::new();
    pool.scope(|scope| {
        let token = drops.token();
        drop(scope.spawn(|| {
            let _guard = current::on_cancel(move || drop(token));
            assert!(!current::is_cancelled());
        }));
    });
    assert_eq!(drops.count(), 1, "dropped with the guard");
}

#[test]
fn two_scopes_of_two_tasks_on_one_thread_do_not_wait_for_each_other() {
    let pool = pool(2, 2);
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let inner = pool.clone();
            pool.spawn(move || {
                let sum = Mutex::new(0);
                for _ in 0..100 {
                    inner.scope(|scope| {
                        for _ in 0..4 {
                            scope.spawn(|| {
                                inner.scope(|deeper| drop(deeper.spawn(|| *sum.lock().unwrap() += 1)))
                            });
                        }
                    });
                }
                sum.into_inner().unwrap()
            })
        })
        .collect();
    assert!(tasks.into_iter().all(|task| soon(task).unwrap() == 400));
    check_sound(&pool);
}

/// Forks in the body of a scope; in the child, `end` says with which status to leave after the
/// scope.
#[cfg(unix)]
fn fork_in_a_scope(pool: &Pool, tasks: impl Fn() + Sync, opens: &Gate, end: impl Fn(bool) -> i32) -> i32 {
    let mut child = -1;
    let scope_end = catch_unwind(AssertUnwindSafe(|| {
        pool.scope(|scope| {
            scope.spawn(&tasks);
            scope.spawn(&tasks);
            // SAFETY: the child runs this crate's code, and leaves by `_exit`.
            child = unsafe { libc::fork() };
            if child != 0 {
                opens.open();
            }
        });
    }));
    if child == 0 {
        // SAFETY: it ends the child at once.
        unsafe { libc::_exit(end(scope_end.is_err())) }
    }
    scope_end.unwrap();
    let begin = std::time::Instant::now();
    let mut status = 0;
    loop {
        // SAFETY: it is this thread's own child.
        let waited = unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) };
        if waited == child {
            return if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -1 };
        }
        if begin.elapsed() > PATIENCE / 4 {
            // SAFETY: as above.
            unsafe { libc::kill(child, libc::SIGKILL) };
        }
        thread::yield_now();
    }
}

#[test]
#[cfg(unix)]
fn in_a_child_the_scope_ends_and_says_that_its_tasks_did_not_run() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let status = fork_in_a_scope(&pool, || gate.pass(), &gate, |panicked| if panicked { 7 } else { 0 });
    assert_ne!(status, -1, "the child hangs");
    assert_eq!(status, 7, "two tasks have not run and nobody has asked: the scope returned as if they had");
    check_sound(&pool);
}

#[test]
#[cfg(unix)]
fn the_end_of_a_scope_in_a_child_takes_no_lock_of_another_thread() {
    let pool = pool(2, 2);
    for _ in 0..100 {
        let gate = Gate::new();
        gate.open();
        let busy = || {
            pool.scope(|scope| (0..20).for_each(|_| drop(scope.spawn(|| ()))));
        };
        let status = fork_in_a_scope(&pool, busy, &gate, |_| 0);
        assert_eq!(status, 0, "the child hangs");
    }
    check_sound(&pool);
}

/// A scope that can be left early frees what its tasks borrow: affinitypool, blocking. Here the
/// scope is a call: neither a handle that is forgotten nor a panic lets it return before its tasks
/// have ended. That nothing gets out of it is shown where it is documented, by examples that do not
/// compile.
// Origin: pitfall 19
#[test]
fn no_scope_ends_before_what_borrows_from_it() {
    let pool = pool(2, 2);
    for panics in [false, true] {
        let (gate, ends) = (Gate::new(), AtomicUsize::new(0));
        let (pass, open) = (gate.clone(), gate.clone());
        let opener = thread::spawn(move || {
            nothing_happens();
            open.open();
        });
        let left = catch_unwind(AssertUnwindSafe(|| {
            pool.scope(|scope| {
                for _ in 0..10 {
                    let (pass, ends) = (pass.clone(), &ends);
                    forget(scope.spawn(move || {
                        pass.pass();
                        ends.fetch_add(1, Ordering::SeqCst);
                    }));
                }
                if panics {
                    quiet_panic("out of here");
                }
            });
        }));
        assert_eq!((left.is_err(), ends.load(Ordering::SeqCst)), (panics, 10));
        opener.join().unwrap();
    }
    check_sound(&pool);
}
