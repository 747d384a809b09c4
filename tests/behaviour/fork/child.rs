//! In the child of a fork no pool has a thread: every handle says so, and nothing hangs.
#![cfg(unix)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use sidestep::{CancelHandle, Dedicated, Lane, Pool, Strand, Task, current};

use crate::support::fork::{Checks, in_child};
use crate::support::{
    Crowd, Drops, Gate, PATIENCE, Wakes, check_sound, eventually, occupy, poll, pool, soon,
};

/// A pool in full use: one thread busy, one task queued.
fn busy() -> (Pool, Gate, Task<()>, Task<i32>) {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let running = occupy(&pool, &gate);
    let queued = pool.spawn(|| 42);
    (pool, gate, running, queued)
}

/// Checks that a fork has not touched the parent's pool.
fn check_parent(pool: &Pool, gate: &Gate, running: Task<()>, queued: Task<i32>) {
    gate.open();
    soon(running).unwrap();
    assert_eq!(soon(queued).unwrap(), 42);
    check_sound(pool);
}

#[test]
fn submitting_in_the_child_says_that_there_is_no_thread() {
    let (pool, gate, running, queued) = busy();
    let status = in_child(|list| {
        let task = pool.spawn(|| 1);
        list.check(task.is_finished());
        list.no_thread(task.wait());
        list.no_thread(sidestep::block_on(pool.spawn(|| 1)));
        let rejected = pool.try_spawn(|| 43).err();
        list.check(rejected.as_ref().is_some_and(|rejected| rejected.error().is_no_thread()));
        list.check(rejected.is_some_and(|rejected| rejected.into_inner()() == 43));
        let error = pool.spawn(|| 1).wait().err();
        list.check(error.as_ref().is_some_and(|error| std::error::Error::source(error).is_some()));
        list.check(error.is_some_and(|error| error.to_string().contains("fork")));
        list.no_thread(pool.clone().spawn(|| 1).wait());
    });
    assert_eq!(status, 0);
    check_parent(&pool, &gate, running, queued);
}

#[test]
fn a_handle_from_before_the_fork_resolves_in_every_way() {
    const WAYS: usize = 8;
    let (pool, gate) = (pool(2, 2), Gate::new());
    let (first, second) = (occupy(&pool, &gate), occupy(&pool, &gate));
    let mut queued: Vec<_> = (0..WAYS).map(|_| pool.spawn(|| 42)).collect();
    let status = in_child(|list| {
        list.check(first.is_finished());
        list.no_thread(first.wait());
        list.no_thread(sidestep::block_on(second));
        let mut next = || queued.pop().unwrap();
        list.no_thread(next().wait());
        list.no_thread(sidestep::block_on(next()));
        let mut polled = next();
        let ready = poll(&mut polled, Waker::noop());
        list.check(matches!(ready, Poll::Ready(Err(error)) if error.is_no_thread()));
        for timeout in [Duration::ZERO, Duration::MAX] {
            let end = next().wait_timeout(timeout);
            list.check(matches!(end, Ok(Err(error)) if error.is_no_thread()));
        }
        let (send, receive) = channel();
        next().on_complete(move |end| drop(send.send(end)));
        list.no_thread(receive.try_recv().unwrap_or(Ok(0)));
        list.check(next().cancel().wait().is_err());
        drop(next());
    });
    assert_eq!(status, 0);
    // The closure above took the parent's handles along: they are dropped here, which cancels what
    // is queued.
    gate.open();
    check_sound(&pool);
}

#[test]
fn handles_of_the_parent_are_not_touched_by_what_the_child_does() {
    let (pool, gate, running, queued) = busy();
    let (cancels, cancels_running) = (queued.cancel_handle(), running.cancel_handle());
    let status = in_child(|list| {
        cancels.cancel();
        cancels_running.cancel();
        list.check(true);
    });
    assert_eq!(status, 0);
    check_parent(&pool, &gate, running, queued);
}

#[test]
fn the_rest_of_a_pool_does_not_hang_in_the_child() {
    let (pool, gate, running, queued) = busy();
    let another = Pool::builder().core_threads(1).build().unwrap();
    let status = in_child(|list| {
        list.check(pool.metrics().threads() == 0);
        list.check(format!("{pool:?}").contains("Pool"));
        let report = pool.shutdown().discard_queued().wait();
        list.check(report.still_running == 0 && report.discarded == 0);
        list.check(sidestep::block_on(pool.shutdown().timeout(Duration::MAX)).still_running == 0);
        list.no_thread(pool.spawn(|| 1).wait());
        drop(another);
        drop(pool.clone());
    });
    assert_eq!(status, 0);
    check_parent(&pool, &gate, running, queued);
}

#[test]
fn a_fresh_pool_works_in_the_child() {
    let (old, gate, running, queued) = busy();
    let status = in_child(|list| {
        let Ok(fresh) = Pool::builder().core_threads(2).max_threads(8).build() else {
            return list.check(false);
        };
        list.check(fresh.spawn(|| 42).wait().ok() == Some(42));
        let inner = fresh.clone();
        let nested = fresh.spawn(move || (0..10).filter(|_| inner.spawn(|| ()).wait().is_ok()).count());
        list.check(nested.wait().ok() == Some(10));
        list.no_thread(old.spawn(|| 1).wait());
        list.check(fresh.shutdown().wait().still_running == 0);
        list.check(fresh.metrics().threads() == 0);
    });
    assert_eq!(status, 0);
    check_parent(&old, &gate, running, queued);
}

#[test]
fn the_child_of_a_child_is_a_child_too() {
    let (old, gate, running, queued) = busy();
    let status = in_child(|list| {
        let Ok(fresh) = Pool::builder().core_threads(1).max_threads(1).build() else {
            return list.check(false);
        };
        list.check(fresh.spawn(|| 42).wait().is_ok());
        let status = in_child(|list| {
            list.no_thread(fresh.spawn(|| 1).wait());
            list.no_thread(old.spawn(|| 1).wait());
        });
        list.check(status == 0);
        list.check(fresh.spawn(|| 43).wait().is_ok());
    });
    assert_eq!(status, 0);
    check_parent(&old, &gate, running, queued);
}

/// Forks inside a task, with more tasks queued than there can be threads, and checks there.
fn in_child_of_a_task(checks: fn(&mut Checks, &Pool, Task<i32>, CancelHandle)) {
    let pool = pool(1, 4);
    let (inner, (send, receive)) = (pool.clone(), channel::<CancelHandle>());
    let task = pool.spawn(move || {
        let me = receive.recv().unwrap();
        let gate = Gate::new();
        let nested: Vec<_> = (0..8)
            .map(|_| {
                let pass = gate.clone();
                inner.spawn(move || {
                    pass.pass();
                    42
                })
            })
            .collect();
        let nested = Arc::new(Mutex::new(nested));
        let handles = Arc::clone(&nested);
        let status = in_child(|list| {
            let last = handles.lock().unwrap().pop().unwrap();
            checks(list, &inner, last, me);
        });
        gate.open();
        let nested = std::mem::take(&mut *nested.lock().unwrap());
        (status, nested.into_iter().map(|task| task.wait().unwrap()).sum::<i32>())
    });
    send.send(task.cancel_handle()).unwrap();
    assert_eq!(soon(task).unwrap(), (0, 8 * 42));
    check_sound(&pool);
}

#[test]
fn a_task_may_fork_and_use_the_pool_in_the_child() {
    in_child_of_a_task(|list, pool, nested, _me| {
        list.no_thread(pool.spawn(|| 1).wait());
        list.no_thread(nested.wait());
        list.check(pool.metrics().threads() == 0);
        list.check(pool.shutdown().wait().still_running == 0);
    });
}

#[test]
fn a_task_may_fork_and_ask_what_a_closure_may_ask_in_the_child() {
    in_child_of_a_task(|list, _pool, nested, me| {
        list.check(!current::is_cancelled());
        list.check(current::will_block(|| 1) == 1);
        list.check(sidestep::block_on(async { 2 }) == 2);
        list.no_thread(sidestep::block_on(nested));
        let hooked = Drops::new();
        let token = hooked.token();
        let guard = current::on_cancel(move || drop(token));
        me.cancel();
        list.check(current::is_cancelled());
        drop(guard);
        current::retire_thread();
    });
}

#[test]
fn a_hook_from_before_the_fork_runs_in_the_parent_alone() {
    let pool = pool(1, 1);
    let (gate, ran) = (Gate::new(), Arc::new(AtomicUsize::new(0)));
    let (pass, counts, (ready, begun)) = (gate.clone(), Arc::clone(&ran), channel());
    let task = pool.spawn(move || {
        let _guard = current::on_cancel(move || {
            counts.fetch_add(1, Ordering::SeqCst);
        });
        ready.send(()).unwrap();
        pass.pass();
    });
    begun.recv_timeout(PATIENCE).unwrap();
    let (handle, seen) = (task.cancel_handle(), Arc::clone(&ran));
    let status = in_child(|list| {
        handle.cancel();
        list.check(seen.load(Ordering::SeqCst) == 0);
    });
    assert_eq!(status, 0, "the lock of the hooks may be held for ever there");
    handle.cancel();
    assert_eq!(ran.load(Ordering::SeqCst), 1);
    gate.open();
    soon(task).unwrap();
}

/// How many threads this process has.
#[cfg(target_os = "linux")]
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

#[test]
#[cfg(target_os = "linux")]
fn blocking_in_the_child_of_a_task_starts_no_thread() {
    in_child_of_a_task(|list, _pool, nested, _me| {
        for _ in 0..100 {
            list.check(current::will_block(threads) == 1);
        }
        drop(nested);
        list.check(threads() == 1);
    });
}

#[test]
fn the_child_hangs_on_no_lock_that_another_thread_held() {
    let pool = pool(2, 4);
    let stop = Arc::new(AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let (pool, stop) = (&pool, &stop);
            scope.spawn(move || {
                while stop.load(Ordering::SeqCst) == 0 {
                    let inner = pool.clone();
                    drop(pool.spawn(|| ()));
                    let _ = soon(pool.spawn(move || inner.spawn(|| ()).wait()));
                    let _ = pool.metrics();
                }
            });
        }
        for _ in 0..50 {
            let mut old = pool.spawn(|| 42);
            let status = in_child(|list| {
                list.no_thread(pool.spawn(|| 1).wait());
                let _ = poll(&mut old, Waker::noop());
                let _ = (pool.metrics(), pool.shutdown().wait());
                drop(pool.clone());
                list.check(true);
            });
            assert_eq!(status, 0);
        }
        stop.store(1, Ordering::SeqCst);
    });
    eventually("nothing is left", || pool.metrics().tasks_running() == 0);
    check_sound(&pool);
}

/// A forked child waits for threads that it does not have: tokio, lancedb.
// Origin: pitfall 26
#[test]
#[cfg(unix)]
fn a_forked_child_gets_an_error() {
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

/// Forks again and again while other threads use a lane, and has `child` look around.
#[cfg(unix)]
fn fork_under_load(child: impl Fn(&mut crate::support::fork::Checks, &Pool, &Lane)) {
    let pool = Pool::builder().max_threads(2).queue_limit(1).build().unwrap();
    let lane = pool.lane_builder("before", 1).queue_limit(1).build().unwrap();
    let gate = Gate::new();
    let running = crate::support::occupy_lane(&lane, &gate);
    let stop = AtomicBool::new(false);
    let failed = thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    drop(lane.try_spawn(|| ()));
                    let _ = (lane.metrics(), pool.metrics());
                }
            });
        }
        let fork = |_| crate::support::fork::in_child(|list| child(list, &pool, &lane));
        // On a slow machine fewer of them will do: the lane's task waits for no longer than
        // `PATIENCE`.
        let begun = Instant::now();
        let failed = (0..60)
            .take_while(|_| begun.elapsed() < crate::support::PATIENCE / 4)
            .map(fork)
            .find(|status| *status != 0);
        stop.store(true, Ordering::SeqCst);
        failed
    });
    gate.open();
    assert_eq!(failed, None, "-1: it hung");
    soon(running).unwrap();
}

#[cfg(unix)]
#[test]
fn a_lane_says_in_a_forked_child_that_there_is_no_thread() {
    fork_under_load(|list, pool, lane| {
        list.no_thread(lane.spawn(|| ()).wait());
        list.check(lane.try_spawn(|| ()).is_err_and(|rejected| rejected.error().is_no_thread()));
        list.no_thread(lane.options().expire_after(Duration::ZERO).spawn(|| ()).wait());
        list.check(lane.reserve().wait().is_err_and(|error| error.is_no_thread()));
        list.check(pool.reserve().wait().is_err_and(|error| error.is_no_thread()));
        list.check(pool.set_max_threads(1).is_ok());
        list.check(lane.metrics() == sidestep::LaneMetrics::default());
        drop(lane.clone());
    });
}

#[cfg(unix)]
#[test]
fn a_lane_can_be_made_in_a_forked_child() {
    fork_under_load(|list, pool, _| {
        let late = pool.lane_builder("after", 1).queue_limit(1).build().unwrap();
        list.no_thread(late.spawn(|| ()).wait());
        list.check(late.reserve().wait().is_err_and(|error| error.is_no_thread()));
    });
}

/// A forked child (trio empties its cache of threads there) hangs on no value of its parent, and
/// may have its own.
// Origin: trio 62
#[cfg(unix)]
#[test]
fn a_forked_child_hangs_on_no_value_of_its_parent() {
    let pool = pool(1, 1);
    let (strand, dedicated) = (Strand::on(&pool, vec![1]), Dedicated::new(|| vec![1]).unwrap());
    let (running, gate) = (Arc::new(Crowd::default()), Gate::new());
    let hold = || {
        let (running, pass) = (Arc::clone(&running), gate.clone());
        move |list: &mut Vec<i32>| {
            running.enter();
            pass.pass();
            list.push(2);
        }
    };
    let held = [strand.call(hold()), dedicated.call(hold())];
    eventually("both are in use", || running.now() == 2);
    let queued = [strand.call(|list| list.len()), dedicated.call(|list| list.len())];
    let status = crate::support::fork::in_child(|list| {
        queued.into_iter().for_each(|task| list.no_thread(task.wait()));
        held.into_iter().for_each(|task| list.no_thread(task.wait()));
        list.no_thread(strand.call(|_| ()).wait());
        list.no_thread(dedicated.call(|_| ()).wait());
        list.no_thread(strand.options().name("late").call(|_| ()).wait());
        list.check(!strand.is_poisoned() && !dedicated.is_poisoned());
        strand.clear_poison();
        list.no_thread(strand.clone().into_inner().wait());
        list.no_thread(dedicated.clone().close().wait());
        drop((strand, dedicated));
        let own = Dedicated::new(|| 40).ok();
        list.check(own.is_some_and(|own| own.call(|value| *value + 2).wait().ok() == Some(42)));
        let own = Pool::builder().core_threads(1).build().map(|pool| Strand::on(&pool, 40));
        list.check(own.is_ok_and(|own| own.into_inner().wait().ok() == Some(40)));
    });
    assert_eq!(status, 0);
    gate.open();
    check_sound(&pool);
}

/// Locks of files belong to the open file, which parent and child share.
#[cfg(feature = "fs")]
#[test]
fn a_child_that_drops_a_call_for_a_lock_leaves_the_lock_to_the_parent() {
    let path = tempfile::NamedTempFile::new().unwrap();
    let other = path.reopen().unwrap();
    let file = sidestep::fs::File::from(path.reopen().unwrap());
    let is_locked = || match other.try_lock() {
        Ok(()) => {
            other.unlock().unwrap();
            false
        }
        Err(error) => matches!(error, std::fs::TryLockError::WouldBlock),
    };
    let (mut call, wakes) = (Box::pin(file.lock()), Wakes::new());
    let waker = Waker::from(std::sync::Arc::clone(&wakes));
    assert!(call.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
    eventually("the pool has the lock, and its task has ended", || wakes.count() == 1 && is_locked());
    let call = std::cell::RefCell::new(Some(call));
    assert_eq!(in_child(|_| drop(call.borrow_mut().take())), 0);
    assert!(is_locked(), "the child has released the parent's lock");
    sidestep::block_on(call.into_inner().unwrap()).unwrap();
    assert!(is_locked());
}
