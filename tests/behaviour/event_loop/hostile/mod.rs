//! Attacks on the event loop: loops that are used and dropped from inside of their own calls,
//! functions to notify that change, futures that wake themselves, times without end.

mod threads;

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use sidestep::event_loop::{Handle, Timer};
use sidestep::{EventLoop, Pool, Task, TaskError};

use crate::support::{
    Drops, Gate, PATIENCE, PanicOnDrop, check_sound, counter, eventually, nothing_happens, occupy, pool,
    quiet_panic, soon,
};

const NOW: Duration = Duration::ZERO;

thread_local! {
    /// A loop that foreign code can reach without being given it.
    static LOOP: RefCell<Option<EventLoop>> = const { RefCell::new(None) };
}

/// Uses this thread's loop when it is dropped, where there is one.
struct WithLoop(fn(&mut Option<EventLoop>));

impl Drop for WithLoop {
    fn drop(&mut self) {
        LOOP.with_borrow_mut(self.0);
    }
}

fn take_loop() -> Option<EventLoop> {
    LOOP.take()
}

/// The same task, once it has ended: cancelled, or by itself.
fn ended<T>(task: Task<T>) -> Task<T> {
    task.cancel_handle().cancel();
    eventually("it has ended", || task.is_finished());
    task
}

/// A number that callbacks raise.
fn tally() -> (Rc<Cell<u32>>, impl Fn() + Clone + 'static) {
    let count = Rc::new(Cell::new(0));
    let raised = Rc::clone(&count);
    (count, move || raised.set(raised.get() + 1))
}

/// The destructor of a result that a `cancel` gives up turns the loop, or runs it to its end: the
/// callback is called all the same.
#[test]
fn a_destructor_inside_of_a_cancel_may_turn_the_loop() {
    let turn: fn(&mut Option<EventLoop>) = |ev| {
        if let Some(ev) = ev {
            let _ = ev.turn(NOW);
        }
    };
    let run = |ev: &mut Option<EventLoop>| ev.iter_mut().for_each(EventLoop::run);
    for visit in [turn, run] {
        let (pool, (calls, call)) = (pool(1, 1), tally());
        let task = pool.spawn(move || WithLoop(visit));
        eventually("it has ended", || task.is_finished());
        let ev = EventLoop::on(&pool);
        let action = ev.on_complete(task, move |_, end| {
            assert!(end.is_err_and(|error| error.is_cancelled()));
            call();
        });
        LOOP.set(Some(ev));
        action.cancel();
        let turn = take_loop().unwrap().turn(NOW);
        assert_eq!((calls.get(), turn.is_done()), (1, true));
    }
}

#[test]
fn a_destructor_inside_of_a_cancel_may_drop_the_loop() {
    let (pool, drops) = (pool(1, 1), Drops::new());
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let (ev, token, dropper) = (EventLoop::on(&pool), drops.token(), WithLoop(|ev| drop(ev.take())));
    let action = ev.offload(
        move || drop(dropper),
        move |_, _| {
            drop(token);
            unreachable!("the loop is gone");
        },
    );
    let handle = Handle::clone(&ev);
    LOOP.set(Some(ev));
    action.cancel();
    assert!(handle.is_closed());
    assert_eq!(drops.count(), 1);
    assert_eq!(format!("{action:?}"), "Offload { is_outstanding: false }");
    gate.open();
    soon(running).unwrap();
    check_sound(&pool);
}

/// The function is called on the loop's own thread, inside of whatever makes the loop ready.
#[test]
fn a_notify_function_may_drop_the_loop() {
    let pool = pool(1, 1);
    type Give = fn(&Handle, Box<dyn FnOnce()>);
    let uses: [Give; 4] = [
        |ev, token| ev.post(move |_| token()),
        |ev, token| ev.spawn_local(async move { token() }),
        |ev, token| drop(ev.after(NOW, move |_| token())),
        |ev, token| drop(ev.on_complete(ended(ev.pool().spawn(|| ())), move |_, _| token())),
    ];
    for give in uses {
        let (drops, (calls, call)) = (Drops::new(), tally());
        let token = drops.token();
        let ev = EventLoop::on(&pool).notify(|| drop(take_loop()));
        let handle = Handle::clone(&ev);
        LOOP.set(Some(ev));
        give(&handle, Box::new(move || drop((token, call()))));
        assert!(handle.is_closed());
        assert_eq!((drops.count(), calls.get()), (1, 0), "dropped unrun");
    }
}

/// What the first driver was told and has not acted upon is news to the second.
#[test]
fn a_second_notify_function_hears_of_what_is_ready() {
    let ((first, ring_first), (second, ring_second)) = (counter(), counter());
    let mut ev = EventLoop::on(&pool(1, 1)).notify(ring_first);
    ev.post(|_| ());
    assert_eq!(first.load(Ordering::SeqCst), 1);
    ev = ev.notify(ring_second);
    assert_eq!(second.load(Ordering::SeqCst), 1, "the post has not been run");
    ev.post(|_| ());
    assert_eq!(ev.turn(NOW).ran(), 2);
    ev.post(|_| ());
    assert_eq!((first.load(Ordering::SeqCst), second.load(Ordering::SeqCst)), (1, 2));
}

/// A future that wakes itself and is ready at once leaves nothing behind: no reason for a turn, and
/// no memory.
#[test]
fn a_root_that_wakes_itself_and_ends_leaves_nothing_ready() {
    let (rings, ring) = counter();
    let mut ev = EventLoop::on(&pool(1, 1)).notify(ring);
    let (open, gate) = futures_channel::oneshot::channel::<()>();
    ev.spawn_local(async { assert!(gate.await.is_err()) });
    let _ = ev.turn(NOW);
    rings.store(0, Ordering::SeqCst);
    let mut late: Option<Waker> = None;
    for number in 0..100 {
        let output = ev.run_until(poll_fn(|context| {
            context.waker().wake_by_ref();
            late = Some(context.waker().clone());
            Poll::Ready(number)
        }));
        assert_eq!(output, number);
    }
    late.into_iter().for_each(Waker::wake);
    assert_eq!(rings.load(Ordering::SeqCst), 0, "there is nothing to be done");
    assert!(!ev.turn(NOW).is_ready());
    drop(open);
    ev.run();
}

/// `Handle` says that no action starts.
#[test]
fn a_promise_made_on_a_dropped_loop_starts_no_action() {
    let pool = pool(1, 1);
    let handle = EventLoop::on(&pool).clone();
    let (drops, before) = (Drops::new(), pool.metrics().tasks_submitted());
    let token = drops.token();
    let promise = handle.promise(move || {
        drop(token);
        Ok::<_, TaskError>(())
    });
    assert_eq!((drops.count(), pool.metrics().tasks_submitted()), (1, before));
    drop(promise.map(|()| unreachable!("no action, no step")));
}

/// A panic leaves `run`, the loop goes with it, and everything in the loop panics again.
#[test]
fn a_loop_dropped_by_a_panic_full_of_destructors_that_panic() {
    let (pool, drops) = (pool(1, 1), Drops::new());
    let inner = drops.clone();
    let end = catch_unwind(AssertUnwindSafe(|| {
        let mut ev = EventLoop::on(&pool);
        ev.post(|_| quiet_panic(7_u8));
        let bombs: Vec<_> = (0..4).map(|_| PanicOnDrop(inner.clone())).collect();
        let [one, two, three, four] = bombs.try_into().ok().unwrap();
        ev.post(move |_| drop(one));
        ev.after(Duration::MAX, move |_| drop(two));
        ev.spawn_local(async move {
            let _three = three;
            pending::<()>().await;
        });
        ev.on_complete(ended(pool.spawn(|| ())), move |_, _| drop(four));
        ev.run();
    }));
    assert_eq!(end.unwrap_err().downcast_ref(), Some(&7_u8));
    assert_eq!(drops.count(), 4);
    check_sound(&pool);
}

/// A destructor panics where a local future has ended, and where a timer is cancelled: the place
/// has been given up before.
#[test]
fn destructors_of_what_has_ended_may_panic() {
    let (mut ev, drops, (calls, call)) = (EventLoop::on(&pool(1, 1)), Drops::new(), tally());
    let bomb = PanicOnDrop(drops.clone());
    let mut bomb = Some(bomb);
    ev.spawn_local(poll_fn(move |_| {
        let _owned = &mut bomb;
        Poll::Ready(())
    }));
    ev.post(move |_| call());
    assert!(catch_unwind(AssertUnwindSafe(|| ev.run())).is_err());
    ev.run();
    assert_eq!((drops.count(), calls.get()), (1, 1));
    let bomb = PanicOnDrop(drops.clone());
    let timer = ev.after(Duration::MAX, move |_| drop(bomb));
    assert!(catch_unwind(AssertUnwindSafe(|| timer.cancel())).is_err());
    assert!(ev.turn(NOW).is_done());
    timer.cancel();
    assert_eq!(drops.count(), 2);
}

/// A loop runs inside of a callback of another: each keeps its own order, and they reach each
/// other.
#[test]
fn loops_nest() {
    let pool = pool(1, 2);
    let mut outer = EventLoop::on(&pool);
    let (log, inner_pool) = (Rc::new(RefCell::new(Vec::new())), pool.clone());
    let note = |word: &'static str| {
        let log = Rc::clone(&log);
        move || log.borrow_mut().push(word)
    };
    let (gate, given_up) = (Gate::new(), note("given up"));
    let pass = gate.clone();
    let cancelled = outer.offload(
        move || pass.pass(),
        move |_, end| {
            assert!(end.is_err_and(|error| error.is_cancelled()));
            given_up();
        },
    );
    let (first, second, third) = (note("inner"), note("posted from inner"), note("inner action"));
    outer.post(move |ev| {
        let (mut inner, ev) = (EventLoop::on(&inner_pool), ev.clone());
        inner.after(Duration::from_millis(1), move |_| {
            first();
            cancelled.cancel();
            gate.open();
            ev.post(move |_| second());
        });
        let remote = inner.remote();
        inner.offload(
            move || remote.post(|_| ()).is_ok(),
            move |_, end| {
                assert!(end.unwrap());
                third();
            },
        );
        inner.run();
    });
    outer.run();
    let mut log = log.take();
    log[..2].sort_unstable();
    assert_eq!(log[..2], ["inner", "inner action"]);
    log[2..].sort_unstable();
    assert_eq!(log[2..], ["given up", "posted from inner"]);
}

/// Times that the clock can count to but no system call can wait for.
#[test]
fn times_without_end_are_slept_through() {
    let pool = pool(1, 1);
    let mut ev = EventLoop::on(&pool);
    let shifts = [u64::MAX / 2, u64::MAX / 4, u64::from(u32::MAX) * 4];
    let timers: Vec<_> =
        shifts.map(|seconds| ev.after(Duration::from_secs(seconds), |_| unreachable!())).into();
    for seconds in shifts {
        let remote = ev.remote();
        let poster = thread::spawn(move || {
            nothing_happens();
            remote.post(|_| ()).unwrap();
        });
        let start = Instant::now();
        assert_eq!(ev.turn(Duration::from_secs(seconds)).ran(), 1);
        assert!(start.elapsed() < PATIENCE);
        poster.join().unwrap();
    }
    timers.iter().for_each(Timer::cancel);
    ev.run();
}

/// A pool that refuses: the callbacks come all the same, in the order of their actions, also where
/// each offloads the next.
#[test]
fn a_pool_that_refuses_ends_chains_without_a_stack() {
    fn chain(ev: &Handle, left: u32, done: Rc<Cell<u32>>) {
        ev.offload(
            || (),
            move |ev, end| {
                assert!(end.is_err_and(|error| error.is_full() || error.is_shutdown()));
                done.set(done.get() + 1);
                if left > 1 {
                    chain(ev, left - 1, done);
                }
            },
        );
    }
    let pool = Pool::builder().core_threads(1).max_threads(1).queue_limit(1).build().unwrap();
    let gate = Gate::new();
    let (running, queued) = (occupy(&pool, &gate), pool.spawn(|| ()));
    let small = thread::Builder::new().stack_size(64 << 10);
    let inner = pool.clone();
    let thread = small.spawn(move || {
        let (mut ev, done) = (EventLoop::on(&inner), Rc::new(Cell::new(0)));
        chain(&ev, 5_000, Rc::clone(&done));
        ev.run();
        let shutdown = inner.shutdown();
        chain(&ev, 5_000, Rc::clone(&done));
        ev.run();
        drop(shutdown);
        done.get()
    });
    assert_eq!(thread.unwrap().join().unwrap(), 10_000);
    gate.open();
    soon(running).unwrap();
    soon(queued).unwrap();
}
