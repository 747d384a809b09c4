//! The tasks of a scope are cancelled with the task that the scope was opened in.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;

use sidestep::{Pool, current};

use super::Writes;
use crate::support::{Drops, Gate, check_sound, eventually, nothing_happens, occupy, pool, soon};

/// Returns when the task that this code belongs to has been cancelled.
fn until_cancelled() {
    eventually("the cancellation arrives", current::is_cancelled);
}

#[test]
fn a_running_task_of_a_scope_sees_the_cancellation_of_its_opener() {
    let pool = pool(2, 4);
    for waits in [false, true] {
        let (started, ended) = (Gate::new(), Gate::new());
        let (inner, announce, end) = (pool.clone(), started.clone(), ended.clone());
        let task = pool.spawn(move || {
            inner.scope(|scope| {
                let child = scope.spawn(|| {
                    assert!(!current::is_cancelled());
                    assert!(current::check().is_ok());
                    announce.open();
                    until_cancelled();
                    assert!(current::check().is_err());
                });
                if waits {
                    child.wait().unwrap();
                }
            });
            end.open();
        });
        started.pass();
        drop(task);
        ended.pass();
    }
    check_sound(&pool);
}

#[test]
fn the_hooks_of_a_running_task_run_once_on_the_canceller() {
    let pool = pool(2, 4);
    let (started, hooked) = (Gate::new(), channel());
    let (inner, announce) = (pool.clone(), started.clone());
    let task = pool.spawn(move || {
        inner.scope(|scope| {
            scope.spawn(|| {
                let sender = hooked.0.clone();
                let _hook = current::on_cancel(move || sender.send(thread::current().id()).unwrap());
                announce.open();
                until_cancelled();
            });
        });
    });
    started.pass();
    let handle = task.cancel_handle();
    handle.cancel();
    handle.cancel();
    soon(task).unwrap();
    assert_eq!(hooked.1.iter().collect::<Vec<_>>(), [thread::current().id()]);
}

#[test]
fn a_queued_task_of_a_scope_ends_at_once_and_its_closure_is_dropped() {
    let pool = pool(1, 1);
    let (spawned, go, borrowed) = (Gate::new(), Gate::new(), Arc::new(AtomicUsize::new(0)));
    let (inner, announce, pass, count) = (pool.clone(), spawned.clone(), go.clone(), Arc::clone(&borrowed));
    let task = pool.spawn(move || {
        inner.scope(|scope| {
            let token = Writes(&count);
            let child = scope.spawn(move || {
                let _token = token;
                "it ran"
            });
            announce.open();
            pass.pass();
            assert!(child.is_finished());
            child.wait().unwrap_err()
        })
    });
    spawned.pass();
    let handle = task.cancel_handle();
    handle.cancel();
    assert_eq!(borrowed.load(Ordering::SeqCst), 1, "by the time that `cancel` returns");
    go.open();
    let error = soon(task).unwrap();
    assert!(error.is_cancelled(), "{error}");
    assert_eq!(pool.metrics().tasks_cancelled(), 1);
    check_sound(&pool);
}

#[test]
fn a_scope_panics_if_a_task_was_cancelled_and_its_handle_not_asked() {
    let pool = pool(1, 1);
    let (spawned, go) = (Gate::new(), Gate::new());
    let (inner, announce, pass) = (pool.clone(), spawned.clone(), go.clone());
    let task = pool.spawn(move || {
        inner.scope(|scope| {
            scope.spawn(|| "it ran");
            announce.open();
            pass.pass();
        });
        unreachable!("what follows a scope may rely on its tasks");
    });
    spawned.pass();
    let handle = task.cancel_handle();
    handle.cancel();
    go.open();
    let payload = soon::<()>(task).unwrap_err().try_into_panic().unwrap();
    let text = payload.downcast_ref::<String>().unwrap();
    assert!(text.contains("was cancelled before it ran"), "{text}");
    check_sound(&pool);
}

#[test]
fn a_task_that_is_spawned_after_the_cancellation_does_not_run() {
    let pool = pool(2, 2);
    for opened_before in [false, true] {
        let (started, go) = (Gate::new(), Gate::new());
        let (inner, announce, pass) = (pool.clone(), started.clone(), go.clone());
        let task = pool.spawn(move || {
            let wait = || {
                announce.open();
                pass.pass();
                assert!(current::is_cancelled());
            };
            if !opened_before {
                wait();
            }
            inner.scope(|scope| {
                if opened_before {
                    wait();
                }
                scope.spawn(|| "it ran").wait().unwrap_err()
            })
        });
        started.pass();
        let handle = task.cancel_handle();
        handle.cancel();
        go.open();
        assert!(soon(task).unwrap().is_cancelled());
    }
    check_sound(&pool);
}

#[test]
fn nested_scopes_on_any_pool_are_reached() {
    let (first, second) = (pool(2, 4), pool(2, 4));
    let (started, ended) = (channel(), Gate::new());
    let (outer, inner, end) = (first.clone(), second.clone(), ended.clone());
    let task = first.spawn(move || {
        let sender = started.0;
        inner.scope(|middle| {
            middle.spawn(|| {
                outer.scope(|innermost| {
                    innermost.spawn(|| {
                        sender.send(()).unwrap();
                        until_cancelled();
                    });
                });
                until_cancelled();
            });
            until_cancelled();
        });
        end.open();
    });
    started.1.recv().unwrap();
    drop(task);
    ended.pass();
    check_sound(&first);
    check_sound(&second);
}

#[test]
fn a_scope_of_no_task_and_one_that_has_ended_are_not_reached() {
    let pool = pool(2, 4);
    // The body of a scope is part of what is around it: here of no task.
    pool.scope(|scope| {
        scope.spawn(|| assert!(!current::is_cancelled())).wait().unwrap();
    });
    let (started, go) = (Gate::new(), Gate::new());
    let (inner, announce, pass) = (pool.clone(), started.clone(), go.clone());
    let task = pool.spawn(move || {
        let value = inner.scope(|scope| scope.spawn(|| 7).wait().unwrap());
        announce.open();
        pass.pass();
        value
    });
    started.pass();
    let handle = task.cancel_handle();
    handle.cancel();
    go.open();
    assert_eq!(soon(task).unwrap(), 7);
    assert_eq!(pool.metrics().tasks_cancelled(), 0);
}

#[test]
fn a_plain_task_that_a_cancelled_one_has_spawned_goes_on() {
    let pool = pool(2, 4);
    let (started, go) = (Gate::new(), Gate::new());
    let (inner, announce, pass) = (pool.clone(), started.clone(), go.clone());
    let task = pool.spawn(move || {
        inner.scope(|scope| {
            let plain = inner.clone();
            scope
                .spawn(move || {
                    let other = plain.spawn(move || {
                        pass.pass();
                        current::is_cancelled()
                    });
                    announce.open();
                    until_cancelled();
                    other.wait().unwrap()
                })
                .wait()
                .unwrap()
        })
    });
    started.pass();
    let handle = task.cancel_handle();
    handle.cancel();
    go.open();
    assert!(!soon(task).unwrap(), "it is no task of the scope");
}

/// The hook of one task of the scope cancels the opener again, spawns and waits.
#[test]
fn a_hook_may_use_the_pool() {
    let pool = pool(2, 4);
    let started = Gate::new();
    let (inner, announce) = (pool.clone(), started.clone());
    let task = pool.spawn(move || {
        inner.scope(|scope| {
            let pool = inner.clone();
            scope
                .spawn(move || {
                    let found = Arc::new(Mutex::new(None));
                    let put = Arc::clone(&found);
                    let hook = current::on_cancel(move || {
                        *put.lock().unwrap() = Some(pool.spawn(|| 42).wait().unwrap());
                    });
                    announce.open();
                    until_cancelled();
                    drop(hook);
                    let found = found.lock().unwrap().take();
                    found
                })
                .wait()
                .unwrap()
        })
    });
    started.pass();
    let handle = task.cancel_handle();
    handle.cancel();
    assert_eq!(soon(task).unwrap(), Some(42));
}

#[test]
fn many_tasks_are_each_run_or_dropped_and_never_both() {
    let pool = pool(2, 4);
    for round in 0..50 {
        let (drops, ran) = (Drops::new(), Arc::new(AtomicUsize::new(0)));
        let started = Gate::new();
        let (inner, announce, tokens, count) =
            (pool.clone(), started.clone(), drops.clone(), Arc::clone(&ran));
        let task = pool.spawn(move || {
            let mut spawned = 0;
            inner.scope(|scope| {
                let mut handles = Vec::new();
                for number in 0..200 {
                    let token = tokens.token();
                    let count = &count;
                    handles.push(scope.spawn(move || {
                        let _token = token;
                        count.fetch_add(1, Ordering::SeqCst);
                    }));
                    spawned += 1;
                    if number == round {
                        announce.open();
                    }
                }
                let failed = handles.into_iter().filter_map(|handle| handle.wait().err());
                (spawned, failed.inspect(|error| assert!(error.is_cancelled())).count())
            })
        });
        started.pass();
        let handle = task.cancel_handle();
        handle.cancel();
        let (spawned, failed) = soon(task).unwrap();
        assert_eq!(drops.count(), spawned);
        assert_eq!(ran.load(Ordering::SeqCst) + failed, spawned);
    }
    check_sound(&pool);
}

/// A chain of scopes, each in a task of the one before, is cancelled by a thread with little stack.
#[test]
fn a_deep_nest_of_scopes_is_cancelled_on_a_small_stack() {
    fn nest(pool: &Pool, left: u32, deepest: &Gate) {
        pool.scope(|scope| {
            scope.spawn(|| {
                if left > 0 {
                    return nest(pool, left - 1, deepest);
                }
                deepest.open();
                until_cancelled();
            });
        });
    }
    let pool = Pool::builder().core_threads(1).max_threads(1).stack_size(64 << 20).build().unwrap();
    let deepest = Gate::new();
    let (inner, open) = (pool.clone(), deepest.clone());
    let task = pool.spawn(move || nest(&inner, 1000, &open));
    deepest.pass();
    let canceller = task.cancel_handle();
    let thread = thread::Builder::new().stack_size(128 << 10);
    thread.spawn(move || canceller.cancel()).unwrap().join().unwrap();
    soon(task).unwrap();
    check_sound(&pool);
}

#[test]
fn the_scope_waits_for_a_task_that_goes_on_in_spite_of_it() {
    let pool = pool(2, 4);
    let (started, go, over) = (Gate::new(), Gate::new(), Gate::new());
    let (inner, announce, pass, end) = (pool.clone(), started.clone(), go.clone(), over.clone());
    let task = pool.spawn(move || {
        let local = String::from("borrowed");
        let text = inner.scope(|scope| {
            let child = scope.spawn(|| {
                announce.open();
                pass.pass();
                local.as_str()
            });
            child.wait().unwrap()
        });
        assert_eq!(text, "borrowed");
        end.open();
    });
    started.pass();
    drop(task);
    nothing_happens();
    assert_eq!(pool.metrics().tasks_running(), 2);
    go.open();
    over.pass();
    check_sound(&pool);
}

#[test]
fn a_full_pool_cancels_what_waits_for_its_threads() {
    let pool = pool(1, 2);
    let gate = Gate::new();
    let (spawned, inner) = (Gate::new(), pool.clone());
    let announce = spawned.clone();
    let busy = occupy(&pool, &gate);
    let task = pool.spawn(move || {
        inner.scope(|scope| {
            let children: Vec<_> = (0..100).map(|_| scope.spawn(|| ())).collect();
            announce.open();
            until_cancelled();
            children.into_iter().filter_map(|child| child.wait().err()).count()
        })
    });
    spawned.pass();
    let handle = task.cancel_handle();
    handle.cancel();
    assert_eq!(soon(task).unwrap(), 100);
    gate.open();
    soon(busy).unwrap();
    check_sound(&pool);
}
