//! What a thread puts off: what it does meanwhile must not differ from what it does before it puts
//! anything off.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};
use std::thread;
use std::time::Duration;

use sidestep::{Pool, Task};

#[cfg(unix)]
use crate::support::fork::in_child;
use crate::support::{
    Drops, Gate, HoldOnDrop, PATIENCE, PanicOnDrop, check_sound, eventually, nothing_happens, occupy, poll,
    pool, quiet_panic, soon,
};

/// From 32 on, what is cancelled is put off.
const DEPTHS: [usize; 4] = [1, 31, 32, 40];
const LENGTH: usize = if cfg!(miri) { 100 } else { 100_000 };
/// A wait of another kind than the crate's; shorter than what shows that a test hangs.
const SHORT: Duration = Duration::from_secs(10);

/// A pool whose only thread is busy: it keeps queued tasks.
struct Store(Pool, Gate, Option<Task<()>>);

impl Store {
    fn new() -> Arc<Self> {
        let (pool, gate) = (pool(1, 1), Gate::new());
        let busy = occupy(&pool, &gate);
        Arc::new(Store(pool, gate, Some(busy)))
    }

    /// A queued task; `f` is called where its closure is dropped.
    fn keep(&self, f: impl FnOnce() + Send + 'static) -> Task<()> {
        let then = Then(Some(Box::new(f)));
        self.0.spawn(move || drop(then))
    }

    /// Calls `f` in the innermost of so many destructors.
    fn deep<R: Send + 'static>(&self, depth: usize, f: impl FnOnce() -> R + Send + 'static) -> R {
        let (send, receive) = channel();
        let innermost = self.keep(move || send.send(f()).unwrap());
        drop((1..depth).fold(innermost, |task, _| self.keep(move || drop(task))));
        receive.try_recv().expect("it has been called and has not panicked")
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.1.open();
        self.2.take().map(soon);
    }
}

struct Then(Option<Box<dyn FnOnce() + Send>>);

impl Drop for Then {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(|f| f());
    }
}

/// Runs `f` on a thread of its own with a small stack, and fails if it hangs.
fn in_time<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> R {
    let (send, receive) = channel();
    let body = move || send.send(f()).unwrap();
    thread::Builder::new().stack_size(512 << 10).spawn(body).unwrap();
    receive.recv_timeout(PATIENCE).expect("it ends")
}

/// A task that a wait runs in place is no destructor: what it drops is dropped at once.
#[test]
fn a_task_in_place_drops_at_once_what_it_cancels() {
    for depth in DEPTHS {
        let (store, pool) = (Store::new(), pool(1, 1));
        let (inner, stored) = (pool.clone(), Arc::clone(&store));
        let task = pool.spawn(move || {
            let kept = Arc::clone(&stored);
            let next = inner.spawn(move || {
                let (send, receive) = channel::<()>();
                drop(kept.keep(move || drop(send)));
                receive.recv_timeout(SHORT).unwrap_err()
            });
            stored.deep(depth, move || next.wait().unwrap())
        });
        assert_eq!(soon(task).unwrap(), RecvTimeoutError::Disconnected, "at depth {depth}");
        check_sound(&pool);
    }
}

/// What is put off has run before a wait runs a task in place, which may need that in a way that
/// nobody knows of.
#[test]
fn a_task_in_place_comes_after_what_was_put_off() {
    for depth in DEPTHS {
        let (store, pool) = (Store::new(), pool(1, 1));
        let (inner, stored) = (pool.clone(), Arc::clone(&store));
        let task = pool.spawn(move || {
            let (send, receive) = channel::<()>();
            let next = inner.spawn(move || receive.recv_timeout(SHORT).unwrap_err());
            let kept = stored.keep(move || drop(send));
            stored.deep(depth, move || {
                drop(kept);
                next.wait().unwrap()
            })
        });
        assert_eq!(soon(task).unwrap(), RecvTimeoutError::Disconnected, "at depth {depth}");
        check_sound(&pool);
    }
}

/// The same for a shutdown, which runs what is queued.
#[test]
fn a_shutdown_in_a_destructor_comes_after_what_was_put_off() {
    for depth in DEPTHS {
        let (store, pool) = (Store::new(), pool(1, 1));
        let (inner, stored) = (pool.clone(), Arc::clone(&store));
        let (tell, told) = channel();
        let task = pool.spawn(move || {
            let (send, receive) = channel::<()>();
            inner.spawn(move || tell.send(receive.recv_timeout(SHORT).unwrap_err()).unwrap()).detach();
            let kept = stored.keep(move || drop(send));
            stored.deep(depth, move || {
                drop(kept);
                inner.shutdown().wait().still_running
            })
        });
        assert_eq!(soon(task).unwrap(), 0);
        assert_eq!(told.recv().unwrap(), RecvTimeoutError::Disconnected, "at depth {depth}");
    }
}

/// A wait is not refused as part of a circle that what was put off would break.
#[test]
fn what_was_put_off_may_break_a_circle_of_waits() {
    for depth in DEPTHS {
        let (store, pool) = (Store::new(), pool(2, 2));
        let (one, two) = (pool.lane("one", 1), pool.lane("two", 1));
        let (begun, go) = (Gate::new(), Gate::new());
        let (announce, pass, stored) = (begun.clone(), go.clone(), Arc::clone(&store));
        let (hand, target) = channel::<Task<()>>();
        let first = one.spawn(move || {
            announce.open();
            pass.pass();
            let target = target.recv().unwrap();
            let handle = target.cancel_handle();
            let kept = stored.keep(move || handle.cancel());
            stored.deep(depth, move || {
                drop(kept);
                target.wait()
            })
        });
        begun.pass();
        let behind_first = one.spawn(|| ());
        let started = Gate::new();
        let announce = started.clone();
        let second = two.spawn(move || {
            announce.open();
            behind_first.wait()
        });
        started.pass();
        hand.send(two.spawn(|| ())).unwrap();
        eventually("it waits", || pool.metrics().threads_blocked() == 1);
        nothing_happens();
        go.open();
        let error = soon(first).unwrap().unwrap_err();
        assert!(error.is_cancelled(), "at depth {depth}: {error}");
        soon(second).unwrap().unwrap();
    }
}

/// The same for a reservation, which is refused where this thread holds the slot of the lane.
#[test]
fn what_was_put_off_may_free_a_place() {
    for depth in DEPTHS {
        let (store, pool) = (Store::new(), pool(1, 1));
        let lane = pool.lane_builder("narrow", 1).queue_limit(1).build().unwrap();
        let (inner, stored) = (lane.clone(), Arc::clone(&store));
        let task = lane.spawn(move || {
            let permit = inner.reserve().wait().unwrap();
            let kept = stored.keep(move || drop(permit));
            let lane = inner.clone();
            stored.deep(depth, move || {
                drop(kept);
                lane.reserve().wait().map(drop)
            })
        });
        soon(task).unwrap().unwrap_or_else(|error| panic!("at depth {depth}: {error}"));
        check_sound(&pool);
    }
}

/// A thread that runs what it has put off is not parked, and its task has not ended.
#[test]
fn a_task_that_runs_what_it_has_put_off_counts_as_running() {
    for depth in DEPTHS {
        let (store, pool, gate) = (Store::new(), pool(2, 2), Gate::new());
        let busy = occupy(&pool, &gate);
        let (hold, begun, leave) = HoldOnDrop::new();
        let (inner, stored) = (pool.clone(), Arc::clone(&store));
        let task = pool.spawn(move || {
            let kept = stored.keep(move || drop(hold));
            stored.deep(depth, move || {
                drop(kept);
                sidestep::block_on(inner.shutdown()).still_running
            })
        });
        begun.pass();
        let report = pool.shutdown().timeout(Duration::from_millis(50)).wait();
        let mut end = pool.shutdown();
        gate.open();
        soon(busy).unwrap();
        nothing_happens();
        let early = poll(&mut end, Waker::noop());
        leave.open();
        assert_eq!(report.still_running, 2, "at depth {depth}");
        assert!(early.is_pending(), "at depth {depth}: {early:?}");
        assert_eq!(soon(task).unwrap(), 0);
    }
}

/// Panics among the steps neither stop the others nor leave the thread believing that it is deep
/// inside of steps.
#[test]
fn a_panic_in_what_is_put_off_changes_nothing_for_the_rest() {
    for depth in DEPTHS {
        let (store, drops, other) = (Store::new(), Drops::new(), Drops::new());
        let stored = Arc::clone(&store);
        let (panics, counted) = (other.clone(), drops.clone());
        in_time(move || {
            let inner = Arc::clone(&stored);
            stored.deep(depth, move || {
                for _ in 0..3 {
                    let (bomb, token) = (PanicOnDrop(panics.clone()), counted.token());
                    let payload = PanicOnDrop(panics.clone());
                    drop(inner.keep(move || {
                        let _token = token;
                        drop(bomb);
                    }));
                    drop(inner.keep(move || quiet_panic(payload)));
                }
            });
            // Nothing is put off out here.
            let (send, receive) = channel::<()>();
            drop(stored.keep(move || drop(send)));
            assert!(receive.try_recv().is_err(), "at once");
        });
        assert_eq!((drops.count(), other.count()), (3, 6));
        assert_eq!(store.0.metrics().tasks_queued(), 0);
    }
}

/// The result of a scoped task may borrow: whoever drops it, it is gone before the scope is.
#[test]
fn a_borrowed_result_is_never_put_off() {
    struct Uses<'a>(&'a AtomicBool, &'a Mutex<Vec<bool>>, PhantomData<fn(&'a ())>);
    impl Drop for Uses<'_> {
        fn drop(&mut self) {
            self.1.lock().unwrap().push(self.0.load(Ordering::SeqCst));
        }
    }
    for depth in DEPTHS {
        let (store, pool) = (Store::new(), pool(2, 2));
        let seen = store.deep(depth, move || {
            let (alive, seen) = (AtomicBool::new(true), Mutex::new(Vec::new()));
            pool.scope(|scope| {
                let tasks: Vec<_> =
                    (0..40).map(|_| scope.spawn(|| Uses(&alive, &seen, PhantomData))).collect();
                eventually("they end", || tasks.iter().all(sidestep::ScopedTask::is_finished));
                drop(tasks);
            });
            alive.store(false, Ordering::SeqCst);
            seen.into_inner().unwrap()
        });
        assert_eq!(seen, [true; 40], "at depth {depth}");
    }
}

/// A waker that owns a task, as that of a future does.
struct Owns(Mutex<Option<Task<()>>>);

impl Wake for Owns {
    fn wake(self: Arc<Self>) {
        self.0.lock().unwrap().take();
    }
}

#[test]
fn wakers_that_own_queued_tasks_are_dropped_without_a_deep_stack() {
    let store = Store::new();
    let mut last = store.0.spawn(|| ());
    for _ in 0..LENGTH {
        let mut next = store.0.spawn(|| ());
        let waker = Waker::from(Arc::new(Owns(Mutex::new(Some(last)))));
        assert!(poll(&mut next, &waker).is_pending());
        last = next;
    }
    in_time(move || drop(last));
}

#[test]
fn destructors_that_let_go_and_then_wait_need_no_deep_stack() {
    let store = Store::new();
    let mut last = store.0.spawn(|| ());
    for _ in 0..LENGTH {
        let other = store.0.spawn(|| ());
        last = store.keep(move || {
            drop(last);
            drop(other.wait_timeout(Duration::ZERO));
        });
    }
    in_time(move || drop(last));
}

/// A value of the thread that is older than the list of what is put off outlives that list.
#[test]
fn a_chain_may_be_dropped_as_its_thread_ends() {
    thread_local! { static KEPT: RefCell<Option<Task<()>>> = const { RefCell::new(None) } }
    let store = Store::new();
    let last = (0..LENGTH).fold(store.0.spawn(|| ()), |task, _| store.keep(move || drop(task)));
    let stored = Arc::clone(&store);
    let body = move || {
        KEPT.with(|kept| *kept.borrow_mut() = Some(last));
        stored.deep(40, || ());
    };
    thread::Builder::new().stack_size(512 << 10).spawn(body).unwrap().join().unwrap();
    assert_eq!(store.0.metrics().tasks_queued(), 0);
}

/// In the child of a child, each pool knows whose it is; and what was put off before a fork does no
/// harm after it.
#[cfg(unix)]
#[test]
fn pools_of_three_generations() {
    let first = Store::new();
    let (queued, ended) = (first.0.spawn(|| 1), pool(1, 1).spawn(|| String::from("kept")));
    eventually("it ends", || ended.is_finished());
    let stored = Arc::clone(&first);
    let (status, drops) = (Arc::new(Mutex::new(-2)), Drops::new());
    let (told, token) = (Arc::clone(&status), drops.token());
    first.deep(40, move || {
        let put_off = stored.keep(move || drop(token));
        drop(put_off);
        let code = in_child(|list| {
            list.no_thread(stored.0.spawn(|| 1).wait());
            let second = pool(1, 1);
            let busy = second.spawn(|| 7);
            list.check(busy.wait().is_ok_and(|value| value == 7));
            let left = second.spawn(|| 8);
            let inner = in_child(|list| {
                list.no_thread(second.spawn(|| 1).wait());
                list.no_thread(stored.0.spawn(|| 1).wait());
                list.check(left.is_finished());
                drop(left);
                let third = pool(1, 2);
                let lane = third.lane("narrow", 1);
                list.check(lane.spawn(|| 9).wait().is_ok_and(|value| value == 9));
                list.check(third.scope(|scope| scope.spawn(|| 3).wait()).is_ok());
                list.check(second.shutdown().wait().still_running == 0);
                list.check(third.shutdown().wait().still_running == 0);
            });
            list.check(inner == 0);
            list.no_thread(queued.wait());
            list.check(ended.wait().is_ok_and(|text| text == "kept"));
            list.check(second.shutdown().wait().still_running == 0);
        });
        *told.lock().unwrap() = code;
    });
    assert_eq!(*status.lock().unwrap(), 0);
    assert_eq!(drops.count(), 1);
}
