//! Event loops in the hands of odd users: used and dropped from inside of their own calls, in
//! variables of threads that end, in functions to notify that change, under fire of many threads.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use sidestep::event_loop::{Handle, Offload, Timer};
use sidestep::{EventLoop, Pool, Task, TaskError};

use crate::support::{
    Drops, Gate, PATIENCE, PanicOnDrop, check_sound, eventually, occupy, pool, quiet_panic, soon,
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

/// Everything a loop can have, in the destructors of a thread's variables, the handles on either
/// side of the loop.
#[test]
fn a_loop_in_a_variable_of_a_thread_ends_with_it() {
    type Tokens = Vec<(Handle, Timer, Offload)>;
    thread_local! {
        static BEFORE: RefCell<Tokens> = const { RefCell::new(Vec::new()) };
        static AFTER: RefCell<Tokens> = const { RefCell::new(Vec::new()) };
    }
    let pool = pool(1, 1);
    let (gate, drops) = (Gate::new(), Drops::new());
    let running = occupy(&pool, &gate);
    let (inner_pool, inner) = (pool.clone(), drops.clone());
    let life = move || {
        BEFORE.with_borrow_mut(Tokens::clear);
        let ev = EventLoop::on(&inner_pool);
        let give = || {
            let (one, two, three, four) = (inner.token(), inner.token(), inner.token(), inner.token());
            let handle = Handle::clone(&ev);
            ev.spawn_local(async move {
                pending::<()>().await;
                drop((handle, four));
            });
            let timer = ev.after(Duration::MAX, move |_| drop(one));
            (Handle::clone(&ev), timer, ev.offload(move || drop(two), move |_, _| drop(three)))
        };
        let (first, second) = (give(), give());
        BEFORE.with_borrow_mut(|tokens| tokens.push(first));
        LOOP.set(Some(ev));
        AFTER.with_borrow_mut(|tokens| tokens.push(second));
    };
    thread::spawn(life.clone()).join().unwrap();
    assert_eq!(drops.count(), 8);
    gate.open();
    soon(running).unwrap();
    // And on a thread of the pool, which ends for the purpose.
    soon(pool.spawn(move || {
        life();
        sidestep::current::retire_thread();
    }))
    .unwrap();
    eventually("the thread has ended", || drops.count() == 16);
    check_sound(&pool);
}

/// The last thing that a thread does is to run a loop, with all that it can do. Windows starts no
/// thread during such a destructor (`docs/PLATFORMS.md`).
#[cfg(not(windows))]
#[test]
fn a_destructor_of_a_variable_of_a_thread_may_run_a_loop() {
    struct LastRun(Pool, std::sync::mpsc::Sender<i32>);
    impl Drop for LastRun {
        fn drop(&mut self) {
            let LastRun(pool, answers) = self;
            let mut ev = EventLoop::on(pool);
            let (remote, answer, local) = (ev.remote(), answers.clone(), answers.clone());
            ev.offload(move || drop(remote.post(move |_| answer.send(1).unwrap())), |_, end| end.unwrap());
            let inner = pool.clone();
            ev.spawn_local(async move { local.send(inner.spawn(|| 10).await.unwrap()).unwrap() });
            let timed = answers.clone();
            ev.after(Duration::from_millis(1), move |_| timed.send(100).unwrap());
            ev.run();
            answers.send(ev.run_until(pool.spawn(|| 1000)).unwrap()).unwrap();
        }
    }
    thread_local!(static LAST: RefCell<Option<LastRun>> = const { RefCell::new(None) });
    let pool = pool(1, 2);
    let ((answers, all), inner) = (channel(), pool.clone());
    let again = answers.clone();
    thread::spawn(move || LAST.set(Some(LastRun(inner, answers)))).join().unwrap();
    assert_eq!(all.try_iter().sum::<i32>(), 1111);
    let inner = pool.clone();
    pool.spawn(move || {
        LAST.set(Some(LastRun(inner, again)));
        sidestep::current::retire_thread();
    })
    .detach();
    assert_eq!(all.iter().sum::<i32>(), 1111);
    check_sound(&pool);
}

/// The pool drains while the loop that waits for one of its queued tasks sleeps on its only worker.
#[test]
fn a_loop_inside_of_a_task_outlives_the_admission_of_its_pool() {
    let pool = pool(1, 2);
    let (inner, offloaded, closing) = (pool.clone(), Gate::new(), Gate::new());
    let (announce, closed) = (offloaded.clone(), closing.clone());
    let task = pool.spawn(move || {
        let (mut ev, (calls, call)) = (EventLoop::on(&inner), tally());
        ev.offload(|| 42, move |_, end| (0..end.unwrap()).for_each(|_| call()));
        announce.open();
        closed.pass();
        let refused = call_refused(&ev);
        ev.run();
        (calls.get(), refused.get())
    });
    offloaded.pass();
    let shutdown = pool.shutdown();
    closing.open();
    assert_eq!(soon(task).unwrap(), (42, true));
    assert_eq!(shutdown.wait().still_running, 0);
}

/// Whether an action has been refused, once its callback has been called.
fn call_refused(ev: &Handle) -> Rc<Cell<bool>> {
    let refused = Rc::<Cell<bool>>::default();
    let seen = Rc::clone(&refused);
    ev.offload(|| (), move |_, end| seen.set(end.is_err_and(|error| error.is_shutdown())));
    refused
}

/// Workers complete and post, every third action is cancelled; the driver turns only when it is
/// told. Nothing is lost, and the driver is told no more often than it turns.
#[test]
fn a_driver_on_its_own_bell_under_fire() {
    const EACH: usize = 200;
    let (pool, rings) = (pool(2, 2), Arc::new(AtomicUsize::new(0)));
    let ((bell, rung), counted) = (channel(), Arc::clone(&rings));
    let mut ev = EventLoop::on(&pool).notify(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        let _ = bell.send(());
    });
    let (calls, call) = tally();
    for number in 0..EACH {
        let (done, far, near) = (call.clone(), ev.remote(), ev.remote());
        let action = ev.offload(move || far.post(|_| ()).is_ok(), move |_, _| done());
        if number % 3 == 0 {
            action.cancel();
        }
        pool.spawn(move || near.post(|_| ()).is_ok()).detach();
    }
    let mut turns = 0;
    loop {
        rung.recv_timeout(PATIENCE).unwrap();
        turns += 1;
        if ev.turn(NOW).is_done() && calls.get() == u32::try_from(EACH).unwrap() {
            break;
        }
        assert!(rings.load(Ordering::SeqCst) <= turns + 1, "one ring for each turn");
    }
    check_sound(&pool);
}
