//! Attacks on tasks and their threads: shutdowns looked at in the wrong moment, waits in callbacks,
//! threads lent to foreign pools, evacuated deques, long chains of handles, subscribers that
//! misbehave.

use std::cell::RefCell;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use sidestep::{NewThread, OnShutdown, Pool, TaskOptions, current};

use crate::support::{Drops, Gate, PATIENCE, check_sound, eventually, occupy, pool, quiet_panic, soon};

fn os_thread(new: NewThread) -> io::Result<()> {
    thread::Builder::new().spawn(move || new.run()).map(drop)
}

/// Between the end of a retired thread and the start of the next one there is none; the queue is
/// not empty, though.
#[test]
fn a_shutdown_looked_at_while_the_only_thread_retires_has_not_ended() {
    const TASKS: u64 = 20;
    for _ in 0..100 {
        let pool = pool(1, 1);
        let gate = Gate::new();
        let busy = occupy(&pool, &gate);
        for _ in 1..TASKS {
            pool.spawn(current::retire_thread).detach();
        }
        drop(pool.shutdown());
        gate.open();
        let start = Instant::now();
        let report = loop {
            let report = pool.shutdown().timeout(Duration::ZERO).wait();
            if report.still_running == 0 {
                break report;
            }
            assert!(start.elapsed() < PATIENCE);
        };
        assert_eq!(report.completed + report.discarded, TASKS, "it has ended early: {report:?}");
        soon(busy).unwrap();
    }
}

/// A thread that waits inside a callback is as blocked as any other: its token must not keep the
/// pool from growing, so that it takes the monitor's patience until the target runs.
#[test]
fn a_wait_in_a_callback_gets_a_thread_without_the_monitor() {
    let pool = pool(1, 4);
    for _ in 0..10 {
        let (gate, inner) = (Gate::new(), pool.clone());
        let busy = occupy(&pool, &gate);
        let (send, receive) = channel();
        busy.on_complete(move |_| send.send(inner.spawn(|| 42).wait()).unwrap());
        gate.open();
        assert_eq!(receive.recv_timeout(PATIENCE).unwrap().unwrap(), 42);
    }
    assert_eq!(pool.metrics().growth_steps(), 0, "a declared wait is entitled to a thread at once");
    check_sound(&pool);
}

/// A callback belongs to no task, also where the task it was registered for has been run in place
/// inside another.
#[test]
fn a_callback_of_a_task_run_in_place_is_not_part_of_the_waiter() {
    let pool = pool(1, 1);
    let (started, gate) = (Gate::new(), Gate::new());
    let (announce, pass, inner) = (started.clone(), gate.clone(), pool.clone());
    let (send, receive) = channel();
    let waiter = pool.spawn(move || {
        announce.open();
        pass.pass();
        let stranger = inner.spawn(|| ());
        stranger.on_complete(move |_| send.send(current::is_cancelled()).unwrap());
        inner.shutdown().wait();
        current::is_cancelled()
    });
    started.pass();
    waiter.cancel_handle().cancel();
    gate.open();
    assert!(!receive.recv_timeout(PATIENCE).unwrap(), "nobody has cancelled the stranger");
    assert!(soon(waiter).unwrap(), "the waiter itself is cancelled");
}

/// A handle in a closure behind a handle in a closure: dropping the outermost must not recurse
/// through all of them.
#[test]
fn a_long_chain_of_queued_tasks_is_cancelled_without_a_deep_stack() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let busy = occupy(&pool, &gate);
    let mut last = pool.spawn(|| 0_usize);
    for _ in 0..100_000 {
        let before = last;
        last = pool.spawn(move || before.wait().map_or(0, |depth| depth + 1));
    }
    drop(last);
    assert_eq!(pool.metrics().tasks_cancelled(), 100_001, "all at once");
    gate.open();
    soon(busy).unwrap();
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

/// A start fails, and the task it was for is what the only thread waits for, by means the pool
/// cannot see. Nobody submits anything again.
#[test]
fn the_pool_recovers_from_a_refusal_by_itself() {
    let calls = AtomicUsize::new(0);
    let handler = move |new| match calls.fetch_add(1, Ordering::SeqCst) {
        1 => Err(io::Error::other("once")),
        _ => os_thread(new),
    };
    let pool = Pool::builder().core_threads(2).max_threads(4).spawn_handler(handler).build().unwrap();
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let opener = pool.spawn(move || gate.open());
    soon(busy).unwrap();
    soon(opener).unwrap();
    assert_eq!(pool.metrics().spawn_failures(), 1);
    check_sound(&pool);
}

/// A pool's thread may be lent to another pool by a handler that runs the `NewThread` inside a
/// task. Afterwards it is its own pool's thread again.
#[test]
fn a_thread_lent_to_another_pool_comes_home() {
    let (home, guests) = (pool(1, 1), channel::<NewThread>());
    let (send, receive) = (Mutex::new(guests.0), guests.1);
    let guest = Pool::builder()
        .core_threads(1)
        .max_threads(1)
        .spawn_handler(move |new| send.lock().unwrap().send(new).map_err(io::Error::other))
        .build()
        .unwrap();
    let inner = home.clone();
    let host = home.spawn(move || {
        receive.recv().unwrap().run();
        inner.shutdown().wait().still_running
    });
    assert_eq!(soon(guest.spawn(|| 42)).unwrap(), 42);
    guest.shutdown().wait();
    assert_eq!(soon(host).unwrap(), 0, "the task that waits counts as ended: its thread is known");
}

#[cfg(feature = "tracing")]
mod subscriber {
    //! A subscriber is foreign code.

    use std::sync::atomic::AtomicBool;

    use tracing::{Dispatch, Event, Metadata, Subscriber, dispatcher, span};

    use super::*;
    use crate::support::eventually;
    use crate::support::{Drops, PanicOnDrop, quiet_panic};

    struct Calls<F>(F);

    impl<F: Fn() + Send + Sync + 'static> Subscriber for Calls<F> {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == "sidestep"
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, _: &Event<'_>) {
            (self.0)();
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    /// It writes its records on the pool that it is told about, which cools down.
    #[test]
    fn it_may_use_the_pool() {
        let first = AtomicBool::new(true);
        let handler = move |new| match first.swap(false, Ordering::SeqCst) {
            true => os_thread(new),
            false => Err(io::Error::other("no more")),
        };
        let pool = Pool::builder().core_threads(4).max_threads(4).spawn_handler(handler).build().unwrap();
        let gate = Gate::new();
        let busy = occupy(&pool, &gate);
        let (inner, inside) = (pool.clone(), Mutex::new(()));
        let dispatch = Dispatch::new(Calls(move || {
            if let Ok(_first) = inside.try_lock() {
                inner.spawn(|| ()).detach();
            }
        }));
        let (other, (send, receive)) = (pool.clone(), channel());
        thread::spawn(move || {
            dispatcher::with_default(&dispatch, || {
                eventually("the third refusal", || {
                    other.spawn(|| ()).detach();
                    other.metrics().spawn_failures() >= 3
                });
            });
            send.send(()).unwrap();
        });
        receive.recv_timeout(PATIENCE).expect("an event was recorded under a lock");
        gate.open();
        soon(busy).unwrap();
        check_sound(&pool);
    }

    #[test]
    fn it_may_panic() {
        let dispatch = Dispatch::new(Calls(|| quiet_panic("a subscriber")));
        let handler = move |new: NewThread| {
            let dispatch = dispatch.clone();
            thread::spawn(move || dispatcher::with_default(&dispatch, || new.run()));
            Ok(())
        };
        let pool = Pool::builder().core_threads(1).max_threads(1).spawn_handler(handler).build().unwrap();
        let gate = Gate::new();
        let pass = gate.clone();
        pool.spawn(move || {
            pass.pass();
            PanicOnDrop(Drops::new())
        })
        .detach();
        gate.open();
        assert_eq!(soon(pool.spawn(|| 42)).unwrap(), 42, "the only thread is still there");
        check_sound(&pool);
    }
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

/// As C++ has it for `std::stop_callback`: on its own thread a hook may remove itself and others,
/// add some, and panic.
#[test]
fn a_hook_may_do_with_hooks_what_it_likes() {
    thread_local! { static GUARDS: RefCell<Vec<current::HookGuard>> = const { RefCell::new(Vec::new()) } }
    let remove = |place: usize| drop(GUARDS.with(|guards| guards.borrow_mut().remove(place)));
    let pool = pool(1, 1);
    let (hand, own) = channel::<sidestep::CancelHandle>();
    let task = pool.spawn(move || {
        let log = Arc::new(Mutex::new(Vec::new()));
        let note = |name: &'static str| {
            let log = Arc::clone(&log);
            move || log.lock().unwrap().push(name)
        };
        let handle = own.recv().unwrap();
        let (first, second, third, added, again) =
            (note("first"), note("second"), note("third"), note("added"), handle.clone());
        let hooks: [Box<dyn FnOnce() + Send>; 4] = [
            Box::new(move || {
                first();
                remove(0);
                remove(0);
                again.cancel();
                let guard = current::on_cancel(added);
                drop(guard);
            }),
            Box::new(second),
            Box::new(move || {
                third();
                quiet_panic("a hook");
            }),
            Box::new(note("fourth")),
        ];
        for hook in hooks {
            let guard = current::on_cancel(hook);
            GUARDS.with(|guards| guards.borrow_mut().push(guard));
        }
        handle.cancel();
        GUARDS.with(|guards| guards.borrow_mut().clear());
        log.lock().unwrap().clone()
    });
    hand.send(task.cancel_handle()).unwrap();
    assert_eq!(soon(task).unwrap(), ["first", "added", "third", "fourth"]);
    check_sound(&pool);
}
