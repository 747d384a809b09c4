//! Who counts as waiting for a pool's end: odd executors, futures that are kept, wakers that do
//! anything.

use std::future::poll_fn;
use std::mem::forget;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::task::{Poll, Waker};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use sidestep::{EventLoop, Lane, Pool, Shutdown, ShutdownReport, Task, current};

use crate::support::{
    Calls, Gate, HoldOnDrop, PATIENCE, Wakes, all_well, eventually, nothing_happens, occupy, poll, pool,
    quiet_panic, soon,
};

/// Ways to wait for a pool's end inside of it.
fn ways() -> [fn(Pool) -> ShutdownReport; 9] {
    [
        |pool| pool.shutdown().wait(),
        |pool| sidestep::block_on(pool.shutdown()),
        |pool| futures_lite::future::block_on(pool.shutdown()),
        |pool| tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(pool.shutdown()),
        |pool| {
            let (send, receive) = channel();
            let mut ev = EventLoop::new();
            ev.spawn_local(async move { send.send(pool.shutdown().await).unwrap() });
            ev.run();
            receive.recv().unwrap()
        },
        |pool| sidestep::block_on(three(&pool).collect::<Vec<_>>())[0],
        |pool| futures_lite::future::block_on(three(&pool).collect::<Vec<_>>())[0],
        |pool| sidestep::block_on(async { sidestep::block_on(pool.shutdown()) }),
        |pool| {
            let mut kept = pool.shutdown();
            let _ = poll(&mut kept, Waker::noop());
            sidestep::block_on(futures_lite::future::or(std::future::pending(), kept))
        },
    ]
}

fn three(pool: &Pool) -> FuturesUnordered<Shutdown> {
    (0..3).map(|_| pool.shutdown()).collect()
}

/// A task that has started, and does `act` once `gate` opens.
fn ready<T: Send + 'static>(
    spawn: impl FnOnce(Box<dyn FnOnce() -> T + Send>) -> Task<T>,
    gate: &Gate,
    act: impl FnOnce() -> T + Send + 'static,
) -> Task<T> {
    let (begun, pass) = (Gate::new(), gate.clone());
    let announce = begun.clone();
    let task = spawn(Box::new(move || {
        announce.open();
        pass.pass();
        act()
    }));
    begun.pass();
    task
}

/// A task that may not start yet, says when it does, and ends once `leave` opens.
fn queued(lane: &Lane, works: &Gate, leave: &Gate) -> Task<()> {
    let (announce, pass) = (works.clone(), leave.clone());
    lane.spawn(move || {
        announce.open();
        pass.pass();
    })
}

/// Two tasks that have started and wait in these ways, and what each is told.
fn both(pool: &Pool, ways: [fn(Pool) -> ShutdownReport; 2]) -> Vec<ShutdownReport> {
    let gate = Gate::new();
    let tasks = ways.map(|way| {
        let inner = pool.clone();
        ready(|f| pool.spawn(f), &gate, move || way(inner))
    });
    gate.open();
    tasks.into_iter().map(|task| task.wait_timeout(PATIENCE / 6).expect("it ends").unwrap()).collect()
}

#[test]
fn two_tasks_that_have_started_wait_in_any_two_ways() {
    for (i, first) in ways().into_iter().enumerate() {
        for (j, second) in ways().into_iter().enumerate() {
            for core in [2, 3] {
                let reports = both(&pool(core, core), [first, second]);
                assert!(reports.iter().all(|report| report.still_running == 0), "{i} {j}: {reports:?}");
            }
        }
    }
}

/// A foreign executor inside of a poll of `block_on` is taken for that wait, which never shows
/// as parked.
#[test]
fn a_foreign_executor_inside_of_block_on_is_not_taken_for_that_wait() {
    let nested: fn(Pool) -> ShutdownReport =
        |pool| sidestep::block_on(async { futures_lite::future::block_on(pool.shutdown()) });
    let pool = pool(2, 2);
    for report in both(&pool, [nested, nested]) {
        assert_eq!(report.still_running, 0);
    }
}

struct OnDrop(Option<Box<dyn FnOnce() + Send>>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(|act| act());
    }
}

/// Runs `act` inside of so many cancellations.
fn nest(shelf: Pool, left: u32, act: Box<dyn FnOnce() + Send>) {
    if left == 0 {
        return act();
    }
    let next = shelf.clone();
    let guard = OnDrop(Some(Box::new(move || nest(next, left - 1, act))));
    drop(shelf.spawn(move || drop(guard)));
}

/// What a thread has put off is run after it has said that it is parked.
#[test]
fn a_step_that_was_put_off_does_not_run_while_its_thread_counts_as_parked() {
    let (shelf, pool) = (pool(1, 1), pool(2, 2));
    let (full, busy) = (Gate::new(), Gate::new());
    let (held, neighbour) = (occupy(&shelf, &full), occupy(&pool, &busy));
    let ((hold, begun, leave), inner) = (HoldOnDrop::new(), pool.clone());
    let task = pool.spawn(move || {
        let last = shelf.clone();
        let act = move || {
            drop(last.spawn(move || drop(hold)));
            sidestep::block_on(inner.shutdown());
        };
        nest(shelf, 32, Box::new(act));
    });
    begun.pass();
    let report = pool.shutdown().timeout(Duration::from_millis(20)).wait();
    busy.open();
    soon(neighbour).unwrap();
    let after = pool.shutdown().timeout(Duration::from_millis(20)).wait();
    leave.open();
    full.open();
    all_well([task, held]);
    assert_eq!((report.still_running, after.still_running), (2, 1), "a destructor is at work");
}

/// The wake-up is there before the thread parks: it never blocks, and goes on with what it has
/// got.
#[test]
fn a_wait_that_never_parks_does_not_count() {
    let pool = pool(2, 2);
    let [busy, may_look, goes_on, gate] = std::array::from_fn(|_| Gate::new());
    let neighbour = occupy(&pool, &busy);
    let wakes = Wakes::new();
    let (shown, pass, left) = (goes_on.clone(), gate.clone(), Arc::clone(&wakes));
    let (send, receive) = channel::<Shutdown>();
    let task = ready(
        |f| pool.spawn(f),
        &may_look,
        move || {
            let (mut shutdown, mut other) = (receive.recv().unwrap(), false);
            sidestep::block_on(poll_fn(|context| {
                if other {
                    return Poll::Ready(());
                }
                assert!(poll(&mut shutdown, context.waker()).is_pending());
                busy.open();
                eventually("the neighbour leaves", || left.count() > 0);
                other = true;
                context.waker().wake_by_ref();
                Poll::Pending
            }));
            shown.open();
            pass.pass();
        },
    );
    // Each new one has all wakers called, so these come first.
    let [mut outside, fresh, inside] = std::array::from_fn(|_| pool.shutdown());
    assert!(poll(&mut outside, &Waker::from(wakes)).is_pending());
    send.send(inside).unwrap();
    may_look.open();
    goes_on.pass();
    let early = poll(&mut outside, Waker::noop());
    let now = fresh.timeout(Duration::from_millis(10)).wait();
    gate.open();
    all_well([neighbour, task]);
    assert_eq!(now.still_running, 1, "one who asks anew is told");
    assert!(early.is_pending(), "{early:?} while the task goes on");
}

/// A task that has looked has ended, and its thread runs another one, which has never looked.
#[test]
fn the_next_task_of_a_thread_is_not_taken_to_wait() {
    let pool = pool(2, 2);
    let lane = pool.lane("one", 1);
    let [may_look, may_look_b, looked_b, may_park, works, leave] = std::array::from_fn(|_| Gate::new());
    let inner = pool.clone();
    let looks = ready(
        |f| lane.spawn(f),
        &may_look,
        move || {
            let mut shutdown = inner.shutdown();
            assert!(poll(&mut shutdown, Waker::noop()).is_pending());
            forget(shutdown);
        },
    );
    let next = queued(&lane, &works, &leave);
    let (looked, park, inner) = (looked_b.clone(), may_park.clone(), pool.clone());
    let waits = ready(
        |f| pool.spawn(f),
        &may_look_b,
        move || {
            let mut shutdown = inner.shutdown();
            sidestep::block_on(poll_fn(|context| {
                let polled = poll(&mut shutdown, context.waker());
                looked.open();
                park.pass();
                polled
            }))
        },
    );
    let mut outside = pool.shutdown();
    assert!(poll(&mut outside, Waker::noop()).is_pending());
    may_look_b.open();
    looked_b.pass();
    may_look.open();
    soon(looks).unwrap();
    works.pass();
    may_park.open();
    nothing_happens();
    let early = poll(&mut outside, Waker::noop());
    leave.open();
    soon(next).unwrap();
    soon(waits).unwrap();
    assert!(early.is_pending(), "{early:?} while a task runs that knows nothing of it");
}

/// The task awaits two shutdowns at once, and the first that is polled runs another task in
/// place.
#[test]
fn a_task_that_is_run_in_place_by_one_of_two_shutdowns_counts_as_running() {
    let pool = pool(2, 2);
    let lane = pool.lane("one", 1);
    let [end, may_look, looked_b, block, blocked, park, works, leave] = std::array::from_fn(|_| Gate::new());
    let first = ready(|f| lane.spawn(f), &end, || ());
    let (inner, looked, pass, shown, last) =
        (pool.clone(), looked_b.clone(), block.clone(), blocked.clone(), park.clone());
    first.on_complete(move |_| {
        let (mut shutdown, mut looks) = (inner.shutdown(), 0);
        sidestep::block_on(poll_fn(|context| {
            let polled = poll(&mut shutdown, context.waker());
            looks += 1;
            if looks == 1 {
                looked.open();
                pass.pass();
                // This gives the slot of the lane away.
                current::will_block(|| {
                    shown.open();
                    last.pass();
                });
            }
            polled
        }));
    });
    let second = queued(&lane, &works, &leave);
    let (inner, (send, receive)) = (pool.clone(), channel());
    let joins = ready(
        |f| pool.spawn(f),
        &may_look,
        move || {
            let mut two = [inner.shutdown(), inner.shutdown()];
            futures_lite::future::block_on(poll_fn(|context| {
                let polled = two.each_mut().map(|shutdown| poll(shutdown, context.waker()).is_ready());
                let _ = send.send(context.waker().clone());
                if polled[0] { Poll::Ready(()) } else { Poll::Pending }
            }));
        },
    );
    let mut outside = pool.shutdown();
    assert!(poll(&mut outside, Waker::noop()).is_pending());
    end.open();
    looked_b.pass();
    may_look.open();
    let waker = receive.recv_timeout(PATIENCE).unwrap();
    block.open();
    blocked.pass();
    waker.wake();
    works.pass();
    park.open();
    nothing_happens();
    let early = poll(&mut outside, Waker::noop());
    leave.open();
    all_well([second, joins]);
    assert!(early.is_pending(), "{early:?} while a task runs in place");
}

/// A waker that the poll of a shutdown calls forks: the poll goes on in the child.
#[cfg(unix)]
#[test]
fn a_waker_may_fork_in_the_poll_of_a_shutdown() {
    let pool = pool(2, 2);
    let [busy, may_look, looked, gate] = std::array::from_fn(|_| Gate::new());
    let neighbour = occupy(&pool, &busy);
    let (shown, pass, inner) = (looked.clone(), gate.clone(), pool.clone());
    let (calls, child) = (Calls::new(), Arc::new(AtomicUsize::new(usize::MAX)));
    let (waker, forked) = (Waker::from(Arc::clone(&calls)), Arc::clone(&child));
    let task = ready(
        |f| pool.spawn(f),
        &may_look,
        move || {
            let mut shutdown = inner.shutdown();
            assert!(poll(&mut shutdown, &waker).is_pending());
            // SAFETY: the child goes on with a poll of this crate's, and leaves by `_exit`.
            calls.set(move || forked.store(unsafe { libc::fork() } as usize, Ordering::SeqCst));
            shown.open();
            pass.pass();
        },
    );
    let mut outside = pool.shutdown();
    may_look.open();
    looked.pass();
    let is_ready = poll(&mut outside, Waker::noop()).is_ready();
    let child = child.load(Ordering::SeqCst);
    if child == 0 {
        // SAFETY: it ends the child at once.
        unsafe { libc::_exit(i32::from(!is_ready)) };
    }
    let status = crate::support::fork::exit_status(i32::try_from(child).expect("it was called"));
    busy.open();
    gate.open();
    all_well([neighbour, task]);
    assert!(!is_ready);
    assert_eq!(status, 0, "in the child it resolves");
}

/// In one and the same `block_on` a task goes on with something else, and keeps the shutdown.
#[test]
fn a_task_that_awaits_something_else_in_the_same_wait_counts_as_running() {
    let (pool, busy, looked) = (pool(2, 2), Gate::new(), Gate::new());
    let neighbour = occupy(&pool, &busy);
    let (inner, shown, (ring, other)) = (pool.clone(), looked.clone(), tokio::sync::oneshot::channel::<()>());
    let task = pool.spawn(move || {
        sidestep::block_on(async move {
            let mut shutdown = inner.shutdown();
            assert!(poll(&mut shutdown, Waker::noop()).is_pending());
            shown.open();
            other.await.unwrap();
            drop(shutdown);
        });
    });
    looked.pass();
    nothing_happens();
    let report = pool.shutdown().timeout(Duration::from_millis(20)).wait();
    ring.send(()).unwrap();
    busy.open();
    all_well([neighbour, task]);
    assert_eq!(report.still_running, 2);
}

/// Wakers that do anything: the others are told all the same.
#[test]
fn wakers_of_a_shutdown_may_do_anything() {
    let (pool, gate) = (pool(2, 2), Gate::new());
    let busy = [occupy(&pool, &gate), occupy(&pool, &gate)];
    let [panics, drops, polls] = std::array::from_fn(|_| Calls::new());
    // Each new one has all wakers called, so these come first.
    let [mut told, mut first, mut dropped, mut polled, mut newer] = std::array::from_fn(|_| pool.shutdown());
    for (shutdown, calls) in [(&mut first, &panics), (&mut dropped, &drops), (&mut polled, &polls)] {
        assert!(poll(shutdown, &Waker::from(Arc::clone(calls))).is_pending());
    }
    let (inner, (send, receive)) = (pool.clone(), channel());
    panics.set(|| quiet_panic("a waker"));
    polls.set(move || {
        let _ = (poll(&mut polled, Waker::noop()), poll(&mut newer, Waker::noop()));
        send.send(inner.shutdown().timeout(Duration::ZERO).wait()).unwrap();
    });
    drops.set(move || drop((dropped, pool)));
    let wakes = Wakes::new();
    assert!(poll(&mut told, &Waker::from(Arc::clone(&wakes))).is_pending());
    gate.open();
    all_well(busy);
    receive.recv_timeout(PATIENCE).unwrap();
    eventually("it is woken", || wakes.count() > 0);
    assert_eq!(told.timeout(PATIENCE).wait().still_running, 0);
}
