//! What a task takes along from its spawner, and that nothing of it stays behind.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use sidestep::{OnShutdown, Pool, PoolBuilder, TaskError};

use crate::support::{Drops, Gate, check_sound, counter, eventually, occupy, quiet_panic, soon};

thread_local! { static REQUEST: Cell<u32> = const { Cell::new(0) } }

/// Sets and restores without a guard: the run is said not to unwind.
fn carries_request(builder: PoolBuilder) -> PoolBuilder {
    builder.propagate(|| {
        let request = REQUEST.get();
        move |run: &mut dyn FnMut()| {
            let before = REQUEST.replace(request);
            run();
            REQUEST.set(before);
        }
    })
}

/// Runs `f` as if for a request.
fn for_request<R>(number: u32, f: impl FnOnce() -> R) -> R {
    let before = REQUEST.replace(number);
    let result = f();
    REQUEST.set(before);
    result
}

fn one() -> PoolBuilder {
    Pool::builder().core_threads(1).max_threads(1)
}

/// The request that a task sees which was spawned for none.
fn left_behind(pool: &Pool) -> u32 {
    soon(pool.spawn(|| REQUEST.get())).unwrap()
}

fn message(error: TaskError) -> String {
    assert!(error.is_panic());
    error.to_string()
}

#[test]
fn the_first_context_is_the_outermost() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let mut builder = one();
    for name in ["a", "b", "c"] {
        let (captured, ran) = (Arc::clone(&log), Arc::clone(&log));
        builder = builder.propagate(move || {
            captured.lock().unwrap().push(format!("capture {name}"));
            let ran = Arc::clone(&ran);
            move |run: &mut dyn FnMut()| {
                ran.lock().unwrap().push(format!("enter {name}"));
                run();
                ran.lock().unwrap().push(format!("leave {name}"));
            }
        });
    }
    let pool = builder.build().unwrap();
    let inside = Arc::clone(&log);
    soon(pool.spawn(move || inside.lock().unwrap().push("run".to_owned()))).unwrap();
    let expected = [
        "capture a",
        "capture b",
        "capture c",
        "enter a",
        "enter b",
        "enter c",
        "run",
        "leave c",
        "leave b",
        "leave a",
    ];
    assert_eq!(*log.lock().unwrap(), expected);
}

#[test]
fn every_way_to_spawn_carries_it() {
    let pool =
        carries_request(Pool::builder().core_threads(2).max_threads(4).queue_limit(1000)).build().unwrap();
    let lane = pool.lane("lane", 1);
    let see = || REQUEST.get();
    for_request(7, || {
        let tasks = [
            pool.spawn(see),
            pool.try_spawn(see).unwrap(),
            pool.options().name("named").spawn(see),
            pool.options().try_spawn(see).unwrap(),
            pool.reserve().wait().unwrap().spawn(see),
            lane.spawn(see),
            lane.try_spawn(see).unwrap(),
            lane.options().expire_after(Duration::MAX).spawn(see),
            lane.reserve().wait().unwrap().spawn(see),
        ];
        for (n, task) in tasks.into_iter().enumerate() {
            assert_eq!(soon(task).unwrap(), 7, "{n}");
        }
        let unblocked = [pool.unblock(see), lane.unblock(see), pool.options().unblock(see)];
        assert!(unblocked.into_iter().all(|task| task.wait() == 7));
        let permit = pool.reserve().wait().unwrap();
        assert_eq!(permit.unblock(see).wait(), 7);
        assert!(pool.spawn_batch([see; 10]).wait().into_iter().all(|end| end.unwrap() == 7));
        assert_eq!(pool.scope(|scope| scope.spawn(see).wait()).unwrap(), 7);
        let nested = pool.clone();
        let nested = pool.spawn(move || nested.spawn(see).wait().unwrap());
        assert_eq!(soon(nested).unwrap(), 7, "also from a task to the next");
    });
    assert_eq!(left_behind(&pool), 0);
    check_sound(&pool);
}

#[test]
fn a_task_in_place_has_its_own_and_gives_the_others_back() {
    let pool = carries_request(one()).build().unwrap();
    let inner = pool.clone();
    let seen = for_request(1, || {
        pool.spawn(move || {
            let deep = for_request(2, || inner.spawn(|| REQUEST.replace(9)));
            let seen = deep.wait().unwrap();
            let scoped = for_request(3, || inner.scope(|scope| scope.spawn(|| REQUEST.get()).wait()));
            (seen, scoped.unwrap(), REQUEST.get())
        })
    });
    assert_eq!(soon(seen).unwrap(), (2, 3, 1));
    assert_eq!(left_behind(&pool), 0);
}

#[test]
fn a_closure_that_panics_leaves_nothing_in_the_thread() {
    let pool = carries_request(one()).build().unwrap();
    let task = for_request(7, || pool.spawn(|| quiet_panic("halfway")));
    let end: Result<(), _> = soon(task);
    assert!(end.unwrap_err().is_panic());
    assert_eq!(left_behind(&pool), 0);
    let name = soon(pool.spawn(|| thread::current().name().map(str::to_owned))).unwrap();
    assert_eq!(name.as_deref(), Some("sidestep-0"));
    check_sound(&pool);
}

#[test]
fn a_capture_that_panics_is_left_out() {
    let count = AtomicUsize::new(0);
    let fails = move || -> fn(&mut dyn FnMut()) {
        count.fetch_add(1, Ordering::SeqCst);
        quiet_panic("a capture")
    };
    let pool = carries_request(one().propagate(fails)).build().unwrap();
    assert_eq!(for_request(7, || soon(pool.spawn(|| REQUEST.get()))).unwrap(), 7);
    check_sound(&pool);
}

/// A pool whose inner context does as it likes; the outer one carries the request.
fn with_inner(inner: fn(&mut dyn FnMut())) -> Pool {
    carries_request(one()).propagate(move || inner).build().unwrap()
}

#[test]
fn what_an_inner_context_does_is_the_end_of_its_task_only() {
    let (count, bump) = counter();
    let end = |inner: fn(&mut dyn FnMut())| {
        let (pool, bump) = (with_inner(inner), bump.clone());
        soon(pool.spawn(move || {
            bump();
            42
        }))
    };
    assert_eq!(end(|run| (0..3).for_each(|_| run())).unwrap(), 42);
    assert_eq!(count.swap(0, Ordering::SeqCst), 1, "once");
    assert!(message(end(|_| quiet_panic("before")).unwrap_err()).contains("before"));
    assert!(message(end(|_| ()).unwrap_err()).contains("did not run"));
    assert_eq!(count.load(Ordering::SeqCst), 0);
    let after = end(|run| {
        run();
        quiet_panic("after")
    });
    assert_eq!(after.unwrap(), 42, "what has been done is not lost");
}

#[test]
fn an_inner_context_that_panics_does_not_unwind_the_outer() {
    let before: fn(&mut dyn FnMut()) = |_| quiet_panic("before");
    let after: fn(&mut dyn FnMut()) = |run| {
        run();
        quiet_panic("after")
    };
    for inner in [before, after] {
        let (send, receive) = std::sync::mpsc::channel();
        let builder = one().propagate(move || {
            let (request, send) = (REQUEST.get(), send.clone());
            move |run: &mut dyn FnMut()| {
                let found = REQUEST.replace(request);
                send.send(found).unwrap();
                run();
                REQUEST.set(found);
            }
        });
        let pool = builder.propagate(move || inner).build().unwrap();
        let _ = soon(for_request(7, || pool.spawn(|| ())));
        let _ = soon(pool.spawn(|| ()));
        assert_eq!(receive.recv(), Ok(0));
        assert_eq!(receive.recv(), Ok(0), "the outer context has taken itself away");
    }
}

/// A pool whose contexts count their drops, and use the pool when they are dropped.
fn counting(builder: PoolBuilder) -> (Pool, Drops) {
    struct Reenters(Drops, Arc<Mutex<Option<Pool>>>);
    impl Drop for Reenters {
        fn drop(&mut self) {
            drop(self.0.token());
            let pool = self.1.lock().unwrap().take();
            if let Some(pool) = pool {
                let _ = (pool.metrics(), pool.long_running(Duration::ZERO), pool.lane("new", 1).metrics());
                *self.1.lock().unwrap() = Some(pool);
            }
        }
    }
    let (drops, slot) = (Drops::new(), Arc::new(Mutex::new(None)));
    let (counted, shared) = (drops.clone(), Arc::clone(&slot));
    let builder = builder.propagate(move || {
        let mine = Reenters(counted.clone(), Arc::clone(&shared));
        move |run: &mut dyn FnMut()| {
            run();
            drop(mine);
        }
    });
    let pool = builder.build().unwrap();
    // A cycle: `forget` it at the end of the test by leaking, or cut it.
    *slot.lock().unwrap() = Some(pool.clone());
    (pool, drops)
}

#[test]
fn a_task_that_does_not_run_drops_its_context_at_once() {
    let (pool, drops) = counting(one().queue_limit(8));
    let lane = pool.lane("lane", 1);
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let before = drops.count();
    let dropped = |what: &str, n: usize| assert_eq!(drops.count() - before, n, "{what}");
    drop(pool.spawn(|| ()));
    dropped("cancelled", 1);
    drop(lane.spawn(|| ()));
    dropped("cancelled in a lane", 2);
    drop(pool.spawn_batch([|| (), || ()]));
    dropped("a batch", 4);
    let late = pool.options().expire_after(Duration::ZERO).spawn(|| ());
    assert!(soon(late).unwrap_err().is_expired());
    dropped("expired", 5);
    let queued: Vec<_> = (0..8).map(|_| pool.spawn(|| ())).collect();
    assert!(soon(pool.spawn(|| ())).unwrap_err().is_full());
    dropped("full", 6);
    let rejected = pool.try_spawn(|| ()).unwrap_err();
    dropped("handed back", 7);
    drop(rejected);
    drop(queued);
    dropped("all cancelled", 15);
    let doomed = pool.options().on_shutdown(OnShutdown::Discard).spawn(|| ());
    let doomed_in_lane = lane.options().on_shutdown(OnShutdown::Discard).spawn(|| ());
    let drained = pool.spawn(|| ());
    let shutdown = pool.shutdown();
    dropped("discarded", 17);
    let shutdown = shutdown.discard_queued();
    dropped("all discarded", 18);
    let _refused = pool.try_spawn(|| ()).unwrap_err();
    dropped("refused", 19);
    gate.open();
    assert_eq!(shutdown.wait().discarded, 3);
    for task in [doomed, doomed_in_lane, drained] {
        assert!(soon(task).unwrap_err().is_shutdown());
    }
    soon(busy).unwrap();
}

#[test]
fn a_closure_handed_back_by_a_pool_that_closes_leaves_no_context_in_the_queue() {
    let mut races = 0;
    for _ in 0..300 {
        let (pool, drops) = counting(one());
        let gate = Gate::new();
        let busy = occupy(&pool, &gate);
        let (closer, start) = (pool.clone(), Gate::new());
        let begin = start.clone();
        let closer = thread::spawn(move || {
            begin.pass();
            thread::yield_now();
            closer.shutdown()
        });
        start.open();
        let mut accepted = Vec::new();
        let before = drops.count();
        while let Ok(task) = pool.try_spawn(|| ()) {
            accepted.push(task);
        }
        races += drops.count() - before;
        gate.open();
        drop((closer.join().unwrap(), accepted));
        soon(busy).unwrap();
    }
    assert_eq!(races, 300, "some context is still in the queue while its closure has been handed back");
}

#[test]
fn a_context_whose_destructor_panics_harms_nobody() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            quiet_panic("the context's destructor");
        }
    }
    let builder = one().propagate(|| {
        let bomb = Bomb;
        move |run: &mut dyn FnMut()| {
            run();
            drop(bomb);
        }
    });
    let pool = builder.queue_limit(2).build().unwrap();
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    drop(pool.spawn(|| ()));
    let queued = [pool.spawn(|| 1), pool.spawn(|| 2)];
    assert!(pool.try_spawn(|| ()).is_err());
    assert!(soon(pool.options().spawn(|| ())).is_err());
    gate.open();
    soon(busy).unwrap();
    for (task, n) in queued.into_iter().zip(1..) {
        assert_eq!(soon(task).unwrap(), n);
    }
    check_sound(&pool);
}

#[test]
fn task_locals_of_tokio_can_be_carried() {
    tokio::task_local! { static USER: u32; }
    let builder = Pool::builder().core_threads(1).propagate(|| {
        let user = USER.try_with(|user| *user).ok();
        move |run: &mut dyn FnMut()| match user {
            Some(user) => USER.sync_scope(user, run),
            None => run(),
        }
    });
    let pool = builder.build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let seen = USER.scope(5, async { pool.spawn(|| USER.try_with(|user| *user).ok()).await }).await;
        assert_eq!(seen.unwrap(), Some(5));
        assert_eq!(pool.spawn(|| USER.try_with(|user| *user).ok()).await.unwrap(), None);
    });
}

#[test]
fn an_expired_task_of_a_busy_lane_drops_its_context_when_its_time_is_up() {
    let (pool, drops) = counting(Pool::builder().core_threads(2).max_threads(2));
    let lane = pool.lane("narrow", 1);
    let gate = Gate::new();
    let pass = gate.clone();
    let busy = lane.spawn(move || pass.pass());
    let before = drops.count();
    let late: Vec<_> =
        (0..10).map(|_| lane.options().expire_after(Duration::from_millis(1)).spawn(|| ())).collect();
    eventually("their time is up", || drops.count() - before == 10);
    for task in late {
        assert!(soon(task).unwrap_err().is_expired());
    }
    gate.open();
    soon(busy).unwrap();
    check_sound(&pool);
}
