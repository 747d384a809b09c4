//! Panics, one place after another: that task reports it, everybody else goes on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sidestep::{OnShutdown, Pool, TaskOptions, current};

use crate::support::{Drops, Gate, PanicOnDrop, check_sound, eventually, occupy, pool, quiet_panic, soon};

/// One pool of one thread, busy until the gate opens.
fn busy() -> (Pool, Gate, sidestep::Task<()>) {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let running = occupy(&pool, &gate);
    (pool, gate, running)
}

#[test]
fn in_a_closure() {
    let (pool, gate, running) = busy();
    let awaited = pool.spawn(|| quiet_panic("awaited"));
    pool.spawn(|| quiet_panic("detached")).detach();
    let formatted = pool.spawn(|| panic!("{} {}", "formatted", 1));
    gate.open();
    soon(running).unwrap();
    let error = soon(awaited).unwrap_err();
    assert!(error.is_panic() && !error.is_cancelled(), "{error}");
    assert!(error.to_string().contains("awaited"), "{error}");
    assert_eq!(error.try_into_panic().unwrap().downcast_ref(), Some(&"awaited"));
    assert!(soon(formatted).unwrap_err().to_string().contains("formatted 1"));
    check_sound(&pool);
    assert_eq!(pool.metrics().tasks_panicked(), 3);
    assert_eq!(pool.metrics().threads_peak(), 1, "the thread has survived");
}

#[test]
fn in_what_a_closure_has_captured() {
    let (pool, gate, running) = busy();
    let drops = Drops::new();
    let captured = PanicOnDrop(drops.clone());
    let task = pool.spawn(move || {
        let _captured = &captured;
    });
    gate.open();
    soon(running).unwrap();
    assert!(soon(task).unwrap_err().is_panic(), "the closure's own end");
    assert_eq!(drops.count(), 1);
    check_sound(&pool);
}

#[test]
fn in_the_drop_of_a_result_that_nobody_took() {
    let (pool, gate, running) = busy();
    let drops = Drops::new();
    let result = || PanicOnDrop(drops.clone());
    // Dropped before the end: one is running then, one is detached.
    let (started, leave) = (Gate::new(), Gate::new());
    let (announce, pass, value) = (started.clone(), leave.clone(), result());
    let dropped = pool.spawn(move || {
        announce.open();
        pass.pass();
        value
    });
    let value = result();
    pool.spawn(move || value).detach();
    let value = result();
    let late = pool.spawn(move || value);
    gate.open();
    soon(running).unwrap();
    started.pass();
    drop(dropped);
    leave.open();
    eventually("the last one ends", || late.is_finished());
    eventually("two results are dropped by the worker", || drops.count() == 2);
    // Dropped after the end: the destructor runs here, and does not unwind from the handle's drop.
    drop(late);
    assert_eq!(drops.count(), 3);
    check_sound(&pool);
    assert_eq!(pool.metrics().tasks_panicked(), 0, "the closures themselves have returned");
}

#[test]
fn in_the_drop_of_a_result_that_a_cancelling_gave_up() {
    let (pool, gate, running) = busy();
    let drops = Drops::new();
    let value = PanicOnDrop(drops.clone());
    let started = Gate::new();
    let announce = started.clone();
    let task = pool.spawn(move || {
        announce.open();
        value
    });
    gate.open();
    soon(running).unwrap();
    started.pass();
    drop(task.cancel());
    eventually("the result is dropped", || drops.count() == 1);
    check_sound(&pool);
}

#[test]
fn in_the_drop_of_a_panic_payload() {
    let (pool, gate, running) = busy();
    let drops = Drops::new();
    let payload = || PanicOnDrop(drops.clone());
    let (first, second, third) = (payload(), payload(), payload());
    pool.spawn(move || quiet_panic(first)).detach();
    let (started, leave) = (Gate::new(), Gate::new());
    let (announce, pass) = (started.clone(), leave.clone());
    let dropped = pool.spawn(move || {
        announce.open();
        pass.pass();
        quiet_panic(second)
    });
    let late = pool.spawn(move || quiet_panic(third));
    gate.open();
    soon(running).unwrap();
    started.pass();
    drop(dropped);
    leave.open();
    eventually("the last one ends", || late.is_finished());
    eventually("two payloads are dropped by the worker", || drops.count() == 2);
    drop(late);
    assert_eq!(drops.count(), 3, "the third by the handle");
    check_sound(&pool);
    assert_eq!(pool.metrics().tasks_panicked(), 3);
}

#[test]
fn in_a_hook_with_a_payload_that_panics_too() {
    let (pool, gate, running) = busy();
    let drops = Drops::new();
    let (payload, seen) = (PanicOnDrop(drops.clone()), drops.clone());
    let ready = Gate::new();
    let announce = ready.clone();
    let task = pool.spawn(move || {
        let _guard = current::on_cancel(move || quiet_panic(payload));
        announce.open();
        eventually("the hook runs", || seen.count() == 1);
        // One more, run at once on this thread.
        let _late = current::on_cancel(|| quiet_panic("a late hook"));
        42
    });
    gate.open();
    soon(running).unwrap();
    ready.pass();
    assert_eq!(task.cancel().wait().unwrap(), 42, "the hook's panic is not the closure's");
    assert_eq!(drops.count(), 1);
    check_sound(&pool);
    assert_eq!(pool.metrics().tasks_panicked(), 0);
}

#[test]
fn in_the_drop_of_a_hook() {
    let pool = pool(1, 1);
    let drops = Drops::new();
    let (first, second) = (PanicOnDrop(drops.clone()), PanicOnDrop(drops.clone()));
    let task = pool.spawn(move || {
        drop(current::on_cancel(move || drop(first)));
        std::mem::forget(current::on_cancel(move || drop(second)));
        42
    });
    assert_eq!(soon(task).unwrap(), 42);
    assert_eq!(drops.count(), 2);
    check_sound(&pool);
}

#[test]
fn in_a_callback_with_a_payload_that_panics_too() {
    let (pool, gate, running) = busy();
    let drops = Drops::new();
    let payload = PanicOnDrop(drops.clone());
    pool.spawn(|| ()).on_complete(move |_| quiet_panic(payload));
    let ignored = PanicOnDrop(drops.clone());
    pool.spawn(move || ignored).on_complete(drop);
    gate.open();
    soon(running).unwrap();
    check_sound(&pool);
    assert_eq!(drops.count(), 2);
}

#[test]
fn in_the_drop_of_a_closure_that_did_not_run() {
    let (pool, gate, running) = busy();
    let drops = Drops::new();
    let closure = || {
        let captured = PanicOnDrop(drops.clone());
        move || drop(captured)
    };
    drop(pool.spawn(closure()));
    assert!(pool.spawn(closure()).cancel().wait().unwrap_err().is_cancelled());
    let task = pool.spawn(closure());
    task.cancel_handle().cancel();
    assert_eq!(drops.count(), 3, "none of them has unwound into the canceller");
    gate.open();
    soon(running).unwrap();
    check_sound(&pool);
    assert!(soon(task).unwrap_err().is_cancelled());
}

#[test]
fn in_the_drop_of_a_closure_that_was_refused_or_discarded() {
    let gate = Gate::new();
    let pool = Pool::builder().max_threads(1).queue_limit(1).build().unwrap();
    let running = occupy(&pool, &gate);
    let drops = Drops::new();
    let closure = || {
        let captured = PanicOnDrop(drops.clone());
        move || drop(captured)
    };
    let queued = pool.spawn(closure());
    assert!(pool.spawn(closure()).wait().unwrap_err().is_full());
    assert_eq!(drops.count(), 1);
    let shutdown = pool.shutdown().discard_queued();
    assert_eq!(drops.count(), 2);
    assert!(soon(queued).unwrap_err().is_shutdown());
    assert!(pool.spawn(closure()).wait().unwrap_err().is_shutdown());
    assert_eq!(drops.count(), 3);
    gate.open();
    soon(running).unwrap();
    let report = shutdown.wait();
    assert_eq!((report.completed, report.discarded, report.still_running), (1, 1, 0));
}

#[test]
fn in_the_hooks_of_threads() {
    let starts = Arc::new(AtomicUsize::new(0));
    let stops = Arc::new(AtomicUsize::new(0));
    let (started, stopped) = (Arc::clone(&starts), Arc::clone(&stops));
    let pool = Pool::builder()
        .core_threads(1)
        .max_threads(1)
        .on_thread_start(move || {
            started.fetch_add(1, Ordering::SeqCst);
            quiet_panic("on_thread_start");
        })
        .on_thread_stop(move || {
            stopped.fetch_add(1, Ordering::SeqCst);
            quiet_panic("on_thread_stop");
        })
        .build()
        .unwrap();
    check_sound(&pool);
    for _ in 0..10 {
        soon(pool.spawn(current::retire_thread)).unwrap();
    }
    check_sound(&pool);
    assert_eq!(pool.metrics().threads_peak(), 1);
    let report = pool.shutdown().wait();
    assert_eq!(report.still_running, 0);
    assert_eq!((starts.load(Ordering::SeqCst), stops.load(Ordering::SeqCst)), (11, 11));
    assert_eq!(pool.metrics().threads(), 0);
}

#[test]
fn in_an_awaited_shutdown() {
    struct Panics;
    impl std::task::Wake for Panics {
        fn wake(self: Arc<Self>) {
            quiet_panic("a waker");
        }
    }
    let (pool, gate, running) = busy();
    let mut shutdown = pool.shutdown();
    let waker = std::task::Waker::from(Arc::new(Panics));
    assert!(crate::support::poll(&mut shutdown, &waker).is_pending());
    gate.open();
    soon(running).unwrap();
    assert_eq!(pool.shutdown().wait().still_running, 0);
}

#[test]
fn in_code_around_a_wait_in_place() {
    let pool = pool(1, 1);
    let inner = pool.clone();
    let task = pool.spawn(move || {
        let nested = inner.spawn(|| quiet_panic("a nested closure")).wait();
        let blocked = catch_unwind(AssertUnwindSafe(|| current::will_block(|| quiet_panic("inside"))));
        (nested.unwrap_err().is_panic(), blocked.is_err(), inner.metrics().threads_blocked())
    });
    assert_eq!(soon(task).unwrap(), (true, true, 0));
    check_sound(&pool);
    assert_eq!(pool.metrics().tasks_panicked(), 1);
}

#[test]
fn ten_thousand_panics_cost_no_thread() {
    let pool = pool(2, 2);
    let tasks: Vec<_> = (0..10_000).map(|_| pool.spawn(|| quiet_panic("one of many"))).collect();
    assert!(tasks.into_iter().all(|task| soon(task).unwrap_err().is_panic()));
    check_sound(&pool);
    let metrics = pool.metrics();
    assert_eq!(metrics.tasks_panicked(), 10_000);
    assert!(metrics.threads() <= 2 && metrics.threads_peak() <= 2, "{metrics:?}");
}

/// A panic kills a worker or hangs a waiter; destructors of results and payloads panic: glommio,
/// futures-rs, tikv.
// Origin: pitfall 11
#[test]
fn a_panic_anywhere_costs_one_task_only() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let drops = Drops::new();
    let bomb = || PanicOnDrop(drops.clone());
    let (result, payload, captured, late) = (bomb(), bomb(), bomb(), bomb());
    pool.spawn(move || result).detach();
    pool.spawn(move || quiet_panic(payload)).detach();
    pool.spawn(|| ()).on_complete(|_| quiet_panic("a callback"));
    drop(pool.spawn(move || drop(captured)));
    let awaited = pool.spawn(|| quiet_panic("a closure"));
    gate.open();
    soon(running).unwrap();
    assert!(soon(awaited).unwrap_err().is_panic());
    let unread = pool.spawn(move || late);
    eventually("it ends", || unread.is_finished());
    drop(unread);
    check_sound(&pool);
    assert_eq!(drops.count(), 4);
    assert_eq!(pool.metrics().threads_peak(), 1);
}

/// The pool keeps references of its own to tasks with a deadline, and to those that a shutdown is
/// to discard.
fn remembered(pool: &Pool) -> [TaskOptions<'_>; 2] {
    let late = pool.options().expire_after(Duration::from_secs(1000));
    [late, pool.options().on_shutdown(OnShutdown::Discard)]
}

#[test]
fn what_a_detached_task_panicked_with_does_not_outlive_it_in_the_lists_of_the_pool() {
    let (pool, gate, drops) = (pool(1, 1), Gate::new(), Drops::new());
    let busy = occupy(&pool, &gate);
    for options in remembered(&pool) {
        let payload = drops.token();
        options.spawn(move || quiet_panic(payload)).detach();
    }
    let payload = drops.token();
    let task = pool.spawn(move || quiet_panic(payload));
    let _kept = task.cancel_handle();
    task.detach();
    gate.open();
    soon(busy).unwrap();
    eventually("the payloads are dropped", || drops.count() == 3);
    check_sound(&pool);
}

#[test]
fn what_a_task_panicked_with_goes_with_its_handle() {
    let (pool, drops) = (pool(1, 1), Drops::new());
    for (dropped, options) in remembered(&pool).into_iter().enumerate() {
        let payload = drops.token();
        let task = options.spawn(move || quiet_panic(payload));
        eventually("it has ended", || task.is_finished());
        assert_eq!(drops.count(), dropped, "its handle may still ask");
        if dropped == 0 {
            drop(task)
        } else {
            task.detach()
        }
        assert_eq!(drops.count(), dropped + 1);
    }
    check_sound(&pool);
}
