//! `wait` and its kin on the pool's own threads: never a deadlock, never a thread too many.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use sidestep::{CancelHandle, Pool, Task, TaskError, current};

use crate::support::{
    Gate, PATIENCE, all_well, check_sound, eventually, nothing_happens, occupy, pool, soon,
};

/// A task that waits for a task that waits for a task.
fn chain(pool: &Pool, depth: usize) -> usize {
    if depth == 0 {
        return 0;
    }
    let inner = pool.clone();
    pool.spawn(move || chain(&inner, depth - 1)).wait().unwrap() + 1
}

/// Starts a chain on the pool itself and waits for it.
fn chained(pool: &Pool, depth: usize) -> usize {
    let inner = pool.clone();
    soon(pool.spawn(move || chain(&inner, depth))).unwrap()
}

#[test]
fn a_chain_of_twice_the_core_below_max() {
    for core in 1..=4 {
        let pool = pool(core, 64);
        assert_eq!(chained(&pool, 2 * core), 2 * core);
        check_sound(&pool);
    }
}

#[test]
fn a_chain_longer_than_max_at_max() {
    for max in 1..=3 {
        let pool = pool(max, max);
        assert_eq!(chained(&pool, 200), 200);
        assert!(pool.metrics().threads_peak() <= max);
        check_sound(&pool);
    }
}

#[test]
fn a_chain_that_reaches_max_on_its_way() {
    let pool = pool(1, 8);
    assert_eq!(chained(&pool, 100), 100);
    assert!(pool.metrics().threads_peak() <= 8);
    check_sound(&pool);
}

#[test]
fn many_chains_at_once_at_max() {
    for max in 1..=4 {
        let pool = pool(1, max);
        let chains: Vec<_> = (0..20)
            .map(|_| {
                let inner = pool.clone();
                pool.spawn(move || chain(&inner, 20))
            })
            .collect();
        assert!(chains.into_iter().all(|task| soon(task).unwrap() == 20), "max_threads = {max}");
        check_sound(&pool);
    }
}

/// A task that waits for several which do the same.
fn tree(pool: &Pool, depth: u32) -> usize {
    if depth == 0 {
        return 1;
    }
    let children: Vec<_> = (0..3)
        .map(|_| {
            let inner = pool.clone();
            pool.spawn(move || tree(&inner, depth - 1))
        })
        .collect();
    // The last one first: it is the furthest back in the queue.
    children.into_iter().rev().map(|task| task.wait().unwrap()).sum()
}

#[test]
fn a_tree_of_waits_at_every_max() {
    for max in [1, 2, 3, 16] {
        let pool = pool(1, max);
        let inner = pool.clone();
        assert_eq!(soon(pool.spawn(move || tree(&inner, 5))).unwrap(), 243, "max_threads = {max}");
        check_sound(&pool);
    }
}

/// Two threads at most; A waits for the queued t1; the second thread takes z, which waits for A.
#[test]
fn a_waiter_tries_again_when_the_pool_becomes_full() {
    for _ in 0..200 {
        let pool = pool(1, 2);
        let (started, gate) = (Gate::new(), Gate::new());
        let (announce, pass) = (started.clone(), gate.clone());
        let (send, receive) = channel::<Task<u32>>();
        let a = pool.spawn(move || {
            announce.open();
            pass.pass();
            receive.recv().unwrap().wait().unwrap()
        });
        started.pass();
        let z = pool.spawn(move || a.wait().unwrap());
        send.send(pool.spawn(|| 42)).unwrap();
        gate.open();
        assert_eq!(soon(z).unwrap(), 42);
    }
}

/// The same with as many waiters as threads, each of which waits for the next.
#[test]
fn a_ring_of_waiters_resolves_from_its_end() {
    for max in 2..=5 {
        let pool = pool(1, max);
        let gate = Gate::new();
        let (send, receive) = channel::<Task<usize>>();
        let pass = gate.clone();
        let mut last = pool.spawn(move || {
            pass.pass();
            receive.recv().unwrap().wait().unwrap()
        });
        for _ in 0..2 * max {
            let before = last;
            last = pool.spawn(move || before.wait().unwrap() + 1);
        }
        send.send(pool.spawn(|| 0)).unwrap();
        gate.open();
        assert_eq!(soon(last).unwrap(), 2 * max);
        check_sound(&pool);
    }
}

#[test]
fn waiting_goes_on_while_the_pool_shuts_down() {
    for max in [1, 4] {
        let pool = pool(1, max);
        let (started, gate) = (Gate::new(), Gate::new());
        let (announce, pass, inner) = (started.clone(), gate.clone(), pool.clone());
        let task = pool.spawn(move || {
            let nested: Vec<_> = (0..10).map(|number| inner.spawn(move || number)).collect();
            announce.open();
            pass.pass();
            nested.into_iter().rev().map(|task| task.wait().unwrap()).sum::<i32>()
        });
        started.pass();
        let shutdown = pool.shutdown();
        gate.open();
        assert_eq!(soon(task).unwrap(), 45, "max_threads = {max}");
        assert_eq!(shutdown.wait().still_running, 0);
    }
}

#[test]
fn wait_timeout_never_runs_its_target() {
    let pool = pool(1, 1);
    let inner = pool.clone();
    let task = pool.spawn(move || {
        let ran = Arc::new(AtomicBool::new(false));
        let mark = Arc::clone(&ran);
        let queued = inner.spawn(move || mark.store(true, Ordering::SeqCst));
        let Err(queued) = queued.wait_timeout(Duration::from_millis(20)) else {
            panic!("the only thread is inside this closure")
        };
        assert!(!ran.load(Ordering::SeqCst) && !queued.is_finished());
        queued.wait().unwrap();
        ran.load(Ordering::SeqCst)
    });
    assert!(soon(task).unwrap(), "`wait` has run it");
    check_sound(&pool);
}

#[test]
fn a_task_that_waits_for_itself_is_told() {
    // Whether or not there could be another thread.
    for max in [1, 4] {
        let pool = pool(1, max);
        let (send, receive) = channel::<Task<Result<(), TaskError>>>();
        let (tell, told) = channel();
        let task = pool.spawn(move || {
            let end = receive.recv().unwrap().wait();
            tell.send(end.err().map(|error| error.is_deadlock())).unwrap();
            Ok(())
        });
        let id = task.id();
        send.send(task).unwrap();
        assert_eq!(told.recv_timeout(crate::support::PATIENCE), Ok(Some(true)), "{id}");
        check_sound(&pool);
        assert_eq!(pool.metrics().tasks_completed(), 101, "the closure went on and ended");
    }
}

#[test]
fn a_task_run_in_place_that_waits_for_its_waiter_is_told() {
    let pool = pool(1, 1);
    let (send, receive): (Sender<Task<bool>>, Receiver<Task<bool>>) = channel();
    let (tell, told) = channel();
    let inner = pool.clone();
    let outer = pool.spawn(move || {
        let nested = inner.spawn(move || receive.recv().unwrap().wait().map_err(|error| error.is_deadlock()));
        let end = nested.wait().unwrap();
        tell.send(end).unwrap();
        true
    });
    send.send(outer).unwrap();
    assert_eq!(told.recv_timeout(crate::support::PATIENCE), Ok(Err(true)));
    check_sound(&pool);
}

#[test]
fn nested_declarations_count_as_one_blocked_thread() {
    let pool = pool(1, 4);
    let (inside, gate) = (Gate::new(), Gate::new());
    let (announce, pass, inner) = (inside.clone(), gate.clone(), pool.clone());
    let task = pool.spawn(move || {
        let before = inner.metrics().threads_blocked();
        let slow = inner.spawn(move || pass.pass());
        current::will_block(|| {
            current::will_block(|| {
                announce.open();
                sidestep::block_on(slow).unwrap();
            });
            assert_eq!(inner.metrics().threads_blocked(), 1, "still inside the outer one");
        });
        (before, inner.metrics().threads_blocked())
    });
    inside.pass();
    nothing_happens();
    assert_eq!(pool.metrics().threads_blocked(), 1);
    gate.open();
    assert_eq!(soon(task).unwrap(), (0, 0));
    check_sound(&pool);
}

#[test]
fn a_task_run_in_place_is_not_blocked() {
    let pool = pool(1, 1);
    let inner = pool.clone();
    let task = pool.spawn(move || {
        let metrics = inner.clone();
        inner.spawn(move || metrics.metrics()).wait().unwrap()
    });
    let inside = soon(task).unwrap();
    assert_eq!((inside.threads_blocked(), inside.tasks_running()), (0, 2));
}

#[test]
fn a_task_behind_ten_thousand_newer_ones_is_run_alone() {
    let pool = pool(1, 1);
    let (started, gate) = (Gate::new(), Gate::new());
    let (announce, pass) = (started.clone(), gate.clone());
    let (send, receive) = channel::<Task<usize>>();
    let waiter = pool.spawn(move || {
        announce.open();
        pass.pass();
        receive.recv().unwrap().wait().unwrap()
    });
    started.pass();
    let ran = Arc::new(AtomicUsize::new(0));
    let others: Vec<_> = (0..10_000)
        .map(|_| {
            let ran = Arc::clone(&ran);
            pool.spawn(move || ran.fetch_add(1, Ordering::SeqCst))
        })
        .collect();
    let seen = Arc::clone(&ran);
    send.send(pool.spawn(move || seen.load(Ordering::SeqCst))).unwrap();
    gate.open();
    assert_eq!(soon(waiter).unwrap(), 0, "the target ran before all that stood in line");
    all_well(others);
    check_sound(&pool);
}

#[test]
fn a_task_of_another_pool_is_waited_for_and_runs_there() {
    let (mine, other) = (pool(1, 1), pool(1, 1));
    let gate = Gate::new();
    let busy = occupy(&other, &gate);
    let (inner, reached) = (other.clone(), Gate::new());
    let announce = reached.clone();
    let task = mine.spawn(move || {
        let foreign = inner.spawn(|| thread::current().id());
        announce.open();
        (thread::current().id(), foreign.wait().unwrap())
    });
    reached.pass();
    eventually("it waits", || mine.metrics().threads_blocked() == 1);
    nothing_happens();
    assert!(!task.is_finished(), "a foreign task is not run in place");
    gate.open();
    let (here, there) = soon(task).unwrap();
    assert_ne!(here, there);
    soon(busy).unwrap();
    check_sound(&mine);
    check_sound(&other);
}

#[test]
fn below_max_the_target_gets_a_thread_of_its_own() {
    let pool = pool(1, 64);
    let inner = pool.clone();
    let task =
        pool.spawn(move || (thread::current().id(), inner.spawn(|| thread::current().id()).wait().unwrap()));
    let (waiter, target) = soon(task).unwrap();
    assert_ne!(waiter, target);
}

#[test]
fn a_cancelled_waiter_and_its_target_are_told_apart() {
    let pool = pool(1, 1);
    let (send, receive) = channel::<CancelHandle>();
    let inner = pool.clone();
    let task = pool.spawn(move || {
        receive.recv().unwrap().cancel();
        let target = inner.spawn(current::is_cancelled).wait().unwrap();
        (current::is_cancelled(), target)
    });
    send.send(task.cancel_handle()).unwrap();
    assert_eq!(soon(task).unwrap(), (true, false), "the target was not cancelled");

    let (send, receive) = channel::<CancelHandle>();
    let inner = pool.clone();
    let task = pool.spawn(move || {
        let target = inner.spawn(move || {
            receive.recv().unwrap().cancel();
            current::is_cancelled()
        });
        send.send(target.cancel_handle()).unwrap();
        let target = target.wait().unwrap();
        (current::is_cancelled(), target)
    });
    assert_eq!(soon(task).unwrap(), (false, true), "the waiter was not cancelled");
}

#[test]
fn block_on_polls_on_this_thread_only_and_again_when_woken() {
    let pool = pool(1, 2);
    let inner = pool.clone();
    let task = pool.spawn(move || {
        let not_send = std::rc::Rc::new(42);
        sidestep::block_on(async {
            for number in 0..100 {
                assert_eq!(inner.spawn(move || number).await.unwrap(), number);
            }
            *not_send
        })
    });
    assert_eq!(soon(task).unwrap(), 42);
    check_sound(&pool);
}

/// The threads of FastAPI were all taken by requests that waited for their own clean-up. A request
/// that waits for the clean-up's handle runs it in place; requests in a lane below the maximum
/// leave a thread for it.
// Origin: FastAPI 110
#[test]
fn requests_that_wait_for_their_clean_up_get_it() {
    let pool = pool(1, 2);
    let cleaned = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&cleaned);
    let clean_up = move |pool: &Pool| {
        let count = Arc::clone(&count);
        pool.spawn(move || count.fetch_add(1, Ordering::SeqCst))
    };
    let requests: Vec<_> = (0..20)
        .map(|_| {
            let (inner, clean_up) = (pool.clone(), clean_up.clone());
            pool.spawn(move || clean_up(&inner).wait().unwrap())
        })
        .collect();
    all_well(requests);
    let lane = pool.lane("requests", 1);
    let requests: Vec<_> = (0..20)
        .map(|_| {
            let (inner, clean_up) = (pool.clone(), clean_up.clone());
            lane.spawn(move || {
                let (send, receive) = channel();
                clean_up(&inner).on_complete(move |end| send.send(end.unwrap()).unwrap());
                receive.recv_timeout(PATIENCE).unwrap()
            })
        })
        .collect();
    all_well(requests);
    assert_eq!(cleaned.load(Ordering::SeqCst), 40);
    check_sound(&pool);
}
